from .grid import Lattice as Lattice
from .grid import Rect as Rect
from .label_raster import rasterize as rasterize
from .levels import Levels as Levels

__all__ = ["Lattice", "Levels", "Rect", "rasterize"]

"""Rasters, vectors and coordinates.

`samgeo.geo.raster` reads rasters, `samgeo.geo.vector` reads and writes vector files, and `samgeo.geo.coordinates` converts
between coordinate reference systems and pixels. The modules of this package compute the grid of windows and draw objects as
label rasters.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

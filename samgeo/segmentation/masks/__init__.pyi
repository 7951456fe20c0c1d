from .mask import Mask as Mask
from .rle import Rle as Rle

__all__ = ["Mask", "Rle"]

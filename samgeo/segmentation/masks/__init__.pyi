from .rle import Rle as Rle

__all__ = ["Rle"]

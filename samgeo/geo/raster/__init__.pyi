from .raster import Raster as Raster

__all__ = ["Raster"]

from .label_raster import rasterize as rasterize

__all__ = ["rasterize"]

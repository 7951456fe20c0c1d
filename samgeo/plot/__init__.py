"""Rasters and results as pictures.

A raster and polygons enter; a PNG to look at leaves.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

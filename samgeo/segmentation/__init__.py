"""Segmentation of rasters, automatically or from prompts.

A raster and a model enter; objects with georeferenced polygons, scores and provenance leave, as a GeoDataFrame or a file.
Windows are computed in parallel, and objects that the edges of windows cut are joined again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

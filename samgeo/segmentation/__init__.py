"""From a raster to objects: automatically, or by prompts.

A raster and a model enter; objects with georeferenced polygons, scores and provenance leave, as a GeoDataFrame or a file.
Windows are computed in parallel, and what their edges cut is joined again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

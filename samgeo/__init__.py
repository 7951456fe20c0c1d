"""Objects out of overhead imagery of any size with the Segment Anything family.

A raster enters, with prompts or without; georeferenced polygons leave. The public names are imported when they are first used,
so that ``import samgeo`` stays quick.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

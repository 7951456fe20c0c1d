"""Extraction of building footprints from a raster.

A raster enters, and optionally a few example objects. Footprints leave: found or selected by their likeness to the examples,
filtered by shape and height, and regularized. Census counts can be distributed among them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

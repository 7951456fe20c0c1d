"""Extraction of building footprints from candidate objects.

Candidate objects on a raster and a few example objects enter. Footprints leave: selected by their likeness to the examples,
filtered by shape and height, and regularized. Census counts can be distributed among them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Annotation on a map in a notebook.

A raster and clicks enter; accepted objects with classes leave, saved after each change.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Annotation on a map in a notebook.

An analyst clicks on a raster and accepts the objects that the model finds. The objects have classes and are saved after each
change.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Numerical features of objects, and selection by them.

Objects on a raster enter. Features of each object leave (the model's embedding inside it, its shape), and objects that are
chosen by these features: by limits, or because they are like accepted examples and unlike rejected ones.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Numerical features of objects, and what follows from them: selection, classes, and how odd an object is.

Objects on a raster enter. Features of each object leave (the model's embedding inside it, its colour, its shape), and objects
that are chosen by these features (by limits, or because they are like accepted examples and unlike rejected ones), classified
by examples, or measured by how different they are from the others.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

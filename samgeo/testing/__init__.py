"""Tools for tests: an oracle model, raster files of every kind, scenes with known objects, and Hypothesis strategies.

Options such as a shape or a data type enter. Arrays, raster files, models and strategies leave. The pixels of a scene hold
the numbers of their objects, from which the oracle model reads the true masks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

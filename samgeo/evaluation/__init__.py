"""Evaluation of found objects against true objects.

Two layers of polygons enter. Matched pairs, precision, recall, F1, average precision and measures of the outlines leave.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Objects judged against the truth.

Two layers of polygons enter; matched pairs, precision, recall, F1, average precision and the quality of outlines leave.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

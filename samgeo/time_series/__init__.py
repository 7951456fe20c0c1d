"""Objects at several dates: what appeared, vanished or changed between them.

Two rasters of one place enter, with outlines of objects or without. They are laid on one grid, and the shift between them is
corrected. Objects of both dates are matched and compared by the model's features. Polygons with the kind of their change leave.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

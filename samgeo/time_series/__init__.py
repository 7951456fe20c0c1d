"""Objects at several dates: what appeared, vanished or changed between two of them, and tracks over many.

Two or more rasters of one place enter, with outlines of objects or without. They are laid on one grid, and the shift between
them is corrected. Objects of successive dates are matched and compared by the model's features. Polygons leave: with the kind
of their change, or one for each date with an id that stays the same.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Merging of pieces of objects, from neighbouring windows and scales, to whole objects.

Pieces enter row by row; whole objects leave as soon as no later window can change them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

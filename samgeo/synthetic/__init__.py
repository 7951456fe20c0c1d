"""Generated towns, seen from above, that know their own truth.

A size and a seed enter; a picture with every building, tree and car as a polygon leaves.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

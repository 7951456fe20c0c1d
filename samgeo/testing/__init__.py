"""An oracle model, rasters of every kind and exact scenes, for tests.

The oracle knows the truth of scenes whose pixels carry the numbers of their objects.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Where the pixels of a raster come from: files, addresses, arrays, mosaics and STAC Items.

Each source gives the values of windows, their validity and the grid. `opening` chooses the source for what a user names.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Sources of raster pixels: files, addresses, arrays, mosaics and STAC Items.

A source has a grid and bands, and reads the values and the validity of a window. `open_source` chooses the source for the
path, address, array or Item that a user gives.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

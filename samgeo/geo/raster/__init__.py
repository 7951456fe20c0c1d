"""Rasters of any size and kind, read window by window as the 8-bit RGB images that models take.

The package takes a path, an address, a STAC Item, an array, or several of these. It returns a `Raster`, which has a grid,
bands, a stretch and an identity.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

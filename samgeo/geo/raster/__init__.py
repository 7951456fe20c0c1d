"""Rasters of any size and kind, read window by window as the 8-bit RGB pictures that models see.

A path, an address, a STAC Item, an array or several of these enter; a `Raster` with its grid, bands, stretch and identity
leaves.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Conversion between any CRS and the pixels of a raster, and measurements on the ground.

The package takes geometries and prompts in any CRS. It returns geometries in the CRS or the pixels of a raster, with edges
that are correct to a small part of a pixel, and areas and lengths in metres on the ground.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

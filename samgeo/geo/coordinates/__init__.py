"""Coordinates of any CRS, and the pixels of a raster.

Geometries and prompts in any CRS enter; geometries in the raster's CRS or in its pixels leave, with edges that are right to
a small part of a pixel, and areas and lengths on the ground.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

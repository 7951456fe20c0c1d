"""Editing of rasters by objects: filling what objects cover, and smaller files that are exact only inside objects.

A raster of any size and polygons enter. A GeoTIFF leaves that says which of its pixels are no measurements.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

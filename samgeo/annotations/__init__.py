"""Annotations in the formats of the field: boxes, oriented boxes, polygons and masks with their classes.

Files of any of the formats enter; one table, `Annotations`, leaves, and from it files in the formats that can be written.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

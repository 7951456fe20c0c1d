"""Reading and writing of annotation files: boxes, oriented boxes, polygons and masks with their classes.

A file or folder in one of the `READABLE` formats enters, and one table, `Annotations`, leaves. `write_annotations` writes such
a table in any of the `WRITABLE` formats.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

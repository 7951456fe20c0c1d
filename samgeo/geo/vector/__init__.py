"""Reading and writing of vector files.

Features enter and leave as GeoDataFrames. Files are written whole or not at all, are read back before they get their final
names, and hold the provenance of a result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

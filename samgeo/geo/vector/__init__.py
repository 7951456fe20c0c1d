"""Vector files in and out.

Features enter and leave as GeoDataFrames. Files are written whole or not at all, read back before they get their names, and
hold the provenance of a result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

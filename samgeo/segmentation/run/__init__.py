"""Runs of a long segmentation that can be stopped in any way and continued.

The finished windows and rows are kept in a folder with a manifest; the output leaves when all windows are merged.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

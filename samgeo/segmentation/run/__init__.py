"""Long segmentations that can be stopped at any time and continued.

Finished windows and rows are kept in a run folder with a manifest; the output is written when all windows are merged.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

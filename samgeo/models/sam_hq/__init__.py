"""SAM-HQ: SAM 1 or MobileSAM with an additional mask of high quality for each prompt.

The package takes checkpoint files in the published layouts, and returns a `Segmenter`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

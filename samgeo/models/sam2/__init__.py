"""SAM 2 and SAM 2.1 for images: the image encoder, the mask decoder and checkpoints; the memory for video is not read.

The package takes checkpoint files in the published layouts, and returns a `Segmenter`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

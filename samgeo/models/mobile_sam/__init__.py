"""MobileSAM: the prompts and masks of SAM 1 with a small image encoder, TinyViT.

The package takes checkpoint files with the official names of tensors, and returns a `Segmenter`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Masks, stored as runs of pixels.

Logits of a model enter; exact masks leave, with set operations, clean-up, suppression of duplicates, polygons and COCO's
run-length encoding.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

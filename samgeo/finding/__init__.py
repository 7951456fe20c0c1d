"""Objects of one kind: a prompt source proposes objects in each window, and the model draws them.

A raster and a kind of object enter. A table of objects of this kind leaves, each with its class and a score. Prompt sources are
learned finders, examples, and for SAM models PerSAM.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

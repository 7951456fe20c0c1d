"""The bundled model, which is small enough for the CPU of a laptop and for the package itself.

Its weights are a file of the package. The functions return a `Segmenter`, or a network for further training.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

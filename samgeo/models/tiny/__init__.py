"""The bundled model, small enough for the processor of a laptop and for the package.

Its weights are a file of the package. A `Segmenter` leaves, or a network to train further.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

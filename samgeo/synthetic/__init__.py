"""Generated images of towns from above, with exact truth.

The input is a size and a seed. The output is a scene: an image, a label and a class for each pixel, and building footprints.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

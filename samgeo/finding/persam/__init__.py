"""Segmentation of one kind of object after a single example, with PerSAM and PerSAM-F (arXiv:2305.03048).

An image with the mask of one object enters, and `personalize` returns a `Personalized`. It takes further images, and returns
where they are like the object, clicks, and masks. Nothing of the model is trained, except two weights in PerSAM-F.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

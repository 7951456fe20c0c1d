"""Segmentation data sets made from box annotations by the recipe of SAMRS (Wang et al. 2023).

Images and box annotations enter. A data set leaves: a mask for each box, chips, label images, exports, a split and a data card.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

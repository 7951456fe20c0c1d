"""Segmentation data sets from boxes, as SAMRS was made (Wang et al. 2023).

Images and annotations enter; a mask for each box, chips, pictures of classes, exports, a split and a data card leave.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

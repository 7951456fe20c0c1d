"""Segmentation data sets out of boxes, as SAMRS was made (Wang et al. 2023): a mask for every box, by a promptable model."""

from samgeo.dataset.samrs.make import MadeSet, SplitWarning, make_samrs

__all__ = ["MadeSet", "SplitWarning", "make_samrs"]

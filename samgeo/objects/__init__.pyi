from .classifier import Classifier as Classifier
from .classifier import Selector as Selector
from .classify import classify as classify
from .features import describe as describe
from .oddness import oddness as oddness
from .overlaps import keep_best as keep_best
from .select import more_like as more_like
from .select import select as select
from .shapes import filter_by_shape as filter_by_shape
from .shapes import measure_shapes as measure_shapes

__all__ = [
    "Classifier",
    "Selector",
    "classify",
    "describe",
    "filter_by_shape",
    "keep_best",
    "measure_shapes",
    "more_like",
    "oddness",
    "select",
]

from .height import filter_by_height as filter_by_height
from .population import Allocation as Allocation
from .population import allocate_population as allocate_population
from .refinement import refine as refine
from .regularization.api import regularize as regularize
from .selection.classifier import Selector as Selector
from .selection.features import describe as describe
from .selection.overlaps import keep_best as keep_best
from .selection.select import more_like as more_like
from .selection.select import select as select
from .shapes import filter_by_shape as filter_by_shape
from .shapes import measure_shapes as measure_shapes
from .simplification import simplify as simplify
from .workflow import footprints as footprints

__all__ = [
    "Allocation",
    "Selector",
    "allocate_population",
    "describe",
    "filter_by_height",
    "filter_by_shape",
    "footprints",
    "keep_best",
    "measure_shapes",
    "more_like",
    "refine",
    "regularize",
    "select",
    "simplify",
]

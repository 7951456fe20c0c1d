from .height import filter_by_height as filter_by_height
from .population import Allocation as Allocation
from .population import allocate_population as allocate_population
from .refinement import refine as refine
from .regularization.api import regularize as regularize
from .simplification import simplify as simplify
from .workflow import footprints as footprints

__all__ = [
    "Allocation",
    "allocate_population",
    "filter_by_height",
    "footprints",
    "refine",
    "regularize",
    "simplify",
]

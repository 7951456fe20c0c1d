from .make import MadeSet as MadeSet
from .make import SplitWarning as SplitWarning
from .make import make_samrs as make_samrs

__all__ = ["MadeSet", "SplitWarning", "make_samrs"]

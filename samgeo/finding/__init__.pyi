from .api import PromptSource as PromptSource
from .api import find as find
from .finder import Finder as Finder
from .finder import FinderInfo as FinderInfo
from .finder import load_finder as load_finder
from .given import GivenBoxes as GivenBoxes
from .given import boxes_from as boxes_from
from .given import peaks_of as peaks_of
from .similar import similar as similar

__all__ = [
    "Finder",
    "FinderInfo",
    "GivenBoxes",
    "PromptSource",
    "boxes_from",
    "find",
    "load_finder",
    "peaks_of",
    "similar",
]

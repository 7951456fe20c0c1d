from .api import find as find
from .finder import Finder as Finder
from .finder import FinderInfo as FinderInfo
from .finder import load_finder as load_finder

__all__ = ["Finder", "FinderInfo", "find", "load_finder"]

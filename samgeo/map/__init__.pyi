from .session import Session as Session
from .state.clean_options import CleanOptions as CleanOptions
from .widget import Map as Map

__all__ = ["CleanOptions", "Map", "Session"]

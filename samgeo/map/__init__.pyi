from .session import Session as Session
from .widget import Map as Map

__all__ = ["Map", "Session"]

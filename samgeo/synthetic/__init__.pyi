from .generate import town as town
from .scene import Scene as Scene

__all__ = ["Scene", "town"]

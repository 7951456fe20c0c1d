from .checkpoint import deepened as deepened
from .checkpoint import load_tiny as load_tiny
from .checkpoint import new_tiny as new_tiny
from .checkpoint import save_tiny as save_tiny
from .model import Tiny as Tiny

__all__ = ["Tiny", "deepened", "load_tiny", "new_tiny", "save_tiny"]

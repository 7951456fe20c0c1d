from .compression import Compression as Compression
from .compression import compress as compress
from .removal import Removal as Removal
from .removal import remove as remove

__all__ = [
    "Compression",
    "Removal",
    "compress",
    "remove",
]

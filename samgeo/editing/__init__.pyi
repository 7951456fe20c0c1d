from .compress import Compression as Compression
from .compress import compress as compress
from .remove import Removal as Removal
from .remove import remove as remove

__all__ = [
    "Compression",
    "Removal",
    "compress",
    "remove",
]

"""The bundled model: small enough for a laptop's processor and for the package."""

from samgeo.sam.tiny.checkpoint import deepened, load_tiny, new_tiny, save_tiny
from samgeo.sam.tiny.model import Tiny

__all__ = ["Tiny", "deepened", "load_tiny", "new_tiny", "save_tiny"]

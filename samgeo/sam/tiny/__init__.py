"""The bundled model: small enough for a laptop's processor and for the package."""

from samgeo.sam.tiny.checkpoint import load_tiny, new_tiny, save_tiny
from samgeo.sam.tiny.model import Tiny

__all__ = ["Tiny", "load_tiny", "new_tiny", "save_tiny"]

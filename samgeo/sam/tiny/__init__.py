"""The bundled model: small enough for a laptop's processor and for the package."""

from samgeo.sam.tiny.checkpoint import deepened, load_tiny, new_tiny, save_tiny
from samgeo.sam.tiny.model import Tiny
from samgeo.sam.tiny.presets import PRESETS, NetworkPreset, network_preset

__all__ = ["PRESETS", "NetworkPreset", "Tiny", "deepened", "load_tiny", "network_preset", "new_tiny", "save_tiny"]

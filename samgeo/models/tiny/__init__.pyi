from .checkpoint import deepened as deepened
from .checkpoint import load_tiny as load_tiny
from .checkpoint import new_tiny as new_tiny
from .checkpoint import save_tiny as save_tiny
from .model import Tiny as Tiny
from .presets import PRESETS as PRESETS
from .presets import NetworkPreset as NetworkPreset
from .presets import network_preset as network_preset

__all__ = ["PRESETS", "NetworkPreset", "Tiny", "deepened", "load_tiny", "network_preset", "new_tiny", "save_tiny"]

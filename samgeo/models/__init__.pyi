from .allocator import keep_freed_memory as keep_freed_memory
from .info import Gates as Gates
from .info import ModelInfo as ModelInfo
from .protocols import Describing as Describing
from .protocols import Gating as Gating
from .protocols import Segmenter as Segmenter
from .registry import list_models as list_models
from .registry import load_model as load_model
from .registry import model_info as model_info
from .registry import model_path as model_path
from .sam1.medsam import convert_medsam as convert_medsam

__all__ = [
    "Describing",
    "Gates",
    "Gating",
    "ModelInfo",
    "Segmenter",
    "convert_medsam",
    "keep_freed_memory",
    "list_models",
    "load_model",
    "model_info",
    "model_path",
]

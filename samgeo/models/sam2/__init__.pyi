from .checkpoint import load_sam2 as load_sam2
from .checkpoint_layouts import is_sam2 as is_sam2
from .model import Sam2 as Sam2

__all__ = ["Sam2", "is_sam2", "load_sam2"]

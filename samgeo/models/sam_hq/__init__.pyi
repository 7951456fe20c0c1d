from .checkpoint import is_sam_hq as is_sam_hq
from .checkpoint import load_sam_hq as load_sam_hq

__all__ = ["is_sam_hq", "load_sam_hq"]

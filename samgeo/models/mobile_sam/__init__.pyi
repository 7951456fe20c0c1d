from .checkpoint import is_mobile_sam as is_mobile_sam
from .checkpoint import load_mobile_sam as load_mobile_sam

__all__ = ["is_mobile_sam", "load_mobile_sam"]

"""The published segment_anything without torchvision: the three functions that it takes from there, written plainly."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import torch
from _skip import skip
from PIL import Image


def import_segment_anything() -> Any:
    """Import ``segment-anything`` 1.0 of PyPI (``pip install --no-deps segment-anything==1.0``)."""
    if "torchvision" not in sys.modules:
        _stand_in_for_torchvision()
    try:
        import segment_anything
    except ImportError:
        skip("segment_anything is not installed: pip install --no-deps segment-anything==1.0")
    return segment_anything


def batched_nms(boxes: torch.Tensor, scores: torch.Tensor, categories: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Suppress boxes greedily by score, as torchvision does; all categories here are the same."""
    assert not categories.any()
    order = torch.argsort(scores, descending=True, stable=True).numpy()
    corners = boxes.numpy()
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    alive, kept = np.ones(len(order), dtype=bool), []
    for index in order:
        if not alive[index]:
            continue
        kept.append(int(index))
        low, high = np.maximum(corners[index, :2], corners[:, :2]), np.minimum(corners[index, 2:], corners[:, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        with np.errstate(invalid="ignore"):
            alive &= ~(shared / (area[index] + area - shared) > iou_threshold)
    return torch.tensor(kept, dtype=torch.long)


def _stand_in_for_torchvision() -> None:
    names = (
        "torchvision",
        "torchvision.ops",
        "torchvision.ops.boxes",
        "torchvision.transforms",
        "torchvision.transforms.functional",
    )
    modules = {name: ModuleType(name) for name in names}
    boxes: Any = modules["torchvision.ops.boxes"]
    boxes.batched_nms = batched_nms
    boxes.box_area = lambda corners: (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    functional: Any = modules["torchvision.transforms.functional"]
    functional.to_pil_image = Image.fromarray
    functional.resize = lambda image, size: image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    sys.modules.update(modules)

"""The image of a window as the input of a text model: resized to the model's side and normalised."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from samgeo.errors import CheckpointError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Preprocessing", "bilinear", "check_square", "smooth_bilinear"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
# Files in which transformers keeps how images are prepared. The second one holds the settings under a key.
FILES = (("preprocessor_config.json", None), ("processor_config.json", "image_processor"))


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a model wants its square images.

    Attributes
    ----------
    side : int
        Side of the input in pixels.
    mean, std : tuple of float
        Mean and standard deviation of red, green and blue, for values from 0 to 1.
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, folder: Path, default: Preprocessing, *, fixed_side: bool = False) -> Preprocessing:
        """Return the preprocessing that the files of a model tell, with defaults for what they do not tell.

        Parameters
        ----------
        folder : Path
            Folder of the model.
        default : Preprocessing
            That of the published models of the kind.
        fixed_side : bool, default False
            Whether the side follows from the network, which is then that of ``default``.

        Raises
        ------
        CheckpointError
            If a file cannot be read, or its numbers are not usable.
        """
        told = _told(folder)
        try:
            size: Any = told.get("size", default.side)
            side = size.get("shortest_edge") or size.get("height") or default.side if isinstance(size, dict) else size
            found = cls(
                default.side if fixed_side else int(side),
                tuple(float(value) for value in told.get("image_mean") or default.mean),
                tuple(float(value) for value in told.get("image_std") or default.std),
            )
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the preprocessing in {folder} cannot be used ({error}); get the files again.") from None
        if found.side < 1 or len(found.mean) != 3 or len(found.std) != 3 or min(found.std) <= 0:
            raise CheckpointError(f"the preprocessing in {folder} cannot be used ({found}); get the files again.")
        return found

    def normalized(self, values: NDArray[np.float32]) -> Tensor:
        """Return values from 0 to 1, shape (S, S, 3), as the input of the model, shape (1, 3, S, S)."""
        scaled = (values - np.array(self.mean, dtype=np.float32)) / np.array(self.std, dtype=np.float32)
        return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))[None]


def bilinear(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return an image of a side with values from 0 to 1, resized by Pillow's bilinear filter."""
    if len(image) != side:
        image = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    return image.astype(np.float32) / np.float32(255)


def smooth_bilinear(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return an image of a side with values from 0 to 1, smoothed before it is made smaller, as OWLv2 was trained with."""
    values = image.astype(np.float32) / np.float32(255)
    if len(image) == side:
        return values
    factor = len(image) / side
    smooth = max(0.0, (factor - 1) / 2)
    filtered = ndimage.gaussian_filter(values, (smooth, smooth, 0), mode="mirror")
    resized = ndimage.zoom(filtered, (1 / factor, 1 / factor, 1), order=1, mode="mirror", grid_mode=True)
    kept: NDArray[np.float32] = np.clip(resized, values.min(), values.max())
    return kept


def check_square(image: NDArray[np.uint8], name: str) -> None:
    """Check the image of a window.

    Raises
    ------
    OptionError
        If it is not a square RGB image of 8 bits.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1] or not image.size:
        raise OptionError(
            f"{name} got an image of shape {image.shape} and type {image.dtype}; give a square image of uint8, shape (W, W, 3)."
        )


def _told(folder: Path) -> dict[str, Any]:
    for name, key in FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            told = told if key is None else told.get(key)
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); get the file again.") from None
        if isinstance(told, dict):
            return told
    return {}

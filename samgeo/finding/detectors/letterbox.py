"""An image as the input of a detector's network: size, padding and range of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["FITS", "NORMALIZATIONS", "Placement", "normalized", "placed"]

#: How an image is fitted into the input: scaled with its aspect kept and centred, the same in the upper left corner, or
#: stretched to the whole input.
FITS = ("center", "corner", "stretch")
#: The values of the input: red, green and blue from 0 to 1; the same minus the mean of ImageNet, divided by its standard
#: deviation; or blue, green and red from 0 to 255.
NORMALIZATIONS = ("unit", "imagenet", "bgr")
MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)
DEVIATION = np.array((0.229, 0.224, 0.225), dtype=np.float32)
PADDING = 114


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image is in the input of a network.

    Attributes
    ----------
    scale : (float, float)
        Number of pixels of the input for each pixel of the image, along x and y.
    offset : (int, int)
        x and y of the upper left corner of the image in the input.
    """

    scale: tuple[float, float]
    offset: tuple[int, int]

    def to_image(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert boxes x0, y0, x1, y1 in pixels of the input, shape (K, 4), to pixels of the image."""
        moved: NDArray[np.float64] = (boxes - (*self.offset, *self.offset)) / (*self.scale, *self.scale)
        return moved


def placed(image: NDArray[np.uint8], size: tuple[int, int], fit: str) -> tuple[NDArray[np.uint8], Placement]:
    """Fit an image into the input of a network.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    size : (int, int)
        Height and width of the input.
    fit : {"center", "corner", "stretch"}
        See `FITS`.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        The input. Padding is grey.
    Placement
        Where the image is.
    """
    height, width = image.shape[:2]
    rows, columns = size
    if fit != "stretch":
        ratio = min(rows / height, columns / width)
        rows, columns = max(round(height * ratio), 1), max(round(width * ratio), 1)
    scaled = image
    if (rows, columns) != (height, width):
        scaled = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR))
    top, left = ((size[0] - rows) // 2, (size[1] - columns) // 2) if fit == "center" else (0, 0)
    canvas = np.full((*size, 3), PADDING, dtype=np.uint8)
    canvas[top : top + rows, left : left + columns] = scaled
    return canvas, Placement((columns / width, rows / height), (left, top))


def normalized(image: NDArray[np.uint8], normalization: str) -> NDArray[np.float32]:
    """Return an image as a batch of one, shape (1, 3, H, W), with values as one of `NORMALIZATIONS` says."""
    values = image.astype(np.float32)
    if normalization == "bgr":
        values = values[..., ::-1]
    else:
        values = values / np.float32(255)
        if normalization == "imagenet":
            values = (values - MEAN) / DEVIATION
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

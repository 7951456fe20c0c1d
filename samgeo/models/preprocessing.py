"""Scaling, padding and normalisation of images for a model's square input, with SAM's own arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samgeo.errors import OptionError

if TYPE_CHECKING:
    import torch

__all__ = ["PIXEL_MEAN", "PIXEL_STD", "fit_square", "fitted_size", "normalise", "squares", "true_sizes"]

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def fitted_size(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the height and width of an image whose longer side was scaled to ``side``, rounding halves up as SAM does."""
    scale = side / max(shape)
    return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)


def fit_square(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Scale an image so that its longer side is ``side``, and pad it to a square.

    Pillow resamples the image bilinearly in uint8, as in the training and the published code of SAM. The bilinear resampling of
    torch differs by up to one grey level.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    side : int
        Side of the model's input in pixels.

    Returns
    -------
    square : ndarray of uint8, shape (side, side, 3)
        The image in the top left corner, zeros elsewhere.
    size : (int, int)
        Height and width of the image in the square, for the argument ``sizes`` of ``embed``.

    Raises
    ------
    OptionError
        If the image is not uint8 RGB with at least one pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise OptionError(f"an image must be uint8 of shape (H, W, 3), not {image.dtype} of shape {image.shape}.")
    shape = image.shape[0], image.shape[1]
    height, width = fitted_size(shape, side)
    if min(height, width) < 1:
        raise OptionError(f"an image of {shape[0]} x {shape[1]} pixels is too thin for a square of {side} pixels; divide it.")
    if (height, width) != shape:
        scaled = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        image = np.asarray(scaled)
    square = np.zeros((side, side, 3), np.uint8)
    square[:height, :width] = image
    return square, (height, width)


def squares(
    images: NDArray[np.uint8], sizes: NDArray[np.int64] | None, *, side: int, model: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Check a batch of square images for a model, and their true sizes.

    Parameters
    ----------
    images : ndarray of uint8, shape (B, side, side, 3)
        RGB.
    sizes : ndarray of int, shape (B, 2), or None
        Height and width of each image in its square; None if there is no padding.
    side : int
        Side of the model's input in pixels.
    model : str
        Name of the model, for messages.

    Returns
    -------
    images : tensor of uint8, shape (B, side, side, 3)
        It shares the memory of the array, if that is contiguous and writable.
    sizes : tensor of int64, shape (B, 2), or None

    Raises
    ------
    OptionError
        If an array has another type or shape.
    """
    import torch

    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3) or not len(images):
        raise OptionError(
            f"{model} encodes uint8 images of shape (B, {side}, {side}, 3), not {images.dtype} of {images.shape}; "
            "samgeo.models.preprocessing.fit_square makes them."
        )
    true = None if sizes is None else true_sizes(sizes, len(images), side)
    return torch.from_numpy(np.require(images, requirements=["C", "W"])), true


def true_sizes(sizes: NDArray[np.int64], count: int, side: int) -> torch.Tensor:
    """Check the true heights and widths of a batch of padded squares.

    Parameters
    ----------
    sizes : ndarray of int, shape (count, 2)
        Height and width of each image.
    count : int
        Number of squares in the batch.
    side : int
        Side of the squares in pixels.

    Returns
    -------
    tensor of int64, shape (count, 2)

    Raises
    ------
    OptionError
        If the shape or the type differs, or a size is not between 1 and ``side``.
    """
    import torch

    true = np.asarray(sizes)
    if true.shape != (count, 2) or true.dtype.kind not in "iu" or true.min() < 1 or true.max() > side:
        raise OptionError(f"sizes must be {count} pairs of height and width from 1 to {side}, not {true.tolist()}.")
    return torch.from_numpy(true.astype(np.int64))


def normalise(images: torch.Tensor, sizes: torch.Tensor | None = None) -> torch.Tensor:
    """Subtract SAM's mean, divide by its standard deviation, and set the padding to zero.

    Parameters
    ----------
    images : tensor of uint8, shape (B, S, S, 3)
        RGB.
    sizes : tensor of int, shape (B, 2), optional
        True height and width of each image, which lies in the top left corner of its square; the rest is padding.

    Returns
    -------
    tensor of float32, shape (B, 3, S, S)
    """
    import torch

    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    normal = (images.permute(0, 3, 1, 2).float() - mean) / std
    if sizes is None:
        return normal
    along = torch.arange(images.shape[1], device=images.device)
    inside = (along[None, :, None] < sizes[:, :1, None]) & (along[None, None, :] < sizes[:, 1:, None])
    return torch.where(inside[:, None], normal, 0.0)

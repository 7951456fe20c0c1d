"""The feature of a target in one image, and where another image is similar to it.

Formulas are those of PerSAM (Zhang et al., arXiv:2305.03048) and of its published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.models.preprocessing import PIXEL_MEAN, fit_square
from samgeo.models.protocols import Describing, Segmenter

__all__ = [
    "Clicks",
    "EncodedImage",
    "cells_of_mask",
    "encode_image",
    "similarity_map",
    "similarity_peaks",
    "target_feature",
    "to_image",
]

# The published code enlarges the similarity by this factor before it enlarges it to the model's input.
ENLARGED = 4


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """An image that a model has encoded.

    Attributes
    ----------
    embedding
        The model's embedding of the image, as ``model.embed(...)[0]`` gives it.
    features : ndarray of float32, shape (g, g, C)
        The feature vector of each cell of the model's square input.
    input_size : int
        Side of the model's square input in pixels.
    fitted : (int, int)
        Height and width of the image in the model's input, whose other pixels are padding.
    shape : (int, int)
        Height and width of the image in pixels.
    """

    embedding: Any
    features: NDArray[np.float32]
    input_size: int
    fitted: tuple[int, int]
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Clicks:
    """Places of an image that are most similar to a target, and the place that is least similar to it.

    Attributes
    ----------
    points_px : ndarray of float64, shape (K, 2)
        x and y in pixels of the image, by falling similarity. The centre of the first pixel is (0.5, 0.5).
    similarity : ndarray of float32, shape (K,)
        Cosine similarity at the points, from -1 to 1.
    background_px : ndarray of float64, shape (2,)
        x and y of the place with the lowest similarity.
    """

    points_px: NDArray[np.float64]
    similarity: NDArray[np.float32]
    background_px: NDArray[np.float64]


def encode_image(model: Segmenter, image: NDArray[np.uint8]) -> EncodedImage:
    """Scale an image to a model's input, and encode it.

    Parameters
    ----------
    model : Segmenter
        It must have ``features``, as `samgeo.models.Describing` says.
    image : ndarray of uint8, shape (H, W, 3)
        RGB. The longer side is scaled to the model's input.

    Returns
    -------
    EncodedImage

    Raises
    ------
    OptionError
        If the model has no ``features``, or the image is not uint8 RGB.
    """
    if not isinstance(model, Describing):
        raise OptionError(f"the model {model.name} has no method features, which the search for similar places needs.")
    image = np.asarray(image)
    square, fitted = fit_square(image, model.input_size)
    embedding = model.embed(square[None], np.array([fitted]))[0]
    return EncodedImage(embedding, model.features(embedding), model.input_size, fitted, (image.shape[0], image.shape[1]))


def cells_of_mask(mask: NDArray[Any], encoded: EncodedImage, *, mask_level: int = 255) -> NDArray[np.bool_]:
    """Return which cells of an image's features lie in a mask.

    The published code encodes a picture of the mask as if it were the red band of an image: it is scaled in uint8, reduced by
    the mean of red (123.675), resized to the cells by bilinear interpolation, and compared with 0. With cells of 16 pixels,
    these are the cells whose four middle pixels have a mean above 123.675.

    Parameters
    ----------
    mask : ndarray of bool or integers, shape (H, W)
        Other values than 0 are the object.
    encoded : EncodedImage
        The image of the mask.
    mask_level : int, default 255
        Grey level of the object in the picture of the mask, from 124 to 255. With 255, a cell counts when about half of its
        middle is in the mask. The pictures that were published with PerSAM have 128; with it, the whole middle must be.

    Returns
    -------
    ndarray of bool, shape (g, g)

    Raises
    ------
    OptionError
        If the mask does not fit the image, or no cell lies in it, or the level is not from 124 to 255.
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu" or mask.shape != encoded.shape:
        raise OptionError(
            f"the mask is {mask.dtype} of shape {mask.shape}; give bool or integers of the image's shape {encoded.shape}."
        )
    if not PIXEL_MEAN[0] < mask_level <= 255:
        raise OptionError(f"mask_level is {mask_level}; give a grey level from 124 to 255.")
    if not mask.any():
        raise OptionError("the mask is empty; mark at least one pixel of the object.")
    picture = np.repeat(((mask != 0) * np.uint8(mask_level))[..., None], 3, axis=2)
    square, (height, width) = fit_square(picture, encoded.input_size)
    red = torch.zeros(1, 1, *square.shape[:2])
    red[..., :height, :width] = torch.from_numpy(square[:height, :width, 0]).float() - PIXEL_MEAN[0]
    grid = encoded.features.shape[:2]
    cells: NDArray[np.bool_] = (functional.interpolate(red, size=grid, mode="bilinear")[0, 0] > 0).numpy()
    if not cells.any():
        raise OptionError(
            f"the mask of {int((mask != 0).sum())} pixels fills no cell of the model's {grid[0]} x {grid[1]} cells; "
            "cut the image closer around the object, which makes it larger for the model, or give a larger object."
        )
    return cells


def target_feature(
    features: NDArray[np.float32], cells: NDArray[np.bool_], *, with_maximum: bool = False
) -> NDArray[np.float32]:
    """Return the feature of a target: the mean over its cells, or with ``with_maximum``, the mean of that and the maximum.

    Parameters
    ----------
    features : ndarray of float32, shape (g, g, C)
        As `samgeo.models.Describing` gives them.
    cells : ndarray of bool, shape (g, g)
        At least one is true.
    with_maximum : bool, default False
        PerSAM takes the mean, PerSAM-F half of the mean plus half of the maximum of each channel.

    Returns
    -------
    ndarray of float32, shape (C,)
    """
    inside = torch.from_numpy(features)[torch.from_numpy(cells)]
    feature = inside.mean(0)
    if with_maximum:
        feature = inside.amax(0) / 2 + feature / 2
    return feature.numpy()


def similarity_map(encoded: EncodedImage, target: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine similarity of each pixel of an image to a target.

    Parameters
    ----------
    encoded : EncodedImage
        The image.
    target : ndarray of float32, shape (C,)
        From `target_feature`.

    Returns
    -------
    ndarray of float32, shape (H, W)
        From -1 to 1: the similarity of the cells, enlarged by bilinear interpolation.
    """
    if target.shape != encoded.features.shape[2:]:
        raise OptionError(f"the target has {target.shape} channels, and the image's features {encoded.features.shape[2:]}.")
    grid = encoded.features.shape[:2]
    cells = functional.normalize(torch.from_numpy(encoded.features).flatten(0, 1), dim=1).T
    wanted = functional.normalize(torch.from_numpy(target)[None], dim=1)
    enlarged = functional.interpolate((wanted @ cells).view(1, 1, *grid), scale_factor=ENLARGED, mode="bilinear")
    return to_image(enlarged, encoded)[0, 0].numpy()


def to_image(maps: Tensor, encoded: EncodedImage) -> Tensor:
    """Enlarge maps ``(B, M, h, w)`` of a model's input to the pixels of an image, ``(B, M, H, W)``, as SAM does with logits."""
    height, width = encoded.fitted
    side = encoded.input_size
    whole = functional.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
    return functional.interpolate(whole[..., :height, :width], encoded.shape, mode="bilinear", align_corners=False)


@check_types
def similarity_peaks(
    similarity: NDArray[np.float32],
    *,
    count: int = 1,
    min_distance_px: float = 1.0,
    min_similarity: float = -1.0,
    valid: NDArray[np.bool_] | None = None,
) -> Clicks:
    """Return the local peaks of a similarity map as clicks, and its lowest place.

    The first peak is the highest pixel, which is the positive location of PerSAM; the lowest pixel is its negative location.

    Parameters
    ----------
    similarity : ndarray of float32, shape (H, W)
        Similarity of each pixel.
    count : int, default 1
        Most peaks that are returned.
    min_distance_px : float, default 1.0
        A peak is at least as high as every pixel whose row and column differ by at most so many pixels. Of equal pixels the
        first in reading order is the peak.
    min_similarity : float, default -1.0
        Lower peaks are left out.
    valid : ndarray of bool, shape (H, W), optional
        Where the image has data. Other pixels are neither a peak nor the lowest place. By default all pixels are valid.

    Returns
    -------
    Clicks
        By falling similarity, without points if no pixel qualifies.

    Raises
    ------
    OptionError
        If a shape or a value is not as described, or no pixel is valid.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.finding.persam import similarity_peaks
    >>> similarity = np.zeros((20, 30), np.float32)
    >>> similarity[5, 7], similarity[5, 8], similarity[15, 20], similarity[0, 29] = 0.9, 0.8, 0.7, -0.5
    >>> clicks = similarity_peaks(similarity, count=10, min_distance_px=3, min_similarity=0.5)
    >>> clicks.points_px.tolist(), clicks.background_px.tolist()
    ([[7.5, 5.5], [20.5, 15.5]], [29.5, 0.5])
    """
    from scipy.ndimage import maximum_filter

    similarity = np.asarray(similarity, np.float32)
    if similarity.ndim != 2 or not similarity.size or not np.isfinite(similarity).all():
        raise OptionError(f"the similarity has shape {similarity.shape}; give finite numbers of shape (H, W).")
    if count < 1 or min_distance_px < 0:
        raise OptionError(f"count is {count} and min_distance_px {min_distance_px}; give at least 1 and 0.")
    allowed = np.ones(similarity.shape, np.bool_) if valid is None else np.asarray(valid)
    if allowed.dtype != np.bool_ or allowed.shape != similarity.shape or not allowed.any():
        raise OptionError(
            f"valid is {allowed.dtype} of shape {allowed.shape}; give bool of shape {similarity.shape} with a true pixel."
        )
    reach = int(min(min_distance_px, max(similarity.shape)))
    high = np.where(allowed, similarity, -np.inf)
    is_peak = allowed & (high >= min_similarity) & (high == maximum_filter(high, 2 * reach + 1, mode="nearest"))
    rows, columns = np.nonzero(is_peak)
    order = np.argsort(-similarity[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    chosen: list[tuple[int, int]] = []
    while len(rows) and len(chosen) < count:
        row, column = int(rows[0]), int(columns[0])
        chosen.append((row, column))
        far = np.maximum(np.abs(rows - row), np.abs(columns - column)) > reach
        rows, columns = rows[far], columns[far]
    places = np.array(chosen, np.int64).reshape(-1, 2)
    lowest = np.unravel_index(np.argmin(np.where(allowed, similarity, np.inf)), similarity.shape)
    points, background = (np.asarray(indices, np.float64) + 0.5 for indices in (places[:, ::-1], lowest[::-1]))
    return Clicks(points, similarity[places[:, 0], places[:, 1]], background)

"""Refinement of a mask's edge by the colours of the image, with the guided filter.

The guided filter (K. He, J. Sun and X. Tang, Guided image filtering, IEEE TPAMI 35(6), 2013) expresses the mask in each square
of pixels as a linear function of the colours, and averages the functions of all squares that contain a pixel. The result is
near 1 where the colours around belong to the object, near 0 where they do not, and where colours do not tell, it is the share
of the object in the squares. Only pixels near the edge change, and only those for which the filter is certain because of the
colours: otherwise corners would become round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["EdgeOptions", "changed_pixels", "guided_share", "keep_parts"]

Layer = NDArray[np.float64]

# Variance of colours (in steps of 8 bits, squared) below which a square counts as being of one colour.
_EPSILON = 20.0
# Least part of the filter's value that must come from the colours. The rest comes from the shape of the mask alone.
_BY_COLOUR = 0.1


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """How far from an edge pixels are looked at and changed.

    Attributes
    ----------
    band_px : int
        Largest distance from the edge at which a pixel can change.
    radius_px : int
        The squares of the filter have sides of ``2 * radius_px + 1`` pixels.
    certainty : float
        Least distance of the filter's value from 1/2 at which a pixel changes.
    """

    band_px: int = 3
    radius_px: int = 6
    certainty: float = 0.15

    @property
    def reach_px(self) -> int:
        """Distance at which pixels have an influence on the result for a pixel."""
        return 2 * self.radius_px + self.band_px + 1


def guided_share(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], radius: int) -> tuple[Layer, Layer]:
    """Return the mask as the guided filter sees it, about 0 to 1, and what it would be if all colours were equal.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
    mask : ndarray of bool, shape (h, w)
    radius : int
        Radius of the squares in pixels.

    Returns
    -------
    share, by_shape : ndarray of float64, shape (h, w)
    """
    colour, share = pixels.astype(np.float64), mask.astype(np.float64)
    mean_colour, mean_share = _mean(colour, radius), _mean(share, radius)
    with_share = _mean(colour * share[..., None], radius) - mean_colour * mean_share[..., None]
    variance = _mean(colour[..., :, None] * colour[..., None, :], radius)
    variance -= mean_colour[..., :, None] * mean_colour[..., None, :]
    slope = np.linalg.solve(variance + _EPSILON * np.eye(3), with_share[..., None])[..., 0]
    offset = mean_share - (slope * mean_colour).sum(-1)
    return np.asarray((_mean(slope.astype(np.float64, copy=False), radius) * colour).sum(-1) + _mean(offset, radius)), _mean(
        mean_share, radius
    )


def changed_pixels(
    pixels: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    options: EdgeOptions,
    *,
    barred: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return which pixels of a mask change.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        The image around the edge. Pixels that are nearer than ``options.reach_px`` to a side of the array are decided as if the
        image ended there.
    valid : ndarray of bool, shape (h, w)
        False where there is no data. Nothing changes within reach of such pixels.
    mask : ndarray of bool, shape (h, w)
    options : EdgeOptions
    barred : ndarray of bool, shape (h, w), optional
        Pixels that must not change, such as those of other objects.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    near = _near_edge(mask, options.band_px)
    if not valid.all():
        near &= ~ndimage.maximum_filter(~valid, 2 * 2 * options.radius_px + 1)
    if barred is not None:
        near &= ~barred
    if not near.any():
        return near
    share, by_shape = guided_share(pixels, mask, options.radius_px)
    # Positive where the filter speaks against what the mask says.
    against = np.where(mask, -1.0, 1.0)
    return np.asarray(near & (against * (share - 0.5) > options.certainty) & (against * (share - by_shape) > _BY_COLOUR))


def keep_parts(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a refined mask without new parts and holes.

    Parts are 4-connected, as in polygons. Of more parts than before, the largest remain. Holes that share no pixel with a hole
    from before are filled. A mask of which nothing remains stays as it was.
    """
    parts, count = ndimage.label(after)
    if count == 0:
        return before
    allowed = ndimage.label(before)[1]
    if count > allowed:
        sizes = np.bincount(parts.ravel())[1:]
        largest = np.argsort(-sizes, kind="stable")[:allowed] + 1
        after = np.isin(parts, largest)
    holes, count = ndimage.label(_holes(after), np.ones((3, 3)))
    if count:
        old = np.zeros(count + 1, dtype=bool)
        old[np.unique(holes[_holes(before)])] = True
        old[0] = True
        after = after | ~old[holes]
    return after


def _holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_fill_holes(mask, np.ones((3, 3), dtype=bool)) & ~mask)


def _near_edge(mask: NDArray[np.bool_], band: int) -> NDArray[np.bool_]:
    """Return the pixels whose centres are within ``band`` pixels of the edge, which runs half a pixel beside the centres."""
    if mask.all() or not mask.any():
        return np.zeros_like(mask)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    return np.asarray(np.where(mask, inside, outside) <= band + 0.5)


def _mean(values: Layer, radius: int) -> Layer:
    side = 2 * radius + 1
    return np.asarray(ndimage.uniform_filter(values, (side, side, *(1,) * (values.ndim - 2)), mode="nearest"))

"""Simulated prompts: clicks and boxes sampled from true masks, and clicks that correct an answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.errors import OptionError

__all__ = ["box_of", "centre_click", "correct", "jitter_box", "sample_click"]

# Shares of clicks in the middle and near the middle; the others are anywhere. People aim at the middle but often miss it.
MIDDLE, NEAR = 0.35, 0.2
JITTER, JITTER_LIMIT_PX = (0.0, 0.03, 0.08), 16.0


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the bounding box of a mask as x0, y0, x1, y1 on pixel edges.

    Raises
    ------
    OptionError
        If the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise OptionError("an empty mask has no box; remove objects without pixels.")
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of each pixel to the nearest pixel outside the mask; pixels beyond the frame are outside."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1)), dtype=np.float64)[1:-1, 1:-1]


def centre_click(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return the centre of the deepest pixel of a mask as x, y, and its depth.

    Of pixels with equal depth, the first is returned. The depth is 0 if the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.full(2, 0.5), 0.0
    top, left = rows[0], columns[0]
    inside = depth(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return np.array([left + column + 0.5, top + row + 0.5]), float(inside.max())


def sample_click(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a point in a mask as x, y: 55 % near or in its middle, the others anywhere in it."""
    kind = rng.random()
    if kind < MIDDLE + NEAR:
        inside = depth(mask)
        share = rng.uniform(0.7, 0.98) if kind < MIDDLE else rng.uniform(0.2, 0.6)
        rows, columns = np.nonzero(inside >= inside.max() * share)
    else:
        rows, columns = np.nonzero(mask)
    pick = rng.integers(len(rows))
    return np.array([columns[pick], rows[pick]]) + rng.uniform(0.1, 0.9, 2)


def jitter_box(box: NDArray[np.float64], shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Move the sides of a box at random by a share of its size, as in boxes drawn by hand, and keep it in the frame."""
    width, height = box[2] - box[0], box[3] - box[1]
    sides = np.array([width, height, width, height])
    moved = box + rng.normal(0, 1, 4) * np.minimum(sides * rng.choice(JITTER), JITTER_LIMIT_PX)
    low, high = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
    limit = np.array([shape[1], shape[0]], dtype=np.float64)
    low = np.clip(low, 0, limit - 2)
    return np.concatenate([low, np.clip(np.maximum(high, low + 2), None, limit)])


def correct(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Return a correcting click in the middle of the deepest error.

    Parameters
    ----------
    answer, truth : ndarray of bool, shape (H, W)

    Returns
    -------
    point : ndarray, shape (2,)
        x and y.
    label : int
        1 if the answer lacks this pixel, 0 if the answer wrongly contains it. If the answer has no error, the click is in the
        middle of the truth with label 1.
    """
    missing, missing_px = centre_click(truth & ~answer)
    surplus, surplus_px = centre_click(answer & ~truth)
    if missing_px == surplus_px == 0:
        return centre_click(truth)[0], 1
    return (missing, 1) if missing_px >= surplus_px else (surplus, 0)

"""Scenes with known objects: arrays of object ids, and images whose pixels encode them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError

__all__ = ["decode_ids", "encode_ids", "road", "scattered", "touching_grid"]

MAX_ID = 2**24 - 1
_GAP = 2  # Pixels between scattered objects, so that they do not touch even diagonally.
_TRIES = 60  # Random places tried for an object before the scene is laid out in cells instead.


def encode_ids(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Encode object ids as the colours of an image.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
        Ids from 0 to 2**24 - 1.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB pixels with ``id = red + 256 * green + 65536 * blue``.

    Raises
    ------
    OptionError
        If the labels are not integers of shape (H, W), or an id is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import encode_ids
    >>> encode_ids(np.array([[0, 1, 258]])).tolist()
    [[[0, 0, 0], [1, 0, 0], [2, 1, 0]]]
    """
    ids = np.asarray(labels)
    if ids.dtype.kind not in "iu" or ids.ndim != 2:
        raise OptionError(f"labels are {ids.dtype} of shape {ids.shape}; give integers of shape (H, W).")
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise OptionError(
            f"labels are from {ids.min()} to {ids.max()}; give ids from 0 to {MAX_ID}, which fit into three bytes."
        )
    return np.stack([ids & 255, (ids >> 8) & 255, (ids >> 16) & 255], axis=-1).astype(np.uint8)


def decode_ids(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Decode the object ids of an image that `encode_ids` made.

    Parameters
    ----------
    image : ndarray of uint8, shape (..., H, W, 3)
        RGB pixels.

    Returns
    -------
    ndarray of int32, shape (..., H, W)
        Object ids.

    Raises
    ------
    OptionError
        If the image is not uint8 with three bands.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import decode_ids, encode_ids
    >>> decode_ids(encode_ids(np.array([[0, 1, 258]]))).tolist()
    [[0, 1, 258]]
    """
    if image.dtype != np.uint8 or image.ndim < 3 or image.shape[-1] != 3:
        raise OptionError(f"the image is {image.dtype} of shape {image.shape}; give uint8 of shape (H, W, 3).")
    red, green, blue = (image[..., band].astype(np.int32) for band in range(3))
    return red | (green << 8) | (blue << 16)


@check_types
def scattered(
    n: int, shape: tuple[int, int] = (1024, 1024), seed: int = 0, *, min_size: int = 40, max_size: int = 90
) -> NDArray[np.int32]:
    """Place rectangles, discs and L shapes at random, so that they do not touch each other.

    Parameters
    ----------
    n : int
        Number of objects. The scene has exactly this number of objects, with ids 1 to ``n``.
    shape : (int, int), default (1024, 1024)
        Height and width in pixels.
    seed : int, default 0
        Seed of the scene.
    min_size, max_size : int, default 40 and 90
        Smallest and largest side of an object's bounding box in pixels. The arms of an L are at least half of ``min_size``
        wide. If there is no space for objects of random sizes, the objects are laid out in cells, which limit their sizes.

    Returns
    -------
    ndarray of int32, shape (H, W)
        Object ids; 0 is background.

    Raises
    ------
    OptionError
        If ``n`` objects of ``min_size`` do not fit.

    Examples
    --------
    >>> from samgeo.testing import scattered
    >>> labels = scattered(3, (256, 256))
    >>> labels.shape, int(labels.max())
    ((256, 256), 3)
    """
    if not 1 < min_size <= max_size:
        raise OptionError(f"min_size is {min_size} and max_size is {max_size}; give 2 <= min_size <= max_size.")
    if not 0 <= n <= MAX_ID:
        raise OptionError(f"n is {n}; give a number of objects from 0 to {MAX_ID}.")
    rng = np.random.default_rng([seed, 1])
    boxes = _random_boxes(rng, n, shape, min_size, max_size)
    if len(boxes) < n:
        boxes = _boxes_in_cells(rng, n, shape, min_size, max_size)
    labels = np.zeros(shape, dtype=np.int32)
    for number, (y, x, height, width) in enumerate(boxes, start=1):
        stamp = _stamp(rng, height, width, min_size)
        labels[y : y + height, x : x + width][stamp] = number
    return labels


@check_types
def touching_grid(
    rows: int,
    columns: int,
    *,
    seed: int = 0,
    size: tuple[int, int] = (44, 64),
    street: int = 24,
    buildings_per_block: int = 7,
) -> NDArray[np.int32]:
    """Generate buildings in blocks, in which neighbours share walls along whole sides.

    Each block has two rows of buildings, back to back, and ``buildings_per_block`` columns, with streets around it.

    Parameters
    ----------
    rows, columns : int
        Number of rows of buildings, and of buildings in a row. Ids run from 1 to ``rows * columns``.
    seed : int, default 0
        Seed of the scene.
    size : (int, int), default (44, 64)
        Smallest and largest side of a building in pixels.
    street : int, default 24
        Width of a street in pixels.
    buildings_per_block : int, default 7
        Number of buildings side by side in a block.

    Returns
    -------
    ndarray of int32, shape (H, W)
        Object ids; 0 is street. The shape depends on the sizes.

    Raises
    ------
    OptionError
        If a number is too small.

    Examples
    --------
    >>> from samgeo.testing import touching_grid
    >>> labels = touching_grid(2, 3)
    >>> int(labels.max()), labels.shape[1]
    (6, 210)
    """
    low, high = size
    if min(rows, columns, low, buildings_per_block) < 1 or high < low or street < 0:
        raise OptionError(
            f"rows={rows}, columns={columns}, size={size}, street={street}, buildings_per_block={buildings_per_block} "
            "do not define a grid; give positive numbers, and the smaller size first."
        )
    rng = np.random.default_rng([seed, 2])
    tops, height = _edges(rng.integers(low, high + 1, rows), street, 2)
    middle, swing = (low + high) // 2, (high - low) // 4
    starts, width = _edges(np.full(columns, middle), street, buildings_per_block)
    labels = np.zeros((height, width), dtype=np.int32)
    for row, (top, bottom) in enumerate(tops):
        # Inner walls move by at most a quarter of the range of sizes, so that every building stays within this range.
        moved = rng.integers(-swing, swing + 1, columns)
        moved[::buildings_per_block] = 0
        for column, (left, right) in enumerate(starts):
            inner = column + 1 < columns and (column + 1) % buildings_per_block != 0
            stop = right + int(moved[column + 1]) if inner else right
            labels[top:bottom, left + int(moved[column]) : stop] = 1 + row * columns + column
    return labels


@check_types
def road(length: int, width: int = 40, *, winding: bool = False) -> NDArray[np.int32]:
    """Draw a road from the left edge of a scene to the right edge, as an object that is longer than many windows.

    Parameters
    ----------
    length : int
        Width of the scene in pixels.
    width : int, default 40
        Width of the road in pixels, measured along columns.
    winding : bool, default False
        Whether the road follows a sum of two waves instead of a straight line.

    Returns
    -------
    ndarray of int32, shape (16 * width, length)
        1 on the road, 0 elsewhere.

    Raises
    ------
    OptionError
        If the road has no pixels.

    Examples
    --------
    >>> from samgeo.testing import road
    >>> labels = road(300, width=10)
    >>> labels.shape, int(labels.sum())
    ((160, 300), 3000)
    """
    if length < 1 or width < 1:
        raise OptionError(f"length is {length} and width is {width} pixels; give at least 1 for both.")
    height = 16 * width
    x = np.arange(length)
    swing = 4 * width * np.sin(x / (9 * width)) + 2 * width * np.sin(x / (3.7 * width)) if winding else np.zeros(length)
    top = np.round(height / 2 - width / 2 + swing).astype(np.int64)
    y = np.arange(height)[:, None]
    return ((y >= top) & (y < top + width)).astype(np.int32)


def _random_boxes(
    rng: np.random.Generator, n: int, shape: tuple[int, int], low: int, high: int
) -> list[tuple[int, int, int, int]]:
    """Return boxes at random places that do not touch; fewer than ``n`` if there is no space."""
    taken = np.zeros(shape, dtype=bool)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(n):
        for _ in range(_TRIES):
            height, width = (int(side) for side in rng.integers(low, high + 1, 2))
            if height > shape[0] or width > shape[1]:
                continue
            y, x = int(rng.integers(0, shape[0] - height + 1)), int(rng.integers(0, shape[1] - width + 1))
            around = slice(max(y - _GAP, 0), y + height + _GAP), slice(max(x - _GAP, 0), x + width + _GAP)
            if not taken[around].any():
                taken[y : y + height, x : x + width] = True
                boxes.append((y, x, height, width))
                break
        else:
            return boxes
    return boxes


def _boxes_in_cells(
    rng: np.random.Generator, n: int, shape: tuple[int, int], low: int, high: int
) -> list[tuple[int, int, int, int]]:
    """Place each object in a cell of its own, in the coarsest grid that has enough cells."""
    most = [(length + _GAP) // (low + _GAP) for length in shape]
    if most[0] * most[1] < n:
        raise OptionError(
            f"{n} objects of at least {low} pixels do not fit into {shape[0]} x {shape[1]} pixels, but only "
            f"{most[0] * most[1]}; give a larger shape, a smaller min_size or fewer objects."
        )
    rows = min(max(round((n * shape[0] / shape[1]) ** 0.5), -(-n // most[1]), 1), most[0])
    columns = -(-n // rows)
    boxes = []
    for cell in np.sort(rng.permutation(rows * columns)[:n]):
        spans = []
        for index, count, length in zip(divmod(int(cell), columns), (rows, columns), shape, strict=True):
            start, stop = index * (length + _GAP) // count, (index + 1) * (length + _GAP) // count - _GAP
            side = int(rng.integers(low, min(high, stop - start) + 1))
            spans.append((start + int(rng.integers(0, stop - start - side + 1)), side))
        (y, height), (x, width) = spans
        boxes.append((y, x, height, width))
    return boxes


def _stamp(rng: np.random.Generator, height: int, width: int, min_size: int) -> NDArray[np.bool_]:
    """Return the mask of a rectangle, a disc or an L that extends to all sides of its box."""
    kind = rng.choice(["rectangle", "disc", "L"], p=[0.5, 0.25, 0.25])
    stamp = np.ones((height, width), dtype=bool)
    if kind == "disc":
        y, x = np.mgrid[:height, :width] + 0.5
        return np.asarray((y / height * 2 - 1) ** 2 + (x / width * 2 - 1) ** 2 <= 1)
    if kind == "L":
        arm = max(min_size // 2, 1)
        cut = [int(rng.integers((side - arm + 1) // 2, side - arm + 1)) for side in (height, width)]
        corner = stamp[: cut[0], : cut[1]]
        corner[:] = False
        return np.asarray(stamp[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])])
    return stamp


def _edges(sides: NDArray[np.int64], street: int, per_block: int) -> tuple[list[tuple[int, int]], int]:
    """Return the start and stop of each side, with a street before every block, and the end of the last street."""
    edges, at = [], 0
    for index, side in enumerate(sides):
        at += street if index % per_block == 0 else 0
        edges.append((at, at + int(side)))
        at += int(side)
    return edges, at + street

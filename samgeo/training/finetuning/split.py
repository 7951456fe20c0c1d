"""Division of the outlines of an image into a part for training and a part that is held out, by blocks of the image.

Objects that are near to each other look alike. If single objects were drawn at random, each held-out object would have trained
neighbours, and the comparison would be too favourable. So whole blocks are held out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture
from samgeo.training.finetuning.outlines import MIN_AREA_PX, Outlines, draw_outlines
from samgeo.training.network_kinds import NetworkToTrain

__all__ = [
    "LAYER",
    "MIN_HELD_OUT",
    "MIN_TRAINED",
    "Split",
    "crop_side",
    "held_out_pictures",
    "split_by_blocks",
    "training_pictures",
    "training_source",
]

LAYER = "object"
MIN_TRAINED, MIN_HELD_OUT = 10, 10
# Sides of blocks as shares of the model's window, the preferred one first; and the wanted number of blocks with outlines.
SIDES = (3 / 4, 1 / 2, 1 / 4, 1 / 8)
WANTED_BLOCKS = 8
# Training pictures are the surroundings of the outlines in squares of this many windows. More pictures are not kept in memory.
SQUARE, MARGIN, MAX_PICTURES = 2, 1 / 4, 256
# Side of crops of the bundled architecture, and the number of pixels of which all sides are multiples.
CROP_PX, CROP_STEP = 320, 32
# Factors by which images are enlarged in training. Small images are enlarged more, so that they fill this share of a crop.
SCALES, FILLED = (0.75, 1.5), 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Outlines for training, and outlines that are held out.

    Attributes
    ----------
    trained, held_out : ndarray of int, shape (T,) and (H,)
        Indices of the outlines.
    blocks : ndarray of int, shape (B, 2)
        Column and row of each block that is held out.
    side : int
        Side of a block in pixels.
    of_held_out : ndarray of int, shape (H,)
        Index in ``blocks`` of the block of each held-out outline.
    """

    trained: NDArray[np.int64]
    held_out: NDArray[np.int64]
    blocks: NDArray[np.int64]
    side: int
    of_held_out: NDArray[np.int64]


def split_by_blocks(outlines: Outlines, holdout: float, window_px: int, seed: int) -> Split:
    """Hold out whole blocks of an image, in random order, until they have the wanted share of the outlines.

    An outline belongs to the block in which a point inside it lies. Blocks are as large as possible while there are enough of
    them: the first of several sides that gives eight blocks with outlines, or the smallest side.

    Parameters
    ----------
    outlines : Outlines
    holdout : float
        Wanted share of the held-out outlines. At least ``MIN_HELD_OUT`` are held out.
    window_px : int
        Side of the model's window.
    seed : int
        Seed of the order of the blocks.

    Returns
    -------
    Split

    Raises
    ------
    OptionError
        If there are too few outlines, or they lie too close to each other to be divided.
    """
    count, needed = len(outlines.polygons), MIN_TRAINED + MIN_HELD_OUT
    left_out = outlines.left_out()
    if count < needed:
        raise OptionError(
            f"there are {count} usable outlines of {outlines.given}{f' ({left_out})' if left_out else ''}, and {needed} are "
            f"needed: {MIN_TRAINED} to train on and {MIN_HELD_OUT} to compare on; draw more outlines."
        )
    points = shapely.get_coordinates(shapely.point_on_surface(outlines.polygons))
    wanted = min(max(round(holdout * count), MIN_HELD_OUT), count - MIN_TRAINED)
    best: Split | None = None
    for share in SIDES:
        side = max(round(share * window_px), 8)
        split = _hold_out(points, side, wanted, seed)
        if split is None:
            continue
        blocks = len(np.unique(points // side, axis=0))
        if blocks >= WANTED_BLOCKS:
            return split
        best = split
    if best is None:
        raise OptionError(
            f"the {count} outlines lie so close together that no block of {side} pixels can be held out with at least "
            f"{MIN_HELD_OUT} of them while {MIN_TRAINED} are left; draw outlines in several parts of the image."
        )
    return best


def _hold_out(points: NDArray[np.float64], side: int, wanted: int, seed: int) -> Split | None:
    """Hold out blocks of one side; return None if too few outlines are left for one of the two parts."""
    cells, owner = np.unique((points // side).astype(np.int64), axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    sizes = np.bincount(owner, minlength=len(cells))
    chosen: list[int] = []
    total = 0
    for cell in np.random.default_rng(seed).permutation(len(cells)).tolist():
        if total >= wanted:
            break
        if len(points) - total - sizes[cell] >= MIN_TRAINED:
            chosen.append(cell)
            total += int(sizes[cell])
    if total < MIN_HELD_OUT:
        return None
    is_held_out = np.isin(owner, chosen)
    held_out = np.flatnonzero(is_held_out)
    place = {cell: number for number, cell in enumerate(chosen)}
    of_held_out = np.array([place[int(owner[index])] for index in held_out], dtype=np.int64)
    return Split(np.flatnonzero(~is_held_out), held_out, cells[chosen], side, of_held_out)


def held_out_pictures(raster: Raster, outlines: Outlines, split: Split, window_px: int) -> Iterator[Picture]:
    """Read a window around each held-out block, with the held-out outlines of this block as objects.

    The window is as large as the model's, so that no object is scaled. Outlines of other blocks are not drawn, unless their
    window is the same, as in an image that is no larger than a window.
    """
    blocks_of: dict[Rect, list[int]] = {}
    for number, (column, row) in enumerate(split.blocks.tolist()):
        middle = (column + 0.5) * split.side, (row + 0.5) * split.side
        blocks_of.setdefault(_window(middle, window_px, raster.shape), []).append(number)
    for rect, numbers in blocks_of.items():
        pixels, valid = raster.read(rect)
        ids = draw_outlines(outlines.polygons[split.held_out[np.isin(split.of_held_out, numbers)]], rect)
        yield Picture(f"{raster.name}, {rect.y0}, {rect.x0}", pixels, {LAYER: np.where(valid, ids, np.uint16(0))})


def training_pictures(raster: Raster, outlines: Outlines, split: Split, window_px: int, seed: int) -> list[Picture]:
    """Read the surroundings of the outlines for training.

    Pixels of held-out blocks, and those in the bounding boxes of held-out outlines, are no data in these pictures: neither the
    held-out outlines nor their pixels are used in training.
    """
    square, margin = SQUARE * window_px, round(MARGIN * window_px)
    bounds = outlines.bounds
    middle = (bounds[split.trained, :2] + bounds[split.trained, 2:]) / 2
    cells, owner = np.unique((middle // square).astype(np.int64), axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    chosen = np.arange(len(cells))
    if len(cells) > MAX_PICTURES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(cells), MAX_PICTURES, replace=False))
    frame = Rect(0, 0, raster.shape[1], raster.shape[0])
    pictures = []
    for cell in chosen.tolist():
        own = bounds[split.trained[owner == cell]]
        x0, y0 = np.floor(own[:, :2].min(0)).astype(int).tolist()
        x1, y1 = np.ceil(own[:, 2:].max(0)).astype(int).tolist()
        rect = Rect(x0 - margin, y0 - margin, x1 + margin, y1 + margin) & frame
        pixels, valid = raster.read(rect)
        valid &= ~_held_out_pixels(rect, bounds[split.held_out], split)
        near = shapely.intersects(outlines.polygons[split.trained], shapely.box(rect.x0, rect.y0, rect.x1, rect.y1))
        ids = np.where(valid, draw_outlines(outlines.polygons[split.trained[near]], rect), np.uint16(0))
        pixels = np.where(valid[..., None], pixels, np.uint8(0))
        if np.bincount(ids.ravel())[1:].max(initial=0) >= MIN_AREA_PX:
            pictures.append(Picture(f"{raster.name}, {rect.y0}, {rect.x0}", pixels, {LAYER: ids}))
    if not pictures:
        raise OptionError(
            "every outline for training overlaps outlines or blocks that are held out, so that nothing is left to train on; "
            "draw more outlines in other parts of the image."
        )
    return pictures


def crop_side(trained: NetworkToTrain, image_px: int) -> int:
    """Return the side of the crops for training, in pixels.

    If a crop costs as much as a whole window, it is as large as the window. If the image is smaller, a crop is as large as the
    image, because objects then have the same size as in use.

    Parameters
    ----------
    trained : NetworkToTrain
    image_px : int
        Longer side of the image.
    """
    window = trained.window_px // CROP_STEP * CROP_STEP
    return min(-(-image_px // CROP_STEP) * CROP_STEP if trained.whole_windows else CROP_PX, window)


def training_source(pictures: Sequence[Picture], crop_px: int) -> Source:
    """Return pictures as a source of crops with a side; small pictures are enlarged."""
    largest = max(max(picture.shape) for picture in pictures)
    factor = max(FILLED * crop_px / (SCALES[0] * largest), 1.0)
    return Source("outlines", pictures, 1.0, {LAYER: Layer(1.0)}, (SCALES[0] * factor, SCALES[1] * factor))


def _held_out_pixels(rect: Rect, boxes: NDArray[np.float64], split: Split) -> NDArray[np.bool_]:
    hidden = np.zeros(rect.shape, dtype=bool)
    first = split.blocks * split.side
    blocks = np.concatenate([first, first + split.side], axis=1)
    for x0, y0, x1, y1 in np.concatenate([blocks, boxes]).tolist():
        rows = slice(max(math.floor(y0) - rect.y0, 0), max(math.ceil(y1) - rect.y0, 0))
        columns = slice(max(math.floor(x0) - rect.x0, 0), max(math.ceil(x1) - rect.x0, 0))
        hidden[rows, columns] = True
    return hidden


def _window(middle: tuple[float, float], side: int, shape: tuple[int, int]) -> Rect:
    """Return a square around a point, moved into the image; smaller where the image is smaller."""
    height, width = shape
    x0 = max(min(round(middle[0] - side / 2), width - side), 0)
    y0 = max(min(round(middle[1] - side / 2), height - side), 0)
    return Rect(x0, y0, min(x0 + side, width), min(y0 + side, height))

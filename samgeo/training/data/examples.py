"""Training examples: crops of pictures at many scales and angles, with some of their objects and a prompt for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samgeo.errors import OptionError
from samgeo.training.data.augmentation import augment
from samgeo.training.data.pictures import Picture
from samgeo.training.data.simulated_prompts import box_of, jitter_box, sample_click

__all__ = ["Example", "Layer", "Source", "asked_anew", "draw"]

MIN_AREA_PX = 30
MAX_SHARE = 0.6
MAX_EMPTY = 0.7
ROTATED = 0.35
# A crop that is rotated by up to 45 degrees is cut from a square that is larger by this factor. Its corners may stay empty.
TURNING = 1.36
# Above this size, an object is not drawn more often for being larger.
LARGE_PX, SIZE_POWER = 4000, 0.25
TRIES = 50


@dataclass(frozen=True, slots=True)
class Layer:
    """How training uses a layer of objects.

    Attributes
    ----------
    share : float
        Share of the drawn objects that come from this layer. If a crop lacks a layer, the other layers get its share.
    trust : float, default 1
        Weight of the losses of predicted IoU for objects of this layer, from 0 to 1. It is low for pseudo-masks, because a
        region of even colour need not be the object that a user wants.
    """

    share: float
    trust: float = 1.0

    def __post_init__(self) -> None:
        if not (self.share > 0 and 0 <= self.trust <= 1):
            raise OptionError(
                f"a layer has share {self.share} and trust {self.trust}; give a share above 0 and a trust from 0 to 1."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Pictures of one kind, and how training draws from them.

    Attributes
    ----------
    name : str
    pictures : sequence of Picture
        A picture is drawn in proportion to the square root of its area.
    weight : float
        How often crops are drawn from this source, relative to the other sources.
    layers : mapping of str to Layer
    scales : (float, float)
        Smallest and largest factor by which images are enlarged. The factor is log-uniform.
    """

    name: str
    pictures: Sequence[Picture]
    weight: float
    layers: Mapping[str, Layer]
    scales: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.scales
        if not self.pictures or self.weight <= 0 or not 0 < low <= high:
            raise OptionError(
                f"source {self.name!r} has {len(self.pictures)} pictures, weight {self.weight} and scales {self.scales}; "
                "it needs a picture, a weight above 0, and scales above 0 in ascending order."
            )
        found = {layer for picture in self.pictures for layer in picture.layers}
        if not found & self.layers.keys():
            raise OptionError(f"source {self.name!r} has layers {sorted(found)}, none of which is in {sorted(self.layers)}.")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A square crop and ``P`` of its objects.

    Attributes
    ----------
    source : str
    image : ndarray of uint8, shape (S, S, 3)
    masks : ndarray of bool, shape (P, S, S)
    clicks : ndarray of float32, shape (P, 2)
        x and y of a point in each mask.
    boxes : ndarray of float32, shape (P, 4)
        Box around each mask: x0, y0, x1, y1.
    trust : ndarray of float32, shape (P,)
    """

    source: str
    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    clicks: NDArray[np.float32]
    boxes: NDArray[np.float32]
    trust: NDArray[np.float32]


def draw(sources: Sequence[Source], side: int, prompts: int, rng: np.random.Generator) -> Example:
    """Draw a random training example.

    Parameters
    ----------
    sources : sequence of Source
    side : int
        Side of the crop in pixels.
    prompts : int
        Largest number of objects.
    rng : numpy.random.Generator
        The same state draws the same example.

    Returns
    -------
    Example

    Raises
    ------
    OptionError
        If no crop with an object is found in many tries.
    """
    weights = np.array([source.weight for source in sources])
    for _ in range(TRIES):
        source = sources[int(rng.choice(len(sources), p=weights / weights.sum()))]
        areas = np.array([math.sqrt(picture.image.size) for picture in source.pictures])
        picture = source.pictures[int(rng.choice(len(areas), p=areas / areas.sum()))]
        image, layers = cut_crop(picture, [name for name in source.layers if name in picture.layers], side, source.scales, rng)
        objects = {name: found for name, ids in layers.items() if len(found := _objects(ids))}
        if objects and not (~image.any(2)).mean() > MAX_EMPTY:
            chosen = _choose(objects, {name: source.layers[name].share for name in objects}, prompts, rng)
            masks = np.stack([layers[name] == number for name, number in chosen])
            return Example(
                source.name,
                augment(image, rng),
                masks,
                *_prompts(masks, rng),
                np.array([source.layers[name].trust for name, _ in chosen], dtype=np.float32),
            )
    raise OptionError(
        f"{TRIES} crops of {side} px had no object of {MIN_AREA_PX} px or more; check the labels and the scales of "
        f"{', '.join(source.name for source in sources)}."
    )


def asked_anew(example: Example, rng: np.random.Generator) -> Example:
    """Return an example with other clicks and boxes for the same objects."""
    clicks, boxes = _prompts(example.masks, rng)
    return replace(example, clicks=clicks, boxes=boxes)


def _prompts(masks: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a click in each mask, then a box around each."""
    clicks = np.stack([_click(mask, rng) for mask in masks]).astype(np.float32)
    boxes = np.stack([jitter_box(box_of(mask), mask.shape, rng) for mask in masks]).astype(np.float32)
    return clicks, boxes


def cut_crop(
    picture: Picture, names: Sequence[str], side: int, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint16]]]:
    """Cut a square, scale it, turn it by any angle or a multiple of 90 degrees, and perhaps mirror it."""
    scale = math.exp(rng.uniform(math.log(scales[0]), math.log(scales[1])))
    turned = bool(rng.random() < ROTATED)
    frame = round(side * TURNING) if turned else side
    span = max(round(frame / scale), 32)
    height, width = picture.shape
    top, left = int(rng.integers(max(height - span, 0) + 1)), int(rng.integers(max(width - span, 0) + 1))
    part = picture.cut(top, left, min(span, height), min(span, width))
    rows = min(max(round(part.shape[0] * frame / span), 8), frame)
    columns = min(max(round(part.shape[1] * frame / span), 8), frame)
    down, right = (int(rng.integers(frame - size + 1)) if rng.random() < 0.3 else 0 for size in (rows, columns))
    kind = Image.Resampling.BILINEAR if rng.random() < 0.75 else Image.Resampling.BICUBIC
    image = np.zeros((frame, frame, 3), dtype=np.uint8)
    image[down : down + rows, right : right + columns] = np.asarray(Image.fromarray(part.image).resize((columns, rows), kind))
    nearest_rows = ((np.arange(rows) + 0.5) * part.shape[0] / rows).astype(int)
    nearest_columns = ((np.arange(columns) + 0.5) * part.shape[1] / columns).astype(int)
    layers = {}
    for name in names:
        layers[name] = np.zeros((frame, frame), dtype=np.uint16)
        layers[name][down : down + rows, right : right + columns] = part.layers[name][nearest_rows[:, None], nearest_columns]
    angle = float(rng.uniform(-45, 45)) if turned else 0.0
    quarters, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    edge = (frame - side) // 2

    def place(pixels: NDArray[np.uint8] | NDArray[np.uint16], resampling: Image.Resampling) -> NDArray[np.int32]:
        if turned:
            wide = pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32)
            pixels = np.asarray(Image.fromarray(wide).rotate(angle, resampling))[edge : edge + side, edge : edge + side]
        pixels = np.rot90(pixels, quarters)
        return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)

    placed = {name: place(ids, Image.Resampling.NEAREST).astype(np.uint16) for name, ids in layers.items()}
    return place(image, Image.Resampling.BILINEAR).astype(np.uint8), placed


def _objects(ids: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return id and area of the objects that are neither too small nor too large for a prompt, shape (N, 2)."""
    areas = np.bincount(ids.ravel())
    areas[0] = 0
    kept = np.flatnonzero((areas >= MIN_AREA_PX) & (areas < MAX_SHARE * ids.size))
    return np.stack([kept, areas[kept]], axis=1)


def _choose(
    objects: Mapping[str, NDArray[np.int64]], shares: Mapping[str, float], count: int, rng: np.random.Generator
) -> list[tuple[str, int]]:
    """Choose objects without repetition: first a layer by its share, then an object; larger objects are a little likelier."""
    left = dict(objects)
    chosen: list[tuple[str, int]] = []
    while left and len(chosen) < count:
        names = list(left)
        odds = np.array([shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=odds / odds.sum()))]
        sizes = np.minimum(left[name][:, 1], LARGE_PX) ** SIZE_POWER
        pick = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
        chosen.append((name, int(left[name][pick, 0])))
        left[name] = np.delete(left[name], pick, axis=0)
        if not len(left[name]):
            del left[name]
    return chosen


def _click(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sample a click. Only the bounding box of the mask is searched, because it is much smaller than the crop."""
    x0, y0, x1, y1 = box_of(mask).astype(int)
    click: NDArray[np.float64] = sample_click(mask[y0:y1, x0:x1], rng) + np.array([x0, y0])
    return click

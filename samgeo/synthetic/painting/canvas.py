"""The canvas of a scene: colour, height, slope, class and building of every sub-pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import rasterize

__all__ = ["CLASSES", "SUB", "Canvas", "Streams", "Sun", "burn", "noise"]

CLASSES = ("other", "building", "road", "tree", "car", "water", "field", "grass")
SUB = 2  # sub-pixels along a pixel's side
# Kinds of random generators. The order is part of what a seed means: append new kinds.
_KINDS = (
    "scene", "ground", "field", "fence", "street", "car", "crown", "tree", "roof", "sensor", "light", "position", "changes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Streams:
    """The random generators of a town: an independent one for each painted object.

    What is drawn for an object depends on the seed, the kind and the number of the object alone. A town without one of its
    buildings therefore looks the same everywhere else.

    Attributes
    ----------
    seed : int
        Seed of the town.
    """

    seed: int

    def of(self, kind: str, *numbers: int) -> np.random.Generator:
        """Return the generator of an object, at its start: ``numbers`` is the place of the object in the plan."""
        return np.random.default_rng([self.seed, 12, _KINDS.index(kind), *numbers])


@dataclass(frozen=True, slots=True)
class Sun:
    """The sun of a scene, as a unit vector in the image's x (right), y (down) and z (up).

    Attributes
    ----------
    x, y, z : float
        The direction towards the sun.
    """

    x: float
    y: float
    z: float

    @classmethod
    def at(cls, slope: int, elevation_deg: float, *, east: bool) -> Sun:
        """Return a sun in the north, as on the southern hemisphere, with a slope of ``slope`` eighths to the east or west.

        With slopes in eighths, the doubling shifts of `samgeo.synthetic.painting.light.shadows` are whole pixels.
        """
        x, y = (slope / 8 if east else -slope / 8), -1.0
        level = math.cos(math.radians(elevation_deg)) / math.hypot(x, y)
        return cls(x * level, y * level, math.sin(math.radians(elevation_deg)))

    def on(self, slope_x: NDArray[np.floating] | float, slope_y: NDArray[np.floating] | float) -> NDArray[np.float32]:
        """Return the light on a surface with this gradient of height, relative to level ground."""
        facing = self.z - slope_x * self.x - slope_y * self.y
        return np.asarray(np.maximum(facing, 0) / (self.z * np.sqrt(1 + slope_x**2 + slope_y**2)), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Layers of sub-pixels, which the functions of this package change in place.

    Attributes
    ----------
    scale : float
        Number of sub-pixels per metre.
    sun : Sun
    colour : ndarray of float32, shape (h, w, 3)
        Reflected colour in level light, 0 to 255.
    height : ndarray of float32, shape (h, w)
        Metres above the ground.
    facing : ndarray of float32, shape (h, w)
        Light that depends on the slope alone, 1 on level ground.
    classes : ndarray of uint8, shape (h, w)
        Indices into `CLASSES`.
    ids : ndarray of int32, shape (h, w)
        Number of the building at each sub-pixel, 0 elsewhere.
    grain : tuple of ndarray of float32
        Noise of unit variance with features of 0.15, 0.6, 2.5, 10 and 40 metres.
    """

    scale: float
    sun: Sun
    colour: NDArray[np.float32]
    height: NDArray[np.float32]
    facing: NDArray[np.float32]
    classes: NDArray[np.uint8]
    ids: NDArray[np.int32]
    grain: tuple[NDArray[np.float32], ...]

    @classmethod
    def blank(cls, shape: tuple[int, int], resolution_m: float, sun: Sun, rng: np.random.Generator) -> Canvas:
        """Return an empty canvas for an image of this shape."""
        h, w = shape[0] * SUB, shape[1] * SUB
        scale = SUB / resolution_m
        return cls(
            scale=scale,
            sun=sun,
            colour=np.zeros((h, w, 3), dtype=np.float32),
            height=np.zeros((h, w), dtype=np.float32),
            facing=np.ones((h, w), dtype=np.float32),
            classes=np.zeros((h, w), dtype=np.uint8),
            ids=np.zeros((h, w), dtype=np.int32),
            grain=tuple(noise(rng, (h, w), size * scale) for size in (0.15, 0.6, 2.5, 10, 40)),
        )

    def burn(self, shapes: Sequence[shapely.Geometry], values: Sequence[int] | None = None) -> NDArray[np.int32]:
        """Rasterise shapes in metres by the pixel-centre rule, with values 1, 2, 3... by default; later shapes lie on top."""
        return burn(shapes, values, self.ids.shape, self.scale)

    def window(self, bounds_m: tuple[float, float, float, float], pad_m: float = 0.5) -> tuple[slice, slice]:
        """Return the rows and columns that cover bounds in metres."""
        x0, y0, x1, y1 = bounds_m
        spans = []
        for low, high, length in ((y0, y1, self.ids.shape[0]), (x0, x1, self.ids.shape[1])):
            start = min(max(math.floor((low - pad_m) * self.scale), 0), length)
            spans.append(slice(start, max(min(math.ceil((high + pad_m) * self.scale), length), start)))
        return spans[0], spans[1]

    def metres(self, window: tuple[slice, slice]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return x (1, w) and y (h, 1) of the sub-pixel centres of a window."""
        y, x = (((np.arange(one.start, one.stop) + 0.5) / self.scale).astype(np.float32) for one in window)
        return x[None, :], y[:, None]


def burn(
    shapes: Sequence[shapely.Geometry], values: Sequence[int] | None, shape: tuple[int, int], scale: float
) -> NDArray[np.int32]:
    """Rasterise shapes at ``scale`` pixels per unit; a pixel belongs to a shape if its centre is inside."""
    numbers = range(1, len(shapes) + 1) if values is None else values
    pairs = [(one, int(value)) for one, value in zip(shapes, numbers, strict=True) if not shapely.is_empty(one)]
    if not pairs:
        return np.zeros(shape, dtype=np.int32)
    return np.asarray(rasterize(pairs, out_shape=shape, transform=Affine.scale(1 / scale), dtype="int32"))


def noise(rng: np.random.Generator, shape: tuple[int, int], feature: float) -> NDArray[np.float32]:
    """Return smooth noise of zero mean and unit variance with features of this size in pixels."""
    if feature <= 1:
        return rng.standard_normal(shape, dtype=np.float32)
    coarse = tuple(max(math.ceil(length / feature) + 1, 3) for length in shape)
    small = rng.standard_normal(coarse, dtype=np.float32)
    extent = (0.0, 0.0, min(shape[1] / feature, coarse[1]), min(shape[0] / feature, coarse[0]))
    size = (shape[1], shape[0])
    smooth = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC, box=extent))
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), dtype=np.float32)

"""Random scenes for a campaign over the engine, and what is true of them, computed without the engine.

A scene is a label image: each object is one connected set of pixels of one id. Its raster shows a colour for each id, and its
options are windows, scales, an area of interest and points. `truth` says which outlines there are, by GDAL's polygonizer;
`asked` says which objects lie under points.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import shapes
from scaled import MOST_IDS, Sharp, Shortsighted, paint
from scipy import ndimage

from samgeo.models.registry import Gates
from samgeo.testing.oracle import _logits
from samgeo.testing.rasters import TRANSFORMS, write_raster

Labels = NDArray[np.int32]
Bools = NDArray[np.bool_]

EIGHT = np.ones((3, 3), dtype=bool)
FOUR = ndimage.generate_binary_structure(2, 1)


class _Quick:
    """Answers each id once for a batch of points, and leaves it to the suppression of masks to find equal ones.

    The suppression of boxes is off: objects within each other, such as a disc in a ring, have nearly equal boxes, and SAM's
    procedure drops one of them.
    """

    @property
    def gates(self) -> Gates:
        return Gates(points_per_side=32, pred_iou=0.5, stability=0.5, box_nms=1.0)

    def decode_gated(self, embedding, *, points, labels, min_iou, multimask=True):
        picked = self._pick(embedding, points, labels, None, None)
        _, first = np.unique(picked, return_index=True)
        first = np.sort(first[picked[first] > 0])
        return first, np.zeros_like(first), _logits(embedding, picked[first]), np.ones(len(first), dtype=np.float32)


class Sees(_Quick, Sharp):
    """Sees every object of a window, as far as pixels show one object alone."""


class Overlooks(_Quick, Shortsighted):
    """Overlooks what fills most of a window."""


MODELS = {"sees": Sees, "overlooks": Overlooks}


@dataclass(frozen=True, slots=True)
class Scene:
    """A random scene.

    Attributes
    ----------
    labels : ndarray of int32, shape (H, W)
        Ids; 0 is background.
    valid : ndarray of bool, shape (H, W)
        Where the raster has data; there is no object elsewhere.
    grid : int
        All outlines, and the edges of what has data, run along squares of so many pixels.
    window, overlap, points_per_side, scales
        Options of `samgeo.segment`.
    aoi : geometry or None
        In raster pixels.
    aoi_mode : str
    model : str
        A name of `MODELS`.
    dtype : str
        Of the raster.
    nodata : str
        How the raster says where it has no data: "none", "mask", "alpha" or "tag".
    overviews : str
        "none", "average", "nearest", or "stale" for those of another picture.
    transform : str
        A name of `TRANSFORMS`.
    """

    labels: Labels
    valid: Bools
    grid: int
    window: int
    overlap: int
    points_per_side: int
    scales: tuple[int, ...]
    aoi: shapely.Geometry | None
    aoi_mode: str
    model: str
    dtype: str
    nodata: str
    overviews: str
    transform: str

    @property
    def affine(self) -> Affine:
        return Affine(*TRANSFORMS[self.transform])

    def __repr__(self) -> str:
        aoi = "none" if self.aoi is None else f"{self.aoi_mode} {[round(at) for at in self.aoi.bounds]}"
        return (
            f"{self.labels.shape} with {self.labels.max()} objects on a grid of {self.grid}, window {self.window}, overlap "
            f"{self.overlap}, {self.points_per_side} points, scales {self.scales}, area {aoi}, model {self.model}, "
            f"{self.dtype}, nodata {self.nodata}, overviews {self.overviews}, {self.transform}"
        )


def random_scene(seed: int) -> Scene:
    """Make the scene of a seed."""
    rng = np.random.default_rng([seed, 13])
    scales = ((1,), (1, 2), (1, 4), (1, 2, 4))[rng.integers(4)]
    # Two of three scenes of several scales lie on the pixels of the coarsest, so that coarse windows show them exactly.
    grid = max(scales) if rng.random() < 2 / 3 else 1
    window = int(rng.choice([16, 24, 32, 48] if len(scales) == 1 else [16, 24, 32]))
    overlap = int(rng.choice([at for at in (0, 2, 4, 6, 8, 10, 12, 16, 24) if 2 * at <= window]))
    most = 150 if len(scales) == 1 else 200
    height, width = (int(side) for side in rng.integers(20, most, 2))
    shape = -(-height // grid), -(-width // grid)
    painted = _painted(rng, shape, max(window // grid, 4))
    valid = np.ones(shape, dtype=bool)
    if rng.random() < 0.4:
        smooth = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(1, 6))
        valid = smooth < np.quantile(smooth, rng.uniform(0.5, 0.95))
    painted[~valid] = 0
    labels = _connected(painted, EIGHT if rng.random() < 0.3 else FOUR)
    square = np.ones((grid, grid), dtype=np.int32)
    labels, valid = np.kron(labels, square)[:height, :width], np.kron(valid, square).astype(bool)[:height, :width]
    overlooks = rng.random() < 0.2
    aoi = _area(rng, labels) if rng.random() < 0.5 else None
    dtype = "uint16" if rng.random() < 0.25 else "uint8"
    ways = ["mask", "alpha"] if dtype == "uint8" else ["mask", "tag"]
    return Scene(
        labels=labels,
        valid=valid,
        grid=grid,
        window=window,
        overlap=overlap,
        points_per_side=window // int(rng.choice([1, 2, 4])),
        scales=scales,
        aoi=aoi,
        aoi_mode="clip" if aoi is not None and rng.random() < 0.4 else "whole",
        model="overlooks" if overlooks else "sees",
        dtype=dtype,
        nodata="none" if valid.all() else str(rng.choice(ways)),
        overviews=str(rng.choice(["none", "average", "nearest", "stale"])),
        transform=str(rng.choice(list(TRANSFORMS))),
    )


def _painted(rng: np.random.Generator, shape: tuple[int, int], size: int) -> Labels:
    """Paint one kind of objects, or several over each other."""
    height, width = shape
    y, x = np.mgrid[:height, :width] + 0.5
    painted = np.zeros(shape, dtype=np.int32)
    kinds = rng.choice(["blobs", "rings", "lines", "blocks", "large", "specks"], rng.integers(1, 4), replace=False)
    number = 1
    for kind in kinds:
        if kind == "blobs":
            smooth = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(1, 6))
            painted[smooth > np.quantile(smooth, rng.uniform(0.4, 0.9))] = number
            number += 1
        elif kind == "blocks":  # They touch each other along whole sides.
            step = int(rng.integers(3, max(size, 5)))
            block = (y // step).astype(int) * 1000 + (x // step).astype(int)
            kept = rng.random(int(block.max()) + 1) < 0.7
            inside = kept[block]
            painted[inside] = number + block[inside]
            number += int(block.max()) + 1
        elif kind == "specks":
            inside = rng.random(shape) < rng.uniform(0.01, 0.1)
            painted[inside] = number
            number += 1
        else:
            for _ in range(rng.integers(1, 9)):
                cy, cx = rng.uniform(0, height), rng.uniform(0, width)
                if kind == "rings":
                    outer = rng.uniform(2, 1.5 * size)
                    away = np.hypot(y - cy, (x - cx) * rng.uniform(0.5, 2))
                    inside = (away < outer) & (away > outer * rng.uniform(0.3, 0.95) - 1)
                elif kind == "lines":
                    turn = rng.uniform(0, np.pi)
                    across = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn) + rng.uniform(0, 9) * np.sin((x + y) / 9)
                    inside = np.abs(across) < rng.uniform(0.5, 4)
                else:
                    half = rng.uniform(0.4, 2.5, 2) * size
                    inside = (np.abs(y - cy) < half[0]) & (np.abs(x - cx) < half[1])
                painted[inside] = number
                number += 1
    return painted


def _connected(painted: Labels, structure: Bools) -> Labels:
    """Number the connected parts of every id."""
    labels = np.zeros_like(painted)
    count = 0
    for one in np.unique(painted[painted > 0]):
        parts, found = ndimage.label(painted == one, structure=structure)
        labels[parts > 0] = parts[parts > 0] + count
        count += found
    labels[labels >= MOST_IDS] = 0
    return labels


def _area(rng: np.random.Generator, labels: Labels) -> shapely.Geometry:
    """Draw an area of one or two parts, over an object if there is one."""
    height, width = labels.shape
    parts = []
    for _ in range(rng.integers(1, 3)):
        places = np.argwhere(labels > 0) if labels.any() and rng.random() < 0.8 else np.argwhere(labels >= 0)
        y, x = places[rng.integers(len(places))] + rng.uniform(0.1, 0.9, 2)
        if rng.random() < 0.5:
            left, top, right, bottom = rng.uniform(1, [width / 2, height / 2, width / 2, height / 2])
            parts.append(shapely.box(max(x - left, 0), max(y - top, 0), min(x + right, width), min(y + bottom, height)))
        else:
            corners = np.sort(rng.uniform(0, 2 * np.pi, 7))
            reach = rng.uniform(2, max(width, height) / 2, 7)
            parts.append(shapely.Polygon(np.stack([x + reach * np.cos(corners), y + reach * np.sin(corners)], axis=1)))
    return shapely.union_all(shapely.make_valid(parts))


def write_scene(scene: Scene, path: Path) -> Path:
    """Write the raster of a scene."""
    colors = paint(scene.labels)
    colors[~scene.valid] = np.random.default_rng(5).integers(1, 255, colors.shape)[~scene.valid]  # what hides there is nothing
    if scene.dtype == "uint16":
        colors = colors.astype(np.uint16) * 256
    options: dict[str, object] = {"transform": scene.affine, "mask_inside": bool(scene.labels.shape[0] % 2)}
    if scene.nodata == "mask":
        options["mask"] = scene.valid
    elif scene.nodata == "tag":
        colors[~scene.valid] = 65535
        options["nodata"] = 65535
    elif scene.nodata == "alpha":
        colors = np.dstack([colors, np.where(scene.valid, 255, 0).astype(np.uint8)])
        options["colors"] = ("red", "green", "blue", "alpha")
        options["photometric"] = "RGB"
    if scene.overviews == "none":
        return write_raster(path, colors, **options)
    stale = scene.overviews == "stale"
    method = "average" if stale else scene.overviews
    write_raster(
        path, np.roll(colors, 5, axis=(0, 1)) if stale else colors, overviews=(2, 4), overview_method=method, **options
    )
    if stale:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "r+") as file:
                file.write(np.moveaxis(colors, 2, 0))
    return path


def options_of(scene: Scene) -> dict[str, object]:
    """Return the options of `samgeo.segment`."""
    aoi = None
    if scene.aoi is not None:
        aoi = shapely.transform(scene.aoi, lambda xy: np.stack(scene.affine @ tuple(xy.T), axis=1))
    return {
        "model": MODELS[scene.model](scene.window),
        "overlap": scene.overlap,
        "points_per_side": scene.points_per_side,
        "scales": scene.scales,
        "stretch": (0, 65280) if scene.dtype == "uint16" else None,
        "aoi": aoi,
        "aoi_mode": scene.aoi_mode,
        "min_part": 0,
        "min_hole": 0,
        "scheduler": "synchronous",
        "progress": False,
    }


def truth(scene: Scene) -> dict[int, shapely.Geometry]:
    """Return the outline of every object in raster pixels: parts that touch at corners alone are parts of a multipolygon."""
    parts: dict[int, list[shapely.Geometry]] = {}
    for geometry, one in shapes(scene.labels, mask=scene.labels > 0, connectivity=4):
        parts.setdefault(int(one), []).append(shapely.geometry.shape(geometry))
    return {one: shapely.union_all(some) for one, some in parts.items()}


def asked(scene: Scene, scale: int) -> set[int]:
    """Return which objects lie under points of the lattice of a scale that have data and lie in the area of interest."""
    height, width = scene.labels.shape
    axes = []
    for length in (height, width):
        spacing = scene.window * scale / scene.points_per_side
        at = np.floor((np.arange(length) + 0.5) * spacing).astype(int)
        axes.append(at[at < length])
    y, x = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    inside = scene.valid[y, x]
    if scene.aoi is not None:
        inside &= shapely.contains_xy(scene.aoi, x + 0.5, y + 0.5)
    return set(np.unique(scene.labels[y, x][inside]).tolist()) - {0}


def fits(scene: Scene) -> dict[int, bool]:
    """Return of each object whether some window of scale 1 shows it away from those of its edges that cut it."""
    height, width = scene.labels.shape
    stride = scene.window - scene.overlap
    near = max(min(4, scene.overlap // 2), 1)
    found = {}
    for one, box in enumerate(ndimage.find_objects(scene.labels), start=1):
        if box is not None:
            found[one] = all(
                any(
                    (start == 0 or span.start >= start + near)
                    and (start + scene.window >= length or span.stop <= start + scene.window - near)
                    for start in range(0, length, stride)
                )
                for span, length in zip(box, (height, width), strict=True)
            )
    return found

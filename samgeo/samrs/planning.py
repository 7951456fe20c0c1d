"""What is to be done: images with their annotations, each cut into chips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.annotations.images import ImageFiles, without_suffix
from samgeo.annotations.table import Annotations
from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Rect
from samgeo.samrs.chips import chip_name, chip_rects, is_plain, visible_shares
from samgeo.samrs.recipe import SetOptions

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.geo.raster.raster import Raster

__all__ = ["Chip", "ImageJob", "digest_of", "file_digest", "make_job", "prompts_of"]

Floats = NDArray[np.float64]

# A larger picture of classes is no use, and its colours would not fit into memory.
MOST_PIXELS = 1 << 28
_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """A picture of the data set.

    Attributes
    ----------
    name : str
        Of its file: below ``images``, or of the image itself where nothing is cut.
    rect : Rect
        In pixels of the image.
    rows : ndarray of int64
        The job's annotations that it shows, in their order.
    geobox : GeoBox
        Where it lies.
    """

    name: str
    rect: Rect
    rows: NDArray[np.int64]
    geobox: GeoBox


@dataclass(frozen=True, slots=True, eq=False)
class ImageJob:
    """An image with its annotations.

    Attributes
    ----------
    name : str
    path : Path
    digest : str
        SHA-256 of the file.
    geobox : GeoBox
        The whole image.
    is_cut : bool
        Whether chips are written.
    annotations : ndarray of int64, shape (N,)
        Rows of the table.
    labels : ndarray of int64, shape (N,)
    boxes_px : ndarray, shape (N, 4)
        Horizontal boxes to ask with, cut to the image.
    polygons_px : ndarray of polygons, shape (N,)
        Oriented boxes to ask with too, cut to the image, empty where there is none; None where they are not asked.
    outlines_px : ndarray of polygons, shape (N,)
        What was annotated: the oriented box where there is one, else the horizontal one.
    chips : tuple of Chip
    wrong : dict of int to str
        Why an annotation is not asked at all: index of the job's annotations to reason.
    """

    name: str
    path: Path
    digest: str
    geobox: GeoBox
    is_cut: bool
    annotations: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_px: Floats
    polygons_px: NDArray[np.object_] | None
    outlines_px: NDArray[np.object_]
    chips: tuple[Chip, ...]
    wrong: dict[int, str]


def prompts_of(table: Annotations, prompt: str) -> tuple[Floats, NDArray[np.object_] | None, NDArray[np.object_]]:
    """Return what each annotation is asked with.

    Parameters
    ----------
    table : Annotations
    prompt : {"hbox", "rhbox", "rbox"}

    Returns
    -------
    boxes_px : ndarray, shape (N, 4)
    polygons_px : ndarray of polygons, shape (N,), or None
        Oriented boxes, if these are asked too; empty for annotations that are horizontal boxes.
    outlines : ndarray of polygons, shape (N,)
        By which chips are judged: the oriented box where there is one, else the box.
    """
    boxes = table.boxes_px.copy()
    corners = table.rboxes_px() if prompt == "rbox" else table.corners_px
    oriented = table.kinds != "box" if prompt == "rbox" else table.is_oriented
    if prompt != "hbox":
        boxes[oriented] = np.concatenate([corners[oriented].min(axis=1), corners[oriented].max(axis=1)], axis=1)
    outlines = np.asarray(shapely.box(*boxes.T), dtype=np.object_)
    # Four corners need not be in order around the box.
    outlines[oriented] = [shapely.MultiPoint(one).convex_hull for one in corners[oriented]]
    if prompt != "rbox":
        return boxes, None, outlines
    polygons = outlines.copy()
    polygons[~oriented] = shapely.Polygon()
    return boxes, polygons, outlines


def make_job(name: str, path: Path, table: Annotations, rows: NDArray[np.int64], recipe: SetOptions) -> ImageJob:
    """Plan an image.

    Parameters
    ----------
    name, path
        The image.
    table : Annotations
    rows : ndarray of int64
        Its rows.
    recipe : SetOptions

    Raises
    ------
    RasterError
        If the image cannot be opened.
    OptionError
        If it is too large for one picture, or lacks the georeference that an export needs.
    """
    from samgeo.geo.raster.raster import Raster

    # Opening with a stretch reads no pixels.
    raster = Raster.open(path, stretch=recipe.stretch or (0, 255), alpha=recipe.alpha, check=False)
    mine = table.take(rows)
    boxes, polygons, outlines = prompts_of(mine, recipe.prompt)
    height, width = raster.shape
    frame = Rect(0, 0, width, height)
    inside = visible_shares(outlines, frame, frame) > 0
    wrong = _wrong(mine, outlines, inside)
    asked = np.array([number not in wrong for number in range(len(rows))], dtype=np.bool_)
    _check(raster, recipe)
    if recipe.chip is None:
        shown = np.flatnonzero(asked)
        chips = [Chip(name, frame, shown, raster.geobox)] if len(shown) or recipe.keep_empty else []
    else:
        suffix = ".png" if is_plain(raster) else ".tif"
        chips = []
        for rect in chip_rects(raster.shape, recipe.chip, recipe.chip_overlap):
            # A share that is the limit to rounding reaches it.
            shown = np.flatnonzero(asked & (visible_shares(outlines, rect, frame) > max(recipe.min_visible - 1e-9, 0)))
            if len(shown) or recipe.keep_empty:
                chips.append(Chip(chip_name(name, rect, suffix), rect, shown, raster.geobox[rect.slices_in(frame)]))
        seen = np.concatenate([np.empty(0, dtype=np.int64), *(chip.rows for chip in chips)])
        for number in np.setdiff1d(np.flatnonzero(asked), seen).tolist():
            wrong[number] = f"cut: no chip shows {recipe.min_visible:.0%} of it"
    digest = file_digest(path)
    # A model knows nothing of what is past the image, and a box that says so is answered badly.
    boxes = np.clip(boxes, 0, np.array([width, height] * 2))
    if polygons is not None:
        polygons = np.asarray(shapely.clip_by_rect(polygons, 0, 0, width, height), dtype=np.object_)
    is_cut = recipe.chip is not None
    return ImageJob(name, path, digest, raster.geobox, is_cut, rows, mine.label, boxes, polygons, outlines, tuple(chips), wrong)


def _wrong(table: Annotations, outlines: NDArray[np.object_], inside: NDArray[np.bool_]) -> dict[int, str]:
    wrong = {}
    empty = (shapely.area(outlines) == 0) | (table.boxes_px[:, :2] == table.boxes_px[:, 2:]).any(axis=1)
    for number in range(len(table)):
        if table.crowd[number]:
            wrong[number] = "a crowd (iscrowd), not one object"
        elif empty[number]:
            wrong[number] = "the box has no area"
        elif not inside[number]:
            wrong[number] = "outside the image"
    return wrong


def _check(raster: Raster, recipe: SetOptions) -> None:
    height, width = raster.shape
    if recipe.chip is None and height * width > MOST_PIXELS:
        raise OptionError(f"{raster.name} has {height} x {width} pixels, too many for one picture; cut it with chip=1024.")
    if "torchgeo" in recipe.exports and raster.geobox.crs is None:
        raise OptionError(
            f"{raster.name} has no CRS, and torchgeo places what it reads; leave that export away (the masks in gray go with "
            "the images by name), or give the image its CRS."
        )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def digest_of(table: Annotations) -> str:
    """Return a digest of annotations: classes, and images with all that is said of them, whatever their suffixes and sizes."""
    digest = hashlib.sha256(repr((table.classes, [without_suffix(one.name) for one in table.images])).encode())
    for column in (table.image, table.label, table.boxes_px, table.corners_px, table.scores, table.difficult, table.crowd):
        digest.update(np.ascontiguousarray(column).tobytes())
    for shape in table.shapes:
        digest.update(b"-" if shape is None else _shape_bytes(shape))
    return digest.hexdigest()


def _shape_bytes(shape: Any) -> bytes:
    if isinstance(shape, shapely.Geometry):
        return bytes(shapely.to_wkb(shape))
    return repr(shape.shape).encode() + bytes(shape.counts.tobytes())


def open_images(images: ImageFiles) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return the sizes of the images that can be opened, and why the others cannot."""
    from samgeo.geo.raster.sources.file_source import FileSource

    good: dict[str, tuple[int, int]] = {}
    bad: dict[str, str] = {}
    for name, path in images.paths.items():
        try:
            height, width = FileSource.open(path).geobox.shape
        except RasterError as error:
            bad[name] = str(error)
        else:
            good[name] = int(height), int(width)
    return good, bad


def check_names(names: Sequence[str]) -> None:
    """Refuse images whose pictures would have the same name.

    Raises
    ------
    OptionError
        If there are any.
    """
    owner: dict[str, str] = {}
    for name in names:
        # Some file systems take names that differ only in case for the same.
        key = without_suffix(name).lower()
        if key in owner:
            raise OptionError(f"{owner[key]} and {name} would both be {without_suffix(name)}.png; rename one of them.")
        owner[key] = name

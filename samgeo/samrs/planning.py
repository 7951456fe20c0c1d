"""Planning of a data set: the annotations are read, classes are selected, and each image is divided into chips.

The images may be broken or missing; they are listed with the reasons.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.annotations.format_detection import format_of_file
from samgeo.annotations.images import ImageFiles, without_suffix
from samgeo.annotations.parsing.text_files import Where
from samgeo.annotations.reading import read_annotations
from samgeo.annotations.table import Annotations
from samgeo.errors import AnnotationError, OptionError, RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.geo.vector.reading import split_layer
from samgeo.samrs.chips import chip_name, chip_rects, is_plain, visible_shares
from samgeo.samrs.recipe import SetOptions, check_no_reading

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.segmentation.masks.rle import Rle

__all__ = [
    "Chip",
    "ImageJob",
    "check_no_reading",
    "digest_of",
    "file_digest",
    "make_job",
    "prompts_of",
    "read_tolerant",
    "with_classes",
]


Floats = NDArray[np.float64]

# A larger label image is not useful, and its colours might not fit into memory.
MOST_PIXELS = 1 << 28
_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """Plan of one picture of the data set: a chip, or an image that is not cut.

    Attributes
    ----------
    name : str
        Name of its file in ``images``, or of the image itself if it is not cut.
    rect : Rect
        Position in pixels of the image.
    rows : ndarray of int64
        Indices of the job's annotations that it shows, in their order.
    geobox : GeoBox
        Georeference.
    """

    name: str
    rect: Rect
    rows: NDArray[np.int64]
    geobox: GeoBox


@dataclass(frozen=True, slots=True, eq=False)
class ImageJob:
    """Plan of one image with its annotations.

    Attributes
    ----------
    name : str
        Name of the image.
    path : Path
        File of the image.
    digest : str
        SHA-256 of the file.
    geobox : GeoBox
        Georeference of the whole image.
    is_cut : bool
        Whether chips are written.
    annotations : ndarray of int64, shape (N,)
        Rows of the table of annotations.
    labels : ndarray of int64, shape (N,)
        Class of each annotation.
    boxes_px : ndarray, shape (N, 4)
        Horizontal boxes for the prompts, cut to the image.
    polygons_px : ndarray of polygons, shape (N,)
        Oriented boxes for the prompts, cut to the image, empty for annotations without one; None if prompts have no oriented
        boxes.
    outlines_px : ndarray of polygons, shape (N,)
        Annotated outlines: the oriented box if there is one, otherwise the horizontal box.
    chips : tuple of Chip
        Pictures of the image.
    wrong : dict of int to str
        Annotations without a prompt: index of the job's annotation to reason.
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
    """Return the prompts of annotations.

    Parameters
    ----------
    table : Annotations
        The annotations.
    prompt : {"hbox", "rhbox", "rbox"}
        Kind of prompt; see `make_samrs`.

    Returns
    -------
    boxes_px : ndarray, shape (N, 4)
        Horizontal boxes.
    polygons_px : ndarray of polygons, shape (N,), or None
        Oriented boxes, if the prompts have them; empty for annotations that are horizontal boxes.
    outlines : ndarray of polygons, shape (N,)
        Outlines by which the visible fraction in chips is measured: the oriented box if there is one, otherwise the box.
    """
    boxes = table.boxes_px.copy()
    corners = table.rboxes_px() if prompt == "rbox" else table.corners_px
    oriented = table.kinds != "box" if prompt == "rbox" else table.is_oriented
    if prompt != "hbox":
        boxes[oriented] = np.concatenate([corners[oriented].min(axis=1), corners[oriented].max(axis=1)], axis=1)
    outlines = np.asarray(shapely.box(*boxes.T), dtype=np.object_)
    # The convex hull is used, because the four corners may not be in order around the box.
    outlines[oriented] = [shapely.MultiPoint(one).convex_hull for one in corners[oriented]]
    if prompt != "rbox":
        return boxes, None, outlines
    polygons = outlines.copy()
    polygons[~oriented] = shapely.Polygon()
    return boxes, polygons, outlines


def make_job(name: str, path: Path, table: Annotations, rows: NDArray[np.int64], recipe: SetOptions) -> ImageJob:
    """Plan one image.

    Parameters
    ----------
    name, path
        Name and file of the image.
    table : Annotations
        All annotations.
    rows : ndarray of int64
        Rows of the image's annotations.
    recipe : SetOptions
        Options of the data set.

    Returns
    -------
    ImageJob
        The plan.

    Raises
    ------
    RasterError
        If the image cannot be opened.
    OptionError
        If the image is too large for one picture, or lacks the georeference that an export needs.
    """
    # With a given stretch, opening an image reads no pixels.
    reading = recipe.reading
    raster = Raster.open(path, stretch=reading.stretch or (0, 255), alpha=reading.alpha, invented=reading.invented, check=False)
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
            # The small tolerance accepts fractions that are equal to the limit except for rounding.
            shown = np.flatnonzero(asked & (visible_shares(outlines, rect, frame) > max(recipe.min_visible - 1e-9, 0)))
            if len(shown) or recipe.keep_empty:
                chips.append(Chip(chip_name(name, rect, suffix), rect, shown, raster.geobox[rect.slices_in(frame)]))
        seen = np.concatenate([np.empty(0, dtype=np.int64), *(chip.rows for chip in chips)])
        for number in np.setdiff1d(np.flatnonzero(asked), seen).tolist():
            wrong[number] = f"cut: no chip shows {recipe.min_visible:.0%} of it"
    digest = file_digest(path)
    # Boxes are cut to the image, because models give worse masks for boxes that extend beyond it.
    boxes = np.clip(boxes, 0, np.array([width, height] * 2))
    if polygons is not None:
        polygons = np.asarray(shapely.clip_by_rect(polygons, 0, 0, width, height), dtype=np.object_)
    is_cut = recipe.chip is not None
    return ImageJob(name, path, digest, raster.geobox, is_cut, rows, mine.label, boxes, polygons, outlines, tuple(chips), wrong)


def _wrong(table: Annotations, outlines: NDArray[np.object_], inside: NDArray[np.bool_]) -> dict[int, str]:
    """Return the annotations that get no prompt, with the reasons."""
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
    """Raise an `OptionError` if an image cannot be used with the options."""
    height, width = raster.shape
    if recipe.chip is None and height * width > MOST_PIXELS:
        raise OptionError(
            f"{raster.name} has {height} x {width} pixels, too many for one picture; divide it into chips with chip=1024."
        )
    if "torchgeo" in recipe.exports and raster.geobox.crs is None:
        raise OptionError(
            f"{raster.name} has no CRS, which the export torchgeo needs; assign a CRS to the image, or omit this export (the "
            "masks in the folder gray have the names of the images)."
        )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def digest_of(table: Annotations) -> str:
    """Return a digest of annotations: of the classes, of the images, and of all columns.

    Suffixes and sizes of images do not change it.
    """
    digest = hashlib.sha256(repr((table.classes, [without_suffix(one.name) for one in table.images])).encode())
    for column in (table.image, table.label, table.boxes_px, table.corners_px, table.scores, table.difficult, table.crowd):
        digest.update(np.ascontiguousarray(column).tobytes())
    for shape in table.shapes:
        digest.update(b"-" if shape is None else _shape_bytes(shape))
    return digest.hexdigest()


def _shape_bytes(shape: Rle | shapely.Geometry) -> bytes:
    """Return the bytes of a polygon or a mask for the digest."""
    if isinstance(shape, shapely.Geometry):
        return bytes(shapely.to_wkb(shape))
    return repr(shape.shape).encode() + bytes(shape.counts.tobytes())


def open_images(images: ImageFiles) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return the sizes of the images that can be opened, and the reasons why others cannot be opened."""
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
    """Raise an error if two images would give pictures with the same name.

    Raises
    ------
    OptionError
        If there are such images.
    """
    owner: dict[str, str] = {}
    for name in names:
        # Some file systems do not distinguish upper and lower case in names.
        key = without_suffix(name).lower()
        if key in owner:
            raise OptionError(
                f"{owner[key]} and {name} would both be written as {without_suffix(name)}.png; rename one of them."
            )
        owner[key] = name


_PLACED = {"open-buildings", "spacenet", "vectors"}


def read_tolerant(
    files: ImageFiles,
    images: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | Annotations,
    reading: Mapping[str, Any],
) -> tuple[Annotations, dict[str, str]]:
    """Read annotations of images that may be broken or missing.

    Parameters
    ----------
    files : ImageFiles
        The image files.
    images : path
        File or folder of the images.
    annotations : path or Annotations
        The annotations.
    reading : mapping
        Options ``format``, ``class_column``, ``class_name``, ``pixels`` and ``on_error`` of `read_annotations`.

    Returns
    -------
    Annotations
        The annotations.
    dict of str to str
        Annotated images that cannot be used, with the reasons.

    Raises
    ------
    AnnotationError
        If the annotations cannot be read, or none of them belongs to an image.
    OptionError
        If an option is given that has no effect.
    """
    good, bad = open_images(files)
    if isinstance(annotations, Annotations):
        check_no_reading(reading, "a table")
        table = annotations
    else:
        is_layer = _is_layer(Path(split_layer(annotations)[0]), reading["format"])
        # Vector layers need the georeference of the images. Other formats need only the sizes, and not those of broken images.
        given = images if is_layer or not bad else good
        table = read_annotations(annotations, images=given, **reading)
    table = _matched(table, files)
    known = {image.name for image in table.images}
    by_stem = {without_suffix(name): name for name in bad}
    failed = {name: reason for name, reason in bad.items() if name in known}
    used = np.unique(table.image)
    for number in used.tolist():
        image = table.images[number]
        if image.name in files.paths:
            continue
        broken = by_stem.get(image.name)
        failed[broken or image.name] = bad[broken] if broken else f"there is no such image in {files.what}"
    if len(used) and not any(table.images[number].name in files.paths for number in used.tolist()) and not bad:
        raise AnnotationError(
            f"none of the {len(used)} annotated images ({table.images[used[0]].name}, ...) is in {files.what}; give the images "
            "that were annotated."
        )
    return table, failed


def with_classes(table: Annotations, classes: Sequence[str] | None) -> Annotations:
    """Return the annotations of the given classes, numbered in the given order.

    Raises
    ------
    OptionError
        If a class is unknown or given twice.
    """
    if classes is None:
        return table
    wanted = tuple(classes)
    unknown = [name for name in wanted if name not in table.classes]
    if unknown or len(set(wanted)) != len(wanted) or not wanted:
        what = f"{unknown[0]!r} is no class of the annotations" if unknown else "a class comes twice, or there is none"
        raise OptionError(f"{what}; there are: {', '.join(table.classes)}.")
    number = np.array([wanted.index(name) if name in wanted else -1 for name in table.classes], dtype=np.int64)
    label = number[table.label]
    kept = table.take(label >= 0)
    return replace(kept, classes=wanted, label=label[label >= 0])


def _is_layer(path: Path, kind: str | None) -> bool:
    """Return whether a file has coordinates on the ground, so that the images are needed to read it."""
    if kind is not None or not path.is_file():
        return kind in _PLACED
    try:
        return format_of_file(path) in _PLACED
    except AnnotationError:
        # The error for the user is raised later, when the file is read.
        return False


def _matched(table: Annotations, files: ImageFiles) -> Annotations:
    """Return the table with the names of the image files, where the annotations use other names."""
    names = [files.find(image.name, Where(Path(image.name))) or image.name for image in table.images]
    if len(set(names)) != len(names):
        raise AnnotationError(
            f"two images of the annotations are the same file of {files.what}; give each image the name of its own file."
        )
    changed = [replace(image, name=name) for image, name in zip(table.images, names, strict=True)]
    return replace(table, images=tuple(changed))

"""The one table of annotations that every format is read into and written from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.annotations.oriented_boxes import box_corners, to_rbox
from samgeo.arguments import check_types
from samgeo.errors import AnnotationError
from samgeo.segmentation.masks.rle import Rle

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["KINDS", "MAX_PX", "Annotations", "Image", "class_fault", "row_faults", "safe_name"]

KINDS = ("box", "rbox", "polygon", "mask")
"""What an annotation can be: a horizontal box, an oriented one, a polygon, or a mask."""

MAX_PX = 2**31 - 1
"""No coordinate is farther from 0, and no image larger, in pixels."""

_LONGEST_NAME = 1024
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that annotations belong to.

    Attributes
    ----------
    name : str
        Of the file, below the folder of images, with ``/`` between folders. Without a suffix where a format gives none and
        no image was there to tell.
    height, width : int or None
        Pixels; None where the format does not say.

    Raises
    ------
    AnnotationError
        If the name could lead out of the folder, or a side is not from 1 to 2**31 - 1.
    """

    name: str
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if safe_name(self.name) != self.name:
            raise AnnotationError(f"the image {self.name!r} is not in its shortest form; give {safe_name(self.name)!r}.")
        sides = (self.height, self.width)
        if sides != (None, None) and not all(type(side) is int and 1 <= side <= MAX_PX for side in sides):
            raise AnnotationError(f"the image {self.name} has {sides[0]} x {sides[1]} pixels; give whole numbers from 1.")

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width, None where they are not known."""
        return None if self.height is None or self.width is None else (self.height, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """Annotations of any number of images, a row each.

    Coordinates are pixels of the row's image, continuous, x right and y down: the outer corner of the first pixel is (0, 0),
    its centre (0.5, 0.5), and a box of one pixel has sides of length 1. Every array is read-only. Two tables are equal when
    all of their values are.

    Attributes
    ----------
    images : tuple of Image
        Those without annotations too; no name twice.
    classes : tuple of str
        Names, those without annotations too; none twice.
    image : ndarray of int64, shape (N,)
        Index into ``images``.
    label : ndarray of int64, shape (N,)
        Index into ``classes``.
    boxes_px : ndarray of float64, shape (N, 4)
        Horizontal boxes x0, y0, x1, y1 with ``x0 <= x1`` and ``y0 <= y1``. They may reach past the image. Where the
        annotation is more than a box, what the format says; else the box around it.
    corners_px : ndarray of float64, shape (N, 4, 2)
        Corners of oriented boxes in the order of the file, NaN where there are none. They need not be a rectangle.
    shapes : ndarray of object, shape (N,)
        A shapely Polygon or MultiPolygon in pixels; an `Rle`; or None. `read_annotations` repairs polygons that are not valid.
    scores : ndarray of float64, shape (N,)
        A detector's score, NaN where there is none.
    difficult : ndarray of int64, shape (N,)
        The flag of DOTA and Pascal VOC, 0 where there is none.
    crowd : ndarray of bool, shape (N,)
        COCO's ``iscrowd``.
    left_out : tuple of str
        Faulty records that the reader left out because of ``on_error="skip"``: file, place and reason of each. The comparison
        of tables passes over this and the next.
    changed : tuple of str
        What the reader changed or assumed, such as polygons that it repaired: file, place and change.

    Raises
    ------
    AnnotationError
        If columns differ in length, an index is out of range, a name comes twice, a number is not finite, or a box is inside
        out; the message has the row.
    """

    images: tuple[Image, ...]
    classes: tuple[str, ...]
    image: NDArray[np.int64]
    label: NDArray[np.int64]
    boxes_px: NDArray[np.float64]
    corners_px: NDArray[np.float64]
    shapes: NDArray[np.object_]
    scores: NDArray[np.float64]
    difficult: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    left_out: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.image)
        for name, (dtype, tail) in _COLUMNS.items():
            column: NDArray[Any] = np.asarray(getattr(self, name)).astype(dtype)
            if column.shape != (count, *tail):
                wanted = ("N", *tail)
                raise AnnotationError(
                    f"{name} has shape {column.shape} for {count} rows; give ({', '.join(map(str, wanted))})."
                )
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        self._check_names()
        columns = self.image, self.boxes_px, self.corners_px, self.shapes
        faults = row_faults(self.images, *columns, scores=self.scores, difficult=self.difficult)
        for row, what in faults:
            raise AnnotationError(f"row {row}: {what}; correct it.")

    def _check_names(self) -> None:
        for what, names in (("image", [image.name for image in self.images]), ("class", self.classes)):
            twice = next((name for name, times in Counter(names).items() if times > 1), None)
            if twice is not None:
                raise AnnotationError(f"the {what} {twice!r} comes twice; give each once.")
        for name in self.classes:
            fault = class_fault(name)
            if fault:
                raise AnnotationError(f"{fault}; give printable text without blanks around it.")
        for what, column, size in (("image", self.image, len(self.images)), ("label", self.label, len(self.classes))):
            bad = ~((column >= 0) & (column < size))
            if bad.any():
                raise AnnotationError(
                    f"row {int(np.argmax(bad))}: {what} is not below {size}, the number there are; correct it."
                )

    def __len__(self) -> int:
        return len(self.image)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Annotations):
            return NotImplemented
        if (self.images, self.classes, len(self)) != (other.images, other.classes, len(other)):
            return False
        plain = [name for name in _COLUMNS if name != "shapes"]
        pairs = zip(self.shapes, other.shapes, strict=True)
        return all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=name in {"corners_px", "scores"})
            for name in plain
        ) and all(_same(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def kinds(self) -> NDArray[np.object_]:
        """What each row is, most detailed first: ``"mask"``, ``"polygon"``, ``"rbox"`` or ``"box"``."""
        kinds = np.where(self.is_oriented, "rbox", "box").astype(object)
        for row, shape in enumerate(self.shapes):
            if shape is not None:
                kinds[row] = "mask" if isinstance(shape, Rle) else "polygon"
        return kinds

    @property
    def is_oriented(self) -> NDArray[np.bool_]:
        """Whether each row has corners."""
        return ~np.isnan(self.corners_px[:, 0, 0])

    @property
    def class_names(self) -> NDArray[np.object_]:
        """The class of each row by name."""
        return np.array(self.classes, dtype=object)[self.label]

    def rboxes_px(self) -> NDArray[np.float64]:
        """Return an oriented box for every row, shape (N, 4, 2).

        The corners where there are any; else the rectangle of smallest area around the shape, as
        `samgeo.annotations.oriented_boxes.to_rbox` draws it; else the corners of the box.
        """
        boxes = np.where(self.is_oriented[:, None, None], self.corners_px, box_corners(self.boxes_px))
        for row in np.flatnonzero(~self.is_oriented & (self.shapes != None)):  # noqa: E711 - each element
            shape = self.shapes[row]
            mask = shape.to_mask() if isinstance(shape, Rle) else shape
            if not (isinstance(shape, Rle) and mask.is_empty):
                boxes[row] = to_rbox(mask)
        return boxes

    def take(self, rows: ArrayLike) -> Annotations:
        """Return some rows (indices or a boolean array), with all images and classes."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    @check_types
    def of_image(self, name: str) -> Annotations:
        """Return the rows of one image, with that image alone and all classes.

        Raises
        ------
        AnnotationError
            If there is no such image.
        """
        index = next((number for number, image in enumerate(self.images) if image.name == name), None)
        if index is None:
            raise AnnotationError(f"there is no image {name!r} among {len(self.images)}; see the attribute images.")
        rows = self.take(self.image == index)
        return replace(rows, images=(self.images[index],), image=np.zeros(len(rows), dtype=np.int64))


_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "image": (np.int64, ()),
    "label": (np.int64, ()),
    "boxes_px": (np.float64, (4,)),
    "corners_px": (np.float64, (4, 2)),
    "shapes": (np.object_, ()),
    "scores": (np.float64, ()),
    "difficult": (np.int64, ()),
    "crowd": (np.bool_, ()),
}
_REST = {"images", "classes", "left_out", "changed"}
assert _REST | set(_COLUMNS) == {field.name for field in fields(Annotations)}  # noqa: S101


def class_fault(name: str) -> str:
    """Return why a text cannot be the name of a class, nothing if it can."""
    if not name.strip() or name != name.strip() or _UNPRINTABLE.search(name) or len(name) > _LONGEST_NAME:
        return f"{name[:60]!r} is no name of a class"
    return ""


def row_faults(
    images: Sequence[Image],
    image: NDArray[np.int64],
    boxes_px: NDArray[np.float64],
    corners_px: NDArray[np.float64],
    shapes: NDArray[np.object_],
    *,
    scores: NDArray[np.float64],
    difficult: NDArray[np.int64],
) -> Iterator[tuple[int, str]]:
    """Give the rows that cannot be in a table, and why; a row with several faults comes several times.

    Parameters
    ----------
    images, image, boxes_px, corners_px, shapes, scores, difficult
        As the attributes of `Annotations`.
    """
    corners = corners_px.reshape(-1, 8)
    given = ~np.isnan(corners).all(axis=1)
    infinite = given & ~np.isfinite(corners).all(axis=1)
    finite = np.isfinite(boxes_px).all(axis=1)
    with np.errstate(invalid="ignore"):
        checks = {
            "a side of its box is not a finite number": ~finite,
            f"its box is farther than {MAX_PX} pixels from the image": finite & (np.abs(boxes_px) > MAX_PX).any(axis=1),
            "its box is inside out": (boxes_px[:, :2] > boxes_px[:, 2:]).any(axis=1),
            "a corner is not a finite number": infinite,
            f"a corner is farther than {MAX_PX} pixels from the image": ~infinite & (np.abs(corners) > MAX_PX).any(axis=1),
            "its score is not a finite number": np.isinf(scores),
            "its difficulty is negative": difficult < 0,
        }
    for what, bad in checks.items():
        for row in np.flatnonzero(bad).tolist():
            numbers = f": {boxes_px[row].tolist()} (x0, y0, x1, y1, pixels)" if "box" in what else ""
            yield row, what + numbers
    is_mask = np.array([isinstance(shape, Rle) for shape in shapes], dtype=np.bool_)
    for row in np.flatnonzero(is_mask).tolist():
        frame, of = shapes[row].shape, images[image[row]]
        if of.shape is not None and frame != of.shape:
            yield row, f"its mask has a frame of {frame} pixels (height, width), and its image {of.name} has {of.shape}"
    rest = np.flatnonzero(~is_mask & (shapes != None))  # noqa: E711 - each element
    for row in rest.tolist():
        if not isinstance(shapes[row], shapely.Polygon | shapely.MultiPolygon):
            yield row, f"its shape is {type(shapes[row]).__name__}, not a polygon, an Rle or None"
            return
    bounds = shapely.bounds(shapes[rest]).reshape(-1, 4)
    # The bounds of an empty polygon are NaN.
    for row in rest[~(np.abs(bounds) <= MAX_PX).all(axis=1)].tolist():
        yield row, "its polygon is empty, or has a coordinate that is no pixel"


def safe_name(name: str) -> str:
    r"""Return the name of an image below its folder, with ``/`` between folders and without ``.`` and empty parts.

    ``\`` counts as ``/``.

    Raises
    ------
    AnnotationError
        If the name is empty, absolute, has a drive, is a URL, has a part ``..`` or a character that cannot be printed: a file
        of annotations must not lead out of the folder of its images.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in {"", "."}]
    if not parts or len(plain) > _LONGEST_NAME or _UNPRINTABLE.search(plain):
        raise AnnotationError(f"{name[:60]!r} is no name of an image; give the name of its file.")
    if plain.startswith("/") or "://" in plain or any(part == ".." or _DRIVE.match(part) for part in parts):
        raise AnnotationError(f"the image {name[:200]!r} would lie outside of its folder; give names below the folder.")
    return str(PurePosixPath(*parts))


def _same(a: Rle | shapely.Geometry | None, b: Rle | shapely.Geometry | None) -> bool:
    if a is None or b is None or isinstance(a, Rle) or isinstance(b, Rle):
        return bool(a == b) if a is not None and b is not None else a is b
    return bool(shapely.equals_exact(a, b, tolerance=0.0))

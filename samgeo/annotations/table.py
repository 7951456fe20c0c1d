"""`Annotations`, the table that every annotation format is read into and written from, and the checks of its values."""

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
"""Kinds of annotations: a horizontal box, an oriented box, a polygon, or a mask."""

MAX_PX = 2**31 - 1
"""Largest absolute value of a coordinate, and largest side of an image, in pixels."""

_MAX_NAME_LENGTH = 1024
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that annotations belong to.

    Attributes
    ----------
    name : str
        Name of the file relative to the folder of images, with ``/`` between folders. It has no suffix if the annotations have
        none and the image was not given.
    height, width : int or None
        Size in pixels; None if it is not known.

    Raises
    ------
    AnnotationError
        If the name could lead out of the folder, or a side is not from 1 to 2**31 - 1.

    Examples
    --------
    >>> from samgeo.annotations import Image
    >>> Image("train/a.png", height=80, width=100).shape
    (80, 100)
    """

    name: str
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if safe_name(self.name) != self.name:
            raise AnnotationError(f"the image name {self.name!r} is not in its shortest form; give {safe_name(self.name)!r}.")
        sides = (self.height, self.width)
        if sides != (None, None) and not all(type(side) is int and 1 <= side <= MAX_PX for side in sides):
            raise AnnotationError(
                f"the image {self.name} has height {sides[0]} and width {sides[1]}; "
                f"give two whole numbers from 1 to {MAX_PX}, or None for both."
            )

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels; None if they are not known."""
        return None if self.height is None or self.width is None else (self.height, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """Annotations of any number of images, with one row for each annotation.

    Coordinates are continuous pixels of the image of the row, x right and y down: the outer corner of the first pixel is
    (0, 0), its centre is (0.5, 0.5), and a box of one pixel has sides of length 1. All arrays are read-only. Two tables are
    equal if all their values are equal, except for ``left_out`` and ``changed``, which are not compared.

    Attributes
    ----------
    images : tuple of Image
        All images, also those without annotations. Names are unique.
    classes : tuple of str
        Names of all classes, also of those without annotations. Names are unique.
    image : ndarray of int64, shape (N,)
        Index into ``images``.
    label : ndarray of int64, shape (N,)
        Index into ``classes``.
    boxes_px : ndarray of float64, shape (N, 4)
        Horizontal boxes x0, y0, x1, y1 with ``x0 <= x1`` and ``y0 <= y1``. They may reach past the edge of the image. For an
        oriented box, polygon or mask this is the box in the file if there is one, or else the bounds.
    corners_px : ndarray of float64, shape (N, 4, 2)
        Corners of oriented boxes, NaN where there are none. Their order is that of the file; if that is not an order around
        the box, `read_annotations` sorts them. They need not form a rectangle.
    shapes : ndarray of object, shape (N,)
        A shapely Polygon or MultiPolygon in pixels; an `Rle`; or None. `read_annotations` repairs invalid polygons.
    scores : ndarray of float64, shape (N,)
        Score of a detector, NaN where there is none.
    difficult : ndarray of int64, shape (N,)
        The flag "difficult" of DOTA and Pascal VOC, 0 where there is none.
    crowd : ndarray of bool, shape (N,)
        The flag ``iscrowd`` of COCO.
    left_out : tuple of str
        File, place and fault of each faulty record that the reader omitted because of ``on_error="skip"``.
    changed : tuple of str
        File, place and kind of each change or assumption of the reader, such as the repair of a polygon.

    Raises
    ------
    AnnotationError
        If columns differ in length, an index is out of range, a name is not unique, a number is not finite, or a box has
        x0 > x1 or y0 > y1. The message has the row.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.annotations import Annotations, Image
    >>> table = Annotations(
    ...     images=(Image("a.png", 80, 100), Image("b.png", 80, 100)),
    ...     classes=("ship", "tank"),
    ...     image=np.array([0, 1]),
    ...     label=np.array([1, 0]),
    ...     boxes_px=np.array([[10, 10, 30, 40], [0, 0, 5, 5]]),
    ...     corners_px=np.full((2, 4, 2), np.nan),
    ...     shapes=np.array([None, None]),
    ...     scores=np.full(2, np.nan),
    ...     difficult=np.zeros(2),
    ...     crowd=np.zeros(2),
    ... )
    >>> table.class_names.tolist(), table.kinds.tolist()
    (['tank', 'ship'], ['box', 'box'])
    >>> table.of_image("b.png").boxes_px.tolist()
    [[0.0, 0.0, 5.0, 5.0]]
    >>> len(table.take(table.label == 0))
    1
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
                    f"the column {name} has the shape {column.shape}, but the table has {count} rows; "
                    f"give an array of shape ({', '.join(map(str, wanted))})."
                )
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        self._check_names()
        columns = self.image, self.boxes_px, self.corners_px, self.shapes
        faults = row_faults(self.images, *columns, scores=self.scores, difficult=self.difficult)
        for row, what in faults:
            raise AnnotationError(f"row {row}: {what}; correct the row.")

    def _check_names(self) -> None:
        for what, names in (("image", [image.name for image in self.images]), ("class", self.classes)):
            duplicate = next((name for name, times in Counter(names).items() if times > 1), None)
            if duplicate is not None:
                raise AnnotationError(f"the {what} name {duplicate!r} occurs more than once; give each {what} once.")
        for name in self.classes:
            fault = class_fault(name)
            if fault:
                raise AnnotationError(f"{fault}; give printable text without surrounding whitespace.")
        for what, column, listed in (("image", self.image, "images"), ("label", self.label, "classes")):
            size = len(getattr(self, listed))
            bad = ~((column >= 0) & (column < size))
            if bad.any():
                row = int(np.argmax(bad))
                raise AnnotationError(
                    f"row {row}: {what} is {column[row]}, but the table has {size} {listed}, which are numbered from 0; "
                    "correct the row."
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
        ) and all(_equal_shapes(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def kinds(self) -> NDArray[np.object_]:
        """Most detailed geometry of each row: ``"mask"``, ``"polygon"``, ``"rbox"`` or ``"box"``."""
        kinds = np.where(self.is_oriented, "rbox", "box").astype(object)
        for row, shape in enumerate(self.shapes):
            if shape is not None:
                kinds[row] = "mask" if isinstance(shape, Rle) else "polygon"
        return kinds

    @property
    def is_oriented(self) -> NDArray[np.bool_]:
        """Whether each row has the corners of an oriented box."""
        return ~np.isnan(self.corners_px[:, 0, 0])

    @property
    def class_names(self) -> NDArray[np.object_]:
        """Name of the class of each row."""
        return np.array(self.classes, dtype=object)[self.label]

    def rboxes_px(self) -> NDArray[np.float64]:
        """Return an oriented box for every row.

        This is the row's own oriented box; or else the rectangle of smallest area around its shape, as `to_rbox` computes it;
        or else its horizontal box.

        Returns
        -------
        ndarray, shape (N, 4, 2)
            Corners in pixels.
        """
        boxes = np.where(self.is_oriented[:, None, None], self.corners_px, box_corners(self.boxes_px))
        for row in np.flatnonzero(~self.is_oriented & (self.shapes != None)):  # noqa: E711 - each element
            shape = self.shapes[row]
            mask = shape.to_mask() if isinstance(shape, Rle) else shape
            if not (isinstance(shape, Rle) and mask.is_empty):
                boxes[row] = to_rbox(mask)
        return boxes

    def take(self, rows: ArrayLike) -> Annotations:
        """Return a table of some rows, with all images and classes.

        Parameters
        ----------
        rows : array-like
            Indices, or a boolean for each row.
        """
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    @check_types
    def of_image(self, name: str) -> Annotations:
        """Return a table of the rows of one image, with this image alone and all classes.

        Parameters
        ----------
        name : str
            Name of the image.

        Raises
        ------
        AnnotationError
            If the table has no such image.
        """
        index = next((number for number, image in enumerate(self.images) if image.name == name), None)
        if index is None:
            raise AnnotationError(f"the table has no image {name!r}; give the name of one of its {len(self.images)} images.")
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
_OTHER_FIELDS = {"images", "classes", "left_out", "changed"}
assert _OTHER_FIELDS | set(_COLUMNS) == {field.name for field in fields(Annotations)}  # noqa: S101


def class_fault(name: str) -> str:
    """Return why a text cannot be the name of a class; an empty string if it can."""
    if not name.strip() or name != name.strip() or _UNPRINTABLE.search(name) or len(name) > _MAX_NAME_LENGTH:
        return f"{name[:60]!r} is not a valid name of a class"
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
    """Give the faulty rows of a table and their faults; a row with several faults is given several times.

    Parameters
    ----------
    images, image, boxes_px, corners_px, shapes, scores, difficult
        The attributes of `Annotations` with these names.

    Yields
    ------
    row : int
    fault : str
        A clause such as "its box has x0 > x1 or y0 > y1".
    """
    corners = corners_px.reshape(-1, 8)
    given = ~np.isnan(corners).all(axis=1)
    infinite = given & ~np.isfinite(corners).all(axis=1)
    finite = np.isfinite(boxes_px).all(axis=1)
    with np.errstate(invalid="ignore"):
        checks = {
            "a side of its box is not a finite number": ~finite,
            f"its box is farther than {MAX_PX} pixels from the image": finite & (np.abs(boxes_px) > MAX_PX).any(axis=1),
            "its box has x0 > x1 or y0 > y1": (boxes_px[:, :2] > boxes_px[:, 2:]).any(axis=1),
            "a corner is not a finite number": infinite,
            f"a corner is farther than {MAX_PX} pixels from the image": ~infinite & (np.abs(corners) > MAX_PX).any(axis=1),
            "its score is not a finite number": np.isinf(scores),
            "its number for difficult is negative": difficult < 0,
        }
    for what, bad in checks.items():
        for row in np.flatnonzero(bad).tolist():
            numbers = f": {boxes_px[row].tolist()} (x0, y0, x1, y1, pixels)" if "box" in what else ""
            yield row, what + numbers
    is_mask = np.array([isinstance(shape, Rle) for shape in shapes], dtype=np.bool_)
    for row in np.flatnonzero(is_mask).tolist():
        frame, of = shapes[row].shape, images[image[row]]
        if of.shape is not None and frame != of.shape:
            yield (
                row,
                f"its mask has a frame of shape {frame} (height, width), but its image {of.name} has the shape {of.shape}",
            )
    rest = np.flatnonzero(~is_mask & (shapes != None))  # noqa: E711 - each element
    for row in rest.tolist():
        if not isinstance(shapes[row], shapely.Polygon | shapely.MultiPolygon):
            yield row, f"its shape has the type {type(shapes[row]).__name__}, but must be a polygon, an Rle or None"
            return
    bounds = shapely.bounds(shapes[rest]).reshape(-1, 4)
    # The bounds of an empty polygon are NaN. A comparison with NaN is false, so that the polygon is found to be faulty.
    for row in rest[~(np.abs(bounds) <= MAX_PX).all(axis=1)].tolist():
        yield (
            row,
            f"its polygon is empty, or has a coordinate that is not finite or is farther than {MAX_PX} pixels from the image",
        )


def safe_name(name: str) -> str:
    """Return the name of an image relative to its folder, with ``/`` between folders and without ``.`` and empty parts.

    A backslash counts as ``/``.

    Raises
    ------
    AnnotationError
        If the name is empty, too long, absolute or a URL, or if it has a drive, a part ``..`` or a control character. A name in
        an annotation file must not lead out of the folder of the images.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in {"", "."}]
    if not parts or len(plain) > _MAX_NAME_LENGTH or _UNPRINTABLE.search(plain):
        raise AnnotationError(f"{name[:60]!r} is not a valid name of an image; give the name of its file.")
    if plain.startswith("/") or "://" in plain or any(part == ".." or _DRIVE.match(part) for part in parts):
        raise AnnotationError(f"the image {name[:200]!r} would lie outside of its folder; give a name relative to the folder.")
    return str(PurePosixPath(*parts))


def _equal_shapes(a: Rle | shapely.Geometry | None, b: Rle | shapely.Geometry | None) -> bool:
    """Return whether two entries of the column ``shapes`` are equal."""
    if a is None or b is None or isinstance(a, Rle) or isinstance(b, Rle):
        return bool(a == b) if a is not None and b is not None else a is b
    return bool(shapely.equals_exact(a, b, tolerance=0.0))

"""What readers gather, and its way into the table: every error with the place where the row was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.dataset.annotations.files import MAX_ROWS, Where, fail
from samgeo.dataset.annotations.table import MAX_PX, Annotations, Image
from samgeo.errors import AnnotationError
from samgeo.segment.rle import Rle

__all__ = ["Gathered", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One annotation as a reader finds it. The box may be left out where there are corners or a shape."""

    where: Where
    image: str
    name: str
    box: Sequence[float] | None = None
    corners: Sequence[float] | None = None
    shape: Any = None
    score: float = np.nan
    difficult: int = 0
    crowd: bool = False


@dataclass(slots=True)
class Gathered:
    """Rows and images, in the order in which they are read."""

    rows: list[Row] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)

    def add_image(self, image: Image, where: Where) -> None:
        """Add an image that has not come before.

        Raises
        ------
        AnnotationError
            If it has.
        """
        if image.name in self.images:
            fail(where, f"the image {image.name} has annotations in another place already", "join the two")
        self.images[image.name] = image

    def add(self, row: Row) -> None:
        """Add an annotation.

        Raises
        ------
        AnnotationError
            If there are too many.
        """
        if len(self.rows) >= MAX_ROWS:
            fail(row.where, f"there are more than {MAX_ROWS} annotations", "read fewer files at a time")
        self.rows.append(row)

    def to_table(self) -> Annotations:
        """Return the table; classes that no list named come in alphabetical order.

        Raises
        ------
        AnnotationError
            If a number is not finite or a box inside out, with the row's place.
        """
        rows = self.rows
        known = list(dict.fromkeys(self.classes))
        classes = known + sorted({row.name for row in rows} - set(known))
        label_of = {name: number for number, name in enumerate(classes)}
        image_of = {name: number for number, name in enumerate(self.images)}
        shapes = np.full(len(rows), None, dtype=object)
        shapes[:] = [row.shape for row in rows]
        corners = np.array([_EIGHT if row.corners is None else row.corners for row in rows], dtype=np.float64).reshape(-1, 4, 2)
        boxes = np.array([_FOUR if row.box is None else row.box for row in rows], dtype=np.float64).reshape(-1, 4)
        without = np.array([row.box is None for row in rows], dtype=np.bool_)
        for number in np.flatnonzero(without):
            boxes[number] = _around(rows[number], corners[number])
        self._check_boxes(boxes, corners)
        try:
            return Annotations(
                tuple(self.images.values()),
                tuple(classes),
                np.array([image_of[row.image] for row in rows], dtype=np.int64),
                np.array([label_of[row.name] for row in rows], dtype=np.int64),
                boxes,
                corners,
                shapes,
                np.array([row.score for row in rows], dtype=np.float64),
                np.array([row.difficult for row in rows], dtype=np.int64),
                np.array([row.crowd for row in rows], dtype=np.bool_),
            )
        except AnnotationError as error:
            raise self._placed(error) from None
        except OverflowError as error:
            raise AnnotationError(f"{rows[0].where.path}: a number is too large ({error}); correct the file.") from None

    def _check_boxes(self, boxes: NDArray[np.float64], corners: NDArray[np.float64]) -> None:
        far = (np.abs(boxes) > MAX_PX).any(axis=1) | (np.abs(corners) > MAX_PX).any(axis=(1, 2))
        wrong = {
            "a side of its box is not a finite number": ~np.isfinite(boxes).all(axis=1),
            f"its box is farther than {MAX_PX} pixels from the image": far,
            "its box is inside out": (boxes[:, :2] > boxes[:, 2:]).any(axis=1),
        }
        for what, bad in wrong.items():
            if bad.any():
                number = int(np.argmax(bad))
                fail(self.rows[number].where, f"{what}: {boxes[number].tolist()} (x0, y0, x1, y1, pixels)")

    def _placed(self, error: AnnotationError) -> AnnotationError:
        """Return the table's error with the file's place instead of the row."""
        head, colon, rest = str(error).partition(": ")
        if colon and head.startswith("row "):
            return AnnotationError(f"{self.rows[int(head[4:])].where}: {rest}")
        return AnnotationError(f"{self.rows[0].where.path if self.rows else 'annotations'}: {error}")


_EIGHT = (np.nan,) * 8
_FOUR = (np.nan,) * 4


def _around(row: Row, corners: NDArray[np.float64]) -> Any:
    if isinstance(row.shape, Rle):
        rect = row.shape.rect
        return rect.x0, rect.y0, rect.x1, rect.y1
    if row.shape is not None:
        return shapely.bounds(row.shape)
    return (*corners.min(axis=0), *corners.max(axis=0))

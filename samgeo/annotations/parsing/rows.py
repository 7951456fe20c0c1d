"""What readers gather, and its way into the table: every fault with the place where the row was read."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.annotations.images import ImageFiles
from samgeo.annotations.parsing.faults import Faults, Notes
from samgeo.annotations.parsing.repair import in_order, repaired
from samgeo.annotations.parsing.text_files import MAX_ROWS, Where, fail
from samgeo.annotations.table import Annotations, Image, class_fault, row_faults
from samgeo.segmentation.masks.rle import Rle

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = ["Gathered", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One annotation as a reader finds it. The box may be left out where there are corners or a shape."""

    where: Where
    image: str
    name: str
    box: Sequence[float] | None = None
    corners: Sequence[float] | None = None
    shape: Rle | BaseGeometry | None = None
    score: float = np.nan
    difficult: int = 0
    crowd: bool = False

    @property
    def outline(self) -> Rle | BaseGeometry | None:
        """The shape, or else the box as a polygon; None where there is neither."""
        if self.shape is None and self.box is not None:
            x0, y0, x1, y1 = self.box
            return shapely.box(x0, y0, x1, y1)
        return self.shape


@dataclass(slots=True)
class Gathered:
    """Rows and images, in the order in which they are read.

    Readers wrap what they do for one record in ``with gathered.faults:``, so that all faults are found before any is refused.

    Attributes
    ----------
    faults : Faults
    changed : Notes
        What readers change or assume.
    """

    faults: Faults = field(default_factory=Faults)
    rows: list[Row] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    changed: Notes = field(default_factory=Notes)

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

    def find_image(self, files: ImageFiles, own: str, said: str, shape: tuple[int, int] | None, where: Where) -> Image:
        """Return the image of a file of annotations, which has a name of its own and names an image, and add it.

        The file's own name comes first: images are renamed after they were annotated, and the name inside is then stale, or
        that of another image. A name inside that differs is noted where it is passed over.

        Parameters
        ----------
        files : ImageFiles
        own : str
            The name of the file of annotations, below its folder, without its suffix.
        said : str
            The name of the image that the file gives, in the same folder; empty where it gives none.
        shape : tuple of int or None
            Height and width, where the file gives them.
        where : Where

        Raises
        ------
        AnnotationError
            If the name leads out of the folder, the sizes differ, or the image has come before.
        """
        image = files.of_file(own, said, shape, where)
        self.add_image(image, where)
        if said and Path(said).stem != Path(image.name).stem:
            self.changed.add(f"{where}: it names the image {said[:200]}; taken as of {image.name}, by the name of the file")
        return image

    def add(self, row: Row) -> None:
        """Add an annotation.

        Raises
        ------
        FileFaultError
            If there are too many.
        """
        if len(self.rows) >= MAX_ROWS:
            fail(row.where, f"there are more than {MAX_ROWS} annotations", "read fewer files at a time", whole=True)
        self.rows.append(row)

    def join_groups(self, groups: Sequence[Hashable], start: int) -> None:
        """Make one annotation of the polygons, from row ``start`` on, that have the same group, class and image.

        Parameters
        ----------
        groups : sequence
            A value for each row from ``start`` on; None where it is in no group.
        start : int
        """
        kept: list[Row] = []
        place: dict[Any, int] = {}
        for row, group in zip(self.rows[start:], groups, strict=True):
            key = (row.image, row.name, group)
            shape = row.outline
            if group is None or isinstance(shape, Rle) or shape is None or row.corners is not None:
                kept.append(row)
            elif key not in place:
                place[key] = len(kept)
                kept.append(row)
            else:
                first = kept[place[key]]
                before = first.outline
                parts = shapely.get_parts(np.array([before, shape], dtype=object))
                joined = shapely.MultiPolygon(parts.tolist())
                kept[place[key]] = Row(first.where, first.image, first.name, shape=joined, score=first.score)
        self.rows[start:] = kept

    def to_table(self) -> Annotations:
        """Return the table; classes that no list named come in alphabetical order.

        Polygons that are not valid are repaired, corners that are not in order around their box are ordered; both is noted.

        Raises
        ------
        AnnotationError
            If there are faults, unless they may be left out.
        """
        bad_classes = {name: fault for name in {row.name for row in self.rows} if (fault := class_fault(name))}
        for row in self.rows if bad_classes else ():
            if row.name in bad_classes:
                self.faults.notes.add(f"{row.where}: {bad_classes[row.name]}; give printable text.")
        rows = [row for row in self.rows if row.name not in bad_classes]
        image_of = {name: number for number, name in enumerate(self.images)}
        shapes = np.full(len(rows), None, dtype=object)
        shapes[:] = [row.shape for row in rows]
        corners = np.array([_EIGHT if row.corners is None else row.corners for row in rows], dtype=np.float64).reshape(-1, 4, 2)
        self._repair(rows, shapes, corners)
        boxes = np.array([_FOUR if row.box is None else row.box for row in rows], dtype=np.float64).reshape(-1, 4)
        for number in [number for number, row in enumerate(rows) if row.box is None]:
            boxes[number] = _around(shapes[number], corners[number])
        image = np.array([image_of[row.image] for row in rows], dtype=np.int64)
        scores = np.array([row.score for row in rows], dtype=np.float64)
        difficult = np.array([row.difficult for row in rows], dtype=np.int64)
        crowd = np.array([row.crowd for row in rows], dtype=np.bool_)
        empty = np.array(
            [isinstance(shape, shapely.Geometry) and bool(shapely.is_empty(shape)) for shape in shapes], dtype=np.bool_
        )
        faulty = dict.fromkeys(np.flatnonzero(empty).tolist(), "its polygon has no area")
        images = list(self.images.values())
        for number, what in row_faults(images, image, boxes, corners, shapes, scores=scores, difficult=difficult):
            faulty.setdefault(number, what)
        for number in sorted(faulty):
            self.faults.notes.add(f"{rows[number].where}: {faulty[number]}; correct the file.")
        self.faults.check(is_anything_left=bool(self.images))
        good = np.array([number not in faulty for number in range(len(rows))], dtype=np.bool_)
        known = [name for name in dict.fromkeys(self.classes) if not class_fault(name)]
        used = {row.name for number, row in enumerate(rows) if number not in faulty}
        classes = known + sorted(used - set(known))
        label_of = {name: number for number, name in enumerate(classes)}
        label = np.array([label_of.get(row.name, -1) for row in rows], dtype=np.int64)
        return Annotations(
            tuple(self.images.values()),
            tuple(classes),
            image[good],
            label[good],
            boxes[good],
            corners[good],
            shapes[good],
            scores[good],
            difficult[good],
            crowd[good],
            self.faults.notes.listed(),
            self.changed.listed(),
        )

    def _repair(self, rows: Sequence[Row], shapes: NDArray[np.object_], corners: NDArray[np.float64]) -> None:
        """Repair polygons and order corners in place."""
        polygons = np.array([isinstance(shape, shapely.Geometry) for shape in shapes], dtype=np.bool_)
        polygons[polygons] = ~shapely.is_valid(shapes[polygons])
        for number in np.flatnonzero(polygons).tolist():
            before, row = shapes[number], rows[number]
            if not np.isfinite(shapely.get_coordinates(before)).all():
                continue
            shapes[number] = after = repaired(before)
            if after.is_empty and row.box is not None:
                shapes[number] = None
                self.changed.add(f"{row.where}: its polygon has no area; its box alone is kept")
            elif not after.is_empty:
                what = "its polygon crosses or overlaps itself; repaired"
                self.changed.add(f"{row.where}: {what}, area {before.area:.6g} -> {after.area:.6g}")
        given = np.flatnonzero(np.isfinite(corners).all(axis=(1, 2)))
        outlines = shapely.polygons(corners[given])
        for number in given[~shapely.is_valid(outlines)].tolist():
            ordered = in_order(corners[number])
            if not np.array_equal(ordered, corners[number]) and shapely.Polygon(ordered).is_valid:
                corners[number] = ordered
                self.changed.add(f"{rows[number].where}: its corners are not in order around the box; ordered")


_EIGHT = (np.nan,) * 8
_FOUR = (np.nan,) * 4


def _around(shape: Rle | shapely.Geometry | None, corners: NDArray[np.float64]) -> Sequence[float] | NDArray[np.float64]:
    if isinstance(shape, Rle):
        rect = shape.rect
        return rect.x0, rect.y0, rect.x1, rect.y1
    if shape is not None:
        return shapely.bounds(shape)
    return (*corners.min(axis=0), *corners.max(axis=0))

"""Collection of the rows and images that a reader finds, and their conversion into the table `Annotations`.

Rows know their place in the file, so that each fault is reported with its place.
"""

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
    """One annotation as a reader finds it in a file.

    Attributes
    ----------
    where : Where
        Place in the file.
    image : str
        Name of the image.
    name : str
        Name of the class.
    box : sequence of 4 floats, optional
        x0, y0, x1, y1 in pixels. It may be None if there are corners or a shape.
    corners : sequence of 8 floats, optional
        Corners of an oriented box in pixels.
    shape : Polygon, MultiPolygon or Rle, optional
        Shape in pixels.
    score : float
        NaN if there is none.
    difficult : int
    crowd : bool
    """

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
        """The shape, or else the box as a polygon; None if there is neither."""
        if self.shape is None and self.box is not None:
            x0, y0, x1, y1 = self.box
            return shapely.box(x0, y0, x1, y1)
        return self.shape


@dataclass(slots=True)
class Gathered:
    """Rows and images in the order in which a reader finds them.

    Readers handle each record inside ``with gathered.faults:``, so that they find all faults before one error reports them.

    Attributes
    ----------
    faults : Faults
        Faults of records.
    rows : list of Row
        The annotations.
    images : dict of str to Image
        Images by name.
    classes : list of str
        Names of classes that a file lists, with or without annotations.
    changed : Notes
        What the reader changes or assumes.
    """

    faults: Faults = field(default_factory=Faults)
    rows: list[Row] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    changed: Notes = field(default_factory=Notes)

    def add_image(self, image: Image, where: Where) -> None:
        """Add an image.

        Raises
        ------
        AnnotationError
            If the image was added before.
        """
        if image.name in self.images:
            fail(where, f"the image {image.name} already has annotations from another file or record", "join the two")
        self.images[image.name] = image

    def find_image(
        self, files: ImageFiles, file_name: str, stated_name: str, shape: tuple[int, int] | None, where: Where
    ) -> Image:
        """Add and return the image of an annotation file that belongs to one image.

        The name of the annotation file has precedence over the name of the image in it, because images are often renamed after
        they were annotated: the name in the file is then out of date, or is now that of another image. If the name in the file
        differs and is not used, this is noted.

        Parameters
        ----------
        files : ImageFiles
            The known images.
        file_name : str
            Name of the annotation file relative to its folder, without its suffix.
        stated_name : str
            Name of the image in the annotation file; empty if the file has none.
        shape : tuple of int or None
            Height and width in pixels if the file has them.
        where : Where
            Place in the annotation file, for errors.

        Raises
        ------
        AnnotationError
            If a name would lead out of the folder of images, the size differs from that of the image, or the image was added
            before.
        """
        image = files.of_file(file_name, stated_name, shape, where)
        self.add_image(image, where)
        if stated_name and Path(stated_name).stem != Path(image.name).stem:
            what = f"it names the image {stated_name[:200]}, but its annotations are taken for those of {image.name}"
            self.changed.add(f"{where}: {what}, which has the name of the file")
        return image

    def add(self, row: Row) -> None:
        """Add an annotation.

        Raises
        ------
        FileFaultError
            If there are too many annotations.
        """
        if len(self.rows) >= MAX_ROWS:
            fail(row.where, f"there are more than {MAX_ROWS} annotations", "read fewer files at a time", whole=True)
        self.rows.append(row)

    def join_groups(self, groups: Sequence[Hashable], start: int) -> None:
        """Join the polygons and boxes that have the same group, class and image into one annotation with several parts.

        Parameters
        ----------
        groups : sequence
            The group of each row from ``start`` on; None for a row without a group.
        start : int
            The first row to consider.
        """
        kept: list[Row] = []
        row_of_group: dict[Any, int] = {}
        for row, group in zip(self.rows[start:], groups, strict=True):
            key = (row.image, row.name, group)
            shape = row.outline
            if group is None or isinstance(shape, Rle) or shape is None or row.corners is not None:
                kept.append(row)
            elif key not in row_of_group:
                row_of_group[key] = len(kept)
                kept.append(row)
            else:
                first = kept[row_of_group[key]]
                before = first.outline
                parts = shapely.get_parts(np.array([before, shape], dtype=object))
                joined = shapely.MultiPolygon(parts.tolist())
                kept[row_of_group[key]] = Row(first.where, first.image, first.name, shape=joined, score=first.score)
        self.rows[start:] = kept

    def to_table(self) -> Annotations:
        """Return the table of all rows without faults.

        Classes have the order of the list in the file; those that are not in a list follow in alphabetical order. Invalid
        polygons are repaired, and corners that are not in an order around their box are sorted. Both are noted in ``changed``.

        Raises
        ------
        AnnotationError
            If there are faults, unless they may be omitted.
        """
        bad_classes = {name: fault for name in {row.name for row in self.rows} if (fault := class_fault(name))}
        for row in self.rows if bad_classes else ():
            if row.name in bad_classes:
                self.faults.notes.add(
                    f"{row.where}: {bad_classes[row.name]}; give printable text without surrounding whitespace."
                )
        rows = [row for row in self.rows if row.name not in bad_classes]
        image_of = {name: number for number, name in enumerate(self.images)}
        shapes = np.full(len(rows), None, dtype=object)
        shapes[:] = [row.shape for row in rows]
        corners = np.array([_NO_CORNERS if row.corners is None else row.corners for row in rows], dtype=np.float64).reshape(
            -1, 4, 2
        )
        self._repair(rows, shapes, corners)
        boxes = np.array([_NO_BOX if row.box is None else row.box for row in rows], dtype=np.float64).reshape(-1, 4)
        for number in [number for number, row in enumerate(rows) if row.box is None]:
            boxes[number] = _bounds(shapes[number], corners[number])
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
        """Repair invalid polygons and sort corners, in place."""
        polygons = np.array([isinstance(shape, shapely.Geometry) for shape in shapes], dtype=np.bool_)
        polygons[polygons] = ~shapely.is_valid(shapes[polygons])
        for number in np.flatnonzero(polygons).tolist():
            before, row = shapes[number], rows[number]
            if not np.isfinite(shapely.get_coordinates(before)).all():
                continue
            shapes[number] = after = repaired(before)
            if after.is_empty and row.box is not None:
                shapes[number] = None
                self.changed.add(f"{row.where}: its polygon has no area, and only its box is kept")
            elif not after.is_empty:
                what = "its polygon crosses or overlaps itself; it was repaired"
                self.changed.add(
                    f"{row.where}: {what}, which changed the area from {before.area:.6g} to {after.area:.6g} pixels"
                )
        given = np.flatnonzero(np.isfinite(corners).all(axis=(1, 2)))
        outlines = shapely.polygons(corners[given])
        for number in given[~shapely.is_valid(outlines)].tolist():
            ordered = in_order(corners[number])
            if not np.array_equal(ordered, corners[number]) and shapely.Polygon(ordered).is_valid:
                corners[number] = ordered
                self.changed.add(f"{rows[number].where}: its corners are not in order around the box; they were sorted")


_NO_CORNERS = (np.nan,) * 8
_NO_BOX = (np.nan,) * 4


def _bounds(shape: Rle | shapely.Geometry | None, corners: NDArray[np.float64]) -> Sequence[float] | NDArray[np.float64]:
    """Return the bounds of a shape, or else of corners: x0, y0, x1, y1."""
    if isinstance(shape, Rle):
        rect = shape.rect
        return rect.x0, rect.y0, rect.x1, rect.y1
    if shape is not None:
        return shapely.bounds(shape)
    return (*corners.min(axis=0), *corners.max(axis=0))

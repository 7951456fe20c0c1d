"""What is lost when a table of annotations is written in a format; `write_annotations` returns these sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.annotations.formats.dota import class_text
from samgeo.annotations.images import without_suffix
from samgeo.annotations.table import KINDS
from samgeo.segmentation.masks.rle import Rle

if TYPE_CHECKING:
    from samgeo.annotations.table import Annotations

__all__ = ["losses"]

_HORIZONTAL = {"voc", "yolo-boxes"}
_ORIENTED = {"dota", "yolo-obb"}
_NAMED_BY_FILE = {"dota", "yolo-boxes", "yolo-obb", "yolo-segments"}
# A box that differs from the bounds of its shape by less than this differs by rounding alone.
_ROUNDING_PX = 1e-6


def losses(table: Annotations, kind: str) -> tuple[str, ...]:
    """Return one sentence for each kind of information that is lost when a table is written in a format and read again.

    Parameters
    ----------
    table : Annotations
    kind : str
        One of `samgeo.annotations.WRITABLE`.
    """
    return (*_shapes(table, kind), *_columns(table, kind), *_images(table, kind), *_classes(table, kind))


def _count(number: int, one: str, several: str) -> str:
    """Return a sentence about a number of things: ``one`` is its rest for the number 1, ``several`` for other numbers."""
    return f"{number} {one if number == 1 else several}."


def _shapes(table: Annotations, kind: str) -> Iterator[str]:
    kinds = table.kinds
    number = {name: int((kinds == name).sum()) for name in KINDS}
    detailed = number["polygon"] + number["mask"]
    if kind in _HORIZONTAL and number["rbox"] + detailed:
        yield _count(
            number["rbox"] + detailed,
            "oriented box, polygon or mask is written as a horizontal box",
            "oriented boxes, polygons and masks are written as horizontal boxes",
        )
    if kind in _ORIENTED and detailed:
        yield _count(
            detailed, "polygon or mask is written as an oriented box", "polygons and masks are written as oriented boxes"
        )
    if kind in _ORIENTED and number["box"]:
        yield _count(
            number["box"], "horizontal box is written as an oriented box", "horizontal boxes are written as oriented boxes"
        )
    if kind == "yolo-segments":
        yield from _segments(table, number)
    if kind == "coco" and (holed := sum(_has_holes(shape) for shape in table.shapes)):
        yield _count(
            holed,
            "polygon with holes is cut into parts without holes that cover the same area",
            "polygons with holes are cut into parts without holes that cover the same area",
        )
    yield from _less_detailed_shapes(table, kind)


def _less_detailed_shapes(table: Annotations, kind: str) -> Iterator[str]:
    """Give the losses of rows that have a box beside a more detailed shape, where the format holds one of the two."""
    if kind in {"vectors", "yolo-segments"} and (both := int((table.is_oriented & (table.kinds != "rbox")).sum())):
        yield _count(
            both,
            "oriented box is not written, because its row also has a polygon or mask",
            "oriented boxes are not written, because their rows also have a polygon or mask",
        )
    if kind in _ORIENTED | {"vectors", "yolo-segments"} and (own := _count_own_boxes(table)):
        yield _count(
            own,
            "horizontal box that differs from the bounds of its shape is not written",
            "horizontal boxes that differ from the bounds of their shapes are not written",
        )


def _segments(table: Annotations, number: dict[str, int]) -> Iterator[str]:
    if number["box"] + number["rbox"]:
        yield _count(
            number["box"] + number["rbox"],
            "box is written as a polygon of four points",
            "boxes are written as polygons of four points",
        )
    if number["mask"]:
        yield _count(
            number["mask"], "mask is written as a polygon along pixel edges", "masks are written as polygons along pixel edges"
        )
    joined = sum(not isinstance(shape, Rle) and shape is not None and _has_several_rings(shape) for shape in table.shapes)
    if joined:
        yield _count(
            joined,
            "polygon with several parts or with holes is joined into one ring that covers the same area",
            "polygons with several parts or with holes are each joined into one ring that covers the same area",
        )


def _columns(table: Annotations, kind: str) -> Iterator[str]:
    scored, difficult, crowd = int((~np.isnan(table.scores)).sum()), int((table.difficult != 0).sum()), int(table.crowd.sum())
    if kind not in {"coco", "vectors"}:
        if scored:
            yield _count(scored, "score is not written", "scores are not written")
        if crowd:
            yield _count(crowd, "flag iscrowd is not written", "flags iscrowd are not written")
        if difficult and kind not in {"dota", "voc"}:
            yield _count(difficult, "flag difficult is not written", "flags difficult are not written")


def _images(table: Annotations, kind: str) -> Iterator[str]:
    sized = sum(image.shape is not None for image in table.images)
    if kind in _NAMED_BY_FILE:
        named = sum(without_suffix(image.name) != image.name for image in table.images)
        if sized or named:
            yield "The sizes and suffixes of images are not written; reading finds them only if it is given the images."
    if kind == "vectors":
        empty = len(table.images) - len(np.unique(table.image))
        if empty:
            yield _count(empty, "image without annotations is not written", "images without annotations are not written")
        if 0 < sized < len(table.images):
            yield "The sizes of images are not written, because they are not known for all images."
    if kind.startswith("yolo") and (cut := int(_past_edge(table).sum())):
        yield _count(
            cut,
            "annotation that reaches past the edge of its image is cut at the edge",
            "annotations that reach past the edge of their images are cut at the edge",
        )


def _classes(table: Annotations, kind: str) -> Iterator[str]:
    if kind == "coco" or kind.startswith("yolo"):
        return
    used = {table.classes[label] for label in np.unique(table.label)}
    if table.classes != tuple(sorted(used)):
        yield "The order of the classes and classes without annotations are not written."
    changed = sum(class_text(name) != name for name in used) if kind == "dota" else 0
    if changed:
        yield _count(
            changed,
            "class has a name whose spaces are written as hyphens",
            "classes have names whose spaces are written as hyphens",
        )


def _has_holes(shape: object) -> bool:
    return isinstance(shape, shapely.Polygon | shapely.MultiPolygon) and any(
        len(part.interiors) > 0 for part in shapely.get_parts(shape)
    )


def _has_several_rings(shape: shapely.Geometry) -> bool:
    return sum(1 + len(part.interiors) for part in shapely.get_parts(shape)) > 1


def _count_own_boxes(table: Annotations) -> int:
    """Count the horizontal boxes that differ from the bounds of the shape or oriented box of their row."""
    count = 0
    for row in np.flatnonzero(table.kinds != "box"):
        shape = table.shapes[row]
        if isinstance(shape, Rle):
            rect = shape.rect
            around = np.array([rect.x0, rect.y0, rect.x1, rect.y1])
        elif shape is not None:
            around = np.array(shapely.bounds(shape))
        else:
            around = np.concatenate([table.corners_px[row].min(axis=0), table.corners_px[row].max(axis=0)])
        count += bool((np.abs(around - table.boxes_px[row]) > _ROUNDING_PX).any())
    return count


def _past_edge(table: Annotations) -> NDArray[np.bool_]:
    """Return whether each row reaches past the edge of its image; an image of unknown size has no right and no lower edge."""
    size = np.array([(image.width, image.height) if image.shape else (np.inf, np.inf) for image in table.images]).reshape(-1, 2)
    sides = size[table.image]
    low, high = table.boxes_px[:, :2].copy(), table.boxes_px[:, 2:].copy()
    corners = table.corners_px[table.is_oriented]
    low[table.is_oriented] = np.minimum(low[table.is_oriented], corners.min(axis=1))
    high[table.is_oriented] = np.maximum(high[table.is_oriented], corners.max(axis=1))
    return np.asarray((low < 0).any(axis=1) | (high > sides).any(axis=1))

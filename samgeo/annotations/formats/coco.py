"""COCO JSON: boxes, polygons and masks of many images in one file. Result lists of COCO are read too.

Pixels
------
``bbox`` is x, y, width and height in continuous pixel coordinates: the edges of the box are ``x, y, x + width, y + height``.
Polygons are in continuous pixel coordinates too. Masks are run-length encoded down the columns of the image, as a list of
counts or in compressed form.

Keys
----
Images, categories and annotations get new ids. Besides the keys of COCO, ``score``, ``difficult`` and ``corners`` (the eight
numbers of an oriented box) are read and written. Other programs ignore these keys. All other keys are dropped.

Result lists
------------
A result list is a list of records with ``image_id``, ``category_id``, ``bbox`` or ``segmentation``, and ``score``. It has the
ids of images and categories, but not their names. The names are read from a COCO file in the same folder. Without such a file,
the id of a category is the name of the class. An id of an image that is a text is the name of the image; an id that is a number
means the image whose file name is that number, with or without leading zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.annotations.images import ImageFiles, name_below, without_suffix
from samgeo.annotations.parsing.json_shapes import object_of
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import Where, as_count, as_number, fail, head_of, read_json, shown
from samgeo.annotations.table import class_fault
from samgeo.errors import AnnotationError, OptionError
from samgeo.segmentation.masks.rle import HEAD, Rle, to_rings

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from samgeo.annotations.table import Annotations
    from samgeo.types import Json

__all__ = ["box_of", "is_coco", "read", "shape_of", "to_coco"]


def is_coco(value: Json) -> bool:
    """Return whether a JSON value has the lists of a COCO file."""
    return isinstance(value, dict) and isinstance(value.get("images"), list) and "annotations" in value


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read COCO files.

    The name of an image begins with the folder of the COCO file below ``root``, so that a data set may have one COCO file for
    each of its parts.
    """
    for path in paths:
        with gathered.faults:
            value = read_json(path)
            if not is_coco(value):
                fail(
                    Where(path),
                    "it is not a COCO file, which has a list of images and a list of annotations",
                    "give a COCO file",
                )
            _read_file(gathered, value, path, name_below(root, path).rpartition("/")[0], images)


def _read_file(gathered: Gathered, value: dict[str, Any], path: Path, folder: str, images: ImageFiles) -> None:
    listed = _list(value, "annotations", path)
    names = _categories(gathered, value, path)
    gathered.classes += names.values()
    by_id = _images(gathered, value, path, folder, images)
    for number, one in enumerate(listed):
        with gathered.faults:
            where = Where(path, f"annotations[{number}]")
            gathered.add(_row(_object(one, where), where, by_id, names))


def to_coco(annotations: Annotations, *, compressed: bool = True) -> dict[str, Any]:
    """Return a table of annotations as a COCO dictionary.

    Parameters
    ----------
    annotations : Annotations
    compressed : bool, default True
        Whether the run lengths of masks are compressed text, as pycocotools writes them. Otherwise they are lists of numbers.

    Returns
    -------
    dict
        The keys are ``info``, which `COCO.loadRes` of pycocotools needs, ``licenses`` (an empty list), ``images``,
        ``categories`` and ``annotations``, in the order of the table. Ids start at 1. Images have a size where it is known.
    """
    table = annotations
    records = []
    for row in range(len(table)):
        box = table.boxes_px[row].tolist()
        record: dict[str, Any] = {
            "id": row + 1,
            "image_id": int(table.image[row]) + 1,
            "category_id": int(table.label[row]) + 1,
            "bbox": [box[0], box[1], _length(box[0], box[2]), _length(box[1], box[3])],
            **_segmentation(table, row, compressed),
            "iscrowd": int(table.crowd[row]),
        }
        if table.is_oriented[row]:
            record["corners"] = table.corners_px[row].ravel().tolist()
        if table.difficult[row]:
            record["difficult"] = int(table.difficult[row])
        if not np.isnan(table.scores[row]):
            record["score"] = float(table.scores[row])
        records.append(record)
    sizes = [{} if one.shape is None else {"width": one.width, "height": one.height} for one in table.images]
    return {
        **HEAD,
        "images": [{"id": id_, "file_name": one.name, **sizes[id_ - 1]} for id_, one in enumerate(table.images, 1)],
        "categories": [{"id": id_, "name": name} for id_, name in enumerate(table.classes, 1)],
        "annotations": records,
    }


def _length(start: float, stop: float) -> float:
    """Return a length that, added to ``start``, gives exactly ``stop``; it is rounded to 6 decimals where that is possible."""
    length = stop - start
    near = (round(length, 6), length, float(np.nextafter(length, 0)), float(np.nextafter(length, np.inf)))
    return next((one for one in near if start + one == stop), length)


def _segmentation(table: Annotations, row: int, compressed: bool) -> dict[str, Any]:
    shape = table.shapes[row]
    if isinstance(shape, Rle):
        return {"segmentation": shape.to_coco(compressed=compressed), "area": shape.area}
    if shape is None and not table.is_oriented[row]:
        x0, y0, x1, y1 = table.boxes_px[row].tolist()
        return {"segmentation": [], "area": (x1 - x0) * (y1 - y0)}
    polygon = shapely.Polygon(table.corners_px[row]) if shape is None else shape
    rings = to_rings(polygon)
    return {"segmentation": [ring[:-2] for ring in rings] if shape is None else rings, "area": float(shapely.area(polygon))}


def _list(value: dict[str, Any], key: str, path: Path) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        fail(Where(path), f"{key} is {shown(found)}, not a list")
    return found


def _object(value: Json, where: Where) -> dict[str, Any]:
    if not isinstance(value, dict):
        fail(where, f"it is {shown(value)}, not an object")
    return value


def _categories(gathered: Gathered, value: dict[str, Any], path: Path) -> dict[Any, str]:
    """Return the names of the categories by id, without the root category of Roboflow exports."""
    listed = [one for one in _list(value, "categories", path) if isinstance(one, dict)]
    root = _root(listed, value)
    names: dict[Any, str] = {}
    for number, given in enumerate(_list(value, "categories", path)):
        where = Where(path, f"categories[{number}]")
        with gathered.faults:
            one = _object(given, where)
            if one is root:
                continue
            id_, name = _id(one.get("id"), where), one.get("name")
            if not isinstance(name, str) or not name.strip():
                fail(where, f"its name is {shown(name)}, not a non-empty text")
            fault = class_fault(name.strip())
            if fault:
                fail(where, fault, "give printable text")
            if id_ in names or name.strip() in names.values():
                fail(where, f"another category has the same id or the same name {shown(name)}", "give each its own")
            names[id_] = name.strip()
    return names


def _root(categories: list[dict[str, Any]], value: dict[str, Any]) -> dict[str, Any] | None:
    """Return the root category of a Roboflow export, whose name is that of the project, or None if there is none.

    The root category has the id 0, is the supercategory of all others, and no annotation has it.
    """
    first = next((one for one in categories if one.get("id") == 0), None)
    others = [one for one in categories if one is not first]
    if first is None or not others or first.get("supercategory") not in {None, "none"}:
        return None
    is_above = all(one.get("supercategory") == first.get("name") for one in others)
    used = any(one.get("category_id") == 0 for one in value["annotations"] if isinstance(one, dict))
    return first if is_above and not used else None


def _images(gathered: Gathered, value: dict[str, Any], path: Path, folder: str, images: ImageFiles) -> dict[Any, str]:
    by_id: dict[Any, str] = {}
    for number, given in enumerate(_list(value, "images", path)):
        where = Where(path, f"images[{number}]")
        with gathered.faults:
            one = _object(given, where)
            id_, name = _id(one.get("id"), where), one.get("file_name")
            if not isinstance(name, str):
                fail(where, f"its file_name is {shown(name)}, not a text")
            if id_ in by_id:
                fail(where, f"another image has the same id {id_}", "give each its own")
            sides = [one.get(side) for side in ("height", "width")]
            shape = None
            if all(sides):
                height, width = (
                    as_count(side, where, f"its {what}") for side, what in zip(sides, ("height", "width"), strict=True)
                )
                shape = height, width
            # An absolute path stays as it is: `ImageFiles.image` refuses it.
            below = name if name.startswith(("/", "\\")) or not folder else f"{folder}/{name}"
            image = images.image(below, shape, where)
            gathered.add_image(image, where)
            by_id[id_] = image.name
    return by_id


def _id(value: Json, where: Where) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        fail(where, f"its id is {shown(value)}, not a number or a text")
    return value


def _row(one: dict[str, Any], where: Where, images: dict[Any, str], names: dict[Any, str]) -> Row:
    found = []
    for key, known in (("image_id", images), ("category_id", names)):
        value = _id(one.get(key), where)
        if value not in known:
            fail(where, f"its {key} is {shown(value)}, and the file has no valid record with this id")
        found.append(known[value])
    box = box_of(one, where)
    shape = shape_of(one.get("segmentation"), where)
    corners = _numbers(one["corners"], where, "its corners", 8) if one.get("corners") else None
    if box is None and shape is None:
        fail(where, "it has neither a bbox nor a segmentation")
    # `to_coco` also writes the corners of an oriented box as a polygon, for programs that ignore the key. Drop that polygon.
    if (
        corners is not None
        and isinstance(shape, shapely.Polygon)
        and np.array_equal(shapely.get_coordinates(shape)[:4].ravel(), np.array(corners))
        and len(shape.exterior.coords) == 5
    ):
        shape = None
    crowd = one.get("iscrowd", 0)
    if crowd not in (0, 1):
        fail(where, f"its iscrowd is {shown(crowd)}, not 0 or 1")
    score = one.get("score")
    return Row(
        where,
        found[0],
        found[1],
        box,
        corners,
        shape,
        np.nan if score is None else as_number(score, where, "its score"),
        as_count(one.get("difficult", 0), where, "its difficult"),
        bool(crowd),
    )


def box_of(one: dict[str, Any], where: Where) -> list[float] | None:
    """Return the edges x0, y0, x1, y1 of the ``bbox`` of a record; None if the record has no ``bbox``.

    Raises
    ------
    AnnotationError
        If the ``bbox`` is not a list of x, y, width and height.
    """
    if not one.get("bbox"):
        return None
    x, y, width, height = _numbers(one["bbox"], where, "its bbox", 4)
    if width < 0 or height < 0:
        fail(where, f"its bbox is {[x, y, width, height]}, with a negative width or height")
    return [x, y, x + width, y + height]


def _numbers(values: Json, where: Where, what: str, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        fail(where, f"{what} is {shown(values)}, not {count} numbers")
    return [as_number(value, where, f"a number of {what[4:]}") for value in values]


def shape_of(value: Json, where: Where) -> Rle | BaseGeometry | None:
    """Return a ``segmentation`` as a mask or as polygons, which are not repaired; None if it is empty.

    Raises
    ------
    AnnotationError
        If it is neither a mask nor a list of polygons.
    """
    if isinstance(value, dict):
        try:
            return Rle.from_coco(value)
        except OptionError as error:
            raise AnnotationError(f"{where}: {error}") from None
    if value is not None and not isinstance(value, list):
        fail(where, f"its segmentation is {shown(value)}, not a list of polygons or a mask")
    parts = []
    for ring in value or []:
        if not isinstance(ring, list) or len(ring) % 2:
            fail(where, f"a polygon of its segmentation is {shown(ring)}, not a list with x and y of each point")
        if not ring:
            continue
        if len(ring) < 6:
            fail(where, f"a polygon of its segmentation has {len(ring) // 2} points, not three or more")
        points = np.array([as_number(number, where, "a number of its segmentation") for number in ring])
        parts.append(shapely.Polygon(points.reshape(-1, 2)))
    return None if not parts else parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


_MOST_NEIGHBOURS = 50


def read_results(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:  # noqa: ARG001 - all readers have it
    """Read COCO result lists."""
    stems = {name: without_suffix(PurePosixPath(name).name) for name in (*images.shapes, *images.paths)}
    by_number = {stem.lstrip("0"): name for name, stem in stems.items() if stem.isdigit()}
    for path in paths:
        with gathered.faults:
            records = read_json(path)
            if not isinstance(records, list):
                fail(Where(path), "it is not a list of COCO results", "give another format")
            image_names, class_names = _named(gathered, path)
            for number, given in enumerate(records):
                with gathered.faults:
                    where = Where(path, f"[{number}]")
                    one = object_of(given, where, "it")
                    image_id, category = _result_id(one, "image_id", where), _result_id(one, "category_id", where)
                    name = image_names.get(image_id) or by_number.get(str(image_id).lstrip("0")) or str(image_id)
                    shape = shape_of(one.get("segmentation"), where)
                    size = shape.shape if isinstance(shape, Rle) else None
                    image = images.image(name, size, where)
                    known = gathered.images.get(image.name)
                    if known is None or (known.shape is None and image.shape is not None):
                        gathered.images[image.name] = image
                    gathered.add(_result_row(one, where, image.name, class_names.get(category) or str(category), shape))


def _result_id(one: dict[str, Any], key: str, where: Where) -> int | str:
    value = one.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        fail(where, f"its {key} is {shown(value)}, not a number or a text")
    return value


def _result_row(one: dict[str, Any], where: Where, image: str, name: str, shape: Rle | BaseGeometry | None) -> Row:
    box = box_of(one, where)
    if box is None and shape is None:
        fail(where, "it has neither a bbox nor a segmentation")
    score = one.get("score")
    return Row(where, image, name, box, shape=shape, score=np.nan if score is None else as_number(score, where, "its score"))


def _named(gathered: Gathered, path: Path) -> tuple[dict[int | str, str], dict[int | str, str]]:
    """Return the names of images and of classes by id, from the first COCO file in the same folder."""
    for other in sorted(path.parent.glob("*.json"))[:_MOST_NEIGHBOURS]:
        try:
            if other == path or not other.is_file() or not head_of(other, 64).startswith(b"{"):
                continue
            value = read_json(other)
        except AnnotationError:
            continue
        if is_coco(value) and isinstance(value.get("categories"), list):
            gathered.changed.add(f"{path}: the names of images and classes are read from {other}")
            return _names(value["images"], "file_name"), _names(value["categories"], "name")
    gathered.changed.add(
        f"{path}: its folder has no COCO file with the names of images and classes; their ids are used as names"
    )
    return {}, {}


def _names(records: list[Any], key: str) -> dict[int | str, str]:
    found = [(one.get("id"), one.get(key)) for one in records if isinstance(one, dict)]
    return {id_: name.strip() for id_, name in found if isinstance(id_, int | str) and isinstance(name, str) and name.strip()}

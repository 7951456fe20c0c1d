"""VGG Image Annotator (VIA), version 2: projects and annotations in JSON, annotations in CSV.

Pixels
------
VIA rounds coordinates to whole pixels. They are read as continuous pixel coordinates.

Regions
-------
``rect``, ``polygon``, ``circle`` and ``ellipse`` (the last two as polygons of 64 points) are read. Points and lines have no
area and are faults. The class of a region is one of its attributes: the one that the caller names, or else the first that it
has of ``class``, ``label``, ``name``, ``type`` and ``category``, or else its only attribute. If the attribute is a group of
check boxes, the class is the box that is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.parsing.csv_rows import header_of, read_records
from samgeo.annotations.parsing.json_shapes import below_folder, ellipse, object_of, polygon, text_of
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import Where, as_number, fail, head_of, read_json, shown
from samgeo.errors import AnnotationError

__all__ = ["format_of", "read"]

_COLUMNS = {"filename", "region_shape_attributes", "region_attributes"}
_CLASS_NAMES = ("class", "label", "name", "type", "category")

Region = tuple[Where, dict[str, Any], dict[str, Any]]


def format_of(head: bytes) -> str:
    """Return ``"via"`` if a CSV file has the columns of VIA, else ``""``."""
    return "via" if set(header_of(head)) >= _COLUMNS else ""


def read(
    gathered: Gathered,
    root: Path,
    paths: Sequence[Path],
    images: ImageFiles,
    *,
    class_column: str | None,
    class_name: str | None,
) -> None:
    """Read VIA files; if ``class_name`` is given, it is the class of all regions, whatever their attributes."""
    for path in paths:
        with gathered.faults:
            is_json = head_of(path, 16).startswith(b"{")
            found = _of_json(gathered, path) if is_json else _of_csv(gathered, path)
            for where, name, regions in found:
                with gathered.faults:
                    below = name if name.startswith(("/", "\\")) else below_folder(name_below(root, path), name)
                    image = images.image(below, None, where)
                    gathered.add_image(image, where)
                    for place, shape, attributes in regions:
                        with gathered.faults:
                            label = class_name or _class(attributes, class_column, place)
                            gathered.add(_row(shape, place, image.name, label))


def _of_json(gathered: Gathered, path: Path) -> Iterator[tuple[Where, str, list[Region]]]:
    """Yield the place in the file, the name and the regions of each image."""
    value = object_of(read_json(path), Where(path), "it")
    listed = value.get("_via_img_metadata", value)
    if "file" in value and "metadata" in value and "project" in value:
        fail(Where(path), "it is a project of VIA 3, which is not supported", "export it from VIA as COCO", whole=True)
    for key, given in object_of(listed, Where(path), "_via_img_metadata").items():
        with gathered.faults:
            where = Where(path, shown(key))
            one = object_of(given, where, "it")
            name, regions = text_of(one.get("filename"), where, "its filename"), one.get("regions") or []
            items = list(regions.items() if isinstance(regions, dict) else enumerate(regions)) if regions != {} else []
            found: list[Region] = []
            for number, region in items:
                with gathered.faults:
                    place = Where(path, f"{shown(key)}, regions[{number}]")
                    parts = object_of(region, place, "it")
                    shape = object_of(parts.get("shape_attributes"), place, "its shape_attributes")
                    found.append(
                        (place, shape, object_of(parts.get("region_attributes") or {}, place, "its region_attributes"))
                    )
            yield where, name, found


def _of_csv(gathered: Gathered, path: Path) -> Iterator[tuple[Where, str, list[Region]]]:
    """Yield the place in the file, the name and the regions of each image."""
    by_name: dict[str, tuple[Where, list[Region]]] = {}
    for where, record in read_records(gathered, path):
        if not set(record) >= _COLUMNS:
            fail(where, f"it needs the columns {', '.join(sorted(_COLUMNS))}", "give a CSV file of VIA", whole=True)
        with gathered.faults:
            name = text_of(record["filename"], where, "its filename")
            regions = by_name.setdefault(name, (where, []))[1]
            shape, attributes = (_json(record[key], where, key) for key in ("region_shape_attributes", "region_attributes"))
            # An image without regions has one line whose shape is empty.
            if shape:
                regions.append((where, shape, attributes))
    for name, (where, regions) in by_name.items():
        yield where, name, regions


def _json(text: str, where: Where, key: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{where}: {key} is not valid JSON ({str(error)[:100]}); correct the file.") from None
    return object_of(value, where, key)


def _class(attributes: dict[str, Any], column: str | None, where: Where) -> str:
    known = [name for name in _CLASS_NAMES if name in attributes]
    wanted = column or (known[0] if known else next(iter(attributes)) if len(attributes) == 1 else None)
    if wanted is None or wanted not in attributes:
        there = ", ".join(map(str, list(attributes)[:10])) or "none"
        remedy = "name the attribute that has the class with class_column, or give one class for all with class_name"
        fail(where, f"it has no attribute {column or 'class'!r} (there are: {there})", remedy)
    value = attributes[wanted]
    if isinstance(value, dict):
        ticked = [key for key, is_ticked in value.items() if is_ticked is True]
        if len(ticked) != 1:
            fail(where, f"its {wanted} has {len(ticked)} checked boxes ({shown(ticked)}), not one")
        value = ticked[0]
    return text_of(value, where, f"its {wanted}")


def _row(shape: dict[str, Any], where: Where, image: str, name: str) -> Row:
    kind = shape.get("name")
    if kind == "rect":
        x, y, width, height = _numbers(shape, where, "x", "y", "width", "height")
        if width < 0 or height < 0:
            fail(where, f"its width and height are {width:g} and {height:g}, and neither may be negative")
        return Row(where, image, name, (x, y, x + width, y + height))
    if kind == "polygon":
        columns = [column for key in ("all_points_x", "all_points_y") if isinstance(column := shape.get(key), list)]
        if len(columns) != 2 or len(columns[0]) != len(columns[1]):
            fail(where, "its all_points_x and all_points_y are not two lists of the same length")
        return Row(where, image, name, shape=polygon([list(point) for point in zip(*columns, strict=True)], where))
    if kind == "circle":
        x, y, radius = _numbers(shape, where, "cx", "cy", "r")
        return Row(where, image, name, shape=ellipse((x, y), (radius, radius), 0, where))
    if kind != "ellipse":
        fail(where, f"its shape is {shown(kind)}, which has no area", "use rectangles, polygons, circles or ellipses")
    x, y, radius_x, radius_y = _numbers(shape, where, "cx", "cy", "rx", "ry")
    (turn,) = _numbers({"theta": 0, **shape}, where, "theta")
    return Row(where, image, name, shape=ellipse((x, y), (radius_x, radius_y), turn, where))


def _numbers(shape: dict[str, Any], where: Where, *names: str) -> list[float]:
    return [as_number(shape.get(name), where, f"its {name}") for name in names]

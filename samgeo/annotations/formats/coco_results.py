"""Result lists of COCO: a list of records with ``image_id``, ``category_id``, ``bbox`` or ``segmentation``, and ``score``.

The file knows images and classes by their ids alone. A COCO file of the ground truth in the same folder, if there is one, names
them. Else a class is called by its number, and an image by its id: a text as it is; a number is the image whose name is that
number, with or without zeros before it.

Pixels
------
As COCO: ``bbox`` is x, y, width, height; masks are run-length encoded down the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from samgeo.annotations.formats.coco import box_of, is_coco, shape_of
from samgeo.annotations.formats.json_shapes import object_of
from samgeo.annotations.images import ImageFiles, without_suffix
from samgeo.annotations.rows import Gathered, Row
from samgeo.annotations.text_files import Where, as_number, fail, head_of, read_json, shown
from samgeo.errors import AnnotationError
from samgeo.segmentation.masks.rle import Rle

__all__ = ["read"]

_MOST_NEIGHBOURS = 50


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:  # noqa: ARG001 - as all readers
    """Read result lists."""
    stems = {name: without_suffix(PurePosixPath(name).name) for name in (*images.shapes, *images.paths)}
    by_number = {stem.lstrip("0"): name for name, stem in stems.items() if stem.isdigit()}
    for path in paths:
        with gathered.faults:
            records = read_json(path)
            if not isinstance(records, list):
                fail(Where(path), "it is no list of results", "give another format")
            image_names, class_names = _named(gathered, path)
            for number, given in enumerate(records):
                with gathered.faults:
                    where = Where(path, f"[{number}]")
                    one = object_of(given, where, "it")
                    image_id, category = _id(one, "image_id", where), _id(one, "category_id", where)
                    name = image_names.get(image_id) or by_number.get(str(image_id).lstrip("0")) or str(image_id)
                    shape = shape_of(one.get("segmentation"), where)
                    size = shape.shape if isinstance(shape, Rle) else None
                    image = images.image(name, size, where)
                    known = gathered.images.get(image.name)
                    if known is None or (known.shape is None and image.shape is not None):
                        gathered.images[image.name] = image
                    gathered.add(_row(one, where, image.name, class_names.get(category) or str(category), shape))


def _id(one: dict[str, Any], key: str, where: Where) -> int | str:
    value = one.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        fail(where, f"its {key} is {shown(value)}, not a number or a text")
    return value


def _row(one: dict[str, Any], where: Where, image: str, name: str, shape: Any) -> Row:
    box = box_of(one, where)
    if box is None and shape is None:
        fail(where, "it has neither a bbox nor a segmentation")
    score = one.get("score")
    return Row(where, image, name, box, shape=shape, score=np.nan if score is None else as_number(score, where, "its score"))


def _named(gathered: Gathered, path: Path) -> tuple[dict[int | str, str], dict[int | str, str]]:
    """Return the names of images and of classes by id, of a COCO file in the same folder."""
    for other in sorted(path.parent.glob("*.json"))[:_MOST_NEIGHBOURS]:
        try:
            if other == path or not other.is_file() or not head_of(other, 64).startswith(b"{"):
                continue
            value = read_json(other)
        except AnnotationError:
            continue
        if is_coco(value) and isinstance(value.get("categories"), list):
            gathered.changed.add(f"{path}: images and classes have the names that {other} gives their ids")
            return _names(value["images"], "file_name"), _names(value["categories"], "name")
    gathered.changed.add(f"{path}: no COCO file in its folder names images and classes; they are called by their ids")
    return {}, {}


def _names(records: list[Any], key: str) -> dict[int | str, str]:
    found = [(one.get("id"), one.get(key)) for one in records if isinstance(one, dict)]
    return {id_: name.strip() for id_, name in found if isinstance(id_, int | str) and isinstance(name, str) and name.strip()}

"""Label Studio JSON: all tasks are in one file.

Pixels
------
Coordinates are percentages of ``original_width`` and ``original_height``.

Results
-------
``rectanglelabels`` (an oriented box if it is rotated), ``polygonlabels`` and ``ellipselabels`` (read as a polygon of 64 points)
are read. Keypoints, vectors and brushes are faults; Label Studio can export brushes as COCO. Results of other types, such as
choices and texts, are skipped.

Of the annotations of a task, one is read: the ground truth if there is one, or else the first that was not cancelled. A note
says that the others are skipped. Predictions are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from samgeo.annotations.images import SUFFIXES, ImageFiles, name_below
from samgeo.annotations.parsing.json_shapes import (
    base_name,
    below_folder,
    corners_around,
    ellipse,
    object_of,
    polygon,
    text_of,
)
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import Where, as_count, as_number, fail, read_json, shown

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["read"]

_LABELS = {
    "rectanglelabels",
    "polygonlabels",
    "ellipselabels",
    "brushlabels",
    "keypointlabels",
    "vectorlabels",
    "rectangle",
    "polygon",
    "ellipse",
    "brush",
    "keypoint",
}
# Label Studio puts this prefix before the names of uploaded files.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read Label Studio files."""
    for path in paths:
        with gathered.faults:
            tasks = read_json(path)
            if not isinstance(tasks, list):
                fail(Where(path), "it is not a list of tasks", "export as JSON from Label Studio")
            for number, given in enumerate(tasks):
                with gathered.faults:
                    where = Where(path, f"[{number}]")
                    _read_task(gathered, object_of(given, where, "it"), where, name_below(root, path), images)


def _read_task(gathered: Gathered, task: dict[str, Any], where: Where, own: str, images: ImageFiles) -> None:
    results = _results(gathered, task, where)
    sizes = {size for result in results if (size := _size(result, where)) is not None}
    if len(sizes) > 1:
        fail(where, f"its results give different sizes of the image: {shown(sorted(sizes))}")
    name = _image_name(task, images, own, where)
    image = images.image(below_folder(own, name), next(iter(sizes), None), where)
    gathered.add_image(image, where)
    for number, result in enumerate(results):
        if result.get("type") in _LABELS:
            with gathered.faults:
                place = Where(where.path, f"{where.part}, result[{number}]")
                gathered.add(_row(result, place, image.name, _size(result, place)))


def _results(gathered: Gathered, task: dict[str, Any], where: Where) -> list[dict[str, Any]]:
    listed = task.get("annotations", task.get("completions", []))
    if not isinstance(listed, list):
        fail(where, f"its annotations are {shown(listed)}, not a list")
    done = [one for one in listed if isinstance(one, dict) and not one.get("was_cancelled")]
    best = [one for one in done if one.get("ground_truth")] or done
    if len(done) > 1:
        gathered.changed.add(f"{where}: it has {len(done)} annotations; only one of them is read")
    if not done and task.get("predictions"):
        gathered.changed.add(f"{where}: it has predictions but no annotation; predictions are not read")
    results = best[0].get("result", []) if best else []
    if not isinstance(results, list):
        fail(where, f"its result is {shown(results)}, not a list")
    return [object_of(result, where, "a result") for result in results]


def _image_name(task: dict[str, Any], images: ImageFiles, own: str, where: Where) -> str:
    """Return the file name of a task's image, without the prefix of uploaded files unless an image has this prefix too."""
    data = object_of(task.get("data"), where, "its data")
    texts = [value for value in data.values() if isinstance(value, str)]
    if isinstance(data.get("image"), str):
        texts.insert(0, data["image"])
    names = [_last_part(text) for text in texts]
    named = next((name for name in names if Path(name).suffix.lower() in SUFFIXES), None)
    name = named or text_of(names[0] if names else None, where, "the image of its data")
    plain = _UPLOAD.sub("", name)
    if plain != name and images and images.find(below_folder(own, name), where) is None:
        return plain
    return name


def _last_part(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return base_name(address)
    # The query names the file if it lies on the disk of the server.
    local = parse_qs(parts.query).get("d")
    return base_name(local[0] if local else parts.path)


def _size(result: dict[str, Any], where: Where) -> tuple[int, int] | None:
    sides = [result.get(name) for name in ("original_height", "original_width")]
    if not all(sides):
        return None
    height, width = (as_count(side, where, "a side of the image") for side in sides)
    return height, width


def _row(result: dict[str, Any], where: Where, image: str, size: tuple[int, int] | None) -> Row:
    kind = str(result["type"])
    value = object_of(result.get("value"), where, "its value")
    labels = value.get(kind) or value.get("labels")
    if not isinstance(labels, list) or len(labels) != 1:
        fail(where, f"its labels are {shown(labels)}, not a list of one label")
    name = text_of(labels[0], where, "its label")
    if size is None:
        fail(where, "it has no original_width and original_height")
    across, down = size[1] / 100, size[0] / 100
    score = result.get("score")
    sure = math.nan if score is None else as_number(score, where, "its score")
    if kind.startswith("polygon"):
        points = _in_pixels(value.get("points"), across, down, where)
        return Row(where, image, name, shape=polygon(points, where), score=sure)
    if kind.startswith("ellipse"):
        x, y, radius_x, radius_y = _numbers(value, where, "x", "y", "radiusX", "radiusY")
        outline = ellipse((x * across, y * down), (radius_x * across, radius_y * down), _turn(value, where), where)
        return Row(where, image, name, shape=outline, score=sure)
    if not kind.startswith("rectangle"):
        fail(
            where, f"its type is {kind}, which is not supported", "export brushes as COCO, and leave out shapes without an area"
        )
    x, y, width, height = _numbers(value, where, "x", "y", "width", "height")
    x, y, width, height = x * across, y * down, width * across, height * down
    if width < 0 or height < 0:
        fail(where, f"its width and height are {width:g} and {height:g}, and neither may be negative")
    turn = _turn(value, where)
    if turn == 0:
        return Row(where, image, name, (x, y, x + width, y + height), score=sure)
    # The box is rotated around its top left corner.
    cos, sin = math.cos(turn), math.sin(turn)
    middle_x, middle_y = x + width / 2 * cos - height / 2 * sin, y + width / 2 * sin + height / 2 * cos
    return Row(where, image, name, corners=corners_around(middle_x, middle_y, width, height, turn), score=sure)


def _numbers(value: dict[str, Any], where: Where, *names: str) -> list[float]:
    return [as_number(value.get(name), where, f"its {name}") for name in names]


def _turn(value: dict[str, Any], where: Where) -> float:
    return math.radians(as_number(value.get("rotation") or 0, where, "its rotation"))


def _in_pixels(points: Json, across: float, down: float, where: Where) -> list[list[float]]:
    """Convert points from percentages to pixels; ``across`` and ``down`` are pixels per percent."""
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        fail(where, f"its points are {shown(points)}, not a list of x and y of each point")
    return [[as_number(x, where, "a coordinate") * across, as_number(y, where, "a coordinate") * down] for x, y in points]

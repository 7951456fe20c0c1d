"""YOLO text files, one for each image, in a folder ``labels``, and the YAML file or text list with the names of the classes.

A line has the number of a class and then

- ``"yolo-boxes"``: centre x, centre y, width, height;
- ``"yolo-obb"``: the four corners of an oriented box;
- ``"yolo-segments"``: the points of a polygon, three or more.

A score may follow, as detectors write it. If the YAML file has a ``kpt_shape``, a line has a box and the points of a pose; the
box is read, and the pose is not.

Pixels
------
Coordinates are shares of the width and height of the image, so the sizes of the images must be known. Pixel coordinates are
rounded to 1e-9 of a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.oriented_boxes import box_corners
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import (
    MAX_YAML_BYTES,
    Where,
    as_number,
    fail,
    head_of,
    read_bytes,
    read_lines,
    read_text,
    shown,
)
from samgeo.errors import AnnotationError
from samgeo.segmentation.masks.rle import Rle, without_holes
from samgeo.segmentation.masks.vectorize import polygons

if TYPE_CHECKING:
    from samgeo.annotations.table import Annotations, Image
    from samgeo.types import Json

__all__ = ["KINDS", "NAME_LISTS", "Config", "find_config", "label_files", "outline", "read", "text_of", "yaml_of"]


NAME_LISTS = ("classes.txt", "obj.names", "labels.txt")

_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_MOST_NAMES = 100_000
_MOST_YAMLS = 100
_HAS_NAMES = re.compile(rb"(?m)^\s*[\"']?names[\"']?\s*:")
_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Config:
    """Content of the YAML file or the text list beside the labels.

    Attributes
    ----------
    path : Path or None
        The file; None if there is none.
    names : tuple of str
        Names of the classes, in the order of their numbers.
    keypoints : tuple of int, optional
        The number of points of a pose, and how many numbers each point has.
    """

    path: Path | None = None
    names: tuple[str, ...] = ()
    keypoints: tuple[int, int] | None = None


def find_config(folder: Path, label_folders: Sequence[Path]) -> Config:
    """Find and read the names of the classes; return an empty `Config` if there is no file with them.

    The folder, the folders of the labels and the two folders above are searched, in this order. In each of them a YAML file
    with the name ``data`` or ``dataset`` comes first, then a YAML file of any other name that has names of classes, then a text
    list such as ``classes.txt``.

    Raises
    ------
    AnnotationError
        If the file is faulty, or two YAML files of one folder name the classes differently.
    """
    for place in dict.fromkeys([folder, *label_folders, *list(folder.resolve().parents)[:2]]):
        for name in _YAMLS:
            if (place / name).is_file():
                return _read_yaml(place / name)
        found = [_read_yaml(path) for path in _other_yamls(place)]
        if len({one.names for one in found}) > 1:
            fail(Where(place), f"{found[0].path} and {found[1].path} name the classes differently", "keep only one of them")
        if found:
            return found[0]
        for name in NAME_LISTS:
            path = place / name
            if path.is_file():
                return Config(path, _checked([line for _, line in read_lines(path)], path))
    return Config()


def yaml_of(classes: Sequence[str], images: Sequence[str]) -> str:
    """Return the text of ``data.yaml``: the folders of the parts of the data set, and the names of the classes.

    The text has no ``path``, because programs resolve a relative ``path`` against their working directory; without it they use
    the folder of the YAML file. If all images lie in folders with the names train, val (or valid) and test, these are the
    parts. Otherwise training and validation use the same images.

    Parameters
    ----------
    classes : sequence of str
    images : sequence of str
        Paths of the images, relative to the folder ``images``.
    """
    import yaml

    folders = sorted({name.partition("/")[0] for name in images if "/" in name})
    parts = {_PARTS[folder.lower()]: f"images/{folder}" for folder in folders if folder.lower() in _PARTS}
    is_split = "train" in parts and all(name.partition("/")[0].lower() in _PARTS and "/" in name for name in images)
    if not is_split:
        parts = {"train": "images"}
    comment = "" if "val" in parts else "# There are no images for validation: it is done on those for training.\n"
    named = {"train": parts["train"], "val": parts.get("val", parts["train"])}
    named |= {"test": parts["test"]} if "test" in parts else {}
    value = {**named, "nc": len(classes), "names": dict(enumerate(classes))}
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return comment + text


def _other_yamls(folder: Path) -> Iterator[Path]:
    """Yield the YAML files of a folder that have names of classes, except those with a usual name."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".yaml", ".yml"} and path.is_file())
    except OSError:
        return
    for path in paths[:_MOST_YAMLS]:
        if path.name not in _YAMLS and path.stat().st_size <= MAX_YAML_BYTES:
            try:
                content = read_bytes(path, MAX_YAML_BYTES)
            except AnnotationError:
                continue
            if _HAS_NAMES.search(content):
                yield path


def _read_yaml(path: Path) -> Config:
    value = _value(path)
    names = value.get("names") if isinstance(value, dict) else None
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            fail(Where(path, "names"), "the numbers of the classes are not 0, 1, 2 and so on, without gaps", whole=True)
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        fail(
            Where(path, "names"),
            f"the names of the classes are {shown(names)}, not a list or a mapping of numbers to names",
            whole=True,
        )
    return Config(path, _checked(names, path), _keypoints(value.get("kpt_shape"), path))


def _value(path: Path) -> Json:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = read_text(path, MAX_YAML_BYTES)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        fail(Where(path, f"line {line}"), f"it is not valid YAML ({error.problem})", whole=True)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        fail(Where(path), f"it is not valid YAML ({str(error)[:100]})", whole=True)


def _keypoints(value: Json, path: Path) -> tuple[int, int] | None:
    if value is None:
        return None
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value)
    if not is_pair or not (1 <= value[0] <= _MOST_NAMES and value[1] in (2, 3)):
        fail(
            Where(path, "kpt_shape"),
            f"it is {shown(value)}, not a list of the number of points and the numbers of each point (2 or 3)",
            whole=True,
        )
    return value[0], value[1]


def _checked(names: list[Any], path: Path) -> tuple[str, ...]:
    if len(names) > _MOST_NAMES:
        fail(Where(path), f"it names {len(names)} classes, and at most {_MOST_NAMES} are allowed", whole=True)
    for number, name in enumerate(names):
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
            fail(Where(path), f"the name of class {number} is {shown(name)}, not a non-empty text", whole=True)
    plain = tuple(str(name).strip() for name in names)
    if len(set(plain)) != len(plain):
        fail(Where(path), "two classes have the same name", "give each its own", whole=True)
    return plain


KINDS = ("yolo-boxes", "yolo-obb", "yolo-segments")
PX_DECIMALS = 9
SHARE_DECIMALS = 15

_NO_LABELS = {*NAME_LISTS, "train.txt", "val.txt", "test.txt", "notes.txt"}
_MOST_CLASSES = 100_000
# The numbers at the beginning of a line of YOLO or DOTA.
_NUMBERS = re.compile(rb"([-+]?[\d.]+(e[-+]?\d+)?\s+){4,}", re.IGNORECASE)
# Shares slightly greater than 1 are common. Much larger numbers are pixels.
_MOST_SHARE = 2.0


def label_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that may be labels: those in folders ``labels``, or else all, without lists of names and notes."""
    within = [path for path in paths if any(part.lower() == "labels" for part in path.parts[:-1])]
    return [path for path in within or paths if not _is_no_label(path)]


def _is_no_label(path: Path) -> bool:
    """Return whether a file has the name of a list or a note, and its content is not that of a label file."""
    name = path.name.lower()
    if name.startswith("readme"):
        return True
    return name in _NO_LABELS and _NUMBERS.match(head_of(path, 4096)) is None


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles, kind: str) -> None:
    """Read files of the format ``kind``: one of `KINDS`, or ``"yolo"``.

    With ``"yolo"``, lines with four numbers are boxes. Longer lines are oriented boxes if all of them have four points, and
    polygons otherwise.
    """
    folders = dict.fromkeys(folder for path in paths for folder in path.parents if root in folder.parents)
    config = find_config(root, list(folders))
    gathered.classes = list(config.names)
    keypoints = config.keypoints if kind in {"yolo", "yolo-boxes"} else None
    lines: list[tuple[Image, Where, NDArray[np.float64]]] = []
    for path in paths:
        where = Where(path)
        with gathered.faults:
            own = name_below(root, path)
            if images and images.find(own, where) is None and _NUMBERS.match(head_of(path, 4096) or b"0 0 0 0 ") is None:
                gathered.changed.add(f"{path}: it has no labels, and there is no image {own}; the file is skipped")
                continue
            image = images.image(own, None, where)
            text = list(read_lines(path))
            if image.shape is None and text:
                remedy = "give images=..., a folder of images or a mapping of names to (height, width)"
                what = f"the size of its image is not known: there is no {image.name} among {images.what or 'images'}"
                fail(where, what, remedy)
            gathered.add_image(image, where)
            for place, line in text:
                with gathered.faults:
                    values = enumerate(line.split(), 1)
                    numbers = np.array([as_number(value, place, f"field {number}") for number, value in values])
                    lines.append((image, place, numbers if keypoints is None else _without_pose(numbers, keypoints, place)))
    if kind == "yolo":
        points = {(len(numbers) - 1) // 2 for *_, numbers in lines} - {2}
        kind = "yolo-obb" if points <= {4} else "yolo-segments"
    for image, place, numbers in lines:
        with gathered.faults:
            gathered.add(_row(image, place, numbers, kind, gathered.classes))
    if keypoints is not None and lines:
        gathered.changed.add(f"{config.path}: the labels have poses (kpt_shape); only their boxes are read")
    if not config.names and lines:
        gathered.changed.add(f"{root}: no YAML file and no list names the classes; their numbers are used as names")


def _without_pose(numbers: NDArray[np.float64], keypoints: tuple[int, int], where: Where) -> NDArray[np.float64]:
    """Return the class, the box and the score of a line, without the points of the pose."""
    pose = keypoints[0] * keypoints[1]
    if len(numbers) not in (5 + pose, 6 + pose):
        what = f"it has {len(numbers) - 1} numbers after the class, but a box with {keypoints[0]} points has {4 + pose}"
        fail(where, what)
    return np.concatenate([numbers[:5], numbers[5 + pose :]])


def text_of(rows: Annotations, kind: str) -> str:
    """Return the label text of one image; coordinates outside the image are moved to its edge."""
    height, width = rows.images[0].shape or (1, 1)
    size, lines = np.array([width, height], dtype=np.float64), []
    rboxes = rows.rboxes_px() if kind == "yolo-obb" else rows.corners_px
    for row in range(len(rows)):
        if kind == "yolo-boxes":
            box = np.clip(rows.boxes_px[row].reshape(2, 2), 0, size) / size
            values = np.concatenate([box.mean(axis=0), box[1] - box[0]])
        else:
            points = rboxes[row] if kind == "yolo-obb" else outline(rows, row)
            values = (np.clip(points, 0, size) / size).ravel()
        numbers = " ".join(repr(round(value, SHARE_DECIMALS)) for value in values.tolist())
        lines.append(f"{rows.label[row]} {numbers}\n")
    return "".join(lines)


def outline(rows: Annotations, row: int) -> NDArray[np.float64]:
    """Return the outline of an annotation as one ring, without the repeated last point.

    Separate parts are joined into one ring by pairs of equal lines, which enclose no area.
    """
    shape = rows.shapes[row]
    if shape is None:
        return rows.corners_px[row] if rows.is_oriented[row] else box_corners(rows.boxes_px[row])
    polygon = polygons([shape.to_mask()])[0] if isinstance(shape, Rle) else shape
    rings = [shapely.get_coordinates(shapely.orient_polygons(part).exterior) for part in without_holes(polygon)]
    if not rings:
        return box_corners(rows.boxes_px[row])
    if len(rings) == 1:
        return np.asarray(shapely.get_coordinates(next(without_holes(polygon)).exterior)[:-1])
    back = [ring[:1] for ring in rings[-2:0:-1]]
    return np.concatenate([*rings, *back])


def _row(image: Image, where: Where, numbers: NDArray[np.float64], kind: str, classes: list[str]) -> Row:
    label, count = numbers[0], len(numbers) - 1
    if label < 0 or label != int(label) or label >= max(len(classes), 1 if classes else _MOST_CLASSES):
        of = f"one of {len(classes)} classes" if classes else f"one of at most {_MOST_CLASSES} classes"
        fail(where, f"its class is {label:g}, not the number, counted from 0, of {of}")
    # Coordinates come in pairs, so an odd number of values ends with a score.
    score = numbers[-1] if count % 2 else np.nan
    values = numbers[1:-1] if count % 2 else numbers[1:]
    if len(values) < 4 or (kind == "yolo-boxes" and len(values) != 4):
        fail(where, f"it has {count} numbers after the class, but a box has 4 (centre x, centre y, width, height)")
    if np.abs(values).max() > _MOST_SHARE:
        fail(
            where,
            f"it has {values[np.argmax(np.abs(values))]:g}, which is not a share of the image",
            "divide pixels by the size of the image",
        )
    size = np.array([image.width, image.height], dtype=np.float64)
    points = np.round(values.reshape(-1, 2) * size, PX_DECIMALS)
    name = classes[int(label)] if classes else str(int(label))
    if len(values) == 4:
        if (points[1] < 0).any():
            fail(where, f"its box has a negative side: width and height are {values[2]:g} and {values[3]:g}")
        centre, half = values[:2] * size, values[2:] * size / 2
        box = np.round(np.concatenate([centre - half, centre + half]), PX_DECIMALS)
        return Row(where, image.name, name, box.tolist(), score=float(score))
    if kind == "yolo-obb":
        if len(values) != 8:
            fail(where, f"it has {len(values) // 2} points, but an oriented box has four corners")
        return Row(where, image.name, name, corners=points.ravel().tolist(), score=float(score))
    return Row(where, image.name, name, shape=shapely.Polygon(points), score=float(score))

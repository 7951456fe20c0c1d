"""The yaml of a YOLO data set: names of classes, points of a pose, and which folders are for training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samgeo.annotations.text_files import MAX_YAML_BYTES, Where, fail, read_bytes, read_lines, read_text, shown
from samgeo.errors import AnnotationError

__all__ = ["NAME_LISTS", "Config", "find_config", "yaml_of"]

NAME_LISTS = ("classes.txt", "obj.names", "labels.txt")

_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_MOST_CLASSES = 100_000
_MOST_YAMLS = 100
_HAS_NAMES = re.compile(rb"(?m)^\s*[\"']?names[\"']?\s*:")
_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Config:
    """What a yaml or a list says.

    Attributes
    ----------
    path : Path or None
        The file, None where there is none.
    names : tuple of str
        Of the classes, in the order of their numbers.
    keypoints : tuple of int, optional
        Points of a pose, and numbers that each has.
    """

    path: Path | None = None
    names: tuple[str, ...] = ()
    keypoints: tuple[int, int] | None = None


def find_config(folder: Path, label_folders: Sequence[Path]) -> Config:
    """Return what is said beside labels.

    Looked for in the folder, in those of the labels, and up to two folders above: a yaml called ``data`` or ``dataset``; a
    yaml of any other name that has names of classes; a list such as ``classes.txt``.

    Raises
    ------
    AnnotationError
        If the file is faulty, or two yamls of one folder have different names of classes.
    """
    for place in dict.fromkeys([folder, *label_folders, *list(folder.resolve().parents)[:2]]):
        for name in _YAMLS:
            if (place / name).is_file():
                return _read_yaml(place / name)
        found = [_read_yaml(path) for path in _other_yamls(place)]
        if len({one.names for one in found}) > 1:
            fail(Where(place), f"{found[0].path} and {found[1].path} name the classes differently", "keep one of them")
        if found:
            return found[0]
        for name in NAME_LISTS:
            path = place / name
            if path.is_file():
                return Config(path, _checked([line for _, line in read_lines(path)], path))
    return Config()


def yaml_of(classes: Sequence[str], images: Sequence[str]) -> str:
    """Return the text of ``data.yaml``: where images belong, and the names of the classes.

    Without ``path``, as programs take a relative one from the folder that they work in, and without it the folder of the yaml.
    Where all images lie in folders called train, val (valid) and test, these are named; else training and validation are the
    same.

    Parameters
    ----------
    classes : sequence of str
    images : sequence of str
        Names below ``images``.
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
    """Give the yamls of a folder, of any name, that have names of classes."""
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
            fail(Where(path, "names"), "the numbers of the classes are not 0, 1, 2 and so on", whole=True)
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        fail(Where(path, "names"), f"the names of the classes are {shown(names)}, not a list", whole=True)
    return Config(path, _checked(names, path), _keypoints(value.get("kpt_shape"), path))


def _value(path: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = read_text(path, MAX_YAML_BYTES)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        fail(Where(path, f"line {line}"), f"it is no yaml ({error.problem})", whole=True)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        fail(Where(path), f"it is no yaml ({str(error)[:100]})", whole=True)


def _keypoints(value: Any, path: Path) -> tuple[int, int] | None:
    if value is None:
        return None
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value)
    if not is_pair or not (1 <= value[0] <= _MOST_CLASSES and value[1] in (2, 3)):
        fail(Where(path, "kpt_shape"), f"it is {shown(value)}, not a number of points, and 2 or 3 numbers for each", whole=True)
    return value[0], value[1]


def _checked(names: list[Any], path: Path) -> tuple[str, ...]:
    if len(names) > _MOST_CLASSES:
        fail(Where(path), f"it has {len(names)} names of classes; {_MOST_CLASSES} are read", whole=True)
    for number, name in enumerate(names):
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
            fail(Where(path), f"the name of class {number} is {shown(name)}, not a text", whole=True)
    plain = tuple(str(name).strip() for name in names)
    if len(set(plain)) != len(plain):
        fail(Where(path), "a name of a class comes twice", whole=True)
    return plain

"""A file or a folder of annotations into the table, in whatever format it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samgeo.dataset.annotations import coco, dota, vectors, voc, yolo
from samgeo.dataset.annotations.files import Where, fail, find_files, read_lines
from samgeo.dataset.annotations.images import SUFFIXES, ImageFiles
from samgeo.dataset.annotations.table import Annotations
from samgeo.dataset.annotations.voc import VocPixels
from samgeo.errors import AnnotationError, OptionError
from samgeo.geo.vector_layers import split_layer

__all__ = ["READABLE", "read_annotations"]

READABLE = ("coco", "dior", "dota", "fair1m", "vectors", "voc", "yolo", *yolo.KINDS)
"""Formats that can be named."""

_SUFFIX = {"coco": ".json", "dota": ".txt", "voc": ".xml", "dior": ".xml", "fair1m": ".xml"} | dict.fromkeys(
    ("yolo", *yolo.KINDS), ".txt"
)
_PARTS = {"labels", "train", "val", "valid", "test"}
_HEAD_BYTES = 1 << 16
# Files without objects do not show their format: look at some more.
_MOST_LOOKED_AT = 1000


def read_annotations(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the field's name for it
    images: str | os.PathLike[str] | Mapping[str, tuple[int, int]] | None = None,
    class_column: str | None = None,
    class_name: str | None = None,
    crs: Any = None,
    pixels: VocPixels = "inclusive",
) -> Annotations:
    """Read annotations.

    Files are not trusted: none can run code, name entities or lead out of the folder of images, their sizes and counts are
    bounded, and the first thing that is wrong in one ends the reading.

    Parameters
    ----------
    path : path
        A file, or a folder, which is searched with its folders. COCO is one file, or one in each part of a data set (as
        ``_annotations.coco.json`` of Roboflow); the other formats have a file for each image. A vector layer is one file, or
        one layer of it: ``city.gpkg:roofs``.
    format : str, optional
        ``"coco"``, ``"dota"``, ``"voc"``, ``"dior"``, ``"fair1m"``, ``"yolo"`` (which tells its three kinds apart by the number
        of points), ``"yolo-boxes"``, ``"yolo-obb"``, ``"yolo-segments"`` or ``"vectors"``. By default the files tell.
    images : path or mapping, optional
        The images: a folder, a file, or names to (height, width) in pixels. They give sizes, which YOLO needs, and the names of
        files where a format gives none; they give georeferenced layers their pixels. Of YOLO, the folder ``images`` beside
        ``labels`` is found where it is there.
    class_column : str, optional
        Of a vector file; ``"class"`` by default.
    class_name : str, optional
        The class of every object of a vector file, instead of a column.
    crs : "pixels", optional
        Take the coordinates of a vector file as pixels, whatever CRS it claims.
    pixels : {"inclusive", "edges"}, default "inclusive"
        What the numbers of ``bndbox`` in xml are: pixels from 1, the last one included, as Pascal VOC has it; or edges from 0.

    Returns
    -------
    Annotations
        Images in the order of their files (for COCO and vectors, of the file); those without annotations too.

    Raises
    ------
    AnnotationError
        If a file cannot be read or does not hold what it should; with its path, and the line or the element.
    OptionError
        If an option is not one of these, or is given for a format that has no use for it.
    """
    name, layer = split_layer(path)
    root = Path(name)
    if format is not None and format not in READABLE:
        raise OptionError(f"format is {format!r}; give one of {', '.join(READABLE)}.")
    if pixels not in ("inclusive", "edges"):
        raise OptionError(f'pixels is {pixels!r}; give "inclusive" or "edges".')
    if not root.exists():
        raise AnnotationError(f"{root} does not exist (looked from {Path.cwd()}); check the path.")
    kind, paths = _files(root, format)
    _check_options(kind, class_column, class_name, crs, pixels)
    if layer is not None and kind != "vectors":
        raise OptionError(f"the layer {layer!r} has no meaning for {kind}; give the path of the file, {root}.")
    folder = root if root.is_dir() else root.parent
    known = ImageFiles.of(_beside(folder) if images is None and kind.startswith("yolo") else images)
    if kind == "vectors":
        return vectors.read(root, known, class_column, class_name, crs, layer=layer).to_table()
    if kind == "coco":
        return coco.read(folder, paths, known).to_table()
    if kind == "dota":
        return dota.read(folder, paths, known).to_table()
    if kind.startswith("yolo"):
        return yolo.read(folder, paths, known, kind).to_table()
    return voc.read(folder, paths, known, kind, pixels).to_table()


def _check_options(kind: str, class_column: Any, class_name: Any, crs: Any, pixels: str) -> None:
    given = {"class_column": class_column, "class_name": class_name, "crs": crs}
    unused = [name for name, value in given.items() if value is not None] if kind != "vectors" else []
    if pixels != "inclusive" and kind not in {"voc", "dior"}:
        unused.append("pixels")
    if unused:
        raise OptionError(f"{unused[0]} has no meaning for {kind}; leave it away.")
    if class_column is not None and class_name is not None:
        raise OptionError("class_column and class_name are both given; give one of them.")


def _files(root: Path, kind: str | None) -> tuple[str, list[Path]]:
    """Return the format and its files."""
    if root.is_file():
        return kind or _format_of_file(root) or "dota", [root]
    if not root.is_dir():
        fail(Where(root), "it is no regular file and no folder", "give one of the two")
    if kind == "vectors":
        fail(Where(root), "it is a folder, and a vector layer is a file", "give the file")
    suffixes = [_SUFFIX[kind]] if kind else [".xml", ".txt", ".json"]
    found = {suffix: find_files(root, suffix) for suffix in suffixes}
    if ".txt" in found:
        found[".txt"] = found[".txt"] if kind == "dota" else yolo.label_files(found[".txt"])
    there = [suffix for suffix, paths in found.items() if paths]
    if not there:
        fail(Where(root), f"it has no annotations: no file ends in {', '.join(suffixes)}", "check the folder")
    if len(there) > 1:
        fail(Where(root), f"it has files of several formats ({', '.join(there)})", "say which with format=...")
    paths = found[there[0]]
    return kind or _format_of_files(paths), paths


def _format_of_files(paths: list[Path]) -> str:
    """Return the format that the first files with objects have."""
    kinds = {_format_of_file(path) for path in paths[:_MOST_LOOKED_AT]} - {""}
    # Empty files say nothing; Pascal VOC without oriented boxes is read as DIOR is.
    if kinds == {"voc", "dior"}:
        return "dior"
    if kinds == {"voc", "fair1m"}:
        return "fair1m"
    if len(kinds) > 1:
        fail(
            Where(paths[0].parent),
            f"its files are of several formats ({', '.join(sorted(kinds))})",
            "say which with format=...",
        )
    return kinds.pop() if kinds else "dota"


def _format_of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in vectors.SUFFIXES:
        return "vectors"
    if suffix == ".xml":
        return voc.format_of(path)
    if suffix == ".json":
        with path.open("rb") as file:
            return "vectors" if b'"FeatureCollection"' in file.read(_HEAD_BYTES) else "coco"
    if suffix != ".txt":
        fail(Where(path), f"the suffix {suffix!r} does not show its format", "say which with format=...")
    lines = ((where, line) for where, line in read_lines(path) if not dota.is_header(line))
    where, line = next(lines, (Where(path), ""))
    return _format_of_line(line.split(), where) if line else ""


def _format_of_line(fields: list[str], where: Where) -> str:
    is_number = [_is_number(field) for field in fields]
    if all(is_number) and len(fields) >= 5 and fields[0].isdigit():
        return "yolo"
    # Eight coordinates and a class; a class that is a number would be a share of YOLO.
    if len(fields) < 9 or not all(is_number[:8]) or is_number[8]:
        fail(where, "it is neither a line of DOTA nor one of YOLO", "say which format it is with format=...")
    return "dota"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _beside(folder: Path) -> Path | None:
    """Return the images of a YOLO data set: the folder ``images`` in its folder or beside ``labels``, or among the labels."""
    for base in (folder, *list(folder.resolve().parents)[:2]):
        if (base / "images").is_dir():
            return base / "images"
        if base.name.lower() not in _PARTS:
            break
    return folder if any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*")) else None

"""Annotations for a data set: read beside images that may be broken, and brought to the classes that are wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samgeo.annotations.format_detection import format_of_file
from samgeo.annotations.images import ImageFiles, without_suffix
from samgeo.annotations.reading import read_annotations
from samgeo.annotations.table import Annotations
from samgeo.errors import AnnotationError, OptionError
from samgeo.geo.vector.layers import split_layer
from samgeo.samrs.planning import open_images

__all__ = ["read_tolerant", "with_classes"]

_DEFAULTS = {"pixels": "inclusive", "on_error": "raise"}
_PLACED = {"open-buildings", "spacenet", "vectors"}


def read_tolerant(
    files: ImageFiles,
    images: str | os.PathLike[str],
    annotations: Any,
    reading: Mapping[str, Any],
) -> tuple[Annotations, dict[str, str]]:
    """Read annotations, whose images may be broken or missing.

    Parameters
    ----------
    files : ImageFiles
        Those of ``images``.
    images : path
    annotations : path or Annotations
    reading : mapping
        ``format``, ``class_column``, ``class_name``, ``pixels`` and ``on_error`` of `read_annotations`.

    Returns
    -------
    Annotations
    dict of str to str
        Images with annotations that cannot be used, and why.

    Raises
    ------
    AnnotationError
        If the annotations cannot be read, or none of them belongs to an image.
    OptionError
        If an option has no use.
    """
    good, bad = open_images(files)
    if isinstance(annotations, Annotations):
        if any(value != _DEFAULTS.get(name) for name, value in reading.items()):
            raise OptionError(f"{', '.join(reading)} are of files; leave them away for a table.")
        table = annotations
    else:
        is_layer = _is_layer(Path(split_layer(annotations)[0]), reading["format"])
        # Layers need the images themselves; other formats their sizes, and can do without those of broken ones.
        given = images if is_layer or not bad else good
        table = read_annotations(annotations, images=given, **reading)
    table = _matched(table, files)
    known = {image.name for image in table.images}
    by_stem = {without_suffix(name): name for name in bad}
    failed = {name: reason for name, reason in bad.items() if name in known}
    used = np.unique(table.image)
    for number in used.tolist():
        image = table.images[number]
        if image.name in files.paths:
            continue
        broken = by_stem.get(image.name)
        failed[broken or image.name] = bad[broken] if broken else f"there is no such image in {files.what}"
    if len(used) and not any(table.images[number].name in files.paths for number in used.tolist()) and not bad:
        raise AnnotationError(
            f"none of the {len(used)} annotated images ({table.images[used[0]].name}, ...) is in {files.what}; give the images "
            "that were annotated."
        )
    return table, failed


def with_classes(table: Annotations, classes: Sequence[str] | None) -> Annotations:
    """Return the annotations of some classes, numbered in their order.

    Raises
    ------
    OptionError
        If a class is unknown or comes twice.
    """
    if classes is None:
        return table
    wanted = tuple(classes)
    unknown = [name for name in wanted if name not in table.classes]
    if unknown or len(set(wanted)) != len(wanted) or not wanted:
        what = f"{unknown[0]!r} is no class of the annotations" if unknown else "a class comes twice, or there is none"
        raise OptionError(f"{what}; there are: {', '.join(table.classes)}.")
    number = np.array([wanted.index(name) if name in wanted else -1 for name in table.classes], dtype=np.int64)
    label = number[table.label]
    kept = table.take(label >= 0)
    return replace(kept, classes=wanted, label=label[label >= 0])


def _is_layer(path: Path, kind: str | None) -> bool:
    """Whether a file has coordinates on the ground, and so needs the images themselves."""
    if kind is not None or not path.is_file():
        return kind in _PLACED
    try:
        return format_of_file(path) in _PLACED
    except AnnotationError:
        # Reading it says what is wrong.
        return False


def _matched(table: Annotations, files: ImageFiles) -> Annotations:
    """Return the table with the names of files, where a table or a format has other ones."""
    from samgeo.annotations.text_files import Where

    names = [files.find(image.name, Where(Path(image.name))) or image.name for image in table.images]
    if len(set(names)) != len(names):
        raise AnnotationError(f"two images of the annotations are one in {files.what}; name them by their files.")
    changed = [replace(image, name=name) for image, name in zip(table.images, names, strict=True)]
    return replace(table, images=tuple(changed))

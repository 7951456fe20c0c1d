"""DOTA text files, one for each image, and the result files of DOTA, one for each class.

Pixels
------
Coordinates are continuous pixel coordinates and are not changed. Corners may lie outside the image.

Annotations
-----------
A line is ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``. The difficulty may be missing. Files of version 1 begin with the header
lines ``imagesource:`` and ``gsd:``.

Results
-------
Result files have names such as ``Task1_plane.txt``. A line is the name of an image without its suffix, a score, and the four
corners of an oriented box (Task 1) or the first and the last corner of a horizontal box (Task 2). The class is the part of the
file name after ``Task1_`` or ``Task2_``, or the whole name without its suffix if it does not begin so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import Where, as_count, as_number, fail, read_lines, shown

if TYPE_CHECKING:
    from samgeo.annotations.table import Annotations

__all__ = ["class_text", "is_header", "read", "text_of"]


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read DOTA annotation files."""
    for path in paths:
        with gathered.faults:
            image = images.image(name_below(root, path), None, Where(path))
            lines = list(read_lines(path))
            gathered.add_image(image, Where(path))
            for where, line in lines:
                if not is_header(line):
                    with gathered.faults:
                        gathered.add(_row(line, where, image.name))


def is_header(line: str) -> bool:
    """Return whether a line is a header: the source of the image, or its ground sample distance."""
    return line.lower().startswith(("imagesource:", "gsd:"))


def text_of(rows: Annotations) -> str:
    """Return the text of the annotation file of one image."""
    lines = []
    for corners, name, difficult in zip(rows.rboxes_px(), rows.class_names, rows.difficult, strict=True):
        numbers = " ".join(repr(value) for value in corners.ravel().tolist())
        lines.append(f"{numbers} {class_text(name)} {difficult}\n")
    return "".join(lines)


def class_text(name: str) -> str:
    """Return the name of a class with hyphens in place of blanks, because blanks separate the fields of a DOTA line."""
    return "-".join(name.split())


def _row(line: str, where: Where, image: str) -> Row:
    fields = line.split()
    if len(fields) < 9:
        fail(where, f"it has {len(fields)} fields ({shown(line)}), but needs eight coordinates and a class")
    corners = [as_number(value, where, f"coordinate {number}") for number, value in enumerate(fields[:8], 1)]
    names = fields[8:]
    difficult = as_count(names.pop(), where, "the difficulty") if len(names) > 1 else 0
    return Row(where, image, " ".join(names), corners=corners, difficult=difficult)


_TASKS = ("task1_", "task2_")


def read_results(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:  # noqa: ARG001 - all readers have it
    """Read DOTA result files."""
    names: dict[str, str] = {}
    for path in paths:
        with gathered.faults:
            stem = path.stem
            class_name = stem[len(_TASKS[0]) :] if stem.lower().startswith(_TASKS) else stem
            gathered.classes.append(class_name)
            for where, line in read_lines(path):
                with gathered.faults:
                    fields = line.split()
                    if len(fields) not in (6, 10):
                        fail(
                            where, f"it has {len(fields)} fields ({shown(line)}), not an image, a score, and 4 or 8 coordinates"
                        )
                    if fields[0] not in names:
                        image = images.image(fields[0], None, where)
                        names[fields[0]] = image.name
                        gathered.images.setdefault(image.name, image)
                    gathered.add(_result_row(fields, where, names[fields[0]], class_name))


def _result_row(fields: list[str], where: Where, image: str, name: str) -> Row:
    score, *numbers = (as_number(value, where, f"field {number}") for number, value in enumerate(fields[1:], 2))
    if len(numbers) == 8:
        return Row(where, image, name, corners=numbers, score=score)
    return Row(where, image, name, numbers, score=score)

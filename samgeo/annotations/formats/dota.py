"""DOTA's text files, one an image: four corners, a class, a difficulty.

Lines are ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, under the headers ``imagesource:`` and ``gsd:`` in version 1; the
difficulty may be left out.

Pixels
------
Continuous, as they are. Corners may lie outside of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.rows import Gathered, Row
from samgeo.annotations.text_files import Where, as_count, as_number, fail, read_lines, shown

if TYPE_CHECKING:
    from samgeo.annotations.table import Annotations

__all__ = ["class_text", "is_header", "read", "text_of"]


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read files of DOTA."""
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
    """Whether a line says where the image is from, or how large its pixels are."""
    return line.lower().startswith(("imagesource:", "gsd:"))


def text_of(rows: Annotations) -> str:
    """Return the text of one image."""
    lines = []
    for corners, name, difficult in zip(rows.rboxes_px(), rows.class_names, rows.difficult, strict=True):
        numbers = " ".join(repr(value) for value in corners.ravel().tolist())
        lines.append(f"{numbers} {class_text(name)} {difficult}\n")
    return "".join(lines)


def class_text(name: str) -> str:
    """Return a class as DOTA can write it: hyphens for blanks."""
    return "-".join(name.split())


def _row(line: str, where: Where, image: str) -> Row:
    fields = line.split()
    if len(fields) < 9:
        fail(where, f"it has {len(fields)} fields ({shown(line)}), not eight coordinates, a class and a difficulty")
    corners = [as_number(value, where, f"coordinate {number}") for number, value in enumerate(fields[:8], 1)]
    names = fields[8:]
    difficult = as_count(names.pop(), where, "the difficulty") if len(names) > 1 else 0
    return Row(where, image, " ".join(names), corners=corners, difficult=difficult)

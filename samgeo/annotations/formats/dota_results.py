"""What detectors hand in to DOTA: ``Task1_plane.txt`` and so on, one file a class, with scores.

Lines are the name of an image without its suffix, a score, and four corners (Task 1) or the first and the last corner of a
horizontal box (Task 2). The class is what follows ``Task1_`` or ``Task2_`` in the name of the file, or else that name.

Pixels
------
Continuous, as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samgeo.annotations.images import ImageFiles
from samgeo.annotations.rows import Gathered, Row
from samgeo.annotations.text_files import Where, as_number, fail, read_lines, shown

__all__ = ["read"]

_TASKS = ("task1_", "task2_")


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:  # noqa: ARG001 - as all readers
    """Read files of results."""
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
                            where, f"it has {len(fields)} fields ({shown(line)}), not an image, a score and 8 or 4 coordinates"
                        )
                    if fields[0] not in names:
                        image = images.image(fields[0], None, where)
                        names[fields[0]] = image.name
                        gathered.images.setdefault(image.name, image)
                    gathered.add(_row(fields, where, names[fields[0]], class_name))


def _row(fields: list[str], where: Where, image: str, name: str) -> Row:
    score, *numbers = (as_number(value, where, f"field {number}") for number, value in enumerate(fields[1:], 2))
    if len(numbers) == 8:
        return Row(where, image, name, corners=numbers, score=score)
    return Row(where, image, name, numbers, score=score)

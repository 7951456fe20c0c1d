"""HRSC2016's xml: ships as oriented boxes, one file an image.

Pixels
------
``mbox_cx``, ``mbox_cy``, ``mbox_w``, ``mbox_h`` and ``mbox_ang`` (radians, clockwise on a screen): continuous, as they are. The
horizontal box is the one around the corners, as ``box_xmin`` and so on are rounded.

The class is the ``Class_ID``, a number of the data set's own, which its ``sysdata.xml`` names. ``difficult`` is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samgeo.annotations.formats.json_shapes import below_folder, corners_around
from samgeo.annotations.formats.xml import Element, read_xml
from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.rows import Gathered, Row
from samgeo.annotations.text_files import as_count, as_number, fail

__all__ = ["read"]

_ROOT = "hrsc_image"
_MBOX = ("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang")


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read files of HRSC2016."""
    for path in paths:
        with gathered.faults:
            top = read_xml(path)
            if top.tag.lower() != _ROOT:
                fail(top.where, f"its root is <{top.tag[:60]}>, and <HRSC_Image> in hrsc2016", "give another format")
            own = name_below(root, path)
            image = gathered.find_image(images, own, _said_name(top, own), _size(top), top.where)
            objects = top.get("HRSC_Objects")
            for element in [] if objects is None else objects.all("HRSC_Object"):
                with gathered.faults:
                    gathered.add(_row(element, image.name))


def _said_name(top: Element, own: str) -> str:
    name, suffix = (_text(top, tag) for tag in ("Img_FileName", "Img_FileFmt"))
    return below_folder(own, f"{name}.{suffix}" if name and suffix else name)


def _text(element: Element, tag: str) -> str:
    found = element.get(tag)
    return "" if found is None else found.text


def _size(top: Element) -> tuple[int, int] | None:
    texts = [_text(top, tag) for tag in ("Img_SizeHeight", "Img_SizeWidth")]
    if not all(texts):
        return None
    height, width = (as_count(text, top.where, "a side of the image") for text in texts)
    return (height, width) if height and width else None


def _row(element: Element, image: str) -> Row:
    name = element.need("Class_ID").text
    if not name:
        fail(element.where, "<Class_ID> is empty", "give the object a class")
    sides = [element.need(tag) for tag in _MBOX]
    x, y, width, height, turn = (as_number(side.text, side.where, f"<{side.tag}>") for side in sides)
    if width < 0 or height < 0:
        fail(element.where, f"its sides are {width:g} and {height:g}, which are never negative")
    flag = _text(element, "difficult")
    difficult = as_count(flag, element.where, "<difficult>") if flag else 0
    return Row(element.where, image, name, corners=corners_around(x, y, width, height, turn), difficult=difficult)

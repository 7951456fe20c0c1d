"""Pascal VOC XML, one file for each image, and its variants DIOR, FAIR1M and HRSC2016.

Pixels
------
``bndbox``: Pascal VOC counts pixels from 1, and a box includes its last pixel, so that the edges of the box are
``xmin - 1, ymin - 1, xmax, ymax``. With ``pixels="edges"`` the numbers are read as edges, as some programs write them.

``robndbox`` (DIOR-R) and ``points`` (FAIR1M): corners in continuous pixel coordinates, which are not changed.

``mbox_cx``, ``mbox_cy``, ``mbox_w``, ``mbox_h`` and ``mbox_ang`` (HRSC2016): an oriented box in continuous pixel coordinates;
the angle is in radians, clockwise as the image is seen. The horizontal box is computed from the corners, because ``box_xmin``
and its companions are rounded.

Fields
------
``difficult`` is read. ``pose``, ``truncated``, ``occluded``, ``parts`` and the ``angle`` of DIOR-R are not. In HRSC2016 the
class is the ``Class_ID``, a number whose meaning the file ``sysdata.xml`` of the data set gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.oriented_boxes import turned_corners
from samgeo.annotations.parsing.json_shapes import below_folder, corners_around
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import as_count, as_number, fail, shown
from samgeo.annotations.parsing.xml import Element, read_xml

if TYPE_CHECKING:
    from samgeo.annotations.table import Annotations, Image

__all__ = ["VocPixels", "format_of", "read", "size_of", "text_of"]


VocPixels = Literal["inclusive", "edges"]

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_CORNERS = (
    "x_left_top",
    "y_left_top",
    "x_right_top",
    "y_right_top",
    "x_right_bottom",
    "y_right_bottom",
    "x_left_bottom",
    "y_left_bottom",
)
_HOLDS = {"voc": {"bndbox"}, "dior": {"bndbox", "robndbox"}, "fair1m": {"points"}}


def read(
    gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles, kind: str, *, pixels: VocPixels = "inclusive"
) -> None:
    """Read files of the format ``kind``: ``"voc"``, ``"dior"`` or ``"fair1m"``."""
    for path in paths:
        with gathered.faults:
            top = read_xml(path)
            where = top.where
            if top.tag != "annotation":
                fail(where, f"its root element is <{top.tag[:60]}>, but {kind} files have <annotation>", "give another format")
            own = name_below(root, path)
            image = gathered.find_image(images, own, _said_name(top, own), size_of(top), where)
            for element in _objects(top):
                with gathered.faults:
                    gathered.add(_row(element, image.name, kind, pixels))


def format_of(head: bytes) -> str:
    """Return ``"fair1m"`` if a file has points, ``"dior"`` if it has oriented boxes, and ``"voc"`` otherwise."""
    return next((kind for tag, kind in ((b"<points>", "fair1m"), (b"<robndbox>", "dior")) if tag in head), "voc")


def text_of(image: Image, rows: Annotations) -> str:
    """Return the XML of one image, with horizontal boxes only."""
    height, width = image.shape or (0, 0)
    size = f"<width>{width}</width><height>{height}</height><depth>3</depth>"
    lines = ["<annotation>", f"  <filename>{escape(image.name.rpartition('/')[2])}</filename>"]
    lines += [f"  <size>{size}</size>"] if image.shape else []
    for name, (x0, y0, x1, y1), difficult in zip(rows.class_names, rows.boxes_px.tolist(), rows.difficult, strict=True):
        sides = zip(_SIDES, (x0 + 1, y0 + 1, x1, y1), strict=True)
        lines += [
            "  <object>",
            f"    <name>{escape(name)}</name>",
            f"    <difficult>{difficult}</difficult>",
            "    <bndbox>" + "".join(f"<{tag}>{_number(side)}</{tag}>" for tag, side in sides) + "</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _objects(top: Element) -> list[Element]:
    groups = top.all("objects")  # FAIR1M
    return top.all("object") + [element for group in groups for element in group.all("object")]


def _said_name(top: Element, own: str) -> str:
    """Return the name of the image in the file, below the folder of the file; empty if the file has no such name."""
    named = top.get("filename")
    if named is None and (source := top.get("source")) is not None:
        named = source.get("filename")  # FAIR1M
    if named is None or not named.text:
        return ""
    folder, slash, _ = own.rpartition("/")
    # An absolute path stays as it is: `ImageFiles` refuses it.
    return named.text if named.text.startswith(("/", "\\")) else folder + slash + named.text


def size_of(top: Element) -> tuple[int, int] | None:
    """Return height and width from ``<size>``; None if the file does not have them."""
    size = top.get("size")
    sides = [] if size is None else [size.get(tag) for tag in ("height", "width")]
    numbers = [as_count(side.text, side.where, f"<{side.tag}>") for side in sides if side is not None]
    # Some programs write 0 for an unknown size.
    return (numbers[0], numbers[1]) if len(numbers) == 2 and all(numbers) else None


def _row(element: Element, image: str, kind: str, pixels: VocPixels) -> Row:
    where = element.where
    places = [child for child in element.children if child.tag in {"bndbox", "robndbox", "points"}]
    unknown = [child.tag for child in places if child.tag not in _HOLDS[kind]]
    if unknown or not places:
        what = f"<object> has {'<' + unknown[0] + '>' if unknown else 'no box and no points'}"
        fail(where, f"{what}, but {kind} has {' or '.join(sorted(_HOLDS[kind]))}", "give another format, or correct the file")
    box = corners = None
    for place in places:
        if place.tag == "bndbox":
            box = _box(place, pixels)
        else:
            corners = _rbox(place) if place.tag == "robndbox" else _points(place)
    flag = element.get("difficult")
    difficult = 0 if flag is None or not flag.text else as_count(flag.text, flag.where, "<difficult>")
    return Row(where, image, _class(element), box, corners, difficult=difficult)


def _class(element: Element) -> str:
    possible = element.get("possibleresult")  # FAIR1M
    name = (element if possible is None else possible).need("name")
    if not name.text:
        fail(name.where, "<name> is empty", "give the object a class")
    return name.text


def _box(place: Element, pixels: VocPixels) -> tuple[float, ...]:
    x0, y0, x1, y1 = (_side(place, tag) for tag in _SIDES)
    if pixels == "edges":
        return x0, y0, x1, y1
    if min(x0, y0) == 0:
        remedy = 'if the numbers are edges, counted from 0, give pixels="edges" (--pixels edges)'
        # Every box of the file would be shifted by one pixel, so leaving out this box alone would not help.
        fail(place.where, "the box starts at 0, and Pascal VOC counts pixels from 1", remedy, whole=True)
    return x0 - 1, y0 - 1, x1, y1


def _rbox(place: Element) -> list[float]:
    if place.get("cx") is None:
        return [_side(place, tag) for tag in _CORNERS]
    # roLabelImg
    x, y, width, height, turn = (_side(place, tag) for tag in ("cx", "cy", "w", "h", "angle"))
    return turned_corners(x, y, width, height, turn).ravel().tolist()


def _points(place: Element) -> list[float]:
    points = []
    for point in place.all("point"):
        numbers = point.text.split(",")
        if len(numbers) != 2:
            fail(point.where, f"<point> is {shown(point.text)}, not of the form x,y")
        points.append([as_number(number, point.where, "a coordinate") for number in numbers])
    if len(points) == 5 and points[0] == points[4]:
        del points[4]
    if len(points) != 4 or points[0] == points[3]:
        fail(place.where, f"<points> has {len(points)} points, but needs four corners, after which the first may be repeated")
    return [value for point in points for value in point]


def _side(place: Element, tag: str) -> float:
    side = place.need(tag)
    return as_number(side.text, side.where, f"<{tag}>")


_ROOT = "hrsc_image"
_MBOX = ("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang")


def read_hrsc2016(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read HRSC2016 files."""
    for path in paths:
        with gathered.faults:
            top = read_xml(path)
            if top.tag.lower() != _ROOT:
                fail(
                    top.where,
                    f"its root element is <{top.tag[:60]}>, but HRSC2016 files have <HRSC_Image>",
                    "give another format",
                )
            own = name_below(root, path)
            image = gathered.find_image(images, own, _hrsc2016_name(top, own), _size(top), top.where)
            objects = top.get("HRSC_Objects")
            for element in [] if objects is None else objects.all("HRSC_Object"):
                with gathered.faults:
                    gathered.add(_hrsc2016_row(element, image.name))


def _hrsc2016_name(top: Element, own: str) -> str:
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


def _hrsc2016_row(element: Element, image: str) -> Row:
    name = element.need("Class_ID").text
    if not name:
        fail(element.where, "<Class_ID> is empty", "give the object a class")
    sides = [element.need(tag) for tag in _MBOX]
    x, y, width, height, turn = (as_number(side.text, side.where, f"<{side.tag}>") for side in sides)
    if width < 0 or height < 0:
        fail(element.where, f"its width and height are {width:g} and {height:g}, and neither may be negative")
    flag = _text(element, "difficult")
    difficult = as_count(flag, element.where, "<difficult>") if flag else 0
    return Row(element.where, image, name, corners=corners_around(x, y, width, height, turn), difficult=difficult)

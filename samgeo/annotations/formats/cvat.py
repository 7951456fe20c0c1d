"""CVAT XML for images (version 1.1): all images are in one file.

Pixels
------
Coordinates are continuous pixel coordinates and are not changed. A ``mask`` is a list of run lengths along the rows of its box;
the first run is background.

Shapes
------
``box`` (an oriented box if it is rotated), ``polygon``, ``ellipse`` (read as a polygon of 64 points) and ``mask`` are read.
Polygons and boxes with the same ``group_id`` and label are one object. Polylines, points, skeletons and cuboids have no area
and are faults. Tags of images are not read. Files of videos (with ``track``) are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.parsing.json_shapes import below_folder, corners_around, ellipse, polygon, text_of
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import as_count, as_number, fail, shown
from samgeo.annotations.parsing.xml import Element, read_xml
from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import Rle

if TYPE_CHECKING:
    from samgeo.annotations.table import Image

__all__ = ["read"]

_SHAPES = {"box", "cuboid", "ellipse", "mask", "points", "polygon", "polyline", "skeleton"}
_MOST_MASK_PIXELS = 1 << 28


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read CVAT files."""
    for path in paths:
        with gathered.faults:
            top = read_xml(path)
            if top.tag != "annotations":
                fail(
                    top.where, f"its root element is <{top.tag[:60]}>, but CVAT files have <annotations>", "give another format"
                )
            if top.get("track") is not None:
                fail(
                    top.where,
                    "it has annotations of a video (<track>), which are not supported",
                    "export as CVAT for images 1.1",
                    whole=True,
                )
            gathered.classes += _labels(top)
            for element in top.all("image"):
                with gathered.faults:
                    _read_image(gathered, element, name_below(root, path), images)


def _labels(top: Element) -> list[str]:
    """Return the names of the labels of the task, the project or the job, in the order of the file."""
    found = top.get("meta")
    for tag in ("task", "project", "job"):
        within = found.get(tag) if found is not None else None
        labels = within.get("labels") if within is not None else None
        if labels is not None:
            names = [label.get("name") for label in labels.all("label")]
            return [name.text for name in names if name is not None and name.text]
    return []


def _read_image(gathered: Gathered, element: Element, own: str, images: ImageFiles) -> None:
    where = element.where
    name = text_of(element.attributes.get("name"), where, "the name of the image")
    sides = [element.attributes.get(side) for side in ("height", "width")]
    shape = None
    if all(sides):
        height, width = (as_count(side, where, "a side of the image") for side in sides)
        shape = height, width
    below = name if name.startswith(("/", "\\")) else below_folder(own, name)
    image = images.image(below, shape, where)
    gathered.add_image(image, where)
    start, groups = len(gathered.rows), []
    for child in element.children:
        if child.tag in _SHAPES:
            with gathered.faults:
                gathered.add(_row(child, image))
                group = child.attributes.get("group_id", "0")
                groups.append(None if group in ("", "0") else group)
    gathered.join_groups(groups, start)


def _row(element: Element, image: Image) -> Row:
    where, said = element.where, element.attributes
    name = text_of(said.get("label"), where, "its label")
    if element.tag == "box":
        x0, y0, x1, y1 = _numbers(element, "xtl", "ytl", "xbr", "ybr")
        turn = _turn(element)
        if turn == 0:
            return Row(where, image.name, name, (x0, y0, x1, y1))
        return Row(where, image.name, name, corners=corners_around((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, turn))
    if element.tag == "polygon":
        return Row(where, image.name, name, shape=_polygon(element))
    if element.tag == "ellipse":
        x, y, radius_x, radius_y = _numbers(element, "cx", "cy", "rx", "ry")
        return Row(where, image.name, name, shape=ellipse((x, y), (radius_x, radius_y), _turn(element), where))
    if element.tag != "mask":
        fail(where, f"<{element.tag}> has no area", "use boxes, polygons, ellipses or masks")
    return Row(where, image.name, name, shape=_mask(element, image.shape))


def _numbers(element: Element, *names: str) -> list[float]:
    return [as_number(element.attributes.get(name), element.where, f"{name} of <{element.tag}>") for name in names]


def _turn(element: Element) -> float:
    return math.radians(as_number(element.attributes.get("rotation", 0), element.where, "its rotation"))


def _polygon(element: Element) -> shapely.Polygon:
    points = element.attributes.get("points", "")
    return polygon([point.split(",") for point in points.split(";")], element.where)


def _mask(element: Element, shape: tuple[int, int] | None) -> Rle:
    where = element.where
    if shape is None:
        fail(where, "it is a mask, and the size of its image is not known", "give the image, or its size, with images=...")
    x, y, width, height = (
        as_count(element.attributes.get(name), where, f"{name} of <mask>") for name in ("left", "top", "width", "height")
    )
    if not (0 < width <= shape[1] and 0 < height <= shape[0] and width * height <= _MOST_MASK_PIXELS):
        fail(where, f"its mask has {width} x {height} pixels, which its image of {shape[1]} x {shape[0]} cannot hold")
    runs = np.array([as_count(run, where, "a run of its mask") for run in element.attributes.get("rle", "").split(",")])
    if runs.sum() != width * height:
        fail(where, f"the runs of its mask add up to {shown(int(runs.sum()))}, but its box has {width * height} pixels")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    try:
        return Rle.from_mask(Mask.from_array(values.reshape(height, width), x, y), shape)
    except OptionError as error:
        fail(where, str(error).rstrip("."))

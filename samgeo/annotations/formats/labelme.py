"""labelme JSON, one file for each image, also as AnyLabeling and X-AnyLabeling write it.

Pixels
------
Coordinates are continuous pixel coordinates and are not changed. A ``mask`` is a PNG of the pixels from its first point to its
second point, both included.

Shapes
------
``polygon``, ``rectangle``, ``rotation`` (an oriented box), ``circle`` (read as a polygon of 64 points) and ``mask`` are read.
Polygons with the same ``group_id`` and label are one object. Lines and points have no area and are faults. ``imageData`` is
not read.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from PIL import Image, UnidentifiedImageError

from samgeo.annotations.images import ImageFiles, name_below
from samgeo.annotations.parsing.json_shapes import base_name, below_folder, ellipse, object_of, polygon, text_of
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import Where, as_count, as_number, fail, read_json, shown
from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import Rle

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["read"]


def read(gathered: Gathered, root: Path, paths: Sequence[Path], images: ImageFiles) -> None:
    """Read labelme files."""
    for path in paths:
        with gathered.faults:
            where = Where(path)
            value = object_of(read_json(path), where, "it")
            shapes = value.get("shapes")
            if not isinstance(shapes, list):
                fail(where, f"shapes is {shown(shapes)}, not a list", "give a labelme file")
            own, said = name_below(root, path), value.get("imagePath")
            name = below_folder(own, base_name(said)) if isinstance(said, str) else ""
            image = gathered.find_image(images, own, name, _size(value, where), where)
            start, groups = len(gathered.rows), []
            for number, shape in enumerate(shapes):
                with gathered.faults:
                    place = Where(path, f"shapes[{number}]")
                    row = _row(object_of(shape, place, "it"), place, image.name, image.shape)
                    gathered.add(row)
                    groups.append(_group(shape.get("group_id")))
            gathered.join_groups(groups, start)


def _size(value: dict[str, Any], where: Where) -> tuple[int, int] | None:
    sides = [value.get(name) for name in ("imageHeight", "imageWidth")]
    if not all(sides):
        return None
    height, width = (as_count(side, where, name) for side, name in zip(sides, ("imageHeight", "imageWidth"), strict=True))
    return height, width


def _group(value: Json) -> int | str | None:
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _row(shape: dict[str, Any], where: Where, image: str, size: tuple[int, int] | None) -> Row:
    name = text_of(shape.get("label"), where, "its label")
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    difficult = int(shape.get("difficult") is True)
    score = shape.get("score")
    sure = np.nan if score is None else as_number(score, where, "its score")
    if kind == "polygon":
        return Row(where, image, name, shape=polygon(points, where), score=sure, difficult=difficult)
    if kind == "rotation":
        ring = shapely.get_coordinates(polygon(points, where).exterior)[:-1]
        if len(ring) != 4:
            fail(where, f"it has {len(ring)} points, but an oriented box has four corners")
        return Row(where, image, name, corners=ring.ravel().tolist(), score=sure, difficult=difficult)
    if kind == "rectangle":
        xy = np.array(_points(points, where, (2, 4)))
        return Row(where, image, name, [*xy.min(axis=0), *xy.max(axis=0)], score=sure, difficult=difficult)
    if kind not in ("circle", "mask"):
        fail(where, f"its shape_type is {shown(kind)}, which has no area", "use polygons, rectangles, circles or masks")
    (x0, y0), (x1, y1) = _points(points, where, (2,))
    if kind == "circle":
        radius = float(np.hypot(x1 - x0, y1 - y0))
        return Row(where, image, name, shape=ellipse((x0, y0), (radius, radius), 0, where), score=sure, difficult=difficult)
    mask = _mask(shape.get("mask"), (round(x0), round(y0)), size, where)
    return Row(where, image, name, shape=mask, score=sure, difficult=difficult)


def _points(points: Json, where: Where, counts: tuple[int, ...]) -> list[list[float]]:
    if not isinstance(points, list) or len(points) not in counts:
        fail(where, f"its points are {shown(points)}, not a list of {' or '.join(map(str, counts))} points")
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            fail(where, f"a point is {shown(point)}, not x and y")
    return [[as_number(value, where, "a coordinate") for value in point] for point in points]


def _mask(text: Json, corner: tuple[int, int], size: tuple[int, int] | None, where: Where) -> Rle:
    """Return the mask in a PNG, which is base64 text, with its top left pixel at ``corner``."""
    if size is None:
        fail(where, "it is a mask, and the size of its image is not known", "give the image, or its size, with images=...")
    if not isinstance(text, str):
        fail(where, f"its mask is {shown(text)}, not a PNG in base64")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"])
        # The size is known before the pixels are decompressed.
        width, height = picture.size
        if width > size[1] or height > size[0]:
            fail(where, f"its mask has {width} x {height} pixels, which its image of {size[1]} x {size[0]} cannot hold")
        array = np.asarray(picture.convert("L")) > 0
        return Rle.from_mask(Mask.from_array(array, *corner), size)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        fail(where, f"its mask is too large ({str(error)[:100]})")
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError, ValueError, OverflowError) as error:
        fail(where, f"its mask is not a PNG in base64 ({str(error)[:100]})")
    except OptionError as error:
        fail(where, str(error).rstrip("."))

"""Pictures of classes: which class each pixel has, and in which colour."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.segment.masks import Mask

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from PIL import Image

__all__ = ["MOST_CLASSES", "UNLABELLED", "class_colors", "color_picture", "draw", "gray_picture", "png", "write_mask_tif"]

UNLABELLED = 255
MOST_CLASSES = 255

RGB = tuple[int, int, int]

# Successive hues this far apart on the circle never come close to those just before: the golden angle.
_GOLDEN_TURN = 0.618033988749895
_SATURATIONS, _VALUES = (0.85, 0.6, 1.0), (1.0, 0.95, 0.75)


def class_colors(count: int) -> list[RGB]:
    """Return a colour for each class, bright and far from those just before; unlabelled is black."""
    colors = []
    for index in range(count):
        red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_TURN % 1, _SATURATIONS[index % 3], _VALUES[index // 3 % 3])
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colors


def draw(masks: Sequence[Mask], labels: Sequence[int], shape: tuple[int, int], on_top: str) -> NDArray[np.uint8]:
    """Draw the class of each pixel.

    Parameters
    ----------
    masks : sequence of Mask
        Within the picture.
    labels : sequence of int
        Class of each, from 0.
    shape : (int, int)
        Height and width.
    on_top : {"annotation", "smallest"}
        Which of two masks has a pixel of both: the later one, as SAMRS; or the one with fewer pixels, of equals the later one.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        255 where there is no mask.
    """
    picture = np.full(shape, UNLABELLED, dtype=np.uint8)
    order = range(len(masks)) if on_top == "annotation" else sorted(range(len(masks)), key=lambda index: -masks[index].area)
    for index in order:
        rect = masks[index].rect
        picture[rect.y0 : rect.y1, rect.x0 : rect.x1][masks[index].to_array(rect)] = labels[index]
    return picture


def gray_picture(classes: NDArray[np.uint8], colors: Sequence[RGB]) -> Image.Image:
    """Return classes as a picture whose values they are, with the colours as its palette."""
    from PIL import Image

    picture = Image.fromarray(classes)
    picture.putpalette(_table(colors).tobytes())
    return picture


def color_picture(classes: NDArray[np.uint8], colors: Sequence[RGB]) -> Image.Image:
    """Return classes as an RGB picture."""
    from PIL import Image

    return Image.fromarray(_table(colors)[classes])


def png(picture: Image.Image) -> bytes:
    """Return a picture as the content of a PNG."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=False, compress_level=6)
    return file.getvalue()


def write_mask_tif(classes: NDArray[np.uint8], geobox: GeoBox, colors: Sequence[RGB], path: Path) -> None:
    """Write classes as a GeoTIFF with 255 as its nodata value, and the colours."""
    import rasterio

    height, width = classes.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "compress": "deflate"}
    crs = None if geobox.crs is None else geobox.crs.proj
    place = {"crs": crs, "transform": geobox.affine, "nodata": UNLABELLED}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(classes, 1)
        file.write_colormap(1, {index: (*color, 255) for index, color in enumerate(colors)} | {UNLABELLED: (0, 0, 0, 0)})


def _table(colors: Sequence[RGB]) -> NDArray[np.uint8]:
    table = np.zeros((256, 3), dtype=np.uint8)
    if colors:
        table[: len(colors)] = colors
    return table

"""Label images: the class of each pixel, as values and in colours."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from samgeo.segmentation.masks.mask import Mask

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = [
    "BACKGROUND",
    "BACKGROUND_COLOR",
    "MOST_CLASSES",
    "UNLABELLED",
    "class_colors",
    "color_picture",
    "draw",
    "first_value",
    "gray_picture",
    "mask_tif",
    "png",
    "value_colors",
]

UNLABELLED = 255
BACKGROUND = 0
"""Value of background pixels if the annotations are complete. The values of classes then begin at 1."""
MOST_CLASSES = 255

RGB = tuple[int, int, int]
BACKGROUND_COLOR: RGB = (96, 96, 96)

# The hues of successive classes differ by the golden angle, so that each differs clearly from those before it.
_GOLDEN_TURN = 0.618033988749895
_SATURATIONS, _VALUES = (0.85, 0.6, 1.0), (1.0, 0.95, 0.75)


def class_colors(count: int) -> list[RGB]:
    """Return a bright colour for each class, which differs clearly from those of the classes before it.

    No class is black, because unlabelled pixels are.
    """
    colors = []
    for index in range(count):
        red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_TURN % 1, _SATURATIONS[index % 3], _VALUES[index // 3 % 3])
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colors


def first_value(annotations_complete: bool) -> int:
    """Return the value of the first class in label images: 1 if 0 is background, otherwise 0."""
    return 1 if annotations_complete else 0


def value_colors(colors: Sequence[RGB], annotations_complete: bool) -> list[RGB]:
    """Return the colour of each value in label images, given the colours of the classes."""
    return [BACKGROUND_COLOR, *colors] if annotations_complete else list(colors)


def draw(
    masks: Sequence[Mask],
    labels: Sequence[int],
    shape: tuple[int, int],
    on_top: str,
    background: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw a label image from masks.

    Parameters
    ----------
    masks : sequence of Mask
        Masks in pixels of the picture.
    labels : sequence of int
        Class of each mask, from 0.
    shape : (int, int)
        Height and width.
    on_top : {"annotation", "smallest"}
        Which mask a pixel in several masks belongs to: the later one, as in SAMRS, or the one with fewer pixels; of masks with
        equal numbers of pixels, the later one.
    background : ndarray of bool, shape (H, W), optional
        Pixels that are background unless a mask covers them. Without it there is no background.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The class, from 0; with ``background``, the class plus 1, and 0 for background. 255 elsewhere.
    """
    picture = np.full(shape, UNLABELLED, dtype=np.uint8)
    first = first_value(background is not None)
    if background is not None:
        picture[background] = BACKGROUND
    order = range(len(masks)) if on_top == "annotation" else sorted(range(len(masks)), key=lambda index: -masks[index].area)
    for index in order:
        rect = masks[index].rect
        picture[rect.y0 : rect.y1, rect.x0 : rect.x1][masks[index].to_array(rect)] = labels[index] + first
    return picture


def gray_picture(classes: NDArray[np.uint8], colors: Sequence[RGB]) -> Image.Image:
    """Return a label image as a grey picture, with the colours as its palette."""
    picture = Image.fromarray(classes)
    picture.putpalette(_table(colors).tobytes())
    return picture


def color_picture(classes: NDArray[np.uint8], colors: Sequence[RGB]) -> Image.Image:
    """Return a label image as an RGB picture."""
    return Image.fromarray(_table(colors)[classes])


def png(picture: Image.Image) -> bytes:
    """Return the bytes of a picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=False, compress_level=6)
    return file.getvalue()


def mask_tif(classes: NDArray[np.uint8], geobox: GeoBox, colors: Sequence[RGB]) -> bytes:
    """Return the bytes of a label image as a GeoTIFF with nodata 255 and a colour table.

    The file is made in memory, because GDAL does not report errors of the file system when it closes a file.
    """
    height, width = classes.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "compress": "deflate"}
    crs = None if geobox.crs is None else geobox.crs.proj
    place = {"crs": crs, "transform": geobox.affine, "nodata": UNLABELLED}
    with rasterio.MemoryFile(ext=".tif") as memory:
        with memory.open(**profile, **place) as file:
            file.write(classes, 1)
            file.write_colormap(1, {index: (*color, 255) for index, color in enumerate(colors)} | {UNLABELLED: (0, 0, 0, 0)})
        return bytes(memory.read())


def _table(colors: Sequence[RGB]) -> NDArray[np.uint8]:
    """Return the colour of each of the 256 values, shape (256, 3)."""
    table = np.zeros((256, 3), dtype=np.uint8)
    if colors:
        table[: len(colors)] = colors
    return table

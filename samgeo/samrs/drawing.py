"""Pictures of classes: which class each pixel has, and in which colour."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.segmentation.masks.mask import Mask

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from PIL import Image

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
"""Value of background where the annotations are complete; the classes then begin at 1."""
MOST_CLASSES = 255

RGB = tuple[int, int, int]
BACKGROUND_COLOR: RGB = (96, 96, 96)

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


def first_value(annotations_complete: bool) -> int:
    """Return the value that the first class has in pictures: 1 where 0 is background, else 0."""
    return 1 if annotations_complete else 0


def value_colors(colors: Sequence[RGB], annotations_complete: bool) -> list[RGB]:
    """Return the colour of each value in pictures, given those of the classes."""
    return [BACKGROUND_COLOR, *colors] if annotations_complete else list(colors)


def draw(
    masks: Sequence[Mask],
    labels: Sequence[int],
    shape: tuple[int, int],
    on_top: str,
    background: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw the value of each pixel: the class, and background where it is known.

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
    background : ndarray of bool, shape (H, W), optional
        Where pixels without a mask are known to be background. Without it nothing is background.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The class, from 0; with ``background`` the class plus 1, and 0 for background. 255 elsewhere.
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


def mask_tif(classes: NDArray[np.uint8], geobox: GeoBox, colors: Sequence[RGB]) -> bytes:
    """Return classes as the content of a GeoTIFF with 255 as its nodata value, and the colours.

    It is made in memory, because GDAL does not report what a file system refuses while it closes a file.
    """
    import rasterio

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
    table = np.zeros((256, 3), dtype=np.uint8)
    if colors:
        table[: len(colors)] = colors
    return table

"""Draw the part of a raster that is in view: read it from overviews and warp it to the pixels of the screen."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.map.view.map_coordinates import MapPlacement

__all__ = ["View", "ViewPicture", "draw", "encode"]

# Coordinates are transformed exactly at nodes this many screen pixels apart, and bilinearly between them.
STEP_PX = 32

# From this many screen pixels per raster pixel, the edges of raster pixels are drawn sharp.
SHARP = 2.0

# A view that would have to read more raster pixels than this, because there are no overviews, is not drawn.
READ_LIMIT = 2**28
MAX_SIDE = 4096

# The largest number of pixels of a picture, about that of a large screen.
MAX_PIXELS = 2**23

JPEG_QUALITY, WEBP_QUALITY = 85, 80


@dataclass(frozen=True, slots=True)
class View:
    """The part of a map that is on the screen.

    Attributes
    ----------
    south, west, north, east : float
        Degrees.
    width, height : int
        Screen pixels, 1 to 4096.
    ratio : float, default 1
        Number of screen pixels along a side of a page pixel. Browsers align pictures with page pixels.

    Raises
    ------
    OptionError
        If the view is empty or too large.
    """

    south: float
    west: float
    north: float
    east: float
    width: int
    height: int
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if not (self.south < self.north and self.west < self.east and min(self.width, self.height) >= 1):
            raise OptionError(f"{self} is empty; give south < north, west < east and a size of 1 pixel or more.")
        if max(self.width, self.height) > MAX_SIDE:
            raise OptionError(f"{self} is larger than a screen; give at most {MAX_SIDE} pixels a side.")

    def holds(self, south: float, west: float, north: float, east: float) -> bool:
        """Whether the view contains the box between these latitudes and longitudes."""
        return self.south <= south and self.west <= west and self.north >= north and self.east >= east

    def on_screen(self, ratio: float) -> View:
        """Return the same view in screen pixels, of which ``ratio`` make a side of a page pixel.

        The view has at most 4096 pixels a side and 8 million in all. On larger screens a pixel of the picture covers more than
        one screen pixel.
        """
        most = min(MAX_SIDE / max(self.width, self.height), math.sqrt(MAX_PIXELS / (self.width * self.height)))
        finer = min(ratio, max(most, 1.0))
        size = max(round(self.width * finer), 1), max(round(self.height * finer), 1)
        return View(self.south, self.west, self.north, self.east, *size, finer)


@dataclass(frozen=True, slots=True, eq=False)
class ViewPicture:
    """A picture and its position on the map.

    Attributes
    ----------
    image : PIL.Image.Image
        RGBA; transparent for pixels without data.
    south, west, north, east : float
        The outer edges of the picture in degrees.
    """

    image: Image.Image
    south: float
    west: float
    north: float
    east: float

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The south-west and north-east corners, in the order that Leaflet expects."""
        return (self.south, self.west), (self.north, self.east)


def draw(raster: Raster, place: MapPlacement, view: View) -> ViewPicture | None:
    """Draw the part of a raster that is in view, with one pixel of the picture per screen pixel.

    Parameters
    ----------
    raster : Raster
    place : MapPlacement
        Of the raster.
    view : View

    Returns
    -------
    ViewPicture or None
        The picture, cut to the raster; None if no part of the raster is in view.

    Raises
    ------
    RasterError
        If the raster cannot be read, or has no overviews and too many pixels would have to be read.
    """
    corners = place.to_plane(np.array([[view.south, view.west], [view.north, view.east]]))
    (left, bottom), (right, top) = corners.tolist()
    unit = (right - left) / view.width, (top - bottom) / view.height
    south, west, north, east = place.bounds
    raster_plane = place.to_plane(np.array([[south, west], [north, east]]))
    (raster_left, raster_bottom), (raster_right, raster_top) = raster_plane.tolist()
    x0, x1 = _whole((raster_left - left) / unit[0], (raster_right - left) / unit[0], view.width, view.ratio)
    y0, y1 = _whole((top - raster_top) / unit[1], (top - raster_bottom) / unit[1], view.height, view.ratio)
    if x0 >= x1 or y0 >= y1:
        return None
    # Rows of the screen count downwards, and y of the plane upwards.
    columns, rows = _nodes(x0, x1), _nodes(y0, y1)
    x, y = np.meshgrid(left + columns * unit[0], top - rows * unit[1])
    nodes_px = place.to_pixels(place.from_plane(np.stack([x, y], axis=-1)))
    image = _warp(raster, nodes_px, columns - x0, rows - y0)
    (low_lat, low_lng), (high_lat, high_lng) = place.from_plane(
        np.array([[left + x0 * unit[0], top - y1 * unit[1]], [left + x1 * unit[0], top - y0 * unit[1]]])
    ).tolist()
    return None if image is None else ViewPicture(image, low_lat, low_lng, high_lat, high_lng)


def encode(image: Image.Image) -> str:
    """Encode a picture as a data URL: as JPEG if it is opaque, and as WebP otherwise."""
    stream = io.BytesIO()
    if image.getchannel("A").getextrema()[0] == 255:
        kind = "jpeg"
        image.convert("RGB").save(stream, "JPEG", quality=JPEG_QUALITY)
    else:
        kind = "webp"
        image.save(stream, "WEBP", quality=WEBP_QUALITY, method=0)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _whole(low: float, high: float, size: int, ratio: float) -> tuple[int, int]:
    """Return the screen pixels from one place to another, within the view, as far as pixels of the page reach."""
    start, stop = round(math.floor(low / ratio) * ratio), round(math.ceil(high / ratio) * ratio)
    return max(start, 0), min(stop, size)


def _nodes(low: int, high: int) -> NDArray[np.float64]:
    return np.array([*range(low, high, STEP_PX), high], dtype=np.float64)


def _warp(
    raster: Raster, nodes_px: NDArray[np.float64], columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> Image.Image | None:
    """Draw a picture from the raster coordinates of its nodes, which are at the given columns and rows."""
    height, width = raster.shape
    known = np.isfinite(nodes_px).all(axis=-1)
    if not known.any():
        return None
    low, high = np.floor(nodes_px[known].min(axis=0)).astype(int) - 1, np.ceil(nodes_px[known].max(axis=0)).astype(int) + 1
    rect = Rect(*low.tolist(), *high.tolist()) & Rect(0, 0, width, height)
    if rect.is_empty:
        return None
    per_px = _per_pixel(nodes_px, columns, rows)
    shape = math.ceil(rect.height / max(per_px[1], 1.0)), math.ceil(rect.width / max(per_px[0], 1.0))
    if raster.pixels_touched(rect, shape) > READ_LIMIT:
        raise RasterError(
            f"{raster.name} has no overviews, and the view would need {rect.height * rect.width:,} pixels; zoom in, or create "
            f"overviews first (gdaladdo {raster.name})."
        )
    pixels, valid = raster.view(shape, rect)
    source = Image.fromarray(np.dstack([pixels, np.where(valid, np.uint8(255), np.uint8(0))]))
    scale = np.array([shape[1] / rect.width, shape[0] / rect.height])
    mesh = _mesh((nodes_px - (rect.x0, rect.y0)) * scale, columns.astype(int), rows.astype(int))
    sharp = max(per_px) * SHARP <= 1
    resample = Image.Resampling.NEAREST if sharp else Image.Resampling.BILINEAR
    size = int(columns[-1]), int(rows[-1])
    return source.transform(size, Image.Transform.MESH, mesh, resample=resample)


def _per_pixel(nodes_px: NDArray[np.float64], columns: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest number of raster columns and rows that one screen pixel spans."""
    across = np.abs(np.diff(nodes_px, axis=1)) / np.diff(columns)[None, :, None]
    down = np.abs(np.diff(nodes_px, axis=0)) / np.diff(rows)[:, None, None]
    steps = [np.nanmedian(one.reshape(-1, 2), axis=0) for one in (across, down)]
    x, y = np.nan_to_num(np.max(steps, axis=0), nan=1.0).tolist()
    return x, y


def _mesh(
    source: NDArray[np.float64], columns: NDArray[np.int64], rows: NDArray[np.int64]
) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Return the cells between nodes for Pillow: the box of each in the picture, and its corners in the source."""
    # Pillow expects the corners in the order north-west, south-west, south-east, north-east.
    quads = np.concatenate([source[:-1, :-1], source[1:, :-1], source[1:, 1:], source[:-1, 1:]], axis=-1)
    return [
        ((int(columns[j]), int(rows[i]), int(columns[j + 1]), int(rows[i + 1])), tuple(quads[i, j].tolist()))
        for i, j in np.argwhere(np.isfinite(quads).all(axis=-1)).tolist()
    ]

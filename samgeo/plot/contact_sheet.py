"""Small pictures of many places of a raster on one sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.plot.colors import RGB, checkerboard

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["SheetEntry", "contact_sheet"]

TILE_PX = 240
GAP_PX = 8
LINE_PX = 18
OUTLINE_PX, CONTEXT_PX = 2, 1
PAPER: RGB = (255, 255, 255)
INK: RGB = (0, 0, 0)

# A picture shows half the width of a place on each side as a margin, and at least LEAST_PX raster pixels in all.
MARGIN = 0.5
LEAST_PX = 48

# For larger places only the middle is shown, so that no huge area is read for one picture.
MOST_PX = 2048


@dataclass(frozen=True, slots=True, eq=False)
class SheetEntry:
    """A place on a contact sheet, with the polygons that are drawn there.

    Attributes
    ----------
    outlines : tuple of (geometry, colour)
        Polygons in the CRS of the raster (in pixels where it has none), the first on top. Their common
        bounding box is the place.
    caption : str
        A line of text below the picture.
    context : tuple of (geometry, colour)
        More polygons, drawn beneath the outlines with a thinner line.
    """

    outlines: tuple[tuple[Any, RGB], ...]
    caption: str = ""
    context: tuple[tuple[Any, RGB], ...] = ()


@check_types
def contact_sheet(raster: Raster, places: list[SheetEntry], *, title: str = "", columns: int = 4) -> Image.Image:
    """Draw each place as a square picture of its own, in rows.

    Parameters
    ----------
    raster : Raster
        The raster with the places; pixels without data are drawn as a checkerboard.
    places : list of SheetEntry
        At least one.
    title : str
        A line of text above the pictures.
    columns : int, default 4
        Number of pictures in a row.

    Returns
    -------
    PIL.Image.Image
        The sheet in RGB; each picture has 240 pixels a side.

    Raises
    ------
    OptionError
        If ``places`` is empty, or ``columns`` is below 1.
    SamgeoError
        If the raster cannot be read.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.plot import SheetEntry, contact_sheet
    >>> from samgeo.synthetic import town
    >>> scene = town((128, 128), seed=1)
    >>> raster = samgeo.Raster.open(scene.save("town.tif"))
    >>> entries = [SheetEntry(((one, (255, 0, 0)),), "a building") for one in scene.footprints.geometry[:4]]
    >>> contact_sheet(raster, entries, title="Buildings").mode
    'RGB'
    """
    if not places or columns < 1:
        raise OptionError("a sheet needs at least one place and one column.")
    columns = min(columns, len(places))
    rows = -(-len(places) // columns)
    step_x, step_y, top = TILE_PX + GAP_PX, TILE_PX + LINE_PX + GAP_PX, GAP_PX + (LINE_PX if title else 0)
    sheet = Image.new("RGB", (GAP_PX + columns * step_x, top + rows * step_y), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP_PX, GAP_PX // 2), title, fill=INK)
    for number, place in enumerate(places):
        x, y = GAP_PX + number % columns * step_x, top + number // columns * step_y
        sheet.paste(_tile(raster, place), (x, y))
        pen.text((x, y + TILE_PX + 2), place.caption, fill=INK)
    return sheet


def _tile(raster: Raster, place: SheetEntry) -> Image.Image:
    affine = np.array((~raster.geobox.affine)[:6]).reshape(2, 3)

    def to_pixels(geometry: shapely.Geometry) -> shapely.Geometry:
        return shapely.transform(geometry, lambda xy: xy @ affine[:, :2].T + affine[:, 2])

    shapes = [(to_pixels(geometry), color) for geometry, color in place.outlines]
    x0, y0, x1, y1 = shapely.total_bounds([geometry for geometry, _ in shapes])
    side = min(max((x1 - x0) * (1 + 2 * MARGIN), (y1 - y0) * (1 + 2 * MARGIN), LEAST_PX), MOST_PX)
    low = np.array([x0 + x1 - side, y0 + y1 - side]) / 2
    pixels, valid = _read_square(raster, low, side)
    picture = Image.fromarray(np.where(valid[..., np.newaxis], pixels, checkerboard(TILE_PX, TILE_PX)))
    pen = ImageDraw.Draw(picture)
    scale = TILE_PX / side
    below = [(to_pixels(geometry), color) for geometry, color in place.context]
    for some, width in ((below, CONTEXT_PX), (reversed(shapes), OUTLINE_PX)):
        for geometry, color in some:
            for ring in shapely.get_rings(shapely.get_parts(geometry)):
                corners = (shapely.get_coordinates(ring) - low) * scale
                pen.line([tuple(corner) for corner in corners.tolist()], fill=color, width=width)
    return picture


def _read_square(raster: Raster, low: NDArray[np.float64], side: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read a square of raster pixels, resampled to the size of a tile by nearest neighbour."""
    x0, y0 = np.floor(low).astype(int).tolist()
    x1, y1 = np.ceil(low + side).astype(int).tolist()
    pixels, valid = raster.read(Rect(x0, y0, x1, y1))
    at = (np.arange(TILE_PX) + 0.5) * side / TILE_PX
    columns = np.clip(np.floor(low[0] + at).astype(int) - x0, 0, x1 - x0 - 1)
    rows = np.clip(np.floor(low[1] + at).astype(int) - y0, 0, y1 - y0 - 1)
    return pixels[np.ix_(rows, columns)], valid[np.ix_(rows, columns)]

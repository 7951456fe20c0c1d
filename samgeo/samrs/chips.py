"""Chips of an image: their positions, the annotations that they show, and their files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio._err import CPLE_BaseError
from rasterio.shutil import copy

from samgeo.annotations.images import without_suffix
from samgeo.errors import RasterError
from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["chip_bytes", "chip_name", "chip_rects", "is_plain", "visible_shares"]

_PLAIN_BANDS = {1: "L", 3: "RGB", 4: "RGBA"}
# GDAL would read the text after one of these characters in a path as options.
_SPECIAL = set("?&")


def chip_rects(shape: tuple[int, int], chip: int, overlap: int) -> list[Rect]:
    """Cover an image with chips, row by row.

    All chips have the same size: the last chip of a row or column is moved back, so that it ends at the edge of the image. If
    the image is smaller than a chip, the chip has the size of the image.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image in pixels.
    chip : int
        Side of a chip in pixels.
    overlap : int
        Smallest number of pixels that neighbours share.
    """
    rows, columns = (_starts(length, chip, overlap) for length in shape)
    height, width = (min(chip, length) for length in shape)
    return [Rect(x, y, x + width, y + height) for y in rows for x in columns]


def visible_shares(outlines: NDArray[np.object_], chip: Rect, frame: Rect) -> NDArray[np.float64]:
    """Return which fraction of each outline a chip shows, of the area that its image shows.

    Parameters
    ----------
    outlines : ndarray of valid polygons, shape (N,)
        Outlines in pixels of the image.
    chip, frame : Rect
        The chip, and the whole image.

    Returns
    -------
    ndarray, shape (N,)
        From 0 to 1; 0 for outlines outside the image.
    """
    here, there = (
        np.asarray(shapely.area(shapely.clip_by_rect(outlines, one.x0, one.y0, one.x1, one.y1)), dtype=np.float64)
        for one in (chip, frame)
    )
    return np.divide(here, there, out=np.zeros_like(here), where=there > 0)


def chip_name(image: str, chip: Rect, suffix: str) -> str:
    """Return the name of a chip: the name of its image with the chip's first column and row."""
    return f"{without_suffix(image)}_x{chip.x0:06d}_y{chip.y0:06d}{suffix}"


def is_plain(raster: Raster) -> bool:
    """Return whether a PNG holds the whole content of a raster.

    It does for 8 bits, grey, RGB or RGBA, without a georeference, nodata or a colour table.
    """
    source = raster.source
    is_bytes = all(band.dtype == "uint8" and band.nodata is None for band in source.bands)
    has_alpha = any(band.is_alpha for band in source.bands)
    is_known = len(source.bands) in _PLAIN_BANDS and has_alpha == (len(source.bands) == 4)
    has_place = raster.geobox.crs is not None or raster.geobox.affine != Affine.identity()
    return is_bytes and is_known and source.palette is None and not has_place


def chip_bytes(raster: Raster, path: Path, chip: Rect, suffix: str) -> bytes:
    """Return the bytes of a chip's file, with all bands, the data type, nodata and the georeference.

    The file is made in memory, because GDAL does not report errors of the file system when it closes a file.

    Parameters
    ----------
    raster : Raster
        The image.
    path : Path
        File of the image.
    chip : Rect
        The chip in pixels of the image.
    suffix : {".png", ".tif"}
        ".png" if `is_plain` is true, otherwise ".tif" for a GeoTIFF.

    Raises
    ------
    RasterError
        If the raster cannot be read.
    """
    if suffix == ".png":
        values, _ = raster.source.read(range(1, len(raster.source.bands) + 1), chip)
        pixels = np.ascontiguousarray(np.moveaxis(values, 0, 2))
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if len(values) == 1 else pixels).save(file, format="PNG")
        return file.getvalue()
    if _SPECIAL & set(str(path)):
        raise RasterError(f"{path} cannot be cut into chips: its name contains one of {' '.join(sorted(_SPECIAL))}; rename it.")
    window = f"{chip.x0},{chip.y0},{chip.width},{chip.height}"
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.MemoryFile(ext=".tif") as memory:
            copy(f"vrt://{path.absolute()}?srcwin={window}", memory.name, driver="GTiff", compress="deflate")
            return bytes(memory.read())
    except (rasterio.errors.RasterioError, CPLE_BaseError, OSError, ValueError) as error:
        raise RasterError(
            f"the chip at {chip} of {path} cannot be written ({error}); check the file and the free disk space."
        ) from None


def _starts(length: int, chip: int, overlap: int) -> list[int]:
    """Return the first pixel of each chip along one axis."""
    return [0] if length <= chip else [*range(0, length - chip, chip - overlap), length - chip]

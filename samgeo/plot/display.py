"""Draw a raster, with results on it, as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.overlay import read_onto
from samgeo.geo.raster.raster import Raster
from samgeo.plot.colors import RGB, checkerboard, colors_of
from samgeo.plot.coverage import coverages
from samgeo.storage.atomic import check_new, refuse_inputs, write_whole
from samgeo.types import BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd


__all__ = ["show"]

FILL_OPACITY = 0.4
OUTLINE_SHARE = 1 / 800  # outline width as a share of the picture's longer side, so that pictures of any size look alike
MIN_OUTLINE_PX = 1.0
MITRE_LIMIT = 2.0

# Details finer than this are invisible, and cost time.
SIMPLIFY_PX = 0.1

# Polygons are drawn in batches whose bounding boxes have about this many pixels together.
BATCH_PIXELS = 2**22


@check_types
def show(
    image: RasterLike,
    result: gpd.GeoDataFrame | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    max_side: int = 1600,
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    fill: bool = True,
    outline: bool = True,
    column: str | None = None,
    overwrite: bool = False,
) -> Image.Image:
    """Draw a raster, and polygons on it, as a picture.

    The picture is in the raster's own pixel grid, north up or not, at most ``max_side`` pixels long. Pixels without data are
    a grey checkerboard.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    result : GeoDataFrame or path, optional
        Polygons in any CRS, such as `samgeo.segment` returns or writes; of a file with several layers, ``city.gpkg:roofs``.
        Missing and empty geometries are skipped.
    output : path, optional
        The ``.png`` file to write. It is written completely or not at all.
    max_side : int, default 1600
        Longer side of the picture in pixels; a smaller raster is drawn at its own size.
    bands, stretch, nodata, alpha, invented : optional
        See `samgeo.Raster.open`.
    fill : bool, default True
        Whether to tint the polygons.
    outline : bool, default True
        Whether to draw their edges.
    column : str, optional
        A column of the result to colour by. Numbers go from dark blue (lowest) to yellow (highest); other values get one
        colour each. By default each polygon gets its own colour.
    overwrite : bool, default False
        Whether an existing picture may be replaced.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    SamgeoError
        If the raster or the result cannot be read, only one of them has a CRS, the result has geometries other than
        polygons, or the picture cannot be written.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import town
    >>> scene = town((128, 128), seed=1)
    >>> path = scene.save("town.tif")
    >>> samgeo.show(path, scene.footprints, "town.png").size
    (128, 128)
    """
    if max_side < 1:
        raise OptionError(f"max_side is {max_side} pixels; give at least 1.")
    given = (image, result)
    path = None if output is None else check_new(output, ".png", overwrite=overwrite, inputs=given)
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha, invented=invented)
    if path is not None:
        refuse_inputs(path, (raster,), OptionError)
    frame = None if result is None else read_onto(result, raster.geobox, what="the result", raster=raster.name)
    colors = None if frame is None else colors_of(frame, column)

    pixels, valid = raster.view(max_side)
    height, width = valid.shape
    picture = Image.fromarray(np.where(valid[..., np.newaxis], pixels, checkerboard(height, width)))
    if frame is not None and colors is not None:
        scale = np.array([width / raster.shape[1], height / raster.shape[0]])
        outline_px = max(MIN_OUTLINE_PX, max(height, width) * OUTLINE_SHARE) if outline else 0
        _draw(picture, _to_pixels(frame, raster, scale), colors, opacity=FILL_OPACITY if fill else 0, outline_px=outline_px)
    if path is not None:
        _write(picture, path)
    return picture


def _to_pixels(frame: gpd.GeoDataFrame, raster: Raster, scale: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return the geometries in pixels of the picture; None for missing and empty geometries."""
    geometries = np.asarray(frame.geometry.array, dtype=object)
    geometries[shapely.is_empty(geometries)] = None
    kinds = {one.geom_type for one in geometries if one is not None} - {"Polygon", "MultiPolygon"}
    if kinds:
        raise VectorError(f"the result has geometries of type {', '.join(sorted(kinds))}; only polygons can be drawn.")
    inverse = np.array((~raster.geobox.affine)[:6]).reshape(2, 3)

    def transform(crs_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        if not np.isfinite(crs_xy).all():
            raise VectorError(f"the result has coordinates outside the domain of the CRS of {raster.name}; check its CRS.")
        xy: NDArray[np.float64] = (crs_xy @ inverse[:, :2].T + inverse[:, 2]) * scale
        return xy

    return np.asarray(shapely.transform(geometries, transform), dtype=object)


def _draw(
    picture: Image.Image,
    geometries: NDArray[np.object_],
    colors: Sequence[RGB],
    *,
    opacity: float,
    outline_px: float,
) -> None:
    """Tint the insides of polygons and draw their edges, the large ones first so that the small ones stay visible."""
    width, height = picture.size
    outside = np.nan_to_num(shapely.bounds(geometries), nan=-1e9)  # missing geometries count as outside the picture
    margin = outline_px / 2 * MITRE_LIMIT
    low = np.maximum(np.floor(outside[:, :2] - margin), 0).astype(np.int64)
    high = np.minimum(np.ceil(outside[:, 2:] + margin), (width, height)).astype(np.int64)
    boxes = np.hstack([low, high])
    visible = np.flatnonzero(np.all(low < high, axis=1))
    order = visible[np.argsort(-shapely.area(geometries[visible]), kind="stable")]
    for some in _batches(order, (high - low).prod(axis=1)):
        polygons = shapely.simplify(geometries[some], SIMPLIFY_PX)
        layers = []
        if opacity:
            layers.append((opacity, coverages(polygons, boxes[some])))
        if outline_px:
            edges = shapely.buffer(
                shapely.boundary(polygons), outline_px / 2, join_style="mitre", cap_style="flat", mitre_limit=MITRE_LIMIT
            )
            layers.append((1.0, coverages(edges, boxes[some])))
        for index in some:
            x0, y0, x1, y1 = boxes[index].tolist()
            weight = np.zeros((y1 - y0, x1 - x0), dtype=np.float32)
            for strength, shares in layers:
                weight = np.maximum(weight, next(shares) * strength)
            picture.paste(colors[index], (x0, y0), Image.fromarray((weight * 255 + 0.5).astype(np.uint8)))


def _batches(order: NDArray[np.intp], pixels: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Split an order into batches with about `BATCH_PIXELS` pixels each."""
    batch = np.cumsum(pixels[order]) // BATCH_PIXELS
    return np.split(order, np.flatnonzero(np.diff(batch)) + 1) if len(order) else []


def _write(picture: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())

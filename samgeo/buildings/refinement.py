"""Refinement of outlines by the colours of an image: `refine`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from samgeo.arguments import check_types
from samgeo.buildings.regularization.rows import foreign_areas, measured
from samgeo.errors import OptionError
from samgeo.geo.coordinates.prompt_geometry import read_polygons
from samgeo.geo.grid import Rect
from samgeo.geo.vector.columns import keep_given
from samgeo.geo.vector.outputs import check_asked, check_output
from samgeo.geo.vector.reading import read_vectors, write_vectors
from samgeo.geo.vector.writing import check_fit
from samgeo.objects.shapes import with_note
from samgeo.progress import counting, progress_bar
from samgeo.segmentation.masks.edges import EdgeOptions, changed_pixels, keep_parts
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import georeference, polygons
from samgeo.segmentation.options import ReadingOptions
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["refine"]

_TILE = 512  # Side of the parts in which large objects are computed, in pixels.


@check_types
def refine(
    objects: FeaturesLike,
    image: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    band_px: int = 3,
    radius_px: int = 6,
    certainty: float = 0.15,
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    overwrite: bool = False,
    layer: str | None = None,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Move the outlines of objects to edges of colour in an image, by some pixels.

    This is for outlines with coarse steps, such as those of a label image whose pixels are four times as large as those of the
    image: there it raised the mean IoU of generated buildings from 0.83 to 0.87. It cost exact outlines 0.004. Masks of the
    bundled model for boxes around true buildings gained 0.0015, which is why `samgeo.find`, `samgeo.segment` and
    `samgeo.predict` have no such option.

    The guided filter (He, Sun and Tang, Guided image filtering, IEEE TPAMI 35(6), 2013) compares the colours on both sides of
    an outline. A pixel near the outline changes only if the result is certain. An object is neither lost nor divided, it
    gets no new holes, and it does not grow into another object; pixels beside another object stay, so that shared walls do.

    Parameters
    ----------
    objects : path, GeoDataFrame or GeoSeries
        Polygons and multipolygons.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster that shows the objects; see `samgeo.Raster.open`.
    output : path, optional
        File for the result: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. It is written completely or not at all.
    band_px : int, default 3
        Largest distance from the outline at which a pixel can change, from 1 to 16.
    radius_px : int, default 6
        Radius of the squares in which colours are compared, in pixels, from 2 to 32. It should be larger than the errors of the
        outlines, and smaller than the objects.
    certainty : float, default 0.15
        How certain the result must be for a change: 0 changes most pixels, 0.5 nearly none.
    bands, stretch, nodata, alpha, invented
        How the raster is read; see `samgeo.segment`.
    overwrite : bool, default False
        Whether an existing output may be replaced. In a GeoPackage only the layer is replaced.
    layer : str, optional
        Name of the output's layer in a GeoPackage. By default it is the file's name without its suffix.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        The same rows and columns in the same CRS, and ``refined``, which says whether the outline changed. A changed outline
        runs along the edges of pixels; the other geometries are those that were given, also those outside the raster and
        beside pixels without data. Columns ``area_m2`` and ``area_px`` that hold the areas of the objects are computed again.
        ``attrs["samgeo"]`` has the provenance of the objects and the options.

    Raises
    ------
    OptionError
        If an option has an invalid value.
    VectorError
        If the objects cannot be read or are not polygons, or the output cannot be written.
    RasterError
        If the raster cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import geopandas as gpd
    >>> import shapely
    >>> image = np.full((60, 60, 3), 90, dtype=np.uint8)
    >>> image[20:40, 20:42] = 200
    >>> result = samgeo.refine(gpd.GeoDataFrame(geometry=[shapely.box(19, 20, 41, 41)]), image, progress=False)
    >>> result.geometry[0].bounds, bool(result.refined[0])
    ((20.0, 20.0, 42.0, 40.0), True)
    """
    arguments = locals()
    check_asked(output, overwrite=overwrite, layer=layer, inputs=(objects, image))
    options = _checked(band_px, radius_px, certainty)
    frame = read_vectors(objects)
    made = frame.attrs
    frame = keep_given(frame, ("refined", *foreign_areas(frame)), "the objects")
    place = None if output is None else check_output(output, overwrite, crs=frame.crs, layer=layer)
    if place is not None:
        check_fit(frame.assign(refined=False), place, layer=layer, provenance=made.get("samgeo"))
    raster = ReadingOptions.of(arguments).open(image)
    outlines, _ = read_polygons(frame, geobox=raster.geobox)
    with progress_bar(len(outlines), "outline", "refining", progress=progress) as bar:
        new = _refined(outlines, raster, options, done=bar.update)
    geometries = np.asarray(frame.geometry, dtype=object).copy()
    rows = sorted(new)
    if rows:
        placed = georeference(np.array([new[row] for row in rows], dtype=object), raster.geobox.affine)
        crs = raster.geobox.crs
        if crs is not None and frame.crs is not None:
            placed = np.asarray(gpd.GeoDataFrame(geometry=placed, crs=crs.proj).to_crs(frame.crs).geometry, dtype=object)
        geometries[rows] = placed
    result = gpd.GeoDataFrame(frame).set_geometry(gpd.GeoSeries(geometries, index=frame.index, crs=frame.crs))
    result["refined"] = np.isin(np.arange(len(frame)), rows)
    result = measured(result)
    note = {"refined": len(rows), "band_px": band_px, "radius_px": radius_px, "certainty": certainty}
    result.attrs = with_note(frame, "refine", {**note, "raster": raster.provenance()})
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"])
    return result


def _checked(band_px: int, radius_px: int, certainty: float) -> EdgeOptions:
    for name, value, low, high in (("band_px", band_px, 1, 16), ("radius_px", radius_px, 2, 32)):
        if not low <= value <= high:
            raise OptionError(f"{name} is {value}; give a number of pixels from {low} to {high}.")
    if not 0 <= certainty <= 0.5:
        raise OptionError(f"certainty is {certainty}; give a number from 0 to 0.5.")
    return EdgeOptions(band_px, radius_px, certainty)


def _refined(
    outlines: NDArray[np.object_], raster: Raster, options: EdgeOptions, *, done: Callable[[int], object]
) -> dict[int, shapely.Geometry]:
    """Return the new outlines in pixels of the objects that change, by row. Earlier rows take free pixels first."""
    now = outlines.copy()
    tree = shapely.STRtree(outlines)
    result: dict[int, shapely.Geometry] = {}
    for row in counting(range(len(outlines)), done):
        moved = _moved(row, now, tree, raster, options)
        if moved is not None:
            now[row] = result[row] = moved
    return result


def _moved(
    row: int, outlines: NDArray[np.object_], tree: shapely.STRtree, raster: Raster, options: EdgeOptions
) -> shapely.Geometry | None:
    """Return the new outline of one of the objects in pixels; None if it does not change."""
    outline, frame = outlines[row], Rect(0, 0, raster.shape[1], raster.shape[0])
    if outline is None or outline.is_empty:
        return None
    x0, y0, x1, y1 = shapely.bounds(outline)
    wide = options.band_px + 1
    # The whole object is looked at, so that a part beyond the raster stays as it is.
    rect = Rect(int(np.floor(x0)) - wide, int(np.floor(y0)) - wide, int(np.ceil(x1)) + wide, int(np.ceil(y1)) + wide)
    if (rect & frame).is_empty:
        return None
    reach = options.reach_px + options.band_px
    beside = tree.query(shapely.box(rect.x0 - reach, rect.y0 - reach, rect.x1 + reach, rect.y1 + reach))
    others = [outlines[other] for other in np.sort(beside).tolist() if other != row]
    before = _draw([outline], rect)
    changes = np.zeros(rect.shape, dtype=bool)
    for tile in _tiles(rect):
        inside = tile.slices_in(rect)
        changes[inside] = _changes(outline, others, tile, raster, options)
    if not changes.any():
        return None
    after = keep_parts(before, before ^ changes)
    return polygons([Mask.from_array(after, rect.x0, rect.y0)])[0] if (after != before).any() else None


def _changes(
    outline: shapely.Geometry, others: list[shapely.Geometry], tile: Rect, raster: Raster, options: EdgeOptions
) -> NDArray[np.bool_]:
    """Return which pixels of a tile change. The tile is read with a margin, so that neighbouring tiles fit each other."""
    reach = options.reach_px
    around = Rect(tile.x0 - reach, tile.y0 - reach, tile.x1 + reach, tile.y1 + reach)
    within = around & Rect(0, 0, raster.shape[1], raster.shape[0])
    changes = np.zeros(tile.shape, dtype=bool)
    mask = None if within.is_empty else _draw([outline], within)
    if mask is None or mask.all() or not mask.any():
        return changes
    pixels, valid = raster.read(within)
    barred = ndimage.binary_dilation(_draw(others, within), np.ones((3, 3), dtype=bool)) if others else None
    part = tile & within
    changes[part.slices_in(tile)] = changed_pixels(pixels, valid, mask, options, barred=barred)[part.slices_in(within)]
    return changes


def _tiles(rect: Rect) -> Iterator[Rect]:
    for y in range(rect.y0, rect.y1, _TILE):
        for x in range(rect.x0, rect.x1, _TILE):
            yield Rect(x, y, min(x + _TILE, rect.x1), min(y + _TILE, rect.y1))


def _draw(outlines: list[shapely.Geometry], rect: Rect) -> NDArray[np.bool_]:
    shapes = [(one, 1) for one in outlines if not shapely.is_empty(one)]
    if not shapes:
        return np.zeros(rect.shape, dtype=bool)
    return np.asarray(rasterize(shapes, rect.shape, transform=Affine.translation(rect.x0, rect.y0), dtype="uint8") == 1)

"""From a raster and a few examples to building footprints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.buildings.selection.overlaps import MAX_OVERLAP
from samgeo.buildings.selection.select import MIN_SCORE, everything, select
from samgeo.errors import OptionError
from samgeo.geo.vector.axes import check_y_up, describe_axes
from samgeo.geo.vector.columns import GIVEN, keep_given
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["footprints"]


@check_types
def footprints(
    image: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    examples: FeaturesLike | None,
    candidates: FeaturesLike | None = None,
    min_score: float = MIN_SCORE,
    max_overlap: float = MAX_OVERLAP,
    min_area_m2: float | None = None,
    max_area_m2: float | None = None,
    dsm: str | os.PathLike[str] | None = None,
    dtm: str | os.PathLike[str] | None = None,
    min_height_m: float = 2.0,
    regular: bool = True,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
) -> gpd.GeoDataFrame:
    """Extract the buildings of a raster, given a few of them.

    Everything is segmented (`samgeo.segment`), unless there are candidates; those like the accepted examples are selected and
    the best of those that overlap stays (`select`); what is too small, too large or too low goes (`filter_by_shape`,
    `filter_by_height`); outlines are regularised (`regularize`). Each step is a function of its own.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`.
    output : path, optional
        Where to write the footprints: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. Written whole or not at all.
    examples : path, GeoDataFrame, GeoSeries, sequence of geometries, column of the candidates, or a pair of those
        Accepted and rejected objects; see `select`.
    candidates : path or GeoDataFrame, optional
        What to choose from; by default everything in the raster.
    min_score, max_overlap : float
        See `select`.
    min_area_m2, max_area_m2 : float, optional
        See `filter_by_shape`.
    dsm, dtm : path or URL, optional
        Surface heights and terrain; see `filter_by_height`.
    min_height_m : float, default 2
        See `filter_by_height`; counts only with a ``dsm``.
    regular : bool, default True
        Whether to regularise the outlines.
    model, device, dtype, bands, stretch, nodata, alpha, window, overlap, cache
        See `samgeo.segment`. With a ``cache`` the raster is encoded once for both segmentation and selection.
    overwrite : bool, default False
        Whether an existing output may be replaced; of a GeoPackage, the layer, while its other layers, tables and styles stay.
    layer : str, optional
        Name of the output's layer in a GeoPackage; by default the file's name without its suffix. A layer of a new name is
        added to an existing file.
    y_up : bool, default False
        Whether the file has y running up, where the raster has no georeference; see `samgeo.segment`.

    Returns
    -------
    GeoDataFrame
        The footprints, with ``score`` and the columns of the candidates; ``height_m`` with a ``dsm``; those of `regularize`.
        Columns of the candidates with one of these names get ``_given`` behind it, with a warning.
        ``attrs["samgeo"]`` tells what each step kept.

    Raises
    ------
    SamgeoError
        If an input cannot be read or an option cannot work; then there is no output.
    """
    import geopandas as gpd

    from samgeo.buildings.height import filter_by_height
    from samgeo.buildings.regularization.api import RESULT_COLUMNS, regularize
    from samgeo.buildings.shapes import filter_by_shape
    from samgeo.geo.coordinates.overlay import check_same_kind
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.vector.reading import check_asked, check_fit, check_output, read_vectors, split_layer, write_vectors
    from samgeo.models.registry import load_model

    if dtm is not None and dsm is None:
        raise OptionError("a dtm goes with a dsm, whose heights it turns into those above the ground; give both.")
    given = (image, examples, candidates, dsm, dtm, model, cache)
    check_asked(output, overwrite=overwrite, layer=layer, inputs=given)
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha)
    check_y_up(raster.geobox, y_up, output)
    place = None
    if output is not None:
        place = check_output(output, overwrite=overwrite, crs=raster.geobox.crs, layer=layer, inputs=(*given, raster))
    where: dict[str, Any] = {"model": load_model(model, device=device, dtype=dtype), "window": window, "overlap": overlap}
    where["cache"] = cache
    if isinstance(examples, str | os.PathLike) and (candidates is None or Path(split_layer(examples)[0]).is_file()):
        examples = read_vectors(examples)  # Before the minutes that segmentation takes.
    if isinstance(examples, gpd.GeoDataFrame | gpd.GeoSeries):
        check_same_kind(examples.crs, raster.geobox, what="the layer of examples", raster=raster.name)
    found = None if candidates is None else read_vectors(candidates)
    if found is not None:
        check_same_kind(found.crs, raster.geobox, what="the layer of candidates", raster=raster.name)
        found = keep_given(found, ("height_m", *(RESULT_COLUMNS if regular else ())), "the candidates")
    if place is not None:
        check_fit(_sample(found, raster, regular=regular, has_heights=dsm is not None), place, layer=layer)
    if found is None:
        found = everything(raster, **where)
    chosen = select(raster, found, examples, min_score=min_score, max_overlap=max_overlap, **where)
    chosen = filter_by_shape(chosen, min_area_m2=min_area_m2, max_area_m2=max_area_m2)
    if dsm is not None:
        chosen = filter_by_height(chosen, dsm, dtm, min_height_m=min_height_m)
    made = chosen.attrs
    result = (regularize(chosen) if regular else chosen).reset_index(drop=True)
    result.attrs = made
    if output is not None:
        provenance = {**made.get("samgeo", {}), **describe_axes(raster.geobox, y_up=y_up)}
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=provenance)
    return result


def _sample(found: gpd.GeoDataFrame | None, raster: Raster, *, regular: bool, has_heights: bool) -> gpd.GeoDataFrame:
    """Return candidates with the columns that the result has besides theirs, without values."""
    from samgeo.buildings.regularization.api import with_result_columns
    from samgeo.segmentation.tables import to_frame

    frame = to_frame((), raster.geobox) if found is None else found
    frame = frame.rename(columns={"score": f"score{GIVEN}"}).assign(score=1.0)
    frame = frame.assign(height_m=1.0) if has_heights else frame
    return with_result_columns(frame) if regular else frame

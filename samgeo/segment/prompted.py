"""From a raster and a file of prompts to a file of objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.segment.regions import MIN_HOLE, MIN_PART

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.sam.segmenter import Segmenter

__all__ = ["predict"]


def predict(
    image: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    points: Any = None,
    labels: Any = None,
    boxes: Any = None,
    polygons: Any = None,
    crs: Any = None,
    multimask: bool | str = "auto",
    refine: int = 0,
    model: str | Path | Segmenter = "tiny",
    device: str = "auto",
    dtype: str = "auto",
    bands: Any = None,
    stretch: Any = None,
    nodata: float | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    overwrite: bool = False,
) -> gpd.GeoDataFrame:
    """Segment what prompts mean, and write it.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    output : path, optional
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. Written whole or not at all.
    points, labels, boxes, polygons, crs, multimask, refine
        See `samgeo.Predictor.predict`.
    model, device, dtype, bands, stretch, nodata, window, overlap, cache, min_part, min_hole
        See `samgeo.Predictor`.
    overwrite : bool, default False
        Whether an existing output may be replaced.

    Returns
    -------
    GeoDataFrame
        A row a prompt, see `samgeo.Predictor.predict`.

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work; later, if a window cannot be read, or the output cannot be
        written. Then there is no output.
    """
    from samgeo.geo.raster import Raster
    from samgeo.geo.vectors import check_output, write_vectors
    from samgeo.segment.predictor import Predictor

    if output is not None:
        check_output(output, overwrite=overwrite)
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata)
    if output is not None:
        check_output(output, overwrite=overwrite, crs=raster.geobox.crs)
    predictor = Predictor(
        raster,
        model=model,
        device=device,
        dtype=dtype,
        window=window,
        overlap=overlap,
        cache=cache,
        min_part=min_part,
        min_hole=min_hole,
    )
    result = predictor.predict(points, labels, boxes, polygons=polygons, crs=crs, multimask=multimask, refine=refine)
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, provenance=result.attrs["samgeo"])
    return result

"""From a raster and a file of prompts to a file of objects."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.geo.columns import RenamedColumnsWarning

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.sam.segmenter import Segmenter
    from samgeo.segment.predictor import Predictor

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
    alpha: int | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
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
    model, device, dtype, bands, stretch, nodata, alpha, window, overlap, cache
        See `samgeo.Predictor`.
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
        A row a prompt, see `samgeo.Predictor.predict`. In the file, geometries of prompts without an answer are missing.

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work; later, if a window cannot be read, the raster changes
        meanwhile, or the output cannot be written. Then there is no output.
    """
    from samgeo.geo.axes import check_y_up, describe_axes
    from samgeo.geo.raster import Raster
    from samgeo.geo.vectors import check_asked, check_fit, check_output, write_vectors
    from samgeo.segment.predictor import Predictor

    given = (image, points, boxes, polygons, model, cache)
    check_asked(output, overwrite=overwrite, layer=layer, inputs=given)
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha)
    check_y_up(raster.geobox, y_up, output)
    place = None
    if output is not None:
        place = check_output(output, overwrite=overwrite, crs=raster.geobox.crs, layer=layer, inputs=(*given, raster))
    predictor = Predictor(raster, model=model, device=device, dtype=dtype, window=window, overlap=overlap, cache=cache)
    prompts = {"points": points, "labels": labels, "boxes": boxes, "polygons": polygons, "crs": crs}
    axes = describe_axes(raster.geobox, y_up=y_up)
    if place is not None:
        check_fit(_unanswered(predictor, prompts), place, layer=layer, provenance=predictor.provenance() | axes)
    result = predictor.predict(points, labels, boxes, polygons=polygons, crs=crs, multimask=multimask, refine=refine)
    predictor.check_same(now=True)
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"] | axes)
    return result


def _unanswered(predictor: Predictor, prompts: dict[str, Any]) -> gpd.GeoDataFrame:
    """Return the table that the prompts will have, without answers."""
    from samgeo.segment.frame import answers_to_frame
    from samgeo.segment.reading import read_prompts

    asked, table = read_prompts(predictor.raster.geobox, predictor.lattice, **prompts)
    with warnings.catch_warnings():
        # The same is said when the prompts are answered.
        warnings.simplefilter("ignore", RenamedColumnsWarning)
        return answers_to_frame(["not asked yet"] * len(asked), table, predictor.raster.geobox)

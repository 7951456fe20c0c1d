"""From a raster and a file of prompts to a file of objects."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.vector.columns import RenamedColumnsWarning
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.types import BandsLike, BoxesLike, CRSLike, FeaturesLike, LabelsLike, PointsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch

    from samgeo.geo.label_raster import Classes
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.predictor import Predictor

__all__ = ["predict"]


@check_types
def predict(
    image: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    points: PointsLike = None,
    labels: LabelsLike = None,
    boxes: BoxesLike = None,
    polygons: FeaturesLike | None = None,
    crs: CRSLike = None,
    multimask: bool | str = "auto",
    refine: int = 0,
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
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    class_column: str | None = None,
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
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``, or ``.tif`` for a raster of labels, where
        the object of row ``i`` has the number ``i + 1``; see `samgeo.rasterize`. Written whole or not at all.
    points, labels, boxes, polygons, crs, multimask, refine
        See `samgeo.Predictor.predict`.
    model, device, dtype, bands, stretch, nodata, alpha, window, overlap, cache, min_part, min_hole
        See `samgeo.Predictor`.
    class_column : str, optional
        For a raster of labels: a column of the prompts with the class of each, which is drawn instead; see `samgeo.rasterize`.
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
    from samgeo.geo.label_raster import check_labels_options, check_result, is_label_raster, write_label_raster
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.vector.axes import check_y_up, describe_axes
    from samgeo.geo.vector.reading import check_asked, check_fit, write_vectors
    from samgeo.segmentation.predictor import Predictor
    from samgeo.storage.locations import as_place

    given = (image, points, boxes, polygons, model, cache)
    is_labels = output is not None and is_label_raster(as_place(output))
    if output is None:
        check_asked(output, overwrite=overwrite, layer=layer, inputs=given)
    else:
        check_result(output, overwrite=overwrite, layer=layer, inputs=given)
    if is_labels:
        check_labels_options(layer=layer, y_up=y_up)
    if class_column is not None and not is_labels:
        raise OptionError("class_column is of a raster of labels; give an output that ends in .tif, or leave it away.")
    classes = None if class_column is None else _classes([points, boxes, polygons], class_column)
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha)
    check_y_up(raster.geobox, y_up, output)
    place = None
    if output is not None:
        place = check_result(output, overwrite=overwrite, crs=raster.geobox.crs, layer=layer, inputs=(*given, raster))
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
    prompts = {"points": points, "labels": labels, "boxes": boxes, "polygons": polygons, "crs": crs}
    axes = describe_axes(raster.geobox, y_up=y_up)
    if place is not None and not is_labels:
        check_fit(_unanswered(predictor, prompts), place, layer=layer, provenance=predictor.provenance() | axes)
    result = predictor.predict(points, labels, boxes, polygons=polygons, crs=crs, multimask=multimask, refine=refine)
    predictor.check_same(now=True)
    if output is not None and is_labels:
        made = result.attrs["samgeo"]
        write_label_raster([result], raster.geobox, output, classes=classes, overwrite=overwrite, provenance=made)
    elif output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"] | axes)
    return result


def _unanswered(predictor: Predictor, prompts: dict[str, Any]) -> gpd.GeoDataFrame:
    """Return the table that the prompts will have, without answers."""
    from samgeo.segmentation.prompts.prompt_reading import read_prompts
    from samgeo.segmentation.tables import answers_to_frame

    asked, table = read_prompts(predictor.raster.geobox, predictor.lattice, **prompts)
    with warnings.catch_warnings():
        # The same is said when the prompts are answered.
        warnings.simplefilter("ignore", RenamedColumnsWarning)
        return answers_to_frame(["not asked yet"] * len(asked), table, predictor.raster.geobox)


def _classes(prompts: Iterable[Any], column: str) -> Classes:
    """Give each class of the prompts a value, before any work."""
    from samgeo.geo.coordinates.prompt_geometry import is_features
    from samgeo.geo.label_raster import classes_of
    from samgeo.geo.vector.reading import read_vectors

    for given in prompts:
        if given is not None and is_features(given):
            frame = read_vectors(given)
            if column in frame:
                return classes_of(frame[column], column)
    raise OptionError(f"the prompts have no column {column!r}; give features with a class each, or leave class_column away.")

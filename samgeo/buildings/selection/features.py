"""Objects on a raster as numbers: what the model knows of them, their shape, and how sure it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.arguments import check_types
from samgeo.buildings.shapes import measure_shapes
from samgeo.types import BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import torch

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["EMBEDDING", "describe"]

EMBEDDING = "embedding_"
"""Columns that begin so were pooled from the model's embedding."""

SCORES = ("predicted_iou", "stability_score")


@check_types
def describe(
    image: RasterLike,
    objects: gpd.GeoDataFrame,
    *,
    embedding: bool = True,
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
) -> pd.DataFrame:
    """Turn objects on a raster into numbers that tell kinds of objects apart.

    Tables of several rasters, described with the same model, can be put together with ``pandas.concat``.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`.
    objects : path, GeoDataFrame or GeoSeries
        Polygons in any CRS.
    embedding : bool, default True
        Whether to look the objects up in the model's embedding.
    model, device, dtype, bands, stretch, nodata, alpha, window, overlap, cache
        See `samgeo.Predictor`. What encoded the raster for segmentation serves here too: give the same ``cache``.

    Returns
    -------
    DataFrame
        A row an object, with its index. ``embedding_mean_0`` and so on, the mean of each channel of the model's ``features``
        inside the object, ``embedding_std_0`` and so on the standard deviation, ``embedding_ring_0`` and so on the mean in a
        ring around it, all from the window with the most context; ``log_area`` in square metres, ``compactness``,
        ``rectangularity``, ``solidity`` and ``log_elongation``, see `measure_shapes`; and ``predicted_iou`` and
        ``stability_score`` where the objects have them. Objects without area, or off the raster's data, are NaN.

    Raises
    ------
    SamgeoError
        If an input cannot be read or an option cannot work; `ModelError` if the model has no ``features``.
    """
    import pandas as pd

    from samgeo.geo.coordinates.overlay import check_same_kind
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.vector.reading import read_vectors

    objects = read_vectors(objects)
    raster = None
    if embedding:
        raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha)
        check_same_kind(objects.crs, raster.geobox, what="the layer of objects", raster=raster.name)
    shapes = measure_shapes(objects)
    columns = {
        "log_area": np.log(shapes["area"]),
        **{name: shapes[name] for name in ("compactness", "rectangularity", "solidity")},
        "log_elongation": np.log(shapes["elongation"]),
    }
    columns |= {name: objects[name].astype(np.float64) for name in SCORES if name in objects}
    table = pd.DataFrame(columns, index=objects.index)
    if raster is None:
        return table
    where: dict[str, Any] = {"window": window, "overlap": overlap, "cache": cache}
    pooled = _pooled(raster, objects, model=model, device=device, dtype=dtype, **where)
    return pd.concat([pooled, table], axis=1)


def _pooled(
    raster: Raster,
    objects: gpd.GeoDataFrame,
    *,
    model: Any,
    device: str | torch.device,
    dtype: str,
    window: int | None,
    overlap: int | None,
    cache: Any,
) -> pd.DataFrame:
    import pandas as pd

    from samgeo.buildings.selection.pooling import PARTS, check_describing, pool
    from samgeo.geo.coordinates.prompt_geometry import read_polygons
    from samgeo.models.registry import load_model
    from samgeo.segmentation.predictor import Predictor

    segmenter = load_model(model, device=device, dtype=dtype)
    check_describing(segmenter)
    looking = Predictor(raster, model=segmenter, window=window, overlap=overlap, cache=cache)
    polygons_px, _ = read_polygons(objects, geobox=looking.raster.geobox)
    pooled = pool(looking.raster, polygons_px, segmenter, looking.lattice, store=looking.store)
    names = [f"{EMBEDDING}{part}_{channel}" for part in PARTS for channel in range(pooled.shape[2])]
    return pd.DataFrame(pooled.reshape(len(objects), -1), index=objects.index, columns=names)

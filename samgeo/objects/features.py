"""Numerical features of objects: the model's embedding, the colour, the shape, and the predicted quality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.geo.coordinates.overlay import check_same_kind
from samgeo.geo.coordinates.prompt_geometry import read_polygons
from samgeo.geo.grid import Lattice
from samgeo.geo.raster.raster import Raster
from samgeo.geo.vector.reading import read_vectors
from samgeo.models.registry import load_model
from samgeo.objects.pooling import PARTS, check_describing, pool, pool_pixels
from samgeo.objects.shapes import measure_shapes
from samgeo.segmentation.predictor import Predictor
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import torch

    from samgeo.models.protocols import Segmenter

__all__ = ["COLORS", "EMBEDDING", "describe"]

EMBEDDING = "embedding_"
"""Start of the names of columns that were pooled from the model's embedding."""

COLORS = ("brightness", "brightness_std", "difference_1_2", "difference_2_3")
"""Names of columns that describe the pixels' colours."""

# Side of the windows in which pixels are read for colours.
COLOR_WINDOW = 1024

# Least sum of two bands of a normalized difference, from 0 to 2.
LEAST_SUM = 0.02

SCORES = ("predicted_iou", "stability_score")


@check_types
def describe(
    image: RasterLike,
    objects: FeaturesLike,
    *,
    embedding: bool = True,
    color: bool = False,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Compute numerical features of objects on a raster, by which kinds of objects can be told apart.

    Tables of several rasters can be concatenated with ``pandas.concat`` if they were made with the same model.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The image; see `samgeo.Raster.open`.
    objects : path, GeoDataFrame or GeoSeries
        Polygons in any CRS.
    embedding : bool, default True
        Whether to include features that are pooled from the model's embedding.
    color : bool, default False
        Whether to include the colours of the pixels inside the object. The embedding of a model that was trained on images of
        changed colours says little about them.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache
        See `samgeo.Predictor`. Give the ``cache`` of the segmentation, and the raster is not encoded again.
    progress : bool, default True
        Whether to show progress bars on standard error: of the windows of the embedding, and of those of the colours.

    Returns
    -------
    DataFrame
        One row for each object, with the index of the objects. Rows of objects without an area, or outside the raster's data,
        are NaN.

        - ``embedding_mean_0`` and so on: mean of each channel of the model's ``features`` inside the object.
        - ``embedding_std_0`` and so on: standard deviation of each channel inside the object.
        - ``embedding_ring_0`` and so on: mean of each channel in a ring around the object. All embedding features come from the
          window with the most context around the object.
        - ``brightness`` and ``brightness_std``: mean and standard deviation of the pixels inside the object, averaged over the
          bands, from 0 to 1 after the stretch; ``difference_1_2`` and ``difference_2_3``: the normalized difference
          (a - b) / (a + b) of the means of two of the three bands. With ``color``.
        - ``log_area`` (of the area in square metres), ``compactness``, ``rectangularity``, ``solidity`` and ``log_elongation``:
          see `measure_shapes`.
        - ``predicted_iou`` and ``stability_score``: copied from the objects, if they have these columns.

    Raises
    ------
    SamgeoError
        If an input cannot be read or an option is invalid; a `ModelError` if the model has no ``features``.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> from shapely.geometry import box
    >>> from samgeo.objects import describe
    >>> image = np.zeros((64, 64, 3), dtype="uint8")
    >>> objects = gpd.GeoDataFrame(geometry=[box(8, 8, 24, 24)])
    >>> describe(image, objects, embedding=False, progress=False).columns.tolist()
    ['log_area', 'compactness', 'rectangularity', 'solidity', 'log_elongation']
    """
    objects = read_vectors(objects)
    tables = []
    if embedding or color:
        raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha, invented=invented)
        check_same_kind(objects.crs, raster.geobox, what="the layer of objects", raster=raster.name)
        polygons_px, _ = read_polygons(objects, geobox=raster.geobox)
        if embedding:
            where: dict[str, Any] = {"window": window, "overlap": overlap, "cache": cache, "progress": progress}
            tables.append(_pooled(raster, polygons_px, model=model, device=device, dtype=dtype, **where))
        if color:
            tables.append(_colored(raster, polygons_px, progress=progress))
    shapes = measure_shapes(objects)
    columns = {
        "log_area": np.log(shapes["area"]),
        **{name: shapes[name] for name in ("compactness", "rectangularity", "solidity")},
        "log_elongation": np.log(shapes["elongation"]),
    }
    columns |= {name: objects[name].astype(np.float64) for name in SCORES if name in objects}
    # The arrays have one row for each object, in the order of the objects, whose index may have duplicates.
    tables.append(pd.DataFrame(columns, index=objects.index).reset_index(drop=True))
    return pd.concat(tables, axis=1).set_axis(objects.index)


def _colored(raster: Raster, polygons_px: NDArray[np.object_], *, progress: bool) -> pd.DataFrame:
    """Return the features of the pixels' colours."""
    lattice = Lattice(raster.shape, COLOR_WINDOW, COLOR_WINDOW // 4)
    mean, std = np.moveaxis(pool_pixels(raster, polygons_px, lattice, progress=progress), 1, 0)
    # Objects that are nearly black have no colour.
    differences = (mean[:, :2] - mean[:, 1:]) / np.maximum(mean[:, :2] + mean[:, 1:], LEAST_SUM)
    values = [mean.mean(axis=1), std.mean(axis=1), *differences.T]
    return pd.DataFrame(dict(zip(COLORS, values, strict=True)))


def _pooled(
    raster: Raster,
    polygons_px: NDArray[np.object_],
    *,
    model: str | Path | Segmenter,
    device: str | torch.device,
    dtype: str,
    window: int | None,
    overlap: int | None,
    cache: str | os.PathLike[str] | None,
    progress: bool,
) -> pd.DataFrame:
    """Return the features that are pooled from the model's embedding."""
    segmenter = load_model(model, device=device, dtype=dtype)
    check_describing(segmenter)
    looking = Predictor(raster, model=segmenter, window=window, overlap=overlap, cache=cache)
    pooled = pool(looking.raster, polygons_px, segmenter, looking.lattice, store=looking.store, progress=progress)
    names = [f"{EMBEDDING}{part}_{channel}" for part in PARTS for channel in range(pooled.shape[2])]
    return pd.DataFrame(pooled.reshape(len(polygons_px), -1), columns=names)

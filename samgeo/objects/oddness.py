"""How different each object of a layer is from the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.vector.columns import keep_given
from samgeo.geo.vector.reading import check_asked, check_fit, check_output, read_vectors, write_vectors
from samgeo.objects.features import describe
from samgeo.objects.shapes import with_note
from samgeo.objects.space import FeatureSpace
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch

    from samgeo.models.protocols import Segmenter

__all__ = ["oddness"]

# Weights of the embedding, and of each measure of shape, beside the four columns of colours. These values were chosen on
# generated towns; see benchmarks/STUDIES.md.
EMBEDDING_SCALE, SHAPE_SCALE = 2.0, 0.5

# Number of distances that are computed at once.
DISTANCES = 1 << 24

ODDNESS = "oddness"


@check_types
def oddness(
    gdf: FeaturesLike,
    image: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    neighbours: int = 5,
    class_column: str | None = None,
    embedding: bool = True,
    color: bool = True,
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
    overwrite: bool = False,
    layer: str | None = None,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Measure how different each object is from the most similar other objects of its layer.

    Objects that stand out are found in this way, such as repaired roofs, and errors of a layer, such as a car among buildings.
    No examples are needed. Each object is described by the model's embedding, its colours and its shape (`describe`). The
    features are standardized, and those of the embedding are replaced by their principal components. The oddness is the mean
    distance to the nearest neighbours in this space (S. Ramaswamy, R. Rastogi and K. Shim, Efficient Algorithms for Mining
    Outliers from Large Data Sets, 2000; the mean over the neighbours: F. Angiulli and C. Pizzuti, Fast Outlier Detection in
    High Dimensional Spaces, 2002).

    Parameters
    ----------
    gdf : path, GeoDataFrame or GeoSeries
        Polygons in any CRS.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The image; see `samgeo.Raster.open`.
    output : path, optional
        Where to write the result; see `samgeo.geo.vector.write_vectors`.
    neighbours : int, default 5
        Number of the most similar objects to which the distance is measured. A group of up to this many objects that are like
        each other, and unlike all others, still stands out.
    class_column : str, optional
        Column with the classes of the objects. Each object is then compared only with objects of its class.
    embedding, color : bool, default True
        Which features are used beside the shape; see `describe`. Without both, the image is not read.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache
        See `describe`.
    overwrite, layer
        See `samgeo.segment`.
    progress : bool, default True
        Whether to show progress bars on standard error; see `describe`.

    Returns
    -------
    GeoDataFrame
        The rows of ``gdf`` with a column ``oddness``: the mean distance to the neighbours, divided by the median of these
        distances in the layer, or in the class. 1 is usual. It is NaN for objects without features, because they lie outside
        the image or have no area; for objects without a class; and for objects of classes with too few objects.
        ``attrs["samgeo"]["oddness"]`` has the counts and the options.

    Warns
    -----
    RenamedColumnsWarning
        If ``gdf`` has a column ``oddness``, which is renamed to ``oddness_given``.

    Raises
    ------
    SamgeoError
        If an input cannot be read, an option is invalid, or there are not more objects with features than ``neighbours``.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> import samgeo
    >>> from shapely.geometry import box
    >>> image = np.full((64, 160, 3), 90, dtype="uint8")
    >>> image[10:30, 70:90] = (60, 90, 200)
    >>> roofs = gpd.GeoDataFrame(geometry=[box(x, 10, x + 20, 30) for x in range(10, 150, 30)])
    >>> result = samgeo.oddness(roofs, image, neighbours=2, embedding=False, progress=False)
    >>> int(result["oddness"].argmax())
    2
    """
    check_asked(output, overwrite=overwrite, layer=layer, inputs=(gdf, image, cache))
    if neighbours < 1:
        raise OptionError(f"neighbours is {neighbours}; give 1 or more.")
    objects = read_vectors(gdf)
    if class_column is not None and class_column not in objects:
        raise OptionError(f"the objects have no column {class_column!r}; give one of {', '.join(map(str, objects.columns))}.")
    made, classes = objects.attrs, None if class_column is None else objects[class_column]
    objects = keep_given(objects, (ODDNESS,), "the objects")
    place = None if output is None else check_output(output, overwrite, crs=objects.crs, layer=layer)
    if place is not None:
        check_fit(objects.assign(oddness=1.0), place, layer=layer, provenance=made.get("samgeo"))
    looking: dict[str, Any] = {"model": model, "device": device, "dtype": dtype, "bands": bands, "stretch": stretch}
    looking |= {"nodata": nodata, "alpha": alpha, "invented": invented, "window": window, "overlap": overlap, "cache": cache}
    features = describe(image, objects, embedding=embedding, color=color, progress=progress, **looking)
    known = np.isfinite(features.to_numpy(dtype=np.float64)).all(axis=1)
    values, small = _by_class(features, known, classes, neighbours)
    result: gpd.GeoDataFrame = objects.assign(oddness=values)
    note = {"objects": len(objects), "without_features": int((~known).sum()), "classes_too_small": small}
    options = {"neighbours": neighbours, "class_column": class_column, "embedding": embedding, "color": color}
    result.attrs = with_note(objects, ODDNESS, note | options)
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"])
    return result


def _by_class(
    features: pd.DataFrame, known: NDArray[np.bool_], classes: pd.Series | None, neighbours: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the oddness of each object, and the names of the classes that have too few objects."""
    numbers = np.zeros(len(features), dtype=np.int64)
    names = ["the layer"]
    if classes is not None:
        numbers, found = pd.factorize(classes, sort=False)  # Objects without a class have the number -1.
        names = [str(name) for name in found]
    result, small = np.full(len(features), np.nan), []
    for number, name in enumerate(names):
        rows = np.flatnonzero(known & (numbers == number))
        if len(rows) > neighbours:
            result[rows] = _oddness(features.iloc[rows], neighbours)
        else:
            small.append(name)
    if len(small) == len(names):
        has = "no class has" if classes is not None else f"the layer has {int(known.sum())}, not"
        raise OptionError(f"{has} more than {neighbours} objects with features; give a lower number of neighbours.")
    return result, small


def _oddness(features: pd.DataFrame, neighbours: int) -> NDArray[np.float64]:
    """Return the oddness of objects of one class, all of which have features."""
    space = FeatureSpace.fit(features, embedding_scale=EMBEDDING_SCALE, shape_scale=SHAPE_SCALE)
    distances = nearest(space.place(features)[0], neighbours).mean(axis=1)
    usual = float(np.median(distances))
    # If half of the objects have equal neighbours, the median is 0.
    usual = usual if usual > 0 else float(distances.mean())
    return distances / usual if usual > 0 else np.ones(len(distances))


def nearest(places: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """Return the distances of each place to its nearest other places, shape (N, neighbours), in no order."""
    squares = (places**2).sum(axis=1)
    result = np.empty((len(places), neighbours))
    step = max(1, DISTANCES // len(places))
    for start in range(0, len(places), step):
        rows = np.arange(start, min(start + step, len(places)))
        found = squares[rows, None] + squares - 2 * places[rows] @ places.T
        found[np.arange(len(rows)), rows] = np.inf
        result[rows] = np.partition(found, neighbours - 1, axis=1)[:, :neighbours]
    # Rounding may make the squares of equal places a little larger or smaller than 0.
    return np.sqrt(np.where(result > 1e-9 * max(float(squares.max()), 1.0), result, 0.0))

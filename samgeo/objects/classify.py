"""Classes of the objects of a layer, by a few examples of each class."""

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
from samgeo.objects.classifier import Classifier
from samgeo.objects.example_classes import read_example_classes
from samgeo.objects.features import describe
from samgeo.objects.shapes import with_note
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch

    from samgeo.models.protocols import Segmenter

__all__ = ["classify"]

# Inverse strength of the penalty of the classifier; it was chosen on generated towns. See benchmarks/STUDIES.md.
REGULARISATION = 0.3

CLASS, SCORE, EXAMPLE, PROBABILITY = "class", "score", "example", "probability_"


@check_types
def classify(
    gdf: FeaturesLike,
    image: RasterLike,
    examples: FeaturesLike,
    output: str | os.PathLike[str] | None = None,
    *,
    class_column: str = CLASS,
    join: str = "cover",
    min_score: float = 0.0,
    probabilities: bool = False,
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
    """Give each object of a layer a class, by a few examples of each class.

    Each object is described by the model's embedding, its colours and its shape (`describe`). A small classifier (`Classifier`)
    is trained on the examples and gives every object a probability of each class. Ten or twenty examples of each class are a
    good start. They should show every kind of object of the class.

    Parameters
    ----------
    gdf : path, GeoDataFrame or GeoSeries
        Polygons in any CRS.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The image; see `samgeo.Raster.open`.
    examples : str, path, GeoDataFrame or GeoSeries
        Either the name of a column of ``gdf``, which holds the classes of the examples and is missing for the other objects;
        or polygons in any CRS that lie on objects, with a column of classes.
    output : path, optional
        Where to write the result; see `samgeo.geo.vector.write_vectors`.
    class_column : str, default "class"
        Column with the classes of the polygons. Polygons without a class are not used.
    join : {"cover", "iou"}, default "cover"
        How polygons give their classes to objects. "cover": an object has the class that covers more than half of it, so that
        polygons may be outlines of single objects or areas with many objects, as of the land use of OpenStreetMap. "iou": each
        polygon gives its class to the one object with the best IoU, if that is 0.5 or more, so that parts of an outlined object
        do not get its class.
    min_score : float, default 0
        Objects whose most probable class has a lower probability stay without a class, from 0 to 1.
    probabilities : bool, default False
        Whether to add a column ``probability_NAME`` for each class.
    embedding, color : bool, default True
        Which features are used beside the shape; see `describe`.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache
        See `describe`.
    overwrite, layer
        See `samgeo.segment`.
    progress : bool, default True
        Whether to show progress bars on standard error; see `describe`.

    Returns
    -------
    GeoDataFrame
        The rows of ``gdf`` with the columns ``class``; ``score``, the probability of this class as if all classes were equally
        frequent; and ``example``, whether the object is an example. Examples keep their class, and a low score of an example
        says that it looks like another class. Objects without features, because they lie outside the image or have no area,
        have no class and no score. ``attrs["samgeo"]["classify"]`` has the counts and the options.

    Warns
    -----
    RenamedColumnsWarning
        If ``gdf`` has columns with the names of columns of the result, which are renamed to ``class_given`` and so on.

    Raises
    ------
    SamgeoError
        If an input cannot be read, an option is invalid, or there are no examples of two classes.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> import samgeo
    >>> from shapely.geometry import box
    >>> image = np.full((40, 190, 3), 90, dtype="uint8")
    >>> image[10:30, 100:] = (60, 90, 200)
    >>> squares = gpd.GeoDataFrame(geometry=[box(x, 10, x + 20, 30) for x in range(10, 190, 30)])
    >>> areas = gpd.GeoDataFrame({"class": ["grey", "blue"]}, geometry=[box(0, 0, 65, 40), box(155, 0, 190, 40)])
    >>> samgeo.classify(squares, image, areas, embedding=False, progress=False)["class"].tolist()
    ['grey', 'grey', 'grey', 'blue', 'blue', 'blue']
    """
    check_asked(output, overwrite=overwrite, layer=layer, inputs=(gdf, image, examples, cache))
    if not 0 <= min_score <= 1:
        raise OptionError(f"min_score is {min_score}; give a number from 0 to 1.")
    objects = read_vectors(gdf)
    found = read_example_classes(objects, examples, class_column, join)
    names = sorted({str(name) for name in found.classes if name is not None})
    columns = [CLASS, SCORE, EXAMPLE, *([f"{PROBABILITY}{name}" for name in names] if probabilities else [])]
    made = objects.attrs
    objects = keep_given(objects, columns, "the objects")
    place = None if output is None else check_output(output, overwrite, crs=objects.crs, layer=layer)
    if place is not None:
        sample = dict.fromkeys(columns, 1.0) | {CLASS: "name", EXAMPLE: True}
        check_fit(
            objects.assign(**{name: np.full(len(objects), value) for name, value in sample.items()}),
            place,
            layer=layer,
            provenance=made.get("samgeo"),
        )
    looking: dict[str, Any] = {"model": model, "device": device, "dtype": dtype, "bands": bands, "stretch": stretch}
    looking |= {"nodata": nodata, "alpha": alpha, "invented": invented, "window": window, "overlap": overlap, "cache": cache}
    features = describe(image, objects, embedding=embedding, color=color, progress=progress, **looking)
    known = np.isfinite(features.to_numpy(dtype=np.float64)).all(axis=1)
    classes = np.array([name if usable else None for name, usable in zip(found.classes, known, strict=True)], dtype=object)
    chances = Classifier.fit(features, classes.tolist(), regularization=REGULARISATION).probabilities(features)
    result = _with_classes(objects, classes, chances, min_score)
    if probabilities:
        result = result.assign(**{f"{PROBABILITY}{name}": chances[name].to_numpy() for name in chances})
    note = {
        "objects": len(objects),
        "examples": {name: int((classes == name).sum()) for name in chances},
        "unmatched": found.unmatched,
        "without_features": int((~known).sum()),
        "unclassified": int(result[CLASS].isna().sum()),
    }
    options = {"join": join, "min_score": min_score, "embedding": embedding, "color": color}
    result.attrs = with_note(objects, "classify", note | options)
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"])
    return result


def _with_classes(
    objects: gpd.GeoDataFrame, given: NDArray[np.object_], chances: pd.DataFrame, min_score: float
) -> gpd.GeoDataFrame:
    """Return the objects with their classes and scores; examples keep the given class."""
    values, names = chances.to_numpy(), np.array(chances.columns, dtype=object)
    known = np.isfinite(values).all(axis=1)
    best = np.where(known, np.nan_to_num(values).argmax(axis=1), 0)
    is_example = np.array([name is not None for name in given], dtype=bool)
    number = {name: place for place, name in enumerate(names)}
    best[is_example] = [number[name] for name in given[is_example]]
    score = np.where(known, values[np.arange(len(values)), best], np.nan)
    classes = names[best]
    classes[~known | ((score < min_score) & ~is_example)] = None
    return objects.assign(**{CLASS: pd.Series(classes, index=objects.index, dtype=object), SCORE: score, EXAMPLE: is_example})

"""The public function `predict`: it segments the objects that prompts point at in a raster, and writes them to a file."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.coordinates.prompt_geometry import is_features
from samgeo.geo.label_drawing import classes_of, write_label_raster
from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.columns import RenamedColumnsWarning
from samgeo.geo.vector.reading import read_vectors, write_vectors
from samgeo.geo.vector.writing import SAMPLE_ROWS
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.options import CleaningOptions, ModelOptions, ReadingOptions, WindowOptions
from samgeo.segmentation.output_checks import CheckedOutput
from samgeo.segmentation.prediction_run import AnswersFolder, PredictionSummary, Run
from samgeo.segmentation.predictor import Predictor, check_how
from samgeo.segmentation.prompts.assignment import GROUP
from samgeo.segmentation.tables import AnswerColumns
from samgeo.storage.locations import as_place
from samgeo.storage.run_folder import beside
from samgeo.types import BandsLike, BoxesLike, CRSLike, FeaturesLike, LabelsLike, PointsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import torch

    from samgeo.geo.label_drawing import Classes
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.prompts.assignment import Prompts

__all__ = ["predict", "predict_to_file"]


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
    invented: str | None = None,
    zoom: float | str = 1.0,
    scales: str | Sequence[int] = "auto",
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    class_column: str | None = None,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Segment the objects that prompts point at in a raster, and write them to a file if an output is given.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    output : path, optional
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. With ``.tif`` a raster of labels is
        written, in which the object of row ``i`` has the number ``i + 1``; see `samgeo.rasterize`. The output is written
        completely or not at all. With a vector file and more than 4096 prompts, finished work is kept in the folder with the
        name of the output and ``.run`` until the output is written, and the same call continues after a stop.
    points, labels, boxes, polygons, crs, multimask, refine
        See `samgeo.Predictor.predict`.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache, min_part, min_hole
        See `samgeo.segment`.
    zoom : float or "auto", default 1
        See `samgeo.Predictor`.
    scales : sequence of int or "auto", default "auto"
        See `samgeo.Predictor`.
    class_column : str, optional
        Only for a raster of labels: a column of the prompts that holds the class of each. The classes are drawn instead of
        numbers; see `samgeo.rasterize`.
    overwrite : bool, default False
        Whether an existing output may be replaced. In a GeoPackage only the layer is replaced; its other layers, tables and
        styles are kept.
    layer : str, optional
        Name of the output's layer in a GeoPackage. The default is the file name without its suffix. If the file exists and has
        no layer of this name, the layer is added.
    y_up : bool, default False
        Whether y increases upwards in the file, if the raster has no georeference; see `samgeo.segment`.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        One row for each prompt; see `samgeo.Predictor.predict`. In the file, the geometry of a prompt without an answer is
        missing.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid. Later, if a window cannot be read, the raster changes
        during the work, or the output cannot be written. Then there is no output.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[40:80, 45:75] = 2
    >>> objects = samgeo.predict(encode_ids(labels), points=[[60, 60]], model=Oracle(64), progress=False)
    >>> objects.area_px.tolist()
    [1200.0]
    """
    frame = _predict(locals(), collect=True, stop=None)[1]
    if frame is None:
        raise AssertionError("the table was asked for")
    return frame


@check_types
def predict_to_file(
    image: RasterLike, output: str | os.PathLike[str], *, stop: Callable[[], bool] | None = None, **options: object
) -> PredictionSummary:
    """Segment the objects that prompts point at in a raster into a file, without collecting the objects in memory.

    Parameters
    ----------
    image, output, **options
        As in `samgeo.predict`.
    stop : callable, optional
        Called from time to time without arguments, if there are more than 4096 prompts. When it returns true, what is finished
        is kept, and the run ends with a `StoppedError`.

    Returns
    -------
    PredictionSummary
        The numbers of prompts and objects.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    SamgeoError
        As in `samgeo.predict`.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation import predict_to_file
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[40:80, 45:75] = 2
    >>> points = [[60, 60], [5, 5]]
    >>> done = predict_to_file(encode_ids(labels), "objects.gpkg", points=points, model=Oracle(64), progress=False)
    >>> done.prompts, done.objects
    (2, 1)
    """
    bound = inspect.signature(predict).bind(image, output, **options)
    bound.apply_defaults()
    return _predict(bound.arguments, collect=False, stop=stop)[0]


def _predict(
    arguments: Mapping[str, Any], *, collect: bool, stop: Callable[[], bool] | None
) -> tuple[PredictionSummary, gpd.GeoDataFrame | None]:
    """Check the arguments of `predict`, and answer the prompts: at once, or in a run if there are many and a vector file."""
    image, output, layer, y_up = (arguments[name] for name in ("image", "output", "layer", "y_up"))
    given = {name: arguments[name] for name in ("points", "labels", "boxes", "polygons", "crs")}
    how = {name: arguments[name] for name in ("multimask", "refine")}
    place = None if output is None else as_place(output)
    folder = None if place is None else AnswersFolder(beside(place))
    # The output of this same run, written before a kill, may always be replaced.
    overwrite = arguments["overwrite"] or (folder is not None and place is not None and folder.wrote(place))
    inputs = (image, *(arguments[name] for name in ("points", "boxes", "polygons", "model", "cache")))
    checked = CheckedOutput.check(output, overwrite=overwrite, layer=layer, y_up=y_up, inputs=inputs)
    column, progress = arguments["class_column"], arguments["progress"]
    if column is not None and not checked.is_labels:
        raise OptionError("class_column applies to a raster of labels; give an output that ends in .tif, or omit it.")
    classes = None if column is None else _classes([given[name] for name in ("points", "boxes", "polygons")], column)
    check_how(**how)
    raster = ReadingOptions.of(arguments).open(image)
    checked.check_raster(raster)
    groups = (ModelOptions.of(arguments), WindowOptions.of(arguments), CleaningOptions.of(arguments))
    shared = {name: value for group in groups for name, value in group.arguments().items()}
    predictor = Predictor(raster, zoom=arguments["zoom"], scales=arguments["scales"], **shared)
    axes = describe_axes(raster.geobox, y_up=y_up)
    prompts, table = predictor.read(**given)
    if place is not None and folder is not None and not checked.is_labels:
        checked.check_table(_unanswered(prompts, table, predictor), predictor.provenance() | axes)
        if len(prompts) > GROUP:
            run = Run(predictor, prompts, table, how, folder)
            return run.write(place, overwrite=overwrite, layer=layer, axes=axes, collect=collect, progress=progress, stop=stop)
    asked = {name: value for name, value in given.items() if value is not None}
    result = predictor.predict(**asked, **how, progress=progress)
    predictor.check_same(now=True)
    if output is not None and checked.is_labels:
        made = result.attrs["samgeo"]
        write_label_raster([result], raster.geobox, output, classes=classes, overwrite=overwrite, provenance=made)
    elif output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"] | axes)
    return PredictionSummary(len(result), int(result.reason.isna().sum()), place), result


def _unanswered(prompts: Prompts, table: pd.DataFrame | None, predictor: Predictor) -> gpd.GeoDataFrame:
    """Return the table of the prompts without answers, to check that it fits the output: all rows if they have columns."""
    some = min(len(prompts), SAMPLE_ROWS)
    columns = AnswerColumns(some if table is None else len(prompts), predictor.raster.geobox)
    columns.add(np.arange(some), ["not asked yet"] * some)
    with warnings.catch_warnings():
        # The same warning is given later, when the prompts are answered.
        warnings.simplefilter("ignore", RenamedColumnsWarning)
        return columns.frame(table)


def _classes(prompts: Iterable[Any], column: str) -> Classes:
    """Return the values of the classes in a column of the prompts, so that errors are found before any work."""
    for given in prompts:
        if given is not None and is_features(given):
            frame = read_vectors(given)
            if column in frame:
                return classes_of(frame[column], column)
    raise OptionError(f"the prompts have no column {column!r}; give features with this column, or omit class_column.")

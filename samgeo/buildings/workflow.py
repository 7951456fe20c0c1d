"""The complete workflow from a raster to building footprints, by a finder or by a few examples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd

from samgeo.arguments import check_types
from samgeo.buildings.height import filter_by_height
from samgeo.buildings.regularization.api import RESULT_COLUMNS, regularize, with_result_columns
from samgeo.errors import OptionError
from samgeo.finding.api import AUTO, find
from samgeo.finding.detectors.detection import Detector
from samgeo.geo.coordinates.overlay import check_same_kind
from samgeo.geo.vector.axes import check_y_up, describe_axes
from samgeo.geo.vector.columns import GIVEN, keep_given
from samgeo.geo.vector.reading import check_asked, check_fit, check_output, read_vectors, split_layer, write_vectors
from samgeo.objects.overlaps import MAX_OVERLAP
from samgeo.objects.select import MIN_SCORE, everything, select
from samgeo.objects.shapes import filter_by_shape
from samgeo.segmentation.options import ModelOptions, ReadingOptions, WindowOptions
from samgeo.segmentation.tables import to_frame
from samgeo.segmentation.windows.proposals import PromptSource
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import torch

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["footprints"]


@check_types
def footprints(
    image: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    examples: FeaturesLike | None = None,
    candidates: FeaturesLike | None = None,
    finder: str | Path | PromptSource | Detector | None = None,
    resolution: str | float = AUTO,
    zoom: float | None = None,
    min_score: float | str | None = None,
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
    invented: str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Extract the buildings of a raster.

    The function runs up to four steps, each of which is also a public function:

    1. `samgeo.find` finds the buildings. If ``examples`` are given, `samgeo.segment` instead segments everything in the raster,
       unless ``candidates`` are given, and `select` keeps the candidates that are like the accepted examples.
    2. `filter_by_shape` removes objects that are too small or too large.
    3. `filter_by_height` removes objects that are too low, if a ``dsm`` is given.
    4. `regularize` straightens the outlines, unless ``regular`` is false.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The image; see `samgeo.Raster.open`.
    output : path, optional
        File for the footprints: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. The file is written completely or not at
        all.
    examples : path, GeoDataFrame, GeoSeries, sequence of geometries, column of the candidates, or a pair of those, optional
        Accepted and rejected objects; see `select`. Without examples, a finder finds the buildings.
    candidates : path or GeoDataFrame, optional
        Objects from which the examples select. By default these are all objects that `samgeo.segment` finds in the raster.
    finder, resolution, zoom
        See `samgeo.find`. They can be given only without ``examples`` and ``candidates``.
    min_score : float or "auto", optional
        Objects with a lower score are dropped, from 0 to 1. The default is the one that is stored with the finder, and 0.5 for
        a selection by examples. For "auto", which is only without examples, see `samgeo.find`.
    max_overlap : float, default 0.3
        Largest overlap of two objects that are selected by examples; see `select`.
    min_area_m2, max_area_m2 : float, optional
        Limits of the area in square metres; see `filter_by_shape`.
    dsm, dtm : path or URL, optional
        Rasters of surface heights and of terrain heights; see `filter_by_height`.
    min_height_m : float, default 2
        Smallest height in metres; see `filter_by_height`. It has an effect only with a ``dsm``.
    regular : bool, default True
        Whether to regularize the outlines.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache
        See `samgeo.segment`. With a ``cache``, the raster is encoded only once, for both segmentation and selection. ``window``
        and ``overlap`` need ``examples``: a finder's windows follow from the zoom.
    overwrite : bool, default False
        Whether an existing output may be replaced. In a GeoPackage only the layer is replaced; other layers, tables and styles
        stay.
    layer : str, optional
        Name of the output's layer in a GeoPackage. By default it is the file's name without its suffix. A layer with a new
        name is added to an existing file.
    y_up : bool, default False
        Whether the y axis of the output runs up if the raster has no georeference; see `samgeo.segment`.
    progress : bool, default True
        Whether to show progress bars on standard error, one for each step.

    Returns
    -------
    GeoDataFrame
        The footprints, with the columns of `samgeo.find` or those of the candidates, ``score``, ``height_m`` (only with a
        ``dsm``), and the columns of `regularize`. If the candidates already have a column with one of these names, that column
        is renamed with the suffix ``_given`` and a warning is issued. ``attrs["samgeo"]`` records how many objects each step
        kept.

    Raises
    ------
    SamgeoError
        If an input cannot be read or an option is invalid. No output is written then.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import town
    >>> scene = town((256, 256), seed=1)
    >>> raster = scene.save("town.tif")
    >>> buildings = samgeo.footprints(raster, "buildings.gpkg", progress=False)
    >>> "score" in buildings and "regularized" in buildings
    True

    With examples, objects are selected from candidates:

    >>> candidates = scene.footprints[["geometry"]].assign(label=[1, 1, 0] + [None] * (len(scene.footprints) - 3))
    >>> chosen = {"examples": "label", "candidates": candidates, "min_score": 0.2}
    >>> buildings = samgeo.footprints(raster, **chosen, progress=False)
    >>> "score" in buildings and "regularized" in buildings
    True
    """
    arguments = locals()
    if dtm is not None and dsm is None:
        raise OptionError("dtm needs dsm, from which it is subtracted to get heights above the ground; give both.")
    by_finder = examples is None and candidates is None
    _check_ways(arguments, by_finder=by_finder)
    given = (image, examples, candidates, finder, dsm, dtm, model, cache)
    check_asked(output, overwrite=overwrite, layer=layer, inputs=given)
    raster = ReadingOptions.of(arguments).open(image)
    check_y_up(raster.geobox, y_up, output)
    place = None
    if output is not None:
        place = check_output(output, overwrite=overwrite, crs=raster.geobox.crs, layer=layer, inputs=(*given, raster))
    segmenter = ModelOptions.of(arguments).load()
    where: dict[str, Any] = {"model": segmenter, "progress": progress, **WindowOptions.of(arguments).arguments()}
    if isinstance(examples, str | os.PathLike) and (candidates is None or Path(split_layer(examples)[0]).is_file()):
        examples = read_vectors(examples)  # An unreadable file must fail before segmentation, which takes minutes.
    if isinstance(examples, gpd.GeoDataFrame | gpd.GeoSeries):
        check_same_kind(read_vectors(examples).crs, raster.geobox, what="the layer of examples", raster=raster.name)
    found = None if candidates is None else read_vectors(candidates)
    if found is not None:
        check_same_kind(found.crs, raster.geobox, what="the layer of candidates", raster=raster.name)
        found = keep_given(found, ("height_m", *(RESULT_COLUMNS if regular else ())), "the candidates")
    if place is not None:
        sample = _sample(found, raster, regular=regular, has_heights=dsm is not None, has_class=by_finder)
        check_fit(sample, place, layer=layer)
    chosen = _find(raster, arguments, segmenter) if by_finder else _select(raster, found, arguments, where)
    chosen = filter_by_shape(chosen, min_area_m2=min_area_m2, max_area_m2=max_area_m2)
    if dsm is not None:
        chosen = filter_by_height(chosen, dsm, dtm, min_height_m=min_height_m, progress=progress)
    made = chosen.attrs
    result = (regularize(chosen, progress=progress) if regular else chosen).reset_index(drop=True)
    result.attrs = made
    if output is not None:
        provenance = {**made.get("samgeo", {}), **describe_axes(raster.geobox, y_up=y_up)}
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=provenance)
    return result


def _check_ways(arguments: dict[str, Any], *, by_finder: bool) -> None:
    """Check that all options belong to one of the two ways: a finder, or examples."""
    if by_finder:
        for name in ("window", "overlap"):
            if arguments[name] is not None:
                raise OptionError(f"{name} needs examples: the windows of a finder follow from the zoom; give zoom instead.")
        return
    if arguments["examples"] is None:
        raise OptionError(
            "candidates need examples, by which they are selected; give examples, or leave candidates out: then a finder finds "
            "the buildings."
        )
    if isinstance(arguments["min_score"], str):
        raise OptionError(f"min_score is {arguments['min_score']!r}; give a number from 0 to 1 for a selection by examples.")
    for name, default in (("finder", None), ("resolution", AUTO), ("zoom", None)):
        if arguments[name] != default:
            raise OptionError(
                f"{name} is an option of finding, which is done without examples and candidates; leave out {name}, or these."
            )


def _find(raster: Raster, arguments: dict[str, Any], model: Segmenter) -> gpd.GeoDataFrame:
    """Return the buildings that a finder finds."""
    taken = ("finder", "resolution", "zoom", "min_score", "cache", "progress")
    options: dict[str, Any] = {name: arguments[name] for name in taken}
    return find(raster, "building", model=model, **options)


def _select(
    raster: Raster, candidates: gpd.GeoDataFrame | None, arguments: dict[str, Any], where: dict[str, Any]
) -> gpd.GeoDataFrame:
    """Return the candidates, or objects of everything mode, that are like the examples."""
    found = everything(raster, **where) if candidates is None else candidates
    least = MIN_SCORE if arguments["min_score"] is None else arguments["min_score"]
    return select(raster, found, arguments["examples"], min_score=least, max_overlap=arguments["max_overlap"], **where)


def _sample(
    found: gpd.GeoDataFrame | None, raster: Raster, *, regular: bool, has_heights: bool, has_class: bool
) -> gpd.GeoDataFrame:
    """Return a table with all the columns of the result, to check the output format before the work starts."""
    frame = to_frame((), raster.geobox) if found is None else found
    frame = frame.rename(columns={"score": f"score{GIVEN}"}).assign(score=1.0)
    frame = frame.assign(**{"class": "building"}) if has_class else frame
    frame = frame.assign(height_m=1.0) if has_heights else frame
    return with_result_columns(frame) if regular else frame

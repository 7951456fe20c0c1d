"""`find`: the objects of one kind in a raster of any size."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, OptionError
from samgeo.finding.by_example.examples import ExampleOptions
from samgeo.finding.detectors.detection import Detector
from samgeo.finding.detectors.source import detector_source
from samgeo.finding.finder import BUNDLED, Finder, load_finder
from samgeo.finding.text.loading import KNOWN, is_text_model
from samgeo.finding.text.text_finder import TextFinder, load_text_finder
from samgeo.finding.thresholds.expected import LEAST_SCORE, least_score, with_chosen_threshold
from samgeo.finding.two_zooms import combined
from samgeo.finding.zoom import ground_resolution
from samgeo.geo.label_drawing import write_label_raster
from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.reading import write_vectors
from samgeo.segmentation.api import compute, compute_to_file
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.options import ReadingOptions, WindowOptions
from samgeo.segmentation.output_checks import CheckedOutput
from samgeo.segmentation.request import Prepared, Request
from samgeo.segmentation.tables import area_name
from samgeo.segmentation.windows.proposals import PromptSource
from samgeo.segmentation.windows.zoom import check_zoom, window_of
from samgeo.types import AoiLike, BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.run.folder import RunFolder

__all__ = ["PromptSource", "find", "find_to_file", "open_finder"]

AUTO: str = "auto"
BUILDING: str = "building"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinderOptions:
    """Options of a learned finder; see `find`. They are the `samgeo.segmentation.request.Finding` of a request."""

    finder: Finder
    resolution: str | float = AUTO
    zoom: float | None = None
    min_score: float | str | None = None
    flips: bool = False

    def zooms(self, raster: Raster) -> tuple[float, ...]:
        """Return the zoom for a raster; two zooms, the coarser first, if its ground resolution is not known."""
        if self.zoom is not None:
            return (self.zoom,)
        ground = self.ground(raster)
        if ground is not None:
            return (self.finder.info.zoom(ground),)
        return self.finder.info.unknown_zooms

    def ground(self, raster: Raster) -> float | None:
        """Return the ground resolution in metres, as given or as the raster's georeference says; None if it is not known."""
        return ground_resolution(raster) if self.resolution == AUTO else float(self.resolution)

    def prepare(self, raster: Raster, model: Segmenter, windows: WindowOptions) -> Prepared:
        """Check the finder against the model, choose the zoom, and return the source with its windows."""
        self.finder.check(model)
        zoom = self.zooms(raster)[0]
        window, overlap = window_of(zoom, model.input_size)
        score = least_score(self.finder.info.min_score if self.min_score is None else self.min_score)
        finder = self.finder.for_score(score.value, flips=self.flips)
        options = {"finder": _described(finder), "resolution_m": self.ground(raster), "zoom": zoom, **score.options}
        windows = replace(windows, window=window, overlap=overlap)
        return Prepared(finder, windows, score.value, options, score.choose_cut)

    def at(self, zoom: float) -> FinderOptions:
        """Return the options of the run at one of two zooms. A threshold that is chosen is chosen for both together."""
        return replace(self, zoom=zoom, min_score=LEAST_SCORE if self.min_score == AUTO else self.min_score)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceOptions:
    """Options of any other prompt source; see `find`. They are the `samgeo.segmentation.request.Finding` of a request."""

    source: PromptSource
    zoom: float
    min_score: float

    def prepare(self, _raster: Raster, model: Segmenter, windows: WindowOptions) -> Prepared:
        """Return the source with the windows of the zoom."""
        window, overlap = window_of(self.zoom, model.input_size)
        options = {"finder": _described(self.source), "zoom": self.zoom, "min_score": self.min_score}
        return Prepared(self.source, replace(windows, window=window, overlap=overlap), self.min_score, options)


def _described(source: PromptSource) -> dict[str, Any]:
    """Return what the provenance says of a source."""
    return {"name": source.name, "digest": source.digest, "classes": list(source.classes)}


@check_types
def find(
    image: RasterLike,
    what: str | Sequence[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    examples: FeaturesLike | None = None,
    example_image: RasterLike | None = None,
    finder: str | Path | PromptSource | Detector | None = None,
    resolution: str | float = AUTO,
    zoom: float | None = None,
    min_score: float | str | None = None,
    flips: bool = False,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: AoiLike = None,
    aoi_mode: str = "whole",
    scheduler: str | Client | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Find the objects of one kind in a raster of any size.

    A finder, which is a small network on the features of the model, proposes boxes in each window. The model draws the object
    of each box, and a scorer gives each object a score. Windows, merging, the continuation of a stopped run and the outputs
    are those of `samgeo.segment`.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    what : str or sequence of str, optional
        The class of a bundled finder: "building", which is the default. With a text finder it is the phrases to look for,
        separated by commas or as a sequence. With examples it is the name of their class, "object" by default. With a detector
        it is the classes that are kept, separated by commas, all by default. Not used with another ``finder``.
    output : path or address, optional
        Where to write the objects; see `samgeo.segment`.
    examples : path, GeoDataFrame, GeoSeries or sequence of geometries, optional
        Outlines of one or more objects, in place of a finder: more objects like these are searched. Features may have a column
        ``label`` with 1 for accepted and 0 for rejected examples. The zoom follows from their size, and the least score is 0.2.
    example_image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster, optional
        The raster of the examples, if that is another raster of the same kind.
    finder : path, Detector or PromptSource, optional
        A finder of your own classes, as `samgeo.finding.load_finder` reads it; a text finder, as
        `samgeo.finding.load_text_finder` reads it, for example "grounding-dino-tiny"; an object detector, as an ONNX file or a
        `samgeo.finding.Detector`, such as `samgeo.finding.OnnxDetector` and `samgeo.finding.detector_from` make; or another
        source of prompts, such as `samgeo.finding.boxes_from` and `samgeo.finding.peaks_of` make. Without ``zoom``, text
        finders, detectors and other sources are asked at zoom 1.
    resolution : "auto" or float, default "auto"
        Side of a pixel on the ground, in metres, from which the zoom follows. "auto" takes it from the georeference. For a
        raster without a CRS, "auto" searches at two zooms: objects of fewer than 24 x 24 pixels come from the finer one.
    zoom : float, optional
        Number of pixels of the model's input for each pixel of the raster, in place of the zoom that follows from the
        resolution. The bundled finder of buildings uses 1 up to 0.22 m, 1.5 up to 0.42 m, 2 up to 0.8 m, and 4
        for coarser rasters.
    min_score : float or "auto", optional
        Objects with a lower score are dropped, from 0 to 1. The default is stored with the finder. A lower value finds more
        objects, and more of them are wrong. "auto" finds with 0.05, and then keeps the objects with the threshold that
        `samgeo.finding.suggest_threshold` gives for all of them; only for learned finders.
    flips : bool, default False
        Whether each window is also encoded mirrored, upside down, and both, and the four proposals are averaged. This finds
        slightly more and takes about half as long again.
    model : str, path or Segmenter, default "tiny"
        The model. A finder belongs to the weights of one model.
    device, dtype, bands, stretch, nodata, alpha, invented, min_part, min_hole, min_area, max_area, aoi, aoi_mode, scheduler, \
    workers, cache, run_dir, retry_failed, overwrite, layer, y_up, progress
        See `samgeo.segment`. A ``cache`` must have the windows that the zoom needs.

    Returns
    -------
    GeoDataFrame
        One row for each object, in the raster's CRS, with the columns ``class``; ``score``, the estimated probability that the
        outline has an IoU above .5 with an object of the class; and those of `samgeo.segment`. ``attrs["samgeo"]`` has the
        provenance, with the finder, the zoom and the threshold. With ``min_score="auto"``, the chosen threshold is
        ``attrs["samgeo"]["threshold"]["min_score"]``.

    Warns
    -----
    HolesWarning, NothingFoundWarning, RasterWarning
        As `samgeo.segment`.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid, for example if the finder belongs to another model. Later,
        as `samgeo.segment`.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import town
    >>> raster = town((256, 256), seed=1).save("town.tif")
    >>> buildings = samgeo.find(raster, "building", "buildings.gpkg", progress=False)
    >>> buildings["class"].unique().tolist()
    ['building']
    """
    arguments = locals()
    options, zooms = _opened(arguments)
    if isinstance(options, FinderOptions) and len(zooms) > 1:
        return _at_two_zooms(arguments, options, arguments["image"], zooms)
    return compute(Request.of(arguments, finding=options))


def find_to_file(arguments: dict[str, Any], *, stop: Callable[[], bool] | None = None) -> tuple[str, ...]:
    """Do the work of `find` with these arguments, and collect the objects in memory only if two zooms are combined.

    Parameters
    ----------
    arguments : dict
        All arguments of `find`, with an output.
    stop : callable, optional
        See `samgeo.segmentation.segment_to_file`. It is not asked where two zooms are combined.

    Returns
    -------
    tuple of str
        The windows that failed: which, where, and why. With two zooms failures are warnings, as in `find`.
    """
    arguments = dict(arguments)
    options, zooms = _opened(arguments)
    if isinstance(options, FinderOptions) and len(zooms) > 1:
        _at_two_zooms(arguments, options, arguments["image"], zooms)
        return ()
    return compute_to_file(Request.of(arguments, finding=options), stop=stop).failures


def _opened(arguments: dict[str, Any]) -> tuple[FinderOptions | SourceOptions | ExampleOptions, tuple[float, ...]]:
    """Return the options of finding, and the zooms of a learned finder, for which the raster in the arguments is opened."""
    options = _options(arguments)
    if not isinstance(options, FinderOptions):
        return options, ()
    # The raster is opened once, because its stretch may take a while. It is then read as it was opened here.
    raster = ReadingOptions.of(arguments).open(arguments["image"])
    arguments |= {"image": raster} | ReadingOptions().arguments()
    return options, options.zooms(raster)


def _options(arguments: dict[str, Any]) -> FinderOptions | SourceOptions | ExampleOptions:
    """Check the options of finding, and load the finder."""
    zoom, score, resolution = arguments["zoom"], _number(arguments["min_score"]), arguments["resolution"]
    is_automatic = arguments["min_score"] == AUTO
    if zoom is not None:
        check_zoom(zoom)
    if resolution != AUTO and (isinstance(resolution, str) or not 0 < resolution < math.inf):
        raise OptionError(f'resolution is {resolution!r}; give "auto", or the side of a pixel on the ground in metres.')
    if arguments["examples"] is not None:
        _refuse_automatic(is_automatic)
        return ExampleOptions.of(arguments)
    loaded = open_finder(arguments["finder"], arguments["what"], score, device=arguments["device"])
    if isinstance(loaded, Finder):
        wanted = AUTO if is_automatic else score
        return FinderOptions(finder=loaded, resolution=resolution, zoom=zoom, min_score=wanted, flips=arguments["flips"])
    _refuse_automatic(is_automatic)
    if arguments["flips"] or resolution != AUTO:
        raise OptionError("flips and resolution belong to a learned finder, and finder is another source; leave them out.")
    least = loaded.min_score if score is None and isinstance(loaded, TextFinder) else score or 0.0
    return SourceOptions(source=loaded, zoom=1.0 if zoom is None else zoom, min_score=least)


def open_finder(
    finder: str | Path | Detector | PromptSource | None,
    what: str | Sequence[str] | None = None,
    min_score: float | None = None,
    *,
    device: str | torch.device = "auto",
) -> PromptSource:
    """Return the prompt source that a user gave as ``finder``, ``what`` and ``min_score``; see `find`.

    A name or a file is loaded, a detector becomes a prompt source, and any other source is returned as it is.
    """
    if isinstance(finder, str | Path) and is_text_model(finder):
        if what is None:
            raise OptionError(f'{finder} finds what phrases describe; give them, for example "solar panel, swimming pool".')
        found = load_text_finder(finder, what, device=device)
        return found if min_score is None else found.for_score(min_score)
    if what is not None and not isinstance(what, str):
        raise OptionError(f"phrases are found by a text finder; give finder, which is one of {', '.join(KNOWN)}, or a folder.")
    loaded = detector_source(finder, what, min_score) or finder
    if isinstance(loaded, TextFinder):
        return loaded if min_score is None else loaded.for_score(min_score)
    if loaded is not None and not isinstance(loaded, str | Path):
        return cast("PromptSource", loaded)  # a detector is a source by now
    name = (what or BUILDING) if loaded is None else loaded
    if name not in BUNDLED and not os.path.exists(name):  # noqa: PTH110 - a text that is too long is no error here
        raise CheckpointError(
            f"there is no finder {name}; give the path of a finder's file, a class of a bundled finder ({', '.join(BUNDLED)}), "
            f"or a text finder ({', '.join(KNOWN)}) with phrases."
        )
    return load_finder(name)


def _number(score: float | str | None) -> float | None:
    """Return a least score after checking it; None if none is given, or "auto"."""
    if score is None or score == AUTO:
        return None
    if isinstance(score, str) or not 0 <= score <= 1:
        raise OptionError(f'min_score is {score!r}; give a number from 0 to 1, or "auto".')
    return score


def _refuse_automatic(is_automatic: bool) -> None:
    if is_automatic:
        raise OptionError(
            'min_score is "auto", which needs scores that are probabilities, as those of a learned finder are; give a number '
            "from 0 to 1."
        )


def _at_two_zooms(
    arguments: dict[str, Any], options: FinderOptions, raster: Raster, zooms: tuple[float, ...]
) -> gpd.GeoDataFrame:
    """Find at each zoom in a run of its own, and combine the results."""
    output, overwrite, layer = arguments["output"], arguments["overwrite"], arguments["layer"]
    given = (arguments["image"], arguments["aoi"], arguments["model"], arguments["finder"])
    checked = CheckedOutput.check(output, overwrite=overwrite, layer=layer, y_up=arguments["y_up"], inputs=given)
    checked.check_raster(raster)
    if arguments["cache"] is not None:
        raise OptionError(
            f"{raster.name} has no CRS, so that it is searched at two zooms, and a cache holds the windows of one; give "
            "zoom or resolution, or leave cache out."
        )
    home = Request.of(arguments).folder
    if home is not None:
        home.path.mkdir(parents=True, exist_ok=True)
    runs = {zoom: None if home is None else home.path / f"zoom-{zoom:g}" for zoom in zooms}
    parts = []
    try:
        for zoom, run_dir in runs.items():
            one = arguments | {"output": None, "run_dir": run_dir, "layer": None, "overwrite": False, "y_up": False}
            parts.append(compute(Request.of(one, finding=options.at(zoom))))
    except BaseException:
        _remove_empty(home)
        raise
    result = with_chosen_threshold(combined(parts[0], parts[1], area_name(raster.geobox)), options.min_score)
    made = result.attrs["samgeo"]
    made["options"] = made["options"] | {"zoom": list(zooms)}
    if checked.place is not None:
        provenance = made | describe_axes(raster.geobox, y_up=arguments["y_up"])
        if checked.is_labels:
            write_label_raster([result], raster.geobox, checked.place, overwrite=overwrite, provenance=made)
        else:
            write_vectors(result, checked.place, overwrite=overwrite, layer=layer, provenance=provenance)
    if home is not None and arguments["run_dir"] is None:
        for run_dir in runs.values():
            if run_dir is not None:
                shutil.rmtree(run_dir, ignore_errors=True)
        _remove_empty(home)
    return result


def _remove_empty(folder: RunFolder | None) -> None:
    """Remove a folder of runs if nothing is in it."""
    if folder is not None and folder.path.is_dir() and not any(folder.path.iterdir()):
        folder.path.rmdir()

"""`find`: the objects of one kind in a raster of any size."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.finding.examples import ExampleOptions
from samgeo.finding.finder import Finder, load_finder
from samgeo.finding.zoom import check_zoom, ground_resolution, window_of
from samgeo.segmentation.api import compute
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.options import WindowOptions
from samgeo.segmentation.request import Prepared, Request
from samgeo.types import AoiLike, BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["find"]

AUTO, BUILDING = "auto", "building"
# Without a ground resolution, small objects come from the windows of the second zoom, larger ones from those of the first.
UNKNOWN_ZOOMS = (1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinderOptions:
    """Options of a learned finder; see `find`. It is the `samgeo.segmentation.request.Finding` of a request."""

    finder: Finder
    resolution: str | float = AUTO
    zoom: float | None = None
    min_score: float | None = None

    def prepare(self, raster: Raster, model: Segmenter, windows: WindowOptions) -> Prepared:
        """Check the finder against the model, choose the zoom, and return the source with its windows."""
        self.finder.check(model)
        ground = ground_resolution(raster) if self.resolution == AUTO else float(self.resolution)
        zoom = self.zoom
        if zoom is None:
            zoom = UNKNOWN_ZOOMS[0] if ground is None else self.finder.info.zoom(ground)
        window, overlap = window_of(zoom, model.input_size)
        score = self.finder.info.min_score if self.min_score is None else self.min_score
        return Prepared(
            self.finder,
            replace(
                windows,
                window=window if windows.window is None else windows.window,
                overlap=overlap if windows.overlap is None else windows.overlap,
            ),
            score,
            {
                "finder": {"name": self.finder.name, "digest": self.finder.digest, "classes": list(self.finder.classes)},
                "resolution_m": ground,
                "zoom": zoom,
                "min_score": score,
            },
        )


@check_types
def find(
    image: RasterLike,
    what: str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    examples: FeaturesLike | None = None,
    example_image: RasterLike | None = None,
    finder: str | Path | Finder | None = None,
    resolution: str | float = AUTO,
    zoom: float | None = None,
    min_score: float | None = None,
    flips: bool = False,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
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

    A finder proposes boxes in each window, and the model draws the object of each box.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    what : str, optional
        The class of a bundled finder: "building", which is the default. Not used if a ``finder`` is given. With examples it is
        the name of their class, "object" by default.
    examples : path, GeoDataFrame, GeoSeries or sequence of geometries, optional
        Outlines of one or more objects, in place of a finder: more objects like these are searched. Features may have a column
        ``label`` with 1 for accepted and 0 for rejected examples. The zoom and the score of 0.5 are chosen after them.
    example_image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster, optional
        The raster of the examples, if that is another raster of the same kind.
    """
    arguments = locals()
    options = _options(arguments)
    return compute(Request.of(arguments, finding=options))


def _options(arguments: dict[str, Any]) -> FinderOptions | ExampleOptions:
    """Check the options of finding, and load the finder."""
    zoom, score, resolution = arguments["zoom"], arguments["min_score"], arguments["resolution"]
    if zoom is not None:
        check_zoom(zoom)
    if score is not None and not 0 <= score <= 1:
        raise OptionError(f"min_score is {score}; give a number from 0 to 1.")
    if resolution != AUTO and (isinstance(resolution, str) or not resolution > 0 or not math.isfinite(resolution)):
        raise OptionError(f'resolution is {resolution!r}; give "auto", or the side of a pixel on the ground in metres.')
    if arguments["examples"] is not None:
        return ExampleOptions.of(arguments)
    finder = arguments["finder"]
    source = (arguments["what"] or BUILDING) if finder is None else finder
    loaded = source if isinstance(source, Finder) else load_finder(source)
    return FinderOptions(finder=loaded.with_flips(arguments["flips"]), resolution=resolution, zoom=zoom, min_score=score)

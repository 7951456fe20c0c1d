"""Objects like those that a person accepted, and unlike those that were rejected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.buildings.selection.classifier import Selector
from samgeo.buildings.selection.examples import Examples, read_examples
from samgeo.buildings.selection.features import describe
from samgeo.buildings.selection.overlaps import MAX_OVERLAP, keep_best
from samgeo.buildings.shapes import with_note
from samgeo.errors import OptionError
from samgeo.types import BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch

    from samgeo.models.protocols import Segmenter

__all__ = ["MIN_SCORE", "more_like", "select"]

MIN_SCORE = 0.5


@check_types
def select(
    image: RasterLike,
    candidates: FeaturesLike,
    examples: FeaturesLike,
    *,
    min_score: float = MIN_SCORE,
    max_overlap: float = MAX_OVERLAP,
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
) -> gpd.GeoDataFrame:
    """Choose among candidates by a few that were accepted and rejected.

    Each candidate is described by what the model's embedding knows of it, its shape and its predicted IoU (`describe`); a small
    classifier learns from the examples (`Selector`) and scores all candidates; of those that overlap, the best stays
    (`keep_best`). Some twenty or thirty examples of each kind are a beginning, if they show every kind that there is, and the
    rejected ones are such as should go: parts of what is wanted, several taken for one, and other things.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        Where the candidates were found; see `samgeo.Raster.open`.
    candidates : path or GeoDataFrame
        From `samgeo.segment` or `samgeo.Predictor`; other polygons do, in any CRS.
    examples : str, path, GeoDataFrame, GeoSeries, sequence of geometries, or a pair of those
        The name of a column of the candidates, or features with a column ``label``: 1 or true is accepted, 0 or false rejected,
        missing not judged; features without it are all accepted, and a pair is of accepted and rejected ones. Rows of the
        candidates do, and so do polygons drawn by hand: an example means the candidate of best IoU with it, if that is 0.5
        or more. Without rejected ones, candidates that were not judged stand for them.
    min_score : float, default 0.5
        Candidates below are dropped, from 0 to 1; examples that were rejected are too.
    max_overlap : float, default 0.3
        See `keep_best`; 1 keeps what overlaps.
    embedding, model, device, dtype, bands, stretch, nodata, alpha, window, overlap, cache
        See `describe`.

    Returns
    -------
    GeoDataFrame
        The rows chosen, in the order of the candidates, with ``score`` from 0 to 1; a column ``score`` of the candidates
        becomes ``score_given``, with a warning. ``attrs["samgeo"]["select"]`` has the
        counts of candidates, examples used, examples without a candidate, and rows chosen.

    Raises
    ------
    SamgeoError
        If an input cannot be read, an option cannot work, or no accepted example has a candidate.
    """
    from samgeo.geo.vector.columns import keep_given
    from samgeo.geo.vector.reading import read_vectors

    if not 0 <= min_score <= 1:
        raise OptionError(f"min_score is {min_score}; give a number from 0 to 1.")
    candidates = read_vectors(candidates)
    judged = read_examples(candidates, examples)
    candidates = keep_given(candidates, ("score",), "the candidates")
    where: dict[str, Any] = {"bands": bands, "stretch": stretch, "nodata": nodata, "alpha": alpha}
    where |= {"window": window, "overlap": overlap}
    where |= {"model": model, "device": device, "dtype": dtype, "cache": cache, "embedding": embedding}
    features = describe(image, candidates, **where)
    scored = candidates.assign(score=Selector.fit(features, judged.labels).score(features))
    scored.attrs = candidates.attrs
    good = scored[(scored.score.to_numpy() >= min_score) & (judged.labels != 0)]
    result = keep_best(good, max_overlap=max_overlap)
    result.attrs = with_note(candidates, "select", _note(judged, len(result), min_score, max_overlap))
    return result


def more_like(image: RasterLike, examples: FeaturesLike, candidates: FeaturesLike = None, **options: Any) -> gpd.GeoDataFrame:
    """Find more objects like some on the rest of a raster.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`.
    examples : path, GeoDataFrame, GeoSeries, sequence of geometries, or a pair of those
        See `select`.
    candidates : path or GeoDataFrame, optional
        What to choose from; by default everything that `samgeo.segment` finds.
    **options
        Those of `select`.

    Returns
    -------
    GeoDataFrame
        As from `select`, the most like the examples first, without the examples themselves.

    Raises
    ------
    SamgeoError
        As `samgeo.segment` and `select` do.
    """
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.vector.reading import read_vectors

    raster = Raster.open(image, **{name: options.pop(name) for name in _READING & options.keys()})
    found = everything(raster, **options) if candidates is None else read_vectors(candidates)
    judged = read_examples(found, examples)
    # An example that is chosen must still drive away what overlaps it.
    marked = found.assign(**{_JUDGED: judged.labels})
    marked.attrs = found.attrs
    chosen = select(raster, marked, _JUDGED, **options)
    rest = chosen[chosen[_JUDGED].isna()].drop(columns=_JUDGED).sort_values("score", ascending=False, kind="stable")
    rest.attrs = chosen.attrs
    rest.attrs["samgeo"]["select"] |= {"chosen": len(rest), "unmatched": judged.unmatched}
    return rest


def everything(raster: Any, **options: Any) -> gpd.GeoDataFrame:
    """Segment a raster with those options of `select` that are of `samgeo.segment` too."""
    from samgeo.segmentation.api import segment

    own = {"min_score", "max_overlap", "embedding"}
    return segment(raster, progress=False, **{name: value for name, value in options.items() if name not in own})


_JUDGED = "samgeo_judged"
_READING = {"bands", "stretch", "nodata", "alpha"}


def _note(judged: Examples, chosen: int, min_score: float, max_overlap: float) -> dict[str, Any]:
    return {
        "candidates": len(judged.labels),
        "accepted": judged.accepted,
        "rejected": judged.rejected,
        "unmatched": judged.unmatched,
        "chosen": chosen,
        "min_score": min_score,
        "max_overlap": max_overlap,
    }

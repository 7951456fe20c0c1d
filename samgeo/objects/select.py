"""Selection of the candidates that are like accepted examples and unlike rejected ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.raster.raster import Raster
from samgeo.geo.vector.columns import keep_given
from samgeo.geo.vector.reading import read_vectors
from samgeo.objects.classifier import Selector
from samgeo.objects.examples import Examples, read_examples
from samgeo.objects.features import describe
from samgeo.objects.overlaps import MAX_OVERLAP, keep_best
from samgeo.objects.shapes import with_note
from samgeo.segmentation.api import segment
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
    invented: str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Select candidates that are like accepted examples and unlike rejected ones.

    Each candidate is described by numbers: the model's embedding, its shape and its predicted IoU (`describe`). A small
    classifier (`Selector`) is trained on the examples and gives a score to every candidate. Of candidates that overlap, the
    one with the highest score is kept (`keep_best`).

    Twenty or thirty examples of each kind are a good start. The accepted examples should show every kind of object that is
    wanted. The rejected examples should show what must be removed: parts of wanted objects, several objects segmented as one,
    and other things.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The image in which the candidates were found; see `samgeo.Raster.open`.
    candidates : path or GeoDataFrame
        Results of `samgeo.segment` or `samgeo.Predictor`, or other polygons in any CRS.
    examples : str, path, GeoDataFrame, GeoSeries, sequence of geometries, or a pair of those
        Either the name of a column of the candidates, or features with a column ``label``. A label of 1 or true means
        accepted, 0 or false means rejected, and a missing label means not judged. Features without the column are all
        accepted. A pair has the accepted features first and the rejected ones second. The features may be rows of the
        candidates or polygons drawn by hand: each example is assigned to the candidate with the best IoU, if that IoU is 0.5
        or more. If no example is rejected, the candidates that were not judged are used as rejected examples.
    min_score : float, default 0.5
        Candidates with a lower score are dropped, from 0 to 1. Rejected examples are always dropped.
    max_overlap : float, default 0.3
        Largest overlap of two selected objects; see `keep_best`. With 1, objects that overlap are all kept.
    embedding, model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache
        See `describe`.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        The selected rows in the order of the candidates, with a column ``score`` from 0 to 1. If the candidates already have a
        column ``score``, it is renamed to ``score_given`` and a warning is issued. ``attrs["samgeo"]["select"]`` has the
        counts of candidates, of accepted and rejected examples, of examples without a candidate, and of selected rows.

    Raises
    ------
    SamgeoError
        If an input cannot be read, an option is invalid, or no accepted example has a candidate.

    Examples
    --------
    Without the embedding, candidates are selected by shape alone:

    >>> import geopandas as gpd
    >>> import numpy as np
    >>> from shapely.geometry import box
    >>> from samgeo.objects import select
    >>> squares = [box(x, 0, x + 20, 20) for x in range(0, 250, 50)]
    >>> strips = [box(x, 50, x + 40, 54) for x in range(0, 250, 50)]
    >>> labels = [1, 1, None, None, None, 0, 0, None, None, None]
    >>> candidates = gpd.GeoDataFrame({"label": labels}, geometry=squares + strips)
    >>> image = np.zeros((256, 256, 3), dtype="uint8")
    >>> select(image, candidates, "label", embedding=False, progress=False).index.tolist()
    [0, 1, 2, 3, 4]
    """
    if not 0 <= min_score <= 1:
        raise OptionError(f"min_score is {min_score}; give a number from 0 to 1.")
    candidates = read_vectors(candidates)
    judged = read_examples(candidates, examples)
    candidates = keep_given(candidates, ("score",), "the candidates")
    where: dict[str, Any] = {"bands": bands, "stretch": stretch, "nodata": nodata, "alpha": alpha, "invented": invented}
    where |= {"window": window, "overlap": overlap}
    where |= {"model": model, "device": device, "dtype": dtype, "cache": cache, "embedding": embedding, "progress": progress}
    features = describe(image, candidates, **where)
    scored = candidates.assign(score=Selector.fit(features, judged.labels).score(features))
    scored.attrs = candidates.attrs
    good = scored[(scored.score.to_numpy() >= min_score) & (judged.labels != 0)]
    result = keep_best(good, max_overlap=max_overlap)
    result.attrs = with_note(candidates, "select", _note(judged, len(result), min_score, max_overlap))
    return result


def more_like(
    image: RasterLike, examples: FeaturesLike, candidates: FeaturesLike = None, **options: object
) -> gpd.GeoDataFrame:
    """Find more objects that are like the examples in a raster.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The image; see `samgeo.Raster.open`.
    examples : path, GeoDataFrame, GeoSeries, sequence of geometries, or a pair of those
        Accepted and rejected objects; see `select`.
    candidates : path or GeoDataFrame, optional
        Objects to choose from. By default these are all objects that `samgeo.segment` finds.
    **options
        Options of `select`.

    Returns
    -------
    GeoDataFrame
        The result of `select` without the examples, sorted by falling score.

    Raises
    ------
    SamgeoError
        For the reasons given at `samgeo.segment` and `select`.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> from shapely.geometry import box
    >>> from samgeo.objects import more_like
    >>> squares = [box(x, 0, x + 20, 20) for x in range(0, 250, 50)]
    >>> strips = [box(x, 50, x + 40, 54) for x in range(0, 250, 50)]
    >>> candidates = gpd.GeoDataFrame(geometry=squares + strips)
    >>> image = np.zeros((256, 256, 3), dtype="uint8")
    >>> more = more_like(image, (squares[:2], strips[:2]), candidates, embedding=False, progress=False)
    >>> sorted(more.index)
    [2, 3, 4]
    """
    given: dict[str, Any] = dict(options)
    raster = Raster.open(image, **{name: given.pop(name) for name in _READING & given.keys()})
    found = everything(raster, **given) if candidates is None else read_vectors(candidates)
    judged = read_examples(found, examples)
    # The examples are removed only after the selection: until then, candidates that overlap an example must be dropped.
    marked = found.assign(**{_JUDGED: judged.labels})
    marked.attrs = found.attrs
    chosen = select(raster, marked, _JUDGED, **given)
    rest = chosen[chosen[_JUDGED].isna()].drop(columns=_JUDGED).sort_values("score", ascending=False, kind="stable")
    rest.attrs = chosen.attrs
    rest.attrs["samgeo"]["select"] |= {"chosen": len(rest), "unmatched": judged.unmatched}
    return rest


def everything(raster: Raster, **options: object) -> gpd.GeoDataFrame:
    """Segment a raster with the options that `select` has in common with `samgeo.segment`."""
    own = {"min_score", "max_overlap", "embedding"}
    given: dict[str, Any] = {name: value for name, value in options.items() if name not in own}
    return segment(raster, **given)


_JUDGED = "samgeo_judged"
_READING = {"bands", "stretch", "nodata", "alpha", "invented"}


def _note(judged: Examples, chosen: int, min_score: float, max_overlap: float) -> dict[str, Any]:
    """Return the counts and options of a selection, for the attributes of the result."""
    return {
        "candidates": len(judged.labels),
        "accepted": judged.accepted,
        "rejected": judged.rejected,
        "unmatched": judged.unmatched,
        "chosen": chosen,
        "min_score": min_score,
        "max_overlap": max_overlap,
    }

"""Prompts of a session from a vector file: each point, box or polygon asks the model for one object, which then waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError, StoppedError, VectorError
from samgeo.geo.vector.reading import read_vectors
from samgeo.map.files.placing import read_proposals
from samgeo.map.session_parts.proposals import Proposing
from samgeo.map.state.actions import Propose
from samgeo.map.state.live_state import Snapshot
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    from samgeo.segmentation.predictor import Predictor

__all__ = ["KINDS", "FilePrompting"]

KINDS = ("auto", "points", "boxes", "polygons")

# So many prompts are asked between two reports of progress. They are neighbours, so that they have windows in common.
BATCH = 64

# A polygon is a box if its area is this near to that of its bounding box.
BOX_SHARE = 1e-6

COLUMNS = ("class", "label", "prompt")
"""Columns of the file that are used; the others have other meanings for objects."""


class FilePrompting(Proposing):
    """The part of a session that asks the model for the prompts of a file."""

    @check_types
    def prompt_with(
        self, features: FeaturesLike, *, kind: str = "auto", progress: Callable[[int, int], bool] | None = None
    ) -> Snapshot:
        """Ask the model for the object at each point, box or polygon of a file, and add the masks as proposals.

        Parameters
        ----------
        features : path, GeoDataFrame or GeoSeries
            Points, multipoints and polygons in any CRS, each for one object. Points with the same value in a column ``prompt``
            are for one object; a column ``label`` says whether a point is on it (1) or beside it (0). A column ``class`` gives
            the classes of the proposals.
        kind : {"auto", "points", "boxes", "polygons"}, default "auto"
            What the features are. With "auto" a polygon that is a rectangle along the axes of its CRS is a box, and another
            polygon is a rough outline. With "boxes" the bounding box of each polygon is used.
        progress : callable, optional
            Called with the number of prompts that were asked and the number of all prompts. It returns False to stop.

        Returns
        -------
        Snapshot
            As `propose`. The ``action`` counts the prompts for which the model found nothing, too.

        Raises
        ------
        OptionError
            If there is no such kind or class.
        VectorError
            If the file cannot be read, or has other geometries.
        StoppedError
            If ``progress`` returned False. Nothing is proposed.
        """
        if kind not in KINDS:
            raise OptionError(f"kind is {kind!r}; give one of {', '.join(KINDS)}.")
        frame = _prompts(read_vectors(features))
        if "class" in frame:
            for name in frame["class"].dropna().unique().tolist():
                self.state.class_list.check(str(name))
        found = _answers(self.predictor, list(_batches(frame, kind)), progress or (lambda _done, _total: True))
        missing = found["reason"].notna()
        answered = found[~missing].assign(prompt="file")
        answered.attrs = found.attrs
        given = read_proposals(answered, self.predictor.raster.geobox) if len(answered) else Propose(())
        return self._put_up(replace(given, nothing=int(missing.sum())))


def _prompts(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the geometries and the columns that are used.

    Raises
    ------
    VectorError
        If there is none, or one is neither points nor polygons.
    """
    if not len(frame):
        raise VectorError("the file of prompts has no features; give points, boxes or polygons.")
    good = frame.geom_type.isin(["Point", "MultiPoint", "Polygon", "MultiPolygon"]) & ~frame.geometry.is_empty
    if not good.all():
        number = int(np.flatnonzero(~good.to_numpy())[0])
        what = frame.geom_type.iloc[number] or "nothing"
        raise VectorError(f"feature {number} of the prompts is {what}; give points, boxes or polygons.")
    used = [name for name in COLUMNS if name in frame]
    return gpd.GeoDataFrame(frame[used], geometry=frame.geometry.to_numpy(), crs=frame.crs).reset_index(drop=True)


def _batches(frame: gpd.GeoDataFrame, kind: str) -> Iterator[tuple[str, gpd.GeoDataFrame]]:
    """Yield the prompts a few at a time, with what they are."""
    is_point = frame.geom_type.isin(["Point", "MultiPoint"]).to_numpy()
    outlines = np.asarray(frame.geometry, dtype=object)
    envelope_areas = shapely.area(shapely.envelope(outlines))
    is_box = ~is_point & (envelope_areas - shapely.area(outlines) <= BOX_SHARE * envelope_areas)
    if kind != "auto":
        wrong = np.flatnonzero(is_point if kind != "points" else ~is_point)
        if len(wrong):
            raise VectorError(f"feature {wrong[0]} of the prompts is {frame.geom_type.iloc[wrong[0]]}; give {kind}.")
        is_box = ~is_point & (kind == "boxes")
    for name, chosen in (("points", is_point), ("boxes", is_box), ("polygons", ~is_point & ~is_box)):
        some = frame[chosen]
        if name != "points":
            some = some.drop(columns=[one for one in ("label", "prompt") if one in some])
        owner = pd.factorize(some["prompt"])[0] if "prompt" in some else np.arange(len(some))
        batch = _ranks(some, owner)[owner] // BATCH
        for number in range(int(batch.max(initial=-1)) + 1):
            yield name, some[batch == number]


def _ranks(frame: gpd.GeoDataFrame, owner: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rank of each prompt along a curve on which neighbours are near to each other."""
    _, first = np.unique(owner, return_index=True)
    if len(first) <= BATCH:
        return np.arange(len(first))
    along = frame.geometry.iloc[first].hilbert_distance().to_numpy()
    ranks = np.empty(len(first), np.intp)
    ranks[np.argsort(along, kind="stable")] = np.arange(len(first))
    return ranks


def _answers(
    predictor: Predictor, batches: list[tuple[str, gpd.GeoDataFrame]], progress: Callable[[int, int], bool]
) -> gpd.GeoDataFrame:
    """Return the answers of the model, in the order of the file.

    Raises
    ------
    StoppedError
        If ``progress`` returned False.
    """
    total, done = sum(len(batch) for _, batch in batches), 0
    results: list[gpd.GeoDataFrame] = []
    for name, batch in batches:
        _ask_on(progress, done, total)
        answer = _answer(predictor, name, batch.reset_index(drop=True))
        first = batch.drop_duplicates("prompt") if "prompt" in batch else batch
        results.append(answer.set_index(first.index))
        done += len(batch)
    _ask_on(progress, done, total)
    found = pd.concat([one.dropna(axis=1, how="all") for one in results]).sort_index()
    found = found.reindex(columns=[*found.columns, *({"reason", "geometry"} - {*found.columns})])
    frame = gpd.GeoDataFrame(found, geometry="geometry", crs=results[0].crs).reset_index(drop=True)
    frame.attrs = results[0].attrs
    return frame


def _answer(predictor: Predictor, name: str, prompts: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if name == "points":
        return predictor.predict(points=prompts)
    return predictor.predict(boxes=prompts) if name == "boxes" else predictor.predict(polygons=prompts)


def _ask_on(progress: Callable[[int, int], bool], done: int, total: int) -> None:
    if not progress(done, total):
        raise StoppedError("ended before all prompts were asked: nothing is put up")

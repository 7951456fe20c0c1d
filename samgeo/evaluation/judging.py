"""Verdicts about the objects of two layers, and figures of any subset of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samgeo.evaluation.average_precision import Averages, Side, averages
from samgeo.evaluation.boundary import boundary_iou
from samgeo.evaluation.layer_pairs import BATCH, Layer
from samgeo.evaluation.matching import Pairs, pair_up
from samgeo.evaluation.polis_distance import polis
from samgeo.evaluation.report import LeftOut, Scores
from samgeo.geo.coordinates.metric_planes import Planes, batches
from samgeo.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from samgeo.types import CRSLike

__all__ = ["Comparison", "Judged", "Verdicts"]

OUTSIDE = "outside the area of interest"
MATCHED_OUTSIDE = "matches an object outside the area of interest"

NO_CLASS, NO_PARTNER = -1, -1  # NO_CLASS is also the index of the None that `objects` appends to the names of the classes.


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A layer with the attributes of its N objects.

    Attributes
    ----------
    layer : Layer
        The objects.
    side : Side
        Their areas, their classes, and whether they lie outside the area of interest.
    score : ndarray of float, shape (N,), or None
        Confidence of each object.
    """

    layer: Layer
    side: Side
    score: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """Result of the matching for each object.

    Attributes
    ----------
    pairs : Pairs
        The matched pairs, except those whose true object is ignored.
    boundary, polis : ndarray of float, shape (P,)
        Boundary IoU and PoLiS of each pair.
    false, missed : ndarray of bool, shape (found,) and (truth,)
        Objects without a match that are not ignored.
    matched_outside : ndarray of bool, shape (found,)
        Found objects whose true object is ignored.
    """

    pairs: Pairs
    boundary: NDArray[np.float64]
    polis: NDArray[np.float64]
    false: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    matched_outside: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        found: Judged,
        truth: Judged,
        pairs: Pairs,
        planes: Planes,
        *,
        min_iou: float,
        distance: float,
        progress: bool = False,
    ) -> Verdicts:
        """Match the objects, and measure the pairs in batches."""
        rank = None
        if found.score is not None:
            rank = np.empty(len(found.score), dtype=np.intp)
            rank[np.argsort(-found.score, kind="stable")] = np.arange(len(rank))
        chosen = pairs[pair_up(pairs, min_iou, rank=rank, ignored=truth.side.outside)]
        counts = ~truth.side.outside[chosen.truth]
        free, missed = ~found.side.outside, ~truth.side.outside
        free[chosen.found], missed[chosen.truth] = False, False
        matched_outside = np.zeros(len(found.layer), dtype=bool)
        matched_outside[chosen.found[~counts]] = True
        kept = chosen[counts]
        boundary, distances = np.zeros(len(kept)), np.zeros(len(kept))
        with progress_bar(len(kept), "pair", "measuring", progress=progress) as bar:
            for cell, some in batches(found.layer.cells[kept.found], BATCH):
                a = planes.place(found.layer.geometries[kept.found[some]], cell)
                b = planes.place(truth.layer.geometries[kept.truth[some]], cell)
                boundary[some], distances[some] = boundary_iou(a, b, distance), polis(a, b)
                bar.update(len(some))
        return cls(kept, boundary, distances, free, missed, matched_outside)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two layers with their overlapping pairs and verdicts.

    Attributes
    ----------
    found, truth : Judged
        The layers.
    pairs : Pairs
        All pairs that average precision needs.
    verdicts : Verdicts
        Result of the matching.
    """

    found: Judged
    truth: Judged
    pairs: Pairs
    verdicts: Verdicts

    def scores(
        self, in_found: NDArray[np.bool_], in_truth: NDArray[np.bool_], area_range: tuple[float, float] | None = None
    ) -> Scores:
        """Compute the figures of a subset of both layers. A pair belongs to the subset if its true object does.

        Parameters
        ----------
        in_found, in_truth : ndarray of bool, shapes (found,) and (truth,)
            The objects of the subset.
        area_range : (float, float), optional
            If given, average precision is that of the objects of both layers within these areas, and not that of the subset.
        """
        found, truth, verdicts = self.found, self.truth, self.verdicts
        in_part = in_truth[verdicts.pairs.truth]
        i, j = verdicts.pairs.found[in_part], verdicts.pairs.truth[in_part]
        of_found = len(i) + int((verdicts.false & in_found).sum())
        of_truth = len(j) + int((verdicts.missed & in_truth).sum())
        mean = self._averages(in_found, in_truth, area_range)
        return Scores(
            truth=of_truth,
            found=of_found,
            matched=len(i),
            precision=_ratio(len(i), of_found),
            recall=_ratio(len(i), of_truth),
            f1=_ratio(2 * len(i), of_found + of_truth),
            mean_iou=_mean(verdicts.pairs.iou[in_part]),
            mean_dice=_mean(2 * verdicts.pairs.iou[in_part] / (1 + verdicts.pairs.iou[in_part])),
            boundary_iou=_mean(verdicts.boundary[in_part]),
            polis=_mean(verdicts.polis[in_part]),
            area_bias=_ratio(float(found.layer.areas[i].sum()), float(truth.layer.areas[j].sum())) - 1,
            ap=mean.ap,
            ap50=mean.ap50,
            ap75=mean.ap75,
            ar=mean.ar,
        )

    def left_out(self) -> tuple[LeftOut, ...]:
        """Count the objects that were not evaluated, by layer and reason."""
        counts: Counter[tuple[str, str]] = Counter()
        for name, one, ignored in zip(("found", "truth"), (self.found, self.truth), self._ignored(), strict=True):
            counts.update((name, reason) for _, reason in one.layer.left_out)
            counts.update((name, reason) for reason in ignored[ignored != ""])
        return tuple(LeftOut(name, reason, count) for (name, reason), count in sorted(counts.items()))

    def objects(self, names: list[str], crs: CRSLike) -> gpd.GeoDataFrame:
        """Return the table of all objects of both layers, with the names of their classes; see `Report`."""
        verdicts, (ours, theirs) = self.verdicts, self._ignored()
        i, j = verdicts.pairs.found, verdicts.pairs.truth
        found = self._table(self.found, i, self.truth.layer.rows[j], np.where(verdicts.false, "false", ""), ours)
        truth = self._table(self.truth, j, self.found.layer.rows[i], np.where(verdicts.missed, "missed", ""), theirs)
        for name, table in (("found", found), ("truth", truth)):
            table.insert(0, "layer", name)
        table = pd.concat([found, truth], ignore_index=True)
        classes = np.array([*names, None], dtype=object)[table["class"]]
        table["class"] = pd.Series(classes, dtype="str")
        table["reason"] = table["reason"].astype("str").where(table["reason"] != "")
        table["partner"] = table["partner"].astype("Int64").where(table["partner"] != NO_PARTNER)
        return gpd.GeoDataFrame(table, geometry="geometry", crs=crs)

    def _table(
        self,
        one: Judged,
        mine: NDArray[np.intp],
        partners: NDArray[np.int64],
        verdict: NDArray[np.str_],
        reason: NDArray[np.object_],
    ) -> pd.DataFrame:
        """Return the table of one layer in the order of its input.

        The objects that were evaluated come first and those that were left out follow; then all are sorted.
        """
        layer = one.layer
        size = len(layer) + len(layer.left_out)
        place = np.argsort(np.concatenate([layer.rows, [row for row, _ in layer.left_out]]).astype(np.int64), kind="stable")

        def column(values: NDArray[Any] | float, missing: object, dtype: DTypeLike) -> NDArray[Any]:
            full = np.full(size, missing, dtype=dtype)
            full[: len(layer)] = values
            return full

        def of_pairs(values: NDArray[Any], missing: object, dtype: DTypeLike) -> NDArray[Any]:
            full = np.full(size, missing, dtype=dtype)
            full[mine] = values
            return full

        verdicts = column(np.where(verdict == "", "left out", verdict), "left out", object)
        verdicts[mine] = "matched"
        reasons = column(reason, "", object)
        reasons[len(layer) :] = [why for _, why in layer.left_out]
        rows = column(layer.rows, 0, np.int64)
        rows[len(layer) :] = [row for row, _ in layer.left_out]
        columns = {
            "row": rows,
            "verdict": verdicts,
            "reason": reasons,
            "class": column(one.side.classes, NO_CLASS, np.int64),
            "score": column(np.nan if one.score is None else one.score, np.nan, np.float64),
            "area": column(layer.areas, np.nan, np.float64),
            "partner": of_pairs(partners, NO_PARTNER, np.int64),
            "iou": of_pairs(self.verdicts.pairs.iou, np.nan, np.float64),
            "boundary_iou": of_pairs(self.verdicts.boundary, np.nan, np.float64),
            "polis": of_pairs(self.verdicts.polis, np.nan, np.float64),
            "geometry": column(layer.geometries, None, object),
        }
        return pd.DataFrame({name: values[place] for name, values in columns.items()})

    def _averages(
        self, in_found: NDArray[np.bool_], in_truth: NDArray[np.bool_], area_range: tuple[float, float] | None
    ) -> Averages:
        """Return average precision and recall of a subset, or of an area range."""
        score, pairs = self.found.score, self.pairs
        if score is None:
            return Averages.unknown()
        if area_range is not None:
            return averages(pairs, score, self.found.side, self.truth.side, area_range)
        part = pairs[in_found[pairs.found] & in_truth[pairs.truth]]
        place_found, place_truth = np.cumsum(in_found) - 1, np.cumsum(in_truth) - 1
        part = Pairs(place_found[part.found], place_truth[part.truth], part.iou)
        return averages(part, score[in_found], self.found.side[in_found], self.truth.side[in_truth])

    def _ignored(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Return, for each object of both layers, the reason why it is ignored; an empty text if it is not."""
        verdicts = self.verdicts
        outside = self.found.side.outside.copy()
        outside[verdicts.pairs.found] = False
        ours, theirs = np.full(len(outside), "", dtype=object), np.full(len(verdicts.missed), "", dtype=object)
        ours[outside] = OUTSIDE
        ours[verdicts.matched_outside] = MATCHED_OUTSIDE
        theirs[self.truth.side.outside] = OUTSIDE
        return ours, theirs


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")

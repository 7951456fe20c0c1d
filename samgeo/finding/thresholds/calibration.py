"""Calibration of scores: a monotone map from scores to probabilities that is fitted to accepted and rejected objects."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.finding.thresholds.curve import SCORE, read_scores
from samgeo.finding.thresholds.expected import FOUND_SHARE, best_cut, check_found_share
from samgeo.finding.thresholds.judged import judged_rows
from samgeo.geo.vector.reading import read_vectors

if TYPE_CHECKING:
    import pandas as pd

    from samgeo.types import FeaturesLike

__all__ = ["Calibrated", "Calibration", "calibrate"]

# Standard deviations of the prior of the slope, about 1, and of the offset, about 0. With twice these values, five judged
# objects made the scores of two of three places worse; see benchmarks/STUDIES.md.
SLOPE_SPREAD, OFFSET_SPREAD = 0.25, 0.5
# A lower slope would nearly be no map at all: the order of the objects must stay.
LEAST_SLOPE, MOST_SLOPE = 0.05, 20.0
# Scores are limited to this distance from 0 and 1, so that their logits are finite.
LEAST_PROBABILITY = 1e-6
NOTE = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A monotone map of scores, fitted to accepted and rejected objects.

    The new score is sigmoid(``slope`` * logit(score) + ``offset``). A slope of 1 and an offset of 0 change nothing.

    Attributes
    ----------
    slope : float
        Above 0, so that the order of the objects stays.
    offset : float
        Above 0 if the scores are too low.
    accepted, rejected : int
        Number of objects to which it was fitted.

    Examples
    --------
    >>> from samgeo.finding import Calibration
    >>> Calibration(slope=1.0, offset=-1.0)([0.2, 0.5, 0.9]).round(3).tolist()
    [0.084, 0.269, 0.768]
    """

    slope: float = 1.0
    offset: float = 0.0
    accepted: int = 0
    rejected: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0 and math.isfinite(self.offset)):
            raise OptionError(f"slope is {self.slope} and offset is {self.offset}; give finite numbers, and a slope above 0.")

    @classmethod
    def fit(cls, scores: ArrayLike, labels: ArrayLike) -> Calibration:
        """Fit the map to scores of judged objects.

        It is Platt's scaling (Platt, 1999, "Probabilistic outputs for support vector machines and comparisons to regularized
        likelihood methods") of the logits of the scores, with Gaussian priors about the identity in place of Platt's changed
        targets. The slope a and the offset b minimize

            L(a, b) = sum log(1 + exp(-z)) over the accepted objects + sum log(1 + exp(z)) over the rejected objects
                      + (a - 1)^2 / (2 * 0.25^2) + b^2 / (2 * 0.5^2),    with z = a * logit(score) + b.

        The function is convex and has one minimum. A few objects change the scores little, and many outweigh the priors. The
        slope is kept above 0.05.

        Parameters
        ----------
        scores : array-like of float, shape (N,)
            From 0 to 1.
        labels : array-like of bool, shape (N,)
            Whether each object is accepted.

        Returns
        -------
        Calibration
            The identity if there are no objects.

        Raises
        ------
        OptionError
            If shapes differ, or a score is not a number from 0 to 1.

        Examples
        --------
        >>> from samgeo.finding import Calibration
        >>> fitted = Calibration.fit([0.9, 0.8, 0.7, 0.6] * 5, [True, False, False, False] * 5)
        >>> fitted.offset < 0, Calibration.fit([], [])
        (True, Calibration(slope=1.0, offset=0.0, accepted=0, rejected=0))
        """
        given, right = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.bool_)
        if given.ndim != 1 or given.shape != right.shape:
            raise OptionError(f"scores have shape {given.shape} and labels {right.shape}; give one label for each score.")
        if not ((given >= 0) & (given <= 1)).all():
            raise OptionError("a score is not a number from 0 to 1; give the scores of found objects.")
        if not len(given):
            return cls()
        logits, sign = _logit(given), np.where(right, 1.0, -1.0)
        spreads = np.array([SLOPE_SPREAD, OFFSET_SPREAD]) ** -2.0

        def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            z = sign * (parameters[0] * logits + parameters[1])
            away = parameters - (1.0, 0.0)
            pull = -sign * special.expit(-z)
            value = np.logaddexp(0.0, -z).sum() + (spreads * away**2).sum() / 2
            return float(value), np.array([pull @ logits, pull.sum()]) + spreads * away

        bounds = [(LEAST_SLOPE, MOST_SLOPE), (None, None)]
        found = optimize.minimize(
            loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
        )
        slope, offset = (float(value) for value in found.x)
        accepted = int(right.sum())
        return cls(slope=slope, offset=offset, accepted=accepted, rejected=len(right) - accepted)

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return new scores, of the shape of the given ones."""
        z = self.slope * _logit(np.asarray(scores, dtype=np.float64)) + self.offset
        return np.asarray(special.expit(z), dtype=np.float64)

    def apply(self, found: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return a result with new scores, for example that of another image of the same kind.

        Parameters
        ----------
        found : GeoDataFrame
            A result of `samgeo.find` with the same finder.

        Returns
        -------
        GeoDataFrame
            The same rows. ``attrs["samgeo"]["calibration"]`` has the attributes of the map, and ``min_score``, the new score of
            the least score of the run.

        Raises
        ------
        OptionError
            If there is no column ``score`` of numbers from 0 to 1, or the scores are calibrated already.
        """
        scores, least = read_scores(found)
        made = found.attrs.get("samgeo") or {}
        if NOTE in made:
            raise OptionError("the scores of the result are calibrated already; give the result as samgeo.find returned it.")
        result = found.assign(**{SCORE: self(scores)})
        note = asdict(self) | {"min_score": float(self([least])[0]) if least > 0 else 0.0}
        result.attrs = {**found.attrs, "samgeo": {**made, NOTE: note}}
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A result with new scores; see `samgeo.finding.calibrate`.

    Attributes
    ----------
    objects : GeoDataFrame
        All objects of the result, with new scores.
    calibration : Calibration
        The map, which can be applied to the result of another image of the same kind.
    threshold : float
        The threshold of the new scores with the highest expected F1; see `samgeo.finding.suggest_threshold`.
    """

    objects: gpd.GeoDataFrame
    calibration: Calibration
    threshold: float

    @property
    def kept(self) -> gpd.GeoDataFrame:
        """The objects with at least the threshold."""
        return self.objects[self.objects[SCORE] >= self.threshold].reset_index(drop=True)


@check_types
def calibrate(
    found: gpd.GeoDataFrame | str | os.PathLike[str],
    accepted: FeaturesLike | Sequence[int] | pd.Index,
    rejected: FeaturesLike | Sequence[int] | pd.Index,
    *,
    found_share: float = FOUND_SHARE,
) -> Calibrated:
    """Fit the scores of a result to a place, from some objects that are known to be right and some that are known to be wrong.

    Scores are estimates that may be too high or too low in a place. The new scores come from a monotone map with two numbers,
    which `Calibration.fit` explains. The order of the objects by score does not change.

    Judge objects without a choice by what they are: for example all objects in some parts of the raster, or every tenth
    object. If mostly wrong objects are judged because they are easily seen, the new scores are too low.

    Parameters
    ----------
    found : path or GeoDataFrame
        A result of `samgeo.find` with a low ``min_score``, such as 0.05, with one row for each label of the index.
    accepted, rejected : path, GeoDataFrame, GeoSeries, sequence of geometries, or sequence of int
        The objects that are right and those that are wrong, at least one of each: labels of the index of ``found``, or
        polygons. A polygon judges the object with which it has the highest IoU, if that is 0.5 or more. Polygons without a CRS
        are in that of ``found``.
    found_share : float, default 0.75
        For the threshold; see `threshold_curve`.

    Returns
    -------
    Calibrated
        The objects with new scores, the map, and a threshold.

    Raises
    ------
    OptionError
        If no object is accepted or none is rejected, an object is both, a label is not in the index, the index has a label
        twice, or the scores are calibrated already.
    VectorError
        If features cannot be read or located.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from samgeo.finding import calibrate
    >>> from shapely.geometry import box
    >>> squares = [box(x, 0, x + 5, 5) for x in range(0, 60, 10)]
    >>> found = gpd.GeoDataFrame({"score": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]}, geometry=squares)
    >>> calibrated = calibrate(found, accepted=[0], rejected=[1, 2, 3])
    >>> bool((calibrated.objects["score"] < found["score"]).all())
    True
    """
    check_found_share(found_share)
    read_scores(found)
    found = read_vectors(found) if isinstance(found, str | os.PathLike) else found
    right, wrong = judged_rows(found, accepted, "accepted"), judged_rows(found, rejected, "rejected")
    both = np.intersect1d(right, wrong)
    if len(both):
        raise OptionError(f"object {found.index[both[0]]} is both accepted and rejected; give it once.")
    rows = np.concatenate([right, wrong])
    labels = np.repeat([True, False], [len(right), len(wrong)])
    calibration = Calibration.fit(found[SCORE].to_numpy(dtype=np.float64)[rows], labels)
    objects = calibration.apply(found)
    cut = best_cut(objects[SCORE].to_numpy(), found_share)
    note: dict[str, Any] = objects.attrs["samgeo"][NOTE]
    note["threshold"] = cut.score
    return Calibrated(objects, calibration, cut.score)


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(special.logit(np.clip(scores, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)), dtype=np.float64)

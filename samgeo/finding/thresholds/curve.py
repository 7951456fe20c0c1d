"""Public functions that say what a threshold of the score keeps of a result, and suggest one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.finding.thresholds.expected import FOUND_SHARE, best_cut, check_found_share, expected_at
from samgeo.geo.vector.reading import read_provenance, read_vectors

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["read_scores", "suggest_threshold", "threshold_curve"]

SCORE = "score"
STEP = 0.05
# Tolerance for a threshold that equals the least score but for rounding.
SLACK = 1e-9


@check_types
def threshold_curve(
    found: gpd.GeoDataFrame | str | os.PathLike[str],
    thresholds: Iterable[float] | None = None,
    *,
    found_share: float = FOUND_SHARE,
) -> pd.DataFrame:
    """Estimate what each threshold of the score keeps of a result of `samgeo.find`.

    The estimates need no truth. They come from the scores alone, and they are as good as the scores: each score is taken as
    the probability that the outline is right, which means that it has an IoU above 0.5 with an object that no other outline
    has. Let ``p`` be the scores, ``k`` the number of objects with at least the threshold, ``R`` the sum of their scores, and
    ``N`` the sum of all scores of the result divided by ``found_share``. ``R`` is the expected number of right outlines that
    are kept, and ``N`` the expected number of objects in the raster. The columns are quotients of these expected numbers:

    - ``expected_precision`` = R / k, the mean score of the kept objects;
    - ``expected_recall`` = R / N, the share of all objects in the raster that are kept;
    - ``expected_f1`` = 2 R / (k + N).

    Parameters
    ----------
    found : GeoDataFrame or path
        A result of `samgeo.find` with a low ``min_score``, such as 0.05. Objects that the run dropped are not in the estimates.
    thresholds : iterable of float, optional
        Least scores from 0 to 1. By default the ``min_score`` of the run, and the multiples of 0.05 from there to 0.95.
    found_share : float, default 0.75
        Estimated share of all objects in the raster that are in the result, with any score. With 1, recall and F1 are those
        among the objects that were found at all.

    Returns
    -------
    DataFrame
        One row for each threshold, rising, with the columns ``threshold``, ``kept`` (number of objects),
        ``expected_precision``, ``expected_recall`` and ``expected_f1``. Quotients of zero by zero are NaN.

    Raises
    ------
    OptionError
        If there is no column ``score`` of numbers from 0 to 1, a threshold is not from 0 to 1 or is below the least score of
        the run, or ``found_share`` is not above 0 and at most 1.
    VectorError
        If the file cannot be read.

    See Also
    --------
    suggest_threshold : The threshold with the highest expected F1.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from samgeo.finding import threshold_curve
    >>> from shapely.geometry import box
    >>> squares = [box(x, 0, x + 5, 5) for x in range(0, 40, 10)]
    >>> found = gpd.GeoDataFrame({"score": [0.9, 0.8, 0.7, 0.1]}, geometry=squares)
    >>> threshold_curve(found, [0.1, 0.5], found_share=1).round(3).values.tolist()
    [[0.1, 4.0, 0.625, 1.0, 0.769], [0.5, 3.0, 0.8, 0.96, 0.873]]
    """
    check_found_share(found_share)
    scores, least = read_scores(found)
    chosen = _default_thresholds(least) if thresholds is None else _checked(thresholds, least)
    expected = expected_at(scores, chosen, found_share)
    return pd.DataFrame(
        {
            "threshold": np.array(chosen, dtype=np.float64),
            "kept": expected.kept,
            "expected_precision": expected.precision,
            "expected_recall": expected.recall,
            "expected_f1": expected.f1,
        }
    )


@check_types
def suggest_threshold(found: gpd.GeoDataFrame | str | os.PathLike[str], *, found_share: float = FOUND_SHARE) -> float:
    """Return the threshold of the score with the highest expected F1; see `threshold_curve`.

    This is the rule of ``min_score="auto"`` of `samgeo.find`. It keeps the objects whose scores are above half of the F1 that
    it reaches (Lipton, Elkan and Narayanaswamy, 2014, arXiv:1402.1892), and therefore each object with a score above 0.5.

    Parameters
    ----------
    found : GeoDataFrame or path
        A result of `samgeo.find` with a low ``min_score``.
    found_share : float, default 0.75
        See `threshold_curve`.

    Returns
    -------
    float
        One of the scores of the result.

    Raises
    ------
    OptionError
        As `threshold_curve`, and if the result has no objects.
    VectorError
        If the file cannot be read.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from samgeo.finding import suggest_threshold
    >>> from shapely.geometry import box
    >>> squares = [box(x, 0, x + 5, 5) for x in range(0, 40, 10)]
    >>> suggest_threshold(gpd.GeoDataFrame({"score": [0.9, 0.8, 0.7, 0.1]}, geometry=squares))
    0.7
    """
    check_found_share(found_share)
    scores, _ = read_scores(found)
    if not len(scores):
        raise OptionError("the result has no objects, so that no threshold can be suggested; find with a lower min_score.")
    return best_cut(scores, found_share).score


def read_scores(found: gpd.GeoDataFrame | str | os.PathLike[str]) -> tuple[NDArray[np.float64], float]:
    """Return the scores of a result, shape (N,), and the least score that its run kept, as far as its provenance says; else 0.

    Raises
    ------
    OptionError
        If there is no column ``score`` of numbers from 0 to 1.
    VectorError
        If the file cannot be read.
    """
    table: object = read_vectors(found) if isinstance(found, str | os.PathLike) else found
    if not isinstance(table, pd.DataFrame) or SCORE not in table:
        raise OptionError("the result has no column score; give a result of samgeo.find.")
    scores = pd.to_numeric(table[SCORE], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise OptionError(f"the score in row {row} of the result is {table[SCORE].iloc[row]!r}; give scores from 0 to 1.")
    made = _provenance_of(found) if isinstance(found, str | os.PathLike) else table.attrs.get("samgeo")
    return scores, _least_score(made)


def _least_score(provenance: object) -> float:
    """Return the least score that a run kept, as its provenance says; 0 if it does not say."""
    if not isinstance(provenance, dict):
        return 0.0
    for key in ("calibration", "threshold", "options"):
        group = provenance.get(key)
        value = group.get("min_score") if isinstance(group, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
    return 0.0


def _provenance_of(found: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the provenance of a file; None if it has none, or is an address or a layer that is named in the path."""
    path = Path(os.fspath(found))
    if not path.is_file():
        return None
    try:
        return read_provenance(path)
    except json.JSONDecodeError:
        return None


def _default_thresholds(least: float) -> list[float]:
    steps = [round(number * STEP, 2) for number in range(1, round(1 / STEP))]
    first = [least] if least > 0 else []
    return [*first, *(step for step in steps if step > least + SLACK)]


def _checked(thresholds: Iterable[float], least: float) -> list[float]:
    """Return thresholds in rising order, after checking them."""
    try:
        chosen = sorted(float(one) for one in thresholds)
    except (TypeError, ValueError):
        raise OptionError(f"thresholds is {thresholds!r}; give numbers from 0 to 1.") from None
    for one in chosen:
        if not 0 <= one <= 1:
            raise OptionError(f"a threshold is {one}; give numbers from 0 to 1.")
        if one < least - SLACK:
            raise OptionError(
                f"a threshold is {one:g}, and the result has only objects with a score of {least:g} or more; give a higher "
                "threshold, or find with a lower min_score."
            )
    return chosen

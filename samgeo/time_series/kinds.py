"""The kind of a change: from whether an object has a partner at the other date, and whether the image changed in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["APPEARED", "CHANGED", "KINDS", "MIN_ANGLE", "SAME", "UNKNOWN", "VANISHED", "kinds_of", "score_of"]

APPEARED, VANISHED, CHANGED, SAME, UNKNOWN = "appeared", "vanished", "changed", "same", "unknown"
KINDS = (APPEARED, VANISHED, CHANGED, SAME, UNKNOWN)

MIN_ANGLE = 45.0
"""Angle between the vectors of two dates from which an object has changed, in degrees.

AnyChange has 35 for means inside objects. Vectors from which the surroundings are subtracted lie farther apart.
"""


def kinds_of(
    angle: NDArray[np.float64],
    *,
    is_hidden: NDArray[np.bool_],
    is_paired: NDArray[np.bool_],
    is_first: NDArray[np.bool_],
    min_angle: float,
    trusted: bool,
) -> NDArray[np.str_]:
    """Return the kind of each object.

    Objects with a partner are "changed" if the image changed in them, else "same". Objects without a partner are "vanished" if
    they are from the first date, and "appeared" if they are from the second. Objects that were found in the images need a
    change of the image for this too, because the other date may only have missed them; without it they are "same". Objects
    that one of the images does not show, and others whose angle is not known, are "unknown".

    Parameters
    ----------
    angle : ndarray, shape (N,)
        Angle between the vectors of both dates in degrees; NaN if unknown.
    is_hidden : ndarray of bool, shape (N,)
        Whether one of the images does not show an object, so that nothing is known of it there.
    is_paired : ndarray of bool, shape (N,)
        Whether an object has a partner at the other date.
    is_first : ndarray of bool, shape (N,)
        Whether an object is from the first date.
    min_angle : float
        Angle from which the image has changed.
    trusted : bool
        Whether the objects of both dates are given and complete, so that an object without a partner is absent at the other
        date whatever the image shows.
    """
    differs = np.asarray(angle >= min_angle)
    absent = ~is_paired & (differs | trusted)
    choices = [is_hidden, absent & is_first, absent, np.isnan(angle), differs]
    return np.select(choices, [UNKNOWN, VANISHED, APPEARED, UNKNOWN, CHANGED], SAME)


def score_of(angle: NDArray[np.float64], min_angle: float) -> NDArray[np.float64]:
    """Return scores from 0 to 1 that rise with the angle: 0.5 at the limit, and 1 from twice the limit; NaN if unknown."""
    return np.asarray(np.minimum(angle / (2 * min_angle), 1.0))

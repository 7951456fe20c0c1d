"""What is done with the outline of a mask before it is drawn and accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from samgeo.errors import OptionError

__all__ = ["AS_DRAWN", "OVERLAPS", "UNITS", "CleanOptions", "check_overlap"]

UNITS = ("px", "m")

OVERLAPS = ("cut", "keep", "merge")
"""What happens at acceptance where an outline overlaps accepted objects."""


@dataclass(frozen=True, slots=True)
class CleanOptions:
    """How the outlines of candidates and of waiting masks are cleaned; by default they stay as they are.

    The steps are done in the order of the attributes. Each outline is cleaned alone.

    Attributes
    ----------
    largest_part : bool, default False
        Whether only the largest part of an outline is kept.
    fill_holes : bool, default False
        Whether holes of any size are filled.
    simplify : bool, default False
        Whether corners are removed, by the algorithm of Douglas and Peucker. No corner moves further than the tolerance.
    regularize : bool, default False
        Whether outlines get right angles, or become circles, as `samgeo.regularize` does it for buildings. ``simplify`` is
        then without effect.
    tolerance : float, default 2.0
        The tolerance of ``simplify`` and ``regularize``, in ``unit``.
    unit : {"px", "m"}, default "px"
        Pixels of the raster, or metres on the ground.

    Raises
    ------
    OptionError
        If the tolerance is not a positive number, or there is no such unit.

    Examples
    --------
    >>> from samgeo.map import CleanOptions
    >>> str(CleanOptions(fill_holes=True, simplify=True, tolerance=1.5, unit="m"))
    'holes filled, simplified by 1.5 m'
    """

    largest_part: bool = False
    fill_holes: bool = False
    simplify: bool = False
    regularize: bool = False
    tolerance: float = 2.0
    unit: str = "px"

    def __post_init__(self) -> None:
        if isinstance(self.tolerance, bool) or not isinstance(self.tolerance, int | float):
            raise OptionError(f"tolerance is {self.tolerance!r}; give a number above 0.")
        if not 0 < self.tolerance < math.inf:
            raise OptionError(f"tolerance is {self.tolerance!r}; give a number above 0.")
        if self.unit not in UNITS:
            raise OptionError(f"unit is {self.unit!r}; give one of {', '.join(UNITS)}.")
        for name in ("largest_part", "fill_holes", "simplify", "regularize"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} is {getattr(self, name)!r}; give True or False.")

    def __bool__(self) -> bool:
        """Whether any outline is changed."""
        return self.largest_part or self.fill_holes or self.simplify or self.regularize

    def __str__(self) -> str:
        by = f"{self.tolerance:g} {self.unit}"
        steps = {
            "largest part": self.largest_part,
            "holes filled": self.fill_holes,
            f"regular by {by}": self.regularize,
            f"simplified by {by}": self.simplify and not self.regularize,
        }
        return ", ".join(name for name, is_done in steps.items() if is_done) or "as drawn"


AS_DRAWN = CleanOptions()
"""Outlines stay as they are."""


def check_overlap(overlap: str) -> str:
    """Check what happens with overlaps.

    Raises
    ------
    OptionError
        If it is not one of `OVERLAPS`.
    """
    if overlap not in OVERLAPS:
        raise OptionError(f"on_overlap is {overlap!r}; give one of {', '.join(OVERLAPS)}.")
    return overlap

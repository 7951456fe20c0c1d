"""Lines of walls: those of a building's stretches, and those that neighbours share.

A block has a frame: its local metres, rotated so that walls run along x and y. A line in the frame is
``normal . (x, y) = offset``, with one of four normals: (1, 0), (0, 1), (1, 1) and (1, -1). Offsets are whole multiples of
2**-10 m, or of 2**-9 m for the last two normals, so that intersections of lines are exact in float64, and neighbours that share
a line have exactly the same coordinates on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from samgeo.buildings.regularization.outline import QUARTER, Stretches

__all__ = ["DIAGONALS", "NORMALS", "STEP", "Line", "own_lines", "share"]

Floats = NDArray[np.float64]

STEP = 2.0**-10
NORMALS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
DIAGONALS = (2, 3)
_LENGTH = np.array([1.0, 1.0, np.sqrt(2), np.sqrt(2)])
# A stretch further from all allowed directions is a rounded corner, or a wall that these directions cannot represent.
_NEAR_RIGHT, _NEAR_DIAGONAL = np.deg2rad(35), np.deg2rad(15)
# A diagonal wall is at least this many tolerances long, because corners that a model rounded off are shorter.
_LEAST_DIAGONAL = 2.5


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a wall.

    Attributes
    ----------
    kind : int
        Index of its normal in ``NORMALS``.
    at : float
        Offset, in metres.
    weight : float
        Length of the wall.
    start, stop : float
        Interval of the wall along the line.
    side : int
        On which side of the line the building is, 1 or -1.
    """

    kind: int
    at: float
    weight: float
    start: float
    stop: float
    side: int


def own_lines(found: Stretches, turned: float, tolerance: float, diagonals: bool) -> list[Line]:
    """Return the lines of one building's walls in a frame that is rotated by an angle.

    Parallel lines are at least the tolerance apart.
    """
    cos, sin = np.cos(turned), np.sin(turned)
    into = np.array([[cos, -sin], [sin, cos]])
    ends, middle, length = found.ends @ into, found.middle @ into, found.length
    angle = found.angle - turned
    eighths = np.rint(angle / (QUARTER / 2)).astype(np.int64)
    off = np.abs(angle - eighths * (QUARTER / 2))
    is_diagonal = (eighths % 2 == 1) & (off <= _NEAR_DIAGONAL) & (length >= _LEAST_DIAGONAL * tolerance) & diagonals
    quarters = np.rint(angle / QUARTER).astype(np.int64)
    is_right = ~is_diagonal & (np.abs(angle - quarters * QUARTER) <= _NEAR_RIGHT) & (length >= tolerance)
    # A wall along x has the normal (0, 1).
    kind = np.where(is_diagonal, np.where(eighths % 4 == 1, 3, 2), np.where(quarters % 2 == 0, 1, 0))
    lines = []
    for index in np.flatnonzero(is_diagonal | is_right):
        normal, scale = NORMALS[kind[index]], _LENGTH[kind[index]]
        along = np.sort(ends[index] @ np.array([-normal[1], normal[0]])) / scale
        chord = ends[index, 1] - ends[index, 0]
        side = int(np.sign(np.array([-chord[1], chord[0]]) @ normal))
        at = float(middle[index] @ normal / scale)
        lines.append(Line(int(kind[index]), at, float(length[index]), float(along[0]), float(along[1]), side))
    lines += _closing(lines, ends, tolerance)
    return [line for kind in range(4) for line in _thin([each for each in lines if each.kind == kind], tolerance)]


def _closing(lines: list[Line], ends: Floats, tolerance: float) -> list[Line]:
    """Return lines at the outermost corners, for those sides of the building that have no wall."""
    added = []
    if len(ends) == 0:
        return []
    low, high = ends.min(axis=(0, 1)), ends.max(axis=(0, 1))
    for kind in (0, 1):
        places = [line.at for line in lines if line.kind == kind]
        for at, side in ((low[kind], 1), (high[kind], -1)):
            if all(abs(at - place) > 2 * tolerance for place in places):
                added.append(Line(kind, float(at), 1e-6, float(low[1 - kind]), float(high[1 - kind]), side))
    return added


def _thin(lines: list[Line], tolerance: float) -> list[Line]:
    """Merge the two nearest lines, weighted by length, until no two are nearer than the tolerance."""
    lines = sorted(lines, key=lambda line: (line.at, line.start, line.side))
    while len(lines) > 1:
        gaps = [right.at - left.at for left, right in pairwise(lines)]
        nearest = int(np.argmin(gaps))
        if gaps[nearest] >= tolerance:
            break
        lines[nearest : nearest + 2] = [_merged(lines[nearest], lines[nearest + 1])]
    return lines


def _merged(first: Line, second: Line) -> Line:
    """Merge two parallel lines."""
    weight = first.weight + second.weight
    at = (first.at * first.weight + second.at * second.weight) / weight
    side = first.side if first.weight >= second.weight else second.side
    return Line(first.kind, at, weight, min(first.start, second.start), max(first.stop, second.stop), side)


def share(lines: dict[int, list[Line]], links: list[tuple[int, int]], tolerance: float) -> dict[int, list[Line]]:
    """Give neighbours in a frame the same line where their walls meet, or where the wall of one continues that of the other.

    The pair of lines with the smallest gap is merged first. Merged lines lie at their mean, weighted by length. Two lines of
    the same building are never merged.

    Parameters
    ----------
    lines : dict of int to list of Line
        Lines of each building, all in one frame.
    links : list of pairs of int
        Buildings that are neighbours.
    tolerance : float
        Largest distance in metres of two lines with the buildings on opposite sides. For lines with both buildings on the same
        side, it is half the tolerance.

    Returns
    -------
    dict of int to list of Line
        Lines of each building with rounded offsets, in the given order.
    """
    nodes = [(building, index) for building in sorted(lines) for index in range(len(lines[building]))]
    group = {node: [node] for node in nodes}
    for _, first, second in sorted(_meetings(lines, links, tolerance)):
        left, right = group[first], group[second]
        if left is right or {building for building, _ in left} & {building for building, _ in right}:
            continue
        both = [lines[building][index].at for building, index in left + right]
        if max(both) - min(both) <= tolerance:
            left.extend(right)
            for node in right:
                group[node] = left
    placed: dict[int, list[Line]] = {building: [] for building in lines}
    for building, index in nodes:
        members = [lines[each][number] for each, number in sorted(group[building, index])]
        weight = [line.weight for line in members]
        line = lines[building][index]
        at = float(np.average([each.at for each in members], weights=weight))
        placed[building].append(replace(line, at=_rounded(line.kind, at)))
    return placed


def _rounded(kind: int, at: float) -> float:
    """Return the rounded offset for a normal of ``NORMALS``; diagonal normals are longer than 1."""
    step = STEP if kind not in DIAGONALS else 2 * STEP
    return float(np.rint(at * _LENGTH[kind] / step) * step)


def _meetings(
    lines: dict[int, list[Line]], links: list[tuple[int, int]], tolerance: float
) -> list[tuple[float, tuple[int, int], tuple[int, int]]]:
    """Return pairs of lines of neighbours that may be merged, with their gaps."""
    found = []
    for first, second in links:
        for i, one in enumerate(lines[first]):
            for j, other in enumerate(lines[second]):
                gap = abs(one.at - other.at)
                furthest = tolerance if one.side != other.side else tolerance / 2
                if one.kind != other.kind or gap > furthest:
                    continue
                if max(one.start, other.start) - min(one.stop, other.stop) <= tolerance:
                    found.append((gap, (first, i), (second, j)))
    return found

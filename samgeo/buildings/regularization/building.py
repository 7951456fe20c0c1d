"""Regularization of polygons in metres.

The steps are: find the direction of each building and of each block of neighbours, place the lines of walls, choose the cells
that belong to a building, replace round buildings (such as tanks, silos and huts) by circles, and fit neighbours to each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.cells import diagonal_polygon, right_polygons
from samgeo.buildings.regularization.lines import STEP, Line, own_lines, share
from samgeo.buildings.regularization.metric_clusters import Metric
from samgeo.buildings.regularization.neighbours import blocks, by_first, neighbours
from samgeo.buildings.regularization.outline import Stretches, direction, stretches
from samgeo.buildings.regularization.slivers import count_slivers
from samgeo.buildings.regularization.walls import ONE_PLACE, match_corners, settle
from samgeo.progress import counting, progress_bar

__all__ = ["Built", "Options", "build", "circle", "iou", "is_round"]


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shapes = NDArray[np.object_]

# Diagonal walls are used if they increase the IoU with the outline by at least _GAIN. A building leaves its block if its own
# direction increases the IoU by more than _APART.
_GAIN, _APART = 0.01, 0.03
# The own direction of a building is only tried if the IoU with the direction of its block is below this value.
_DOUBTFUL = 0.92
# Tolerances of Douglas and Peucker's algorithm, as multiples of the given tolerance: for the straight stretches, and for
# outlines that are kept.
_CORNERS, _KEPT = 0.7, 0.5
# Two buildings are neighbours if their distance is at most this multiple of the tolerance.
_BESIDE = 0.5
# Grid in metres for the corners where walls of different directions meet.
_FINE = 2.0**-20
_RANKS = {"right": 0, "45": 0, "circle": 1, "": 2}


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of the regularization; ``tolerance`` is in metres."""

    diagonals: bool
    circles: bool
    shared_walls: bool
    tolerance: float
    min_iou: float


@dataclass(frozen=True, slots=True)
class Built:
    """Result of the regularization; each field has one entry for each part.

    Attributes
    ----------
    polygons : list of Polygon
        New polygons in metres.
    outline : list of str
        "right", "45" or "circle"; empty if the outline was kept.
    reason : list of str
        Reason why the outline was kept; empty if it was not.
    iou : ndarray of float
        IoU of the new polygon with the old one.
    """

    polygons: list[shapely.Polygon]
    outline: list[str]
    reason: list[str]
    iou: Floats


@dataclass(frozen=True, slots=True)
class _Draft:
    """Footprints before neighbours are fitted to each other.

    ``drawn`` are the polygons, circles included, in the frames of their blocks. ``pairs`` are neighbours, ``apart`` are pairs
    that must not overlap afterwards, and ``around`` are all pairs that might touch afterwards.
    """

    shapes: Shapes
    drawn: list[shapely.Polygon]
    outline: list[str]
    turned: Floats
    block: Ints
    pairs: Ints
    apart: Ints
    around: Ints


def build(metric: Metric, options: Options, *, progress: bool) -> Built:
    """Regularize polygons in metres; see `samgeo.buildings.regularization.api`."""
    shapes, tolerance = metric.parts, options.tolerance
    with progress_bar(len(shapes), "outline", "finding walls", progress=progress) as bar:
        found = [stretches(shape, _CORNERS * tolerance) for shape in counting(shapes, bar.update)]
    turned = np.array([direction(each) for each in found])
    around = metric.pairs[metric.row[metric.pairs[:, 0]] != metric.row[metric.pairs[:, 1]]]
    around = around if options.shared_walls else around[:0]
    apart = neighbours(shapes, around, np.inf)
    pairs = neighbours(shapes, apart, _BESIDE * tolerance)
    block, turned = _blocks(shapes, found, turned, pairs, tolerance)
    framed = _turned(shapes, -turned)
    own = {index: own_lines(each, turned[index], tolerance, options.diagonals) for index, each in enumerate(found)}
    lines = _shared(own, block, pairs, tolerance)
    drawn, outline = _drawn(framed, [lines[index] for index in range(len(found))])
    _round_off(framed, drawn, outline, options)
    draft = _Draft(shapes, drawn, outline, turned, block, pairs, apart, around)
    return _settled(draft, tolerance, options.min_iou, progress=progress)


def _blocks(shapes: Shapes, found: list[Stretches], own: Floats, pairs: Ints, tolerance: float) -> tuple[Ints, Floats]:
    """Gather neighbours into blocks, and take out buildings that their own direction fits better."""
    block, turned = blocks(found, own, shapely.area(shapes), by_first(pairs), tolerance)
    several = np.flatnonzero(np.bincount(block, minlength=len(shapes))[block] > 1)
    with_others = _fit(shapes, found, turned, several, tolerance)
    some = with_others < _DOUBTFUL
    alone = _fit(shapes, found, own, several[some], tolerance)
    leaving = several[some][alone > with_others[some] + _APART]
    turned[leaving] = own[leaving]
    block[leaving] = len(shapes) + leaving
    return block, turned


def _fit(shapes: Shapes, found: list[Stretches], turned: Floats, members: Ints, tolerance: float) -> Floats:
    """Return the IoU that some buildings would have without neighbours, each in the given direction."""
    framed = _turned(shapes[members], -turned[members])
    lines = [
        share({0: own_lines(found[index], turned[index], tolerance, diagonals=False)}, [], tolerance)[0] for index in members
    ]
    return iou(np.array(right_polygons(list(framed), lines), dtype=object), framed)


def _shared(own: dict[int, list[Line]], block: Ints, pairs: Ints, tolerance: float) -> dict[int, list[Line]]:
    """Return the lines of each building, after merging those that neighbours in a block share."""
    links: dict[int, list[tuple[int, int]]] = {}
    for first, second in pairs[block[pairs[:, 0]] == block[pairs[:, 1]]].tolist():
        links.setdefault(int(block[first]), []).append((first, second))
    members: dict[int, dict[int, list[Line]]] = {}
    for index, lines in own.items():
        members.setdefault(int(block[index]), {})[index] = lines
    shared: dict[int, list[Line]] = {}
    for name, each in members.items():
        shared |= share(each, links.get(name, []), tolerance)
    return shared


def _drawn(framed: Shapes, lines: list[list[Line]]) -> tuple[list[shapely.Polygon], list[str]]:
    """Return polygons along the lines of each building, and which kind of angles each of them has."""
    drawn = right_polygons(list(framed), lines)
    outline = ["right"] * len(drawn)
    for index, each in enumerate(lines):
        diagonal = diagonal_polygon(framed[index], each)
        if not diagonal.is_empty:
            better, before = iou(np.array([diagonal, drawn[index]], dtype=object), framed[index])
            if better >= before + _GAIN:
                drawn[index], outline[index] = diagonal, "45"
    return drawn, outline


def _round_off(framed: Shapes, drawn: list[shapely.Polygon], outline: list[str], options: Options) -> None:
    """Replace polygons by circles, in the given lists, where these fit better."""
    if not options.circles or len(framed) == 0:
        return
    rounds = [circle(each) for each in framed]
    as_round, as_drawn = iou(np.array(rounds, dtype=object), framed), iou(np.array(drawn, dtype=object), framed)
    for index, each in enumerate(rounds):
        if is_round(framed[index], as_round[index], as_drawn[index], options.tolerance):
            drawn[index], outline[index] = each, "circle"


def _settled(draft: _Draft, tolerance: float, min_iou: float, *, progress: bool) -> Built:
    """Fit neighbours to each other. Where a result is not good enough, keep the outline and fit the neighbours again."""
    outline, reason = list(draft.outline), [""] * len(draft.outline)
    simple = shapely.simplify(draft.shapes, _KEPT * tolerance, preserve_topology=True)
    area = np.round(shapely.area(draft.shapes), 3)
    rounds = 0
    while True:
        rounds += 1
        order = sorted(range(len(outline)), key=lambda index: (_RANKS[outline[index]], -area[index], index))
        # Each building is fitted to its block, and then to all neighbours.
        with progress_bar(2 * len(order), "step", f"fitting neighbours, round {rounds}", progress=progress) as bar:
            placed = _placed(draft, outline, simple, order, tolerance, done=bar.update)
        fit = _fits(placed, order, draft)
        low = [index for index, each in enumerate(outline) if each and fit[index] < min_iou]
        thin = [index for index, each in enumerate(outline) if _RANKS[each] == 0 and count_slivers(placed[index], tolerance)]
        if not low and not thin:
            return Built(placed, outline, reason, fit)
        for index in thin:
            outline[index] = ""
            reason[index] = "no footprint without slivers between its neighbours"
        for index in low:
            outline[index] = ""
            reason[index] = f"IoU {fit[index]:.3f} below {min_iou:g}" if fit[index] > 0 else "smaller than the tolerance"


def _placed(
    draft: _Draft,
    outline: list[str],
    simple: Shapes,
    order: list[int],
    tolerance: float,
    *,
    done: Callable[[int], object],
) -> list[shapely.Polygon]:
    """Return the polygons in metres, fitted to their neighbours.

    Neighbours in the same block are fitted first, in the frame of the block, and then all other neighbours.
    """
    beside = by_first(draft.pairs)
    block, square = draft.block, {index for index in order if _RANKS[outline[index]] == 0}
    along = {
        index: [other for other in others if other in square and block[other] == block[index]]
        for index, others in beside.items()
        if index in square
    }
    apart = by_first(draft.apart)
    across = {index: [other for other in others if other not in along.get(index, ())] for index, others in apart.items()}
    placed = list(draft.drawn)
    done(len(order) - len(square))
    settle(
        placed,
        [index for index in order if index in square],
        along,
        beside=along,
        tolerance=tolerance,
        grid=STEP,
        square=square,
        done=done,
    )
    placed = [each if outline[index] else simple[index] for index, each in enumerate(_turned(placed, draft.turned))]
    settle(placed, order, across, beside=beside, tolerance=tolerance, grid=_FINE, square=square, done=done)
    match_corners(placed, order, _touching(placed, draft.around))
    return placed


def _fits(placed: list[shapely.Polygon], order: list[int], draft: _Draft) -> Floats:
    """Return the IoU of each polygon with its outline, without the parts that went to neighbours.

    These parts are not counted, because keeping the outline would not bring them back.
    """
    found = np.array(placed, dtype=object)
    rank = np.argsort(order)
    fit = iou(found, draft.shapes)
    for index, others in by_first(draft.apart).items():
        before = [other for other in others if rank[other] < rank[index]]
        taken = found[before][shapely.area(shapely.intersection(draft.shapes[index], found[before])) > 0]
        if len(taken):
            fit[index] = iou(found[index], shapely.difference(draft.shapes[index], shapely.union_all(taken, grid_size=_FINE)))
    return fit


def _touching(placed: list[shapely.Polygon], pairs: Ints) -> dict[int, list[int]]:
    """Return the neighbours of each polygon that touch it."""
    found = np.array(placed, dtype=object)
    return by_first(pairs[shapely.distance(found[pairs[:, 0]], found[pairs[:, 1]]) <= 4 * ONE_PLACE])


def _turned(polygons: Sequence[shapely.Polygon] | Shapes, angle: Floats) -> Shapes:
    """Rotate polygons around the origin, each by its angle in radians."""
    polygons = np.array(polygons, dtype=object)
    if len(polygons) == 0:
        return np.empty(0, dtype=object)
    xy, of = shapely.get_coordinates(polygons, return_index=True)
    cos, sin = np.cos(angle)[of], np.sin(angle)[of]
    x, y = xy.T
    return np.asarray(shapely.set_coordinates(polygons, np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)), dtype=object)


def iou(first: Shapes, second: Shapes) -> Floats:
    """Return the IoU of each polygon of the first array with the polygon at the same place in the second one."""
    common = shapely.area(shapely.intersection(first, second))
    return np.asarray(common / np.maximum(shapely.area(first) + shapely.area(second) - common, math.ulp(0)))


_CIRCLE_CORNERS = 48
# Smallest IoU of a circle with its outline. The IoU of a regular octagon is 0.95. That of a square whose corners are rounded
# with a fifth of its side is 0.90.
_LEAST_IOU = 0.92
# Smallest radius of a circle, in tolerances. Below it, a square with rounded corners looks the same as a circle.
_LEAST_RADIUS = 1.5


def circle(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return a polygon of 48 corners with the area and the centroid of a polygon's exterior."""
    filled = shapely.Polygon(polygon.exterior)
    middle = filled.centroid
    angle = np.arange(_CIRCLE_CORNERS) * (2 * np.pi / _CIRCLE_CORNERS)
    radius = np.sqrt(filled.area / (_CIRCLE_CORNERS / 2 * np.sin(2 * np.pi / _CIRCLE_CORNERS)))
    return shapely.Polygon(np.stack([middle.x + radius * np.cos(angle), middle.y + radius * np.sin(angle)], axis=1))


def is_round(polygon: shapely.Polygon, round_iou: float, other_iou: float, tolerance: float) -> bool:
    """Return whether a polygon should become a circle.

    Parameters
    ----------
    polygon : Polygon
        The outline.
    round_iou, other_iou : float
        IoU of the outline with its circle, and with its footprint along straight walls.
    tolerance : float
        Metres.
    """
    radius = np.sqrt(polygon.area / np.pi)
    holes = [shapely.Polygon(ring).area for ring in polygon.interiors]
    return bool(
        max(holes, default=0.0) < tolerance**2
        and radius >= _LEAST_RADIUS * tolerance
        and round_iou >= max(_LEAST_IOU, other_iou - 0.01)
    )

"""From polygons in metres to buildings: a direction, lines, cells, circles, and neighbours that fit.

Round buildings: tanks, silos, huts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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

__all__ = ["Built", "Options", "build", "circle", "iou", "is_round"]


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shapes = NDArray[np.object_]

# Diagonal walls have to fit an outline this much better than right angles alone, and its own direction than its block's.
_GAIN, _APART = 0.01, 0.03
# Only below this IoU the latter is asked.
_DOUBTFUL = 0.92
# Corners of the straight stretches, and of outlines that are kept, in tolerances.
_CORNERS, _KEPT = 0.7, 0.5
# Neighbours stand at most this many tolerances apart.
_BESIDE = 0.5
# Metres, of corners where walls of different directions meet.
_FINE = 2.0**-20
_RANKS = {"right": 0, "45": 0, "circle": 1, "": 2}


@dataclass(frozen=True, slots=True)
class Options:
    """What to build, checked; the tolerance in metres."""

    diagonals: bool
    circles: bool
    shared_walls: bool
    tolerance: float
    min_iou: float


@dataclass(frozen=True, slots=True)
class Built:
    """A part each: the new polygon, how it is drawn ("" where kept), why it was kept, and its IoU with the old one."""

    polygons: list[shapely.Polygon]
    outline: list[str]
    reason: list[str]
    iou: Floats


@dataclass(frozen=True, slots=True)
class _Draft:
    """Before neighbours fit: ``drawn`` in each block's frame, circles too.

    ``pairs`` are neighbours, ``apart`` pairs that must not come to overlap, ``around`` all that may come to touch.
    """

    shapes: Shapes
    drawn: list[shapely.Polygon]
    outline: list[str]
    turned: Floats
    block: Ints
    pairs: Ints
    apart: Ints
    around: Ints


def build(metric: Metric, options: Options) -> Built:
    """Regularize polygons in metres; see `samgeo.buildings.regularization.api`."""
    shapes, tolerance = metric.parts, options.tolerance
    found = [stretches(shape, _CORNERS * tolerance) for shape in shapes]
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
    return _settled(_Draft(shapes, drawn, outline, turned, block, pairs, apart, around), tolerance, options.min_iou)


def _blocks(shapes: Shapes, found: list[Stretches], own: Floats, pairs: Ints, tolerance: float) -> tuple[Ints, Floats]:
    """Gather blocks, without those whom their own direction fits better."""
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
    """Return the IoU that some would have alone, each in its direction."""
    framed = _turned(shapes[members], -turned[members])
    lines = [
        share({0: own_lines(found[index], turned[index], tolerance, diagonals=False)}, [], tolerance)[0] for index in members
    ]
    return iou(np.array(right_polygons(list(framed), lines), dtype=object), framed)


def _shared(own: dict[int, list[Line]], block: Ints, pairs: Ints, tolerance: float) -> dict[int, list[Line]]:
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
    """Put circles in the place of other polygons, in the lists, where they fit better."""
    if not options.circles or len(framed) == 0:
        return
    rounds = [circle(each) for each in framed]
    as_round, as_drawn = iou(np.array(rounds, dtype=object), framed), iou(np.array(drawn, dtype=object), framed)
    for index, each in enumerate(rounds):
        if is_round(framed[index], as_round[index], as_drawn[index], options.tolerance):
            drawn[index], outline[index] = each, "circle"


def _settled(draft: _Draft, tolerance: float, min_iou: float) -> Built:
    """Make neighbours fit; keep the outlines of those that fit theirs too little, and make them fit again."""
    outline, reason = list(draft.outline), [""] * len(draft.outline)
    simple = shapely.simplify(draft.shapes, _KEPT * tolerance, preserve_topology=True)
    area = np.round(shapely.area(draft.shapes), 3)
    while True:
        order = sorted(range(len(outline)), key=lambda index: (_RANKS[outline[index]], -area[index], index))
        placed = _placed(draft, outline, simple, order, tolerance)
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


def _placed(draft: _Draft, outline: list[str], simple: Shapes, order: list[int], tolerance: float) -> list[shapely.Polygon]:
    """Return the polygons in metres, fitted to one another: within blocks in their frames, then across."""
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
    settle(
        placed,
        [index for index in order if index in square],
        along,
        beside=along,
        tolerance=tolerance,
        grid=STEP,
        square=square,
    )
    placed = [each if outline[index] else simple[index] for index, each in enumerate(_turned(placed, draft.turned))]
    settle(placed, order, across, beside=beside, tolerance=tolerance, grid=_FINE, square=square)
    match_corners(placed, order, _touching(placed, draft.around))
    return placed


def _fits(placed: list[shapely.Polygon], order: list[int], draft: _Draft) -> Floats:
    """Return the IoU of each with its outline, less what went to others: keeping the outline would not bring that back."""
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
    found = np.array(placed, dtype=object)
    return by_first(pairs[shapely.distance(found[pairs[:, 0]], found[pairs[:, 1]]) <= 4 * ONE_PLACE])


def _turned(polygons: Any, angle: Floats) -> Shapes:
    polygons = np.array(polygons, dtype=object)
    if len(polygons) == 0:
        return np.empty(0, dtype=object)
    xy, of = shapely.get_coordinates(polygons, return_index=True)
    cos, sin = np.cos(angle)[of], np.sin(angle)[of]
    x, y = xy.T
    return np.asarray(shapely.set_coordinates(polygons, np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)), dtype=object)


def iou(first: Any, second: Any) -> Floats:
    """Return the IoU of each of some polygons with each of others."""
    common = shapely.area(shapely.intersection(first, second))
    return np.asarray(common / np.maximum(shapely.area(first) + shapely.area(second) - common, math.ulp(0)))


_CIRCLE_CORNERS = 48
# A regular octagon reaches 0.95 against its circle, a square with corners rounded to a fifth of its side 0.90.
_LEAST_IOU = 0.92
# Below this many tolerances a square's rounded outline is as round as a circle's.
_LEAST_RADIUS = 1.5


def circle(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return the polygon of 48 corners of the same area and centroid as another's exterior."""
    filled = shapely.Polygon(polygon.exterior)
    middle = filled.centroid
    angle = np.arange(_CIRCLE_CORNERS) * (2 * np.pi / _CIRCLE_CORNERS)
    radius = np.sqrt(filled.area / (_CIRCLE_CORNERS / 2 * np.sin(2 * np.pi / _CIRCLE_CORNERS)))
    return shapely.Polygon(np.stack([middle.x + radius * np.cos(angle), middle.y + radius * np.sin(angle)], axis=1))


def is_round(polygon: shapely.Polygon, round_iou: float, other_iou: float, tolerance: float) -> bool:
    """Say whether a polygon is rather a circle, given the IoU of its circle and that of its other outline."""
    radius = np.sqrt(polygon.area / np.pi)
    holes = [shapely.Polygon(ring).area for ring in polygon.interiors]
    return bool(
        max(holes, default=0.0) < tolerance**2
        and radius >= _LEAST_RADIUS * tolerance
        and round_iou >= max(_LEAST_IOU, other_iou - 0.01)
    )

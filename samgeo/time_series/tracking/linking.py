"""Which objects of successive dates are the same: pairs by IoU, then by the angle between features, and ids that persist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

__all__ = ["LEAST_IOU", "Links", "Tracks", "assign", "candidates", "link"]

LEAST_IOU = 0.1
"""Outlines that overlap less than this are never taken for the same object."""

# Groups of candidates with at most this many cells are solved with a full matrix; larger ones with a sparse one.
MOST_CELLS = 1 << 18
# Of two partners with about the same IoU, the one that was seen later, and then the one that looks more alike.
PER_DATE, PER_DEGREE = 1e-3, 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """The partner of each of N objects among earlier ones.

    Attributes
    ----------
    partner : ndarray of int64, shape (N,)
        Position of the partner; -1 for none.
    iou, angle : ndarray of float64, shape (N,)
        IoU with the partner, and the angle between the vectors of both in degrees; NaN for none, or if it is unknown.
    """

    partner: NDArray[np.int64]
    iou: NDArray[np.float64]
    angle: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The K tracks that may be continued.

    Attributes
    ----------
    id : ndarray of int64, shape (K,)
        The id of the object.
    date, row : ndarray of int64, shape (K,)
        The last date at which it was seen, and its row among the objects of that date.
    missed, unseen : ndarray of int64, shape (K,)
        Number of dates since then at which it was missing although its place has data, and at which its place has no data.
    """

    id: NDArray[np.int64]
    date: NDArray[np.int64]
    row: NDArray[np.int64]
    missed: NDArray[np.int64]
    unseen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def none(cls) -> Tracks:
        """Return no tracks."""
        return cls(*(np.empty(0, dtype=np.int64) for _ in range(5)))

    def part(self, chosen: NDArray[np.bool_]) -> Tracks:
        """Return some of the tracks."""
        return Tracks(self.id[chosen], self.date[chosen], self.row[chosen], self.missed[chosen], self.unseen[chosen])

    def joined(self, other: Tracks) -> Tracks:
        """Return these tracks and others."""
        pairs = zip(self.columns(), other.columns(), strict=True)
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    def columns(self) -> tuple[NDArray[np.int64], ...]:
        """Return all arrays."""
        return self.id, self.date, self.row, self.missed, self.unseen

    @classmethod
    def seen(cls, date: int, row: NDArray[np.int64], ids: NDArray[np.int64]) -> Tracks:
        """Return the tracks of the objects of a date."""
        zero = np.zeros(len(ids), dtype=np.int64)
        return cls(ids, np.full(len(ids), date, dtype=np.int64), row, zero, zero)

    def waiting(self, has_data: NDArray[np.bool_]) -> Tracks:
        """Return the tracks after a date that does not show their objects, of which some places have data."""
        return Tracks(self.id, self.date, self.row, self.missed + has_data, self.unseen + ~has_data)


def assign(
    one: NDArray[np.int64], other: NDArray[np.int64], weight: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Choose pairs with the largest sum of weights such that each object is in one pair at most.

    The candidates fall into groups that have no object in common. Each group is solved by itself, so that the cost grows
    linearly with the number of objects if groups do not grow.

    Parameters
    ----------
    one, other : ndarray of int64, shape (E,)
        The objects of each candidate, numbered in both layers from 0. No candidate is repeated.
    weight : ndarray, shape (E,)
        Weights above 0.
    shape : (int, int)
        Number of objects of both layers.

    Returns
    -------
    ndarray of int64
        The chosen candidates, in ascending order.

    References
    ----------
    Kuhn, The Hungarian method for the assignment problem, 1955; see `scipy.optimize.linear_sum_assignment`.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.time_series.tracking.linking import assign
    >>> one, other = np.array([0, 0, 1]), np.array([0, 1, 0])
    >>> assign(one, other, np.array([0.9, 0.6, 0.8]), (2, 2)).tolist()
    [1, 2]
    """
    if not len(one):
        return np.empty(0, dtype=np.int64)
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other + shape[0])), shape=(sum(shape), sum(shape)))
    _, group = connected_components(graph, directed=False)
    mine = group[one]
    order = np.argsort(mine, kind="stable")
    ends = np.flatnonzero(np.diff(mine[order])) + 1
    chosen = [
        edges if len(edges) == 1 else _solved(one[edges], other[edges], weight[edges], edges) for edges in np.split(order, ends)
    ]
    return np.sort(np.concatenate(chosen))


def _solved(
    one: NDArray[np.int64], other: NDArray[np.int64], weight: NDArray[np.float64], edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the chosen ones of the candidates of one group."""
    rows, row = np.unique(one, return_inverse=True)
    columns, column = np.unique(other, return_inverse=True)
    number = {pair: int(edge) for pair, edge in zip(zip(row.tolist(), column.tolist(), strict=True), edges, strict=True)}
    if len(rows) * len(columns) <= MOST_CELLS:
        matrix = np.zeros((len(rows), len(columns)))
        matrix[row, column] = weight
        taken = np.stack(linear_sum_assignment(matrix, maximize=True), axis=1)
    else:
        # Each row may also take a column of its own, which stands for no partner. All weights are shifted to be above 0.
        lonely = np.arange(len(rows))
        pairs = np.concatenate([row, lonely]), np.concatenate([column, len(columns) + lonely])
        values = np.concatenate([weight + 1, np.ones(len(rows))])
        sparse = coo_array((values, pairs), shape=(len(rows), len(columns) + len(rows))).tocsr()
        taken = np.stack(min_weight_full_bipartite_matching(sparse, maximize=True), axis=1)
    return np.array([number[pair] for pair in map(tuple, taken.tolist()) if pair in number], dtype=np.int64)


def link(
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    iou: NDArray[np.float64],
    angle: NDArray[np.float64],
    age: NDArray[np.int64],
    shape: tuple[int, int],
    *,
    min_iou: float,
    max_angle: float,
) -> Links:
    """Choose the partners of new objects among tracks: first by IoU, then by the angle between features.

    Parameters
    ----------
    pairs : (ndarray of int64, ndarray of int64), shape (E,)
        Candidates: positions of tracks and of new objects.
    iou, angle : ndarray, shape (E,)
        IoU, and angle in degrees (NaN if unknown), of each candidate.
    age : ndarray of int64, shape (E,)
        Number of dates since the track was seen.
    shape : (int, int)
        Number of tracks and of new objects.
    min_iou : float
        Candidates with an IoU above this are the same object, whatever the image shows.
    max_angle : float
        Of objects that have no partner then, candidates with an IoU of at least 0.1 and an angle up to this are the same.
    """
    track, new = pairs
    result = Links(np.full(shape[1], -1, dtype=np.int64), np.full(shape[1], np.nan), np.full(shape[1], np.nan))

    def choose(likely: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        edges = np.flatnonzero(likely)
        chosen = edges[assign(track[edges], new[edges], weight[edges], shape)]
        result.partner[new[chosen]] = track[chosen]
        result.iou[new[chosen]], result.angle[new[chosen]] = iou[chosen], angle[chosen]

    likeness = 180 - np.where(np.isnan(angle), 180.0, angle)
    later = PER_DATE / (1 + age)
    choose(iou > min_iou, iou + later + PER_DEGREE * likeness)
    taken = np.zeros(shape[0], dtype=bool)
    taken[result.partner[result.partner >= 0]] = True
    free = ~taken[track] & (result.partner[new] < 0)
    choose(free & (iou >= LEAST_IOU) & (angle <= max_angle), 1 + likeness + later)
    return result


def candidates(
    first_bounds: NDArray[np.float64],
    second_bounds: NDArray[np.float64],
    outlines: Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.object_], NDArray[np.object_]]],
    *,
    chunk: int = 8192,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of objects of two layers whose IoU is at least `LEAST_IOU`, and their IoU.

    Parameters
    ----------
    first_bounds, second_bounds : ndarray, shapes (N, 4) and (M, 4)
        Boxes in the same coordinates.
    outlines : callable
        Returns the polygons of some objects of both layers.
    chunk : int, default 8192
        Number of pairs whose polygons are in memory at a time.
    """
    nothing = np.empty(0, dtype=np.int64)
    if not (len(first_bounds) and len(second_bounds)):
        return nothing, nothing, np.empty(0)
    second, first = shapely.STRtree(np.asarray(shapely.box(*first_bounds.T), dtype=object)).query(shapely.box(*second_bounds.T))
    order = np.lexsort((first, second))
    first, second = first[order], second[order]
    iou = np.zeros(len(first))
    for start in range(0, len(first), chunk):
        part = slice(start, start + chunk)
        one, other = outlines(first[part], second[part])
        shared = shapely.area(shapely.intersection(one, other))
        union = shapely.area(one) + shapely.area(other) - shared
        iou[part] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    kept = iou >= LEAST_IOU
    return first[kept], second[kept], iou[kept]

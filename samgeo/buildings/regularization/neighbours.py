"""Pairs of neighbouring buildings, clusters of them, and blocks of neighbours with one direction."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from samgeo.buildings.regularization.outline import Stretches, apart, pooled_direction

__all__ = ["blocks", "by_first", "candidates", "clusters", "neighbours"]

Floats = NDArray[np.float64]
Pairs = NDArray[np.int64]

# If more than this fraction of the smaller of two outlines lies in the other, they show one building and are not neighbours.
_SAME = 0.2
_FURTHEST_TURN = np.deg2rad(15)


def candidates(polygons: NDArray[np.object_], reach: Floats) -> Pairs:
    """Return pairs of polygons whose enlarged bounding boxes meet, shape (P, 2), with the smaller index first.

    Each box is enlarged to all sides by the polygon's reach, shape (N, 2).
    """
    low_high = shapely.bounds(polygons)
    boxes = shapely.box(*(low_high + np.concatenate([-reach, reach], axis=1)).T)
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    return np.asarray(np.stack([first, second], axis=1)[first < second])


def clusters(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the number of the connected component of each of ``count`` items, shape (count,)."""
    links: Any = coo_array((np.ones(len(pairs), dtype=np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def neighbours(polygons: NDArray[np.object_], pairs: Pairs, within: float) -> Pairs:
    """Return the pairs that lie within a distance of each other, without pairs of outlines of the same building."""
    first, second = polygons[pairs[:, 0]], polygons[pairs[:, 1]]
    near = shapely.distance(first, second) <= within
    pairs, first, second = pairs[near], first[near], second[near]
    common = shapely.area(shapely.intersection(first, second))
    return pairs[common <= _SAME * np.minimum(shapely.area(first), shapely.area(second))]


def blocks(
    outlines: list[Stretches], turned: Floats, area: Floats, beside: dict[int, list[int]], tolerance: float
) -> tuple[NDArray[np.int64], Floats]:
    """Gather neighbours with similar directions into blocks, beginning with the largest building.

    A neighbour joins a block if rotating it to the block's direction moves the ends of its longest wall by at most half the
    tolerance. So small buildings, whose own direction is least certain, join most easily.

    Parameters
    ----------
    outlines : list of Stretches, length N
        The stretches of each building.
    turned : ndarray, shape (N,)
        Direction of each building in radians.
    area : ndarray, shape (N,)
        Area of each building.
    beside : dict of int to list of int
        Neighbours of each building.
    tolerance : float
        Metres.

    Returns
    -------
    ndarray of int64, shape (N,)
        Block of each building, numbered by its first building.
    ndarray, shape (N,)
        Direction of each building: that which is fitted to its block.
    """
    block = np.full(len(outlines), -1, dtype=np.int64)
    fitted = turned.copy()
    half = np.array([each.length.max(initial=0.0) / 2 for each in outlines])
    for seed in np.lexsort([np.arange(len(area)), -np.round(area, 3)]).tolist():
        if block[seed] >= 0:
            continue
        block[seed] = seed
        members, place = [seed], 0
        while place < len(members):
            for other in beside.get(members[place], []):
                off = abs(float(apart(turned[other], turned[seed])))
                if block[other] < 0 and off <= _FURTHEST_TURN and half[other] * np.sin(off) <= tolerance / 2:
                    block[other] = seed
                    members.append(other)
            place += 1
        fitted[members] = pooled_direction([outlines[each] for each in members], turned[seed])
    return block, fitted


def by_first(pairs: Pairs) -> dict[int, list[int]]:
    """Return a sorted list of the neighbours of each building, for pairs in both directions."""
    found: dict[int, list[int]] = defaultdict(list)
    for first, second in pairs.tolist():
        found[first].append(second)
        found[second].append(first)
    return {each: sorted(others) for each, others in found.items()}

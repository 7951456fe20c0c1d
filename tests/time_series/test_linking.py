"""Pairs of objects of successive dates: the largest sum of weights, solved in groups."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy.optimize import linear_sum_assignment

from samgeo.time_series.tracking import linking
from samgeo.time_series.tracking.linking import assign, candidates, link


@pytest.mark.parametrize("most_cells", [linking.MOST_CELLS, 0], ids=["full", "sparse"])
def test_groups_give_the_sum_of_the_whole(most_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "MOST_CELLS", most_cells)
    rng = np.random.default_rng(1)
    for _ in range(20):
        shape = tuple(rng.integers(1, 30, 2).tolist())
        matrix = rng.uniform(0.1, 2, shape) * (rng.random(shape) < 2 / max(shape))
        one, other = np.nonzero(matrix)
        chosen = assign(one, other, matrix[one, other], shape)
        assert len(set(one[chosen])) == len(set(other[chosen])) == len(chosen)
        assert matrix[one, other][chosen].sum() == pytest.approx(matrix[linear_sum_assignment(matrix, maximize=True)].sum())


def test_iou_comes_before_angle_and_angle_before_nothing() -> None:
    # Track 0 overlaps object 0 well, whatever it looks like. Track 1 overlaps objects 1 and 2 a little, and looks like 2.
    # Track 2 looks like object 3, but hardly overlaps it.
    track, new = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 3])
    iou, angle = np.array([0.8, 0.3, 0.2, 0.05]), np.array([90.0, 30.0, 10.0, 0.0])
    age = np.ones(4, dtype=np.int64)
    found = link((track, new), iou, angle, age, (3, 4), min_iou=0.5, max_angle=35.0)
    assert found.partner.tolist() == [0, -1, 1, -1]
    assert found.angle[2] == 10
    assert np.isnan(found.iou[[1, 3]]).all()
    # Without features only outlines count, and of equal outlines the later one.
    unknown = np.full(2, np.nan)
    found = link((np.array([0, 1]), np.array([0, 0])), np.array([0.9, 0.9]), unknown, np.array([2, 1]), (2, 1), min_iou=0.5,
                 max_angle=35.0)  # fmt: skip
    assert found.partner.tolist() == [1]


def test_candidates_have_the_iou_of_their_polygons() -> None:
    first = np.array([shapely.box(0, 0, 10, 10), shapely.box(20, 0, 30, 10)], dtype=object)
    second = np.array([shapely.box(5, 0, 15, 10), shapely.box(29.5, 0, 40, 10), shapely.box(50, 0, 60, 10)], dtype=object)

    def outlines(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return first[one], second[other]

    one, other, iou = candidates(shapely.bounds(first), shapely.bounds(second), outlines, chunk=1)
    assert (one.tolist(), other.tolist()) == ([0], [0])
    assert iou == pytest.approx([1 / 3])
    assert len(candidates(shapely.bounds(first)[:0], shapely.bounds(second), outlines)[0]) == 0


def test_neighbours_in_groups_keep_their_places() -> None:
    count = 1000
    one = np.concatenate([np.arange(count), np.arange(count - 1)])
    other = np.concatenate([np.arange(count), np.arange(1, count)])
    # Pairs that stay in their place, in groups of at most 5 objects.
    kept = np.concatenate([np.ones(count, dtype=bool), np.arange(1, count) % 5 != 0])
    weight = np.concatenate([np.full(count, 0.9), np.full(count - 1, 0.6)])
    chosen = assign(one[kept], other[kept], weight[kept], (count, count))
    assert chosen.tolist() == list(range(count))

"""Partners of polygons of two layers."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from samgeo.time_series.features import angles_between
from samgeo.time_series.matching import match

boxes = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(1, 12)), min_size=0, max_size=12
)


def drawn(values) -> np.ndarray:
    return np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h in values], dtype=object)


@settings(max_examples=50)
@given(boxes, boxes)
def test_partners_are_mutual_and_overlap_enough(first, second) -> None:
    one, other = drawn(first), drawn(second)
    found = match(one, other)
    for number, partner in enumerate(found.of_second.tolist()):
        if partner < 0:
            assert np.isnan(found.iou[number])
            continue
        assert found.of_first[partner] == number
        iou = one[partner].intersection(other[number]).area / one[partner].union(other[number]).area
        assert np.isclose(iou, found.iou[number])
        assert iou > 0.5
    assert (found.of_first >= 0).sum() == (found.of_second >= 0).sum()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-4, 4), st.integers(-4, 4)), unique_by=lambda one: one[0], max_size=6))
def test_of_layers_without_overlap_the_pairs_are_those_of_the_best_assignment(places) -> None:
    one = drawn([(20 * number, 0, 10, 10) for number, _, _ in places])
    other = drawn([(20 * number + 5 + x, y + 5, 10, 10) for number, x, y in reversed(places)])
    found = match(one, other, min_iou=0.3)
    iou = np.array([[a.intersection(b).area / a.union(b).area for b in other] for a in one]).reshape(len(one), len(other))
    rows, columns = linear_sum_assignment(-np.where(iou > 0.3, iou, 0))
    best = np.full(len(one), -1)
    best[rows] = np.where(iou[rows, columns] > 0.3, columns, -1)
    assert found.of_first.tolist() == best.tolist()


def test_of_equal_ious_the_lower_number_wins() -> None:
    found = match(drawn([(0, 0, 10, 10), (0, 0, 10, 10)]), drawn([(0, 0, 10, 10), (0, 0, 10, 10)]))
    assert found.of_first.tolist() == [0, -1]
    assert found.of_second.tolist() == [0, -1]


def test_angles() -> None:
    first = np.array([[1.0, 0], [1, 0], [1, 0], [0, 0], [np.nan, 0]])
    second = np.array([[2.0, 0], [0, 3], [-1, 0], [0, 0], [1, 0]])
    assert np.allclose(angles_between(first, second), [0, 90, 180, 0, np.nan], equal_nan=True)

"""Suppression in rounds keeps exactly what the greedy loop keeps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.segmentation.masks import nms
from samgeo.segmentation.masks.mask import Mask, iou
from samgeo.segmentation.masks.nms import box_nms, check_mask_nms, keep_greedily, nearly_equal
from samgeo.testing import mask_arrays


def greedy(boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> list[int]:
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        total = area[best] + area[left] - shared
        over = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
        left = left[over <= threshold]
    return kept


# Few distinct coordinates and scores make copies, ties, boxes without area, and IoUs that equal the threshold.
coordinate = st.integers(0, 6)
corners = st.tuples(coordinate, coordinate, coordinate, coordinate)


@settings(deadline=None, max_examples=500)
@given(
    st.lists(st.tuples(corners, st.integers(0, 4)), max_size=40),
    st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]),
    st.sampled_from([1, 3, 1024]),
)
def test_ties_copies_and_empty_boxes_fall_as_in_the_loop(
    records: list[tuple[tuple[int, ...], int]], threshold: float, block: int
) -> None:
    points = np.array([record[0] for record in records], dtype=float).reshape(-1, 2, 2)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    scores = np.array([record[1] for record in records], dtype=float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nms, "_FIRST_BLOCK", block)
        assert box_nms(boxes, scores, threshold).tolist() == greedy(boxes, scores, threshold)


def test_thousands_of_random_scenes_fall_as_in_the_loop() -> None:
    random = np.random.default_rng(5)
    for _ in range(2000):
        count = random.integers(0, 60)
        low = random.uniform(0, 100, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(0, 60, (count, 2))], axis=1)
        scores, threshold = random.choice([0.2, 0.5, 0.9, random.random()], count), random.random()
        assert box_nms(boxes, scores, threshold).tolist() == greedy(boxes, scores, threshold)


@pytest.mark.parametrize("jitter", [0.0, 1.0, 30.0])
def test_many_boxes_in_several_blocks_fall_as_in_the_loop(jitter: float) -> None:
    random = np.random.default_rng(6)
    objects = random.uniform(0, 1000, (300, 2))
    low = np.repeat(objects, 20, axis=0) + random.normal(0, jitter, (6000, 2))
    boxes = np.concatenate([low, low + np.repeat(random.uniform(5, 80, (300, 2)), 20, axis=0)], axis=1)
    scores = np.round(random.random(6000), 2)
    assert box_nms(boxes, scores, 0.7).tolist() == greedy(boxes, scores, 0.7)


def test_a_chain_of_boxes_is_decided_link_by_link() -> None:
    low = np.stack([np.arange(50) * 2.0, np.zeros(50)], axis=1)
    boxes = np.concatenate([low, low + 10], axis=1)
    assert box_nms(boxes, -np.arange(50.0), 0.6).tolist() == list(range(0, 50, 2))


def test_a_hundred_thousand_copies_make_no_table() -> None:
    boxes = np.tile([3.0, 4.0, 50.0, 60.0], (100_000, 1))
    started = time.perf_counter()
    assert box_nms(boxes, np.zeros(len(boxes)), 0.7).tolist() == [0]
    assert time.perf_counter() - started < 20


def test_no_boxes_give_no_indices() -> None:
    assert box_nms(np.empty((0, 4)), np.empty(0), 0.7).tolist() == []


def test_what_cannot_be_compared_is_refused() -> None:
    box, score = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([1.0])
    with pytest.raises(OptionError, match=r"give \(N, 4\) and \(N,\)"):
        box_nms(box, np.array([1.0, 2.0]), 0.7)
    with pytest.raises(OptionError, match="from 0 to 1"):
        box_nms(box, score, 1.5)
    with pytest.raises(OptionError, match=r"box 0 .* x0 <= x1"):
        box_nms(box[:, ::-1], score, 0.7)
    with pytest.raises(OptionError, match="finite score"):
        box_nms(box, np.array([np.nan]), 0.7)


# Pixels of a few places and shapes: equal masks, masks of one row or column, and IoUs that equal the threshold.
small_masks = st.builds(
    Mask.from_array,
    mask_arrays(max_side=4).filter(np.any),
    st.integers(-2, 2),
    st.integers(-2, 2),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(small_masks, max_size=12), st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0]))
def test_masks_are_suppressed_as_the_greedy_loop_does_it(masks: list[Mask], threshold: float) -> None:
    first, second = nearly_equal(masks, threshold)
    numbers = range(len(masks))
    expected = [
        (one, other) for one in numbers for other in numbers if one < other and iou(masks[one], masks[other]) > threshold
    ]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
    kept: list[int] = []
    for number in numbers:
        if all((other, number) not in expected for other in kept):
            kept.append(number)
    assert keep_greedily(len(masks), first, second).tolist() == kept


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "0.8", True])
def test_a_threshold_that_is_no_iou_is_refused(threshold: object) -> None:
    with pytest.raises(OptionError, match="mask_nms"):
        check_mask_nms(threshold)


def test_masks_of_a_window_are_compared_in_milliseconds() -> None:
    """A window of a drone mosaic has some 200 masks, of which one in three meets another; it takes 1 s and more to segment."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 900, (400, 2))
    masks = [Mask.from_array(rng.random((60, 60)) < 0.9, int(x), int(y)) for x, y in corners]
    masks += [mask.shift(1, 0) for mask in masks[:100]]
    start = time.perf_counter()
    nearly_equal(masks, 0.8)
    assert time.perf_counter() - start < 0.5

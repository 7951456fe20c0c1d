"""Runs behave as the sets of pixels that they stand for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask, intersection_area, intersection_areas, iou, union
from samgeo.testing import mask_arrays

FRAME = Rect(-40, -40, 40, 40)
INT32 = np.iinfo(np.int32)

offsets = st.integers(-20, 20)
images = mask_arrays(min_side=0, max_side=12)
masks = st.builds(Mask.from_array, images, offsets, offsets)
rects = st.builds(lambda x, y, w, h: Rect(x, y, x + w, y + h), offsets, offsets, st.integers(-2, 20), st.integers(-2, 20))


def dense(mask: Mask) -> NDArray[np.bool_]:
    return mask.to_array(FRAME)


def is_canonical(mask: Mask) -> bool:
    y, start, stop = mask.runs.astype(np.int64).T
    same_row = y[1:] == y[:-1]
    apart = start[1:] > stop[:-1]
    return bool((start < stop).all() and (y[1:] >= y[:-1]).all() and apart[same_row].all())


@settings(deadline=None)
@given(images, offsets, offsets)
def test_an_array_survives_the_round_trip(image: NDArray[np.bool_], x0: int, y0: int) -> None:
    mask = Mask.from_array(image, x0, y0)
    frame = Rect(x0, y0, x0 + image.shape[1], y0 + image.shape[0])
    assert is_canonical(mask)
    np.testing.assert_array_equal(mask.to_array(frame), image)
    assert mask.area == np.count_nonzero(image) == np.count_nonzero(dense(mask))
    assert mask.is_empty == (not image.any())


@settings(deadline=None)
@given(masks, masks)
def test_a_difference_holds_the_pixels_of_the_first_alone(a: Mask, b: Mask) -> None:
    difference = a - b
    assert is_canonical(difference)
    np.testing.assert_array_equal(dense(difference), dense(a) & ~dense(b))


@settings(deadline=None)
@given(images, offsets, offsets, st.integers(1, 5))
def test_a_scaled_mask_has_a_square_for_every_pixel(image: NDArray[np.bool_], x0: int, y0: int, factor: int) -> None:
    scaled = Mask.from_array(image, x0, y0).scaled(factor)
    squares = np.kron(image, np.ones((factor, factor), dtype=np.bool_))
    assert scaled == Mask.from_array(squares, x0 * factor, y0 * factor)


@settings(deadline=None)
@given(masks)
def test_rect_is_the_smallest_that_holds_the_mask(mask: Mask) -> None:
    if mask.is_empty:
        assert mask.rect == Rect(0, 0, 0, 0)
        return
    y, x = np.nonzero(dense(mask))
    assert mask.rect == Rect(x.min() + FRAME.x0, y.min() + FRAME.y0, x.max() + 1 + FRAME.x0, y.max() + 1 + FRAME.y0)
    assert mask.clip(mask.rect) == mask


@settings(deadline=None)
@given(masks, rects)
def test_clip_keeps_what_is_inside(mask: Mask, rect: Rect) -> None:
    clipped = mask.clip(rect)
    expected = np.zeros(FRAME.shape, dtype=bool)
    if not rect.is_empty:
        inside = rect.slices_in(FRAME)
        expected[inside] = dense(mask)[inside]
    assert is_canonical(clipped)
    np.testing.assert_array_equal(dense(clipped), expected)
    assert mask.to_array(rect).shape == rect.shape


@settings(deadline=None)
@given(masks, masks)
def test_two_masks_meet_as_two_arrays_do(a: Mask, b: Mask) -> None:
    both, either = dense(a) & dense(b), dense(a) | dense(b)
    assert is_canonical(a & b)
    np.testing.assert_array_equal(dense(a & b), both)
    assert intersection_area(a, b) == intersection_area(b, a) == np.count_nonzero(both)
    assert iou(a, b) == (np.count_nonzero(both) / np.count_nonzero(either) if either.any() else 0.0)


@settings(deadline=None)
@given(st.lists(masks, max_size=5))
def test_union_is_any_of_the_arrays(several: list[Mask]) -> None:
    expected = np.zeros(FRAME.shape, dtype=bool)
    for mask in several:
        expected |= dense(mask)
    assert is_canonical(union(several))
    np.testing.assert_array_equal(dense(union(several)), expected)


@settings(deadline=None)
@given(masks, st.integers(-60_000, 60_000), st.integers(-60_000, 60_000))
def test_shifting_moves_every_pixel_and_nothing_else(mask: Mask, dx: int, dy: int) -> None:
    moved = mask.shift(dx, dy)
    frame = Rect(FRAME.x0 + dx, FRAME.y0 + dy, FRAME.x1 + dx, FRAME.y1 + dy)
    np.testing.assert_array_equal(moved.to_array(frame), dense(mask))
    assert moved.shift(-dx, -dy) == mask


@settings(deadline=None)
@given(masks)
def test_a_pickle_is_equal_and_small(mask: Mask) -> None:
    data = pickle.dumps(mask, protocol=5)
    assert pickle.loads(data) == mask  # noqa: S301
    assert len(data) <= mask.runs.nbytes + 400


def test_equality_is_of_pixels() -> None:
    row = Mask.from_array(np.array([[True, True]]))
    left, right = Mask.from_array(np.array([[True]])), Mask.from_array(np.array([[True]]), x0=1)
    assert row == union([right, left])
    assert {row, left, right} == {union([right, left]), left, right}
    assert row != left
    assert row != "a mask"


def test_runs_of_neighbouring_rows_never_join() -> None:
    full = np.ones((3, 4), dtype=bool)
    np.testing.assert_array_equal(Mask.from_array(full).runs, [[0, 0, 4], [1, 0, 4], [2, 0, 4]])


def test_areas_do_not_overflow_on_a_raster_of_ten_billion_pixels() -> None:
    side = 100_000
    y = np.arange(side, dtype=np.int32)
    everything = Mask(np.stack([y, np.zeros_like(y), np.full_like(y, side)], axis=1))
    right_half = everything.clip(Rect(side // 2, 0, side, side))
    assert everything.area == side**2
    assert intersection_area(everything, right_half) == side**2 // 2
    assert iou(everything, right_half) == 0.5
    assert union([right_half, everything]) == everything


def test_the_corners_of_int32_are_pixels_like_any_other() -> None:
    lines = Mask(np.array([[INT32.min, INT32.min, INT32.max], [INT32.max, INT32.min, INT32.max]], dtype=np.int32))
    width = INT32.max - INT32.min
    first = Mask(np.array([[INT32.min, INT32.min, INT32.min + 1]], dtype=np.int32))
    last = Mask(np.array([[INT32.max, INT32.max - 1, INT32.max]], dtype=np.int32))
    assert lines.area == 2 * width
    assert intersection_area(lines, first) == intersection_area(lines, last) == 1
    assert lines & first == first
    assert union([last, first, lines]) == lines


def test_what_is_not_a_mask_is_refused() -> None:
    with pytest.raises(OptionError, match=r"give bool of shape \(height, width\)"):
        Mask.from_array(np.zeros((2, 2), dtype=np.uint8))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="give bool"):
        Mask.from_array(np.zeros(4, dtype=bool))
    with pytest.raises(OptionError, match=r"int32 of shape \(N, 3\)"):
        Mask(np.zeros((2, 3), dtype=np.int64))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="exceeds the int32 range"):
        Mask.from_array(np.array([[True]])).shift(INT32.max, 0)


@settings(deadline=None)
@given(st.lists(masks.filter(lambda mask: not mask.is_empty), min_size=1, max_size=6))
def test_many_pairs_are_measured_as_one_by_one(some: list[Mask]) -> None:
    first, second = (index.ravel() for index in np.meshgrid(range(len(some)), range(len(some))))
    shared = intersection_areas(some, some, first, second)
    assert shared.tolist() == [intersection_area(some[one], some[other]) for one, other in zip(first, second, strict=True)]
    assert intersection_areas(some, some, first[:0], second[:0]).tolist() == []

"""Cleaning equals a plain reading of ``remove_small_regions`` in segment_anything's ``utils/amg.py``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segment.masks import Mask
from samgeo.segment.regions import fill_and_drop


def remove_small_regions(mask: NDArray[np.bool_], area: int, mode: str) -> tuple[NDArray[np.bool_], bool]:
    correct_holes = mode == "holes"
    regions, count = ndimage.label(correct_holes ^ mask, structure=np.ones((3, 3)))
    sizes = [np.count_nonzero(regions == index) for index in range(1, count + 1)]
    small = [index + 1 for index, size in enumerate(sizes) if size < area]
    if not small:
        return mask, False
    fill = [0, *small]
    if not correct_holes:
        fill = [index for index in range(count + 1) if index not in fill] or [int(np.argmax(sizes)) + 1]
    return np.isin(regions, fill), True


def reference(mask: NDArray[np.bool_], area: int) -> tuple[NDArray[np.bool_], bool]:
    mask, filled = remove_small_regions(mask, area, "holes")
    mask, dropped = remove_small_regions(mask, area, "islands")
    return mask, filled or dropped


def image(*rows: str) -> NDArray[np.bool_]:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@st.composite
def scenes(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Noise at a random scale, somewhere in a larger frame or touching its edges."""
    scale = draw(st.integers(1, 3))
    noise = draw(arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8))))
    margins = draw(st.tuples(*[st.sampled_from([0, 0, 1, 2, 5])] * 4))
    return np.pad(np.kron(noise, np.ones((scale, scale), dtype=bool)), (margins[:2], margins[2:]))


@settings(deadline=None, max_examples=400)
@given(scenes(), st.integers(0, 40))
def test_with_its_frame_a_mask_becomes_what_the_reference_makes_of_it(scene: NDArray[np.bool_], area: int) -> None:
    frame = Rect(-7, 11, scene.shape[1] - 7, scene.shape[0] + 11)
    mask = Mask.from_array(scene, frame.x0, frame.y0)
    cleaned, changed = fill_and_drop(mask, area, frame)
    if not scene.any():
        assert (cleaned, changed) == (mask, False)
        return
    expected, expected_changed = reference(scene, area)
    np.testing.assert_array_equal(cleaned.to_array(frame), expected)
    assert changed == expected_changed


@settings(deadline=None, max_examples=200)
@given(scenes(), st.integers(0, 40))
def test_without_a_frame_the_background_goes_on_for_ever(scene: NDArray[np.bool_], area: int) -> None:
    if not scene.any():
        return
    wide = np.pad(scene, 10)
    cleaned, changed = fill_and_drop(Mask.from_array(scene), area)
    expected, expected_changed = reference(wide, area)
    np.testing.assert_array_equal(cleaned.to_array(Rect(-10, -10, scene.shape[1] + 10, scene.shape[0] + 10)), expected)
    assert changed == expected_changed


def test_a_hole_is_filled_before_islands_are_counted() -> None:
    ring = image("###", "#.#", "###")
    cleaned, changed = fill_and_drop(Mask.from_array(ring), 9)
    assert changed
    assert cleaned.area == 9


def test_the_largest_of_small_islands_stays() -> None:
    two = image("##....", "......", "..###.")
    cleaned, changed = fill_and_drop(Mask.from_array(two), 100)
    assert changed
    assert cleaned == Mask.from_array(image("###"), 2, 2)


def test_corners_join_islands_and_holes_alike() -> None:
    chain = image("#....", ".#...", "..#..")
    mask = Mask.from_array(chain)
    assert fill_and_drop(mask, 3) == (mask, False)
    # The hole leaks out through the corner: it is no hole.
    leaking = Mask.from_array(image(".####", "#.###", "#####"))
    assert fill_and_drop(leaking, 5) == (leaking, False)


def test_a_pocket_at_the_image_edge_is_a_hole_only_of_the_image() -> None:
    pocket = Mask.from_array(image("#.#", "#.#", "###"))
    frame = Rect(0, 0, 3, 3)
    assert fill_and_drop(pocket, 3, frame) == (Mask.from_array(np.ones((3, 3), dtype=bool)), True)
    assert fill_and_drop(pocket, 3) == (pocket, False)


def test_a_mask_out_of_its_frame_is_refused() -> None:
    with pytest.raises(OptionError, match="reaches out of its frame"):
        fill_and_drop(Mask.from_array(np.ones((3, 3), dtype=bool)), 3, Rect(0, 0, 2, 3))

"""Cleaning equals a plain reading of ``remove_small_regions`` in segment_anything's ``utils/amg.py``."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.cleaning import check_region_sizes, drop_specks, fill_and_drop, without_specks
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Segment
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.testing import mask_arrays


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
    noise = draw(mask_arrays(max_side=8))
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
    with pytest.raises(OptionError, match="extends beyond its frame"):
        fill_and_drop(Mask.from_array(np.ones((3, 3), dtype=bool)), 3, Rect(0, 0, 2, 3))


def without_specks_by_frames(mask: NDArray[np.bool_], min_part: float, min_hole: float) -> NDArray[np.bool_]:
    """Holes, then parts, both 4-connected, in a full frame."""
    padded = np.pad(mask, 1)
    background, count = ndimage.label(~padded)
    sizes = np.bincount(background.ravel(), minlength=count + 1)
    small = [index for index in range(1, count + 1) if index != background[0, 0] and sizes[index] < min_hole]
    padded |= np.isin(background, small)
    parts, count = ndimage.label(padded)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    if count:
        keep = [index + 1 for index, size in enumerate(sizes) if size >= min_part] or [int(np.argmax(sizes)) + 1]
        padded &= np.isin(parts, keep)
    return padded[1:-1, 1:-1]


scene_with_sizes = st.tuples(scenes(), st.sampled_from([0, 1, 2, 4.5, 5, 20]), st.sampled_from([0, 1, 2, 4.5, 5, 20]))


@settings(deadline=None, max_examples=100)
@given(st.lists(scene_with_sizes, min_size=1, max_size=6))
def test_specks_and_pinholes_go_as_in_full_frames(given_scenes: list[tuple[NDArray[np.bool_], float, float]]) -> None:
    masks = [Mask.from_array(scene, -7, 11) for scene, _, _ in given_scenes]
    parts, holes = [part for _, part, _ in given_scenes], [hole for _, _, hole in given_scenes]
    cleaned = drop_specks(masks, parts, holes)
    for mask, after, (scene, part, hole) in zip(masks, cleaned, given_scenes, strict=True):
        assert after == Mask.from_array(without_specks_by_frames(scene, part, hole), -7, 11)
        assert (after is mask) == (after == mask)
    assert drop_specks(cleaned, parts, holes) == cleaned
    for outline, part, hole in zip(polygons(cleaned), parts, holes, strict=True):
        pieces = shapely.get_parts(outline)
        assert len(pieces) == 1 or min(shapely.area(pieces)) >= min(part, max(shapely.area(pieces)))
        assert all(shapely.Polygon(ring).area >= hole for one in pieces for ring in one.interiors)


def test_pixels_that_touch_at_a_corner_are_apart_in_parts_as_in_holes() -> None:
    scene = image("######.", "#.####.", "##.###.", "######.", "......#")
    (cleaned,) = drop_specks([Mask.from_array(scene)], [2], [2])
    assert np.array_equal(cleaned.to_array(Rect(0, 0, 7, 5)), image("######.", "######.", "######.", "######.", "......."))


@pytest.mark.parametrize(("scale", "pixel_side", "kept"), [(1, 1.0, 2), (2, 1.0, 1), (1, 2.0, 1), (1, 0.5, 2)])
def test_sizes_are_in_pixels_that_the_model_sees(scale: int, pixel_side: float, kept: int) -> None:
    scene = np.zeros((10, 20), dtype=bool)
    scene[:, :10], scene[:2, 12:15] = True, True  # a part of six pixels
    (cleaned,) = without_specks([Segment(Mask.from_array(scene), 0.9, 0.9, True, scale)], 5, 5, pixel_side)
    assert len(shapely.get_parts(polygons([cleaned.mask])[0])) == kept


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), "5", True])
def test_a_size_that_cannot_be_meant_is_refused(size: object) -> None:
    with pytest.raises(OptionError, match="min_part"):
        check_region_sizes(size, 5)
    with pytest.raises(OptionError, match="min_hole"):
        check_region_sizes(5, size)

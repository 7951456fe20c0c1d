"""Rectangles of smallest area run along pixel edges, and have one order of corners and one angle."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.annotations.oriented_boxes import box_corners, to_rbox, to_xywha
from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask


def test_a_mask_of_30_x_10_pixels_is_a_rectangle_of_30_x_10():
    mask = Mask.from_array(np.ones((10, 30), dtype=np.bool_), 5, 7)
    corners = [[5, 7], [35, 7], [35, 17], [5, 17]]
    np.testing.assert_array_equal(to_rbox(mask), corners)
    np.testing.assert_array_equal(box_corners([5, 7, 35, 17]), corners)
    np.testing.assert_array_equal(to_xywha(corners), [20, 12, 30, 10, 0])


def test_a_box_at_45_degrees_is_itself():
    diamond = np.array([[30, 10], [60, 40], [50, 50], [20, 20]])
    np.testing.assert_array_equal(to_rbox(shapely.Polygon(diamond)), diamond)
    np.testing.assert_allclose(to_xywha(diamond), [40, 30, 30 * 2**0.5, 10 * 2**0.5, 45], rtol=1e-12)


def test_a_staircase_at_45_degrees_is_held_by_the_rectangle_over_its_edges():
    # One pixel a row, each to the right of the one above: 6 pixels along the diagonal.
    mask = Mask.from_array(np.eye(6, dtype=np.bool_))
    box = to_rbox(mask)
    x, y, long, short, angle = to_xywha(box)
    # The hull runs from (0, 0) to (6, 6), half a diagonal of a pixel to either side.
    np.testing.assert_allclose([x, y, long, short, angle], [3, 3, 6 * 2**0.5, 2**0.5, 45], rtol=1e-12)
    assert box[0].tolist() == [0.5, -0.5]


angles = st.floats(-180, 180)
sides = st.floats(1, 100)


@settings(deadline=None)
@given(sides, sides, angles, st.integers(0, 3), st.booleans())
def test_a_rectangle_is_itself_however_its_corners_are_given(long, short, turn, first, mirrored):
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    plain = np.array([[-long, -short], [long, -short], [long, short], [-long, short]]) / 2
    corners = plain @ np.array([[cos, sin], [-sin, cos]]) + [300, 200]
    given_ = np.roll(corners[::-1] if mirrored else corners, first, axis=0)
    box = to_rbox(shapely.Polygon(given_))
    # The same corners, clockwise from the topmost.
    distance = np.linalg.norm(box[:, None] - corners[None], axis=2)
    assert distance.min(axis=1).max() < 1e-6
    assert not shapely.is_ccw(shapely.linearrings(box * [1, -1]))
    assert box[0, 1] <= box[:, 1].min() + 1e-9
    x, y, width, height, angle = to_xywha(box)
    np.testing.assert_allclose([x, y, width, height], [300, 200, max(long, short), min(long, short)], rtol=1e-6)
    assert -90 <= angle < 90


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=30))
def test_it_holds_every_point_and_no_rectangle_on_the_hull_is_smaller(points):
    box = to_rbox(shapely.MultiPoint(points))
    polygon = shapely.Polygon(box)
    assert shapely.distance(shapely.points(points), polygon.buffer(0) if polygon.area else shapely.LineString(box)).max() < 1e-6
    expected = shapely.minimum_rotated_rectangle(shapely.MultiPoint(points)).area
    assert polygon.area <= expected * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize("shape", [shapely.Polygon(), Mask(np.empty((0, 3), dtype=np.int32)), shapely.Point(np.nan, 1)])
def test_what_has_no_points_has_no_box(shape):
    with pytest.raises(OptionError):
        to_rbox(shape)


def test_of_equal_rectangles_the_one_least_turned_is_taken():
    square = shapely.box(0, 0, 10, 10)
    octagon = shapely.Polygon([(3, 0), (7, 0), (10, 3), (10, 7), (7, 10), (3, 10), (0, 7), (0, 3)])
    assert to_rbox(square).tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]
    assert to_xywha(to_rbox(octagon))[4] in (0, -45)


def test_a_square_has_an_angle_from_minus_45_to_45():
    assert to_xywha([[5, 0], [10, 5], [5, 10], [0, 5]])[4] == -45
    assert to_xywha([[0, 0], [0, 4], [4, 4], [4, 0]])[4] == 0
    assert to_xywha([[0, 0], [2, 0], [2, 4], [0, 4]])[4] == -90

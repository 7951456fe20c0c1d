"""The share of a pixel that a polygon covers is the area of their intersection."""

import numpy as np
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from samgeo.plot.coverage import coverages

WIDTH, HEIGHT = 9, 7


def shares(geometries, boxes):
    return list(coverages(np.array(geometries, dtype=object), np.array(boxes, dtype=np.int64).reshape(-1, 4)))


def truth(geometry, box):
    x0, y0, x1, y1 = box
    x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
    return shapely.area(shapely.intersection(shapely.box(x, y, x + 1, y + 1), geometry))


coordinate = st.one_of(st.integers(-4, 14), st.floats(-4, 14, allow_subnormal=False)).map(lambda value: round(value, 6))
ring = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8)


@st.composite
def polygons(draw):
    """Valid polygons with holes and parts, in and out of the frame, in either winding."""
    shapes = [shapely.make_valid(shapely.Polygon(draw(ring))) for _ in range(draw(st.integers(1, 3)))]
    operation = draw(st.sampled_from([shapely.difference, shapely.symmetric_difference, shapely.union]))
    made = operation(shapes[0], shapely.union_all(shapes[1:]))
    # GEOS gives wrong intersections with slivers that are as thin as the rounding of coordinates.
    parts = [part for part in shapely.get_parts(made) if part.geom_type == "Polygon" and part.area > 1e-9]
    whole = shapely.MultiPolygon(parts)
    # Set operations of rounded coordinates may give an invalid result, for which GEOS has no exact area.
    assume(whole.is_valid)
    return shapely.reverse(whole) if draw(st.booleans()) else whole


@settings(deadline=None, max_examples=150)
@given(polygons())
def test_it_is_the_area_of_the_intersection(polygon):
    box = (0, 0, WIDTH, HEIGHT)
    np.testing.assert_allclose(shares([polygon], [box])[0], truth(polygon, box), atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(polygons(), st.tuples(*[st.integers(-2, 5)] * 2)), min_size=1, max_size=4))
def test_many_polygons_give_what_each_gives_alone_in_its_own_box(some):
    geometries = [polygon for polygon, _ in some]
    boxes = [(x, y, x + 2 + index, y + 5) for index, (_, (x, y)) in enumerate(some)]
    for index, found in enumerate(shares(geometries, boxes)):
        np.testing.assert_array_equal(found, shares([geometries[index]], [boxes[index]])[0])
        np.testing.assert_allclose(found, truth(geometries[index], boxes[index]), atol=1e-5)


def test_touching_polygons_share_a_pixel_without_a_gap():
    left, right = shapely.Polygon([(0, 0), (3.3, 0), (5.1, 7), (0, 7)]), shapely.Polygon([(3.3, 0), (9, 0), (9, 7), (5.1, 7)])
    both = shares([left, right], [(0, 0, WIDTH, HEIGHT)] * 2)
    np.testing.assert_allclose(both[0] + both[1], 1, atol=1e-6)


def test_what_is_far_outside_costs_nothing_and_counts_as_it_should():
    whole, beside = shapely.box(-1e8, -1e8, 1e8, 1e8), shapely.box(1e7, 1e7, 2e7, 2e7)
    covered, empty = shares([whole, beside], [(0, 0, WIDTH, HEIGHT)] * 2)
    assert (covered == 1).all()
    assert (empty == 0).all()


def test_nothing_gives_nothing():
    assert shares([], []) == []


def test_an_edge_that_is_level_once_moved_to_its_box_is_left_out():
    # 2**-52 above 1, which is lost when 1,000 is added.
    nearly_level = shapely.Polygon([(0, 1), (5, np.nextafter(1, 2)), (5, 4), (0, 4)])
    (found,) = shares([nearly_level], [(0, -1000, 6, 5)])
    np.testing.assert_allclose(found[1000:, :5].sum(), 15, atol=1e-4)

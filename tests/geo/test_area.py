"""True square metres, whatever the CRS distorts."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.errors import OptionError
from samgeo.geo.coordinates.area import PLANE_SIDE_M, area_m2


def equal_area(lon: float, lat: float, like: str = "EPSG:4326") -> pyproj.CRS:
    """Ground truth: a map on the same ellipsoid whose areas are the true ones."""
    ellipsoid = pyproj.CRS.from_user_input(like).ellipsoid
    figure = f"+a={ellipsoid.semi_major_metre!r} +b={ellipsoid.semi_minor_metre!r}"
    return pyproj.CRS.from_user_input(f"+proj=laea +lat_0={lat} +lon_0={lon} {figure}")


def reproject(geometries, source, target):
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(geometries, lambda xy: np.stack(transformer.transform(xy[:, 0], xy[:, 1]), axis=1))


@pytest.mark.parametrize("side", [0.5, 10.0, 300.0, 9_000.0, 40_000.0])
@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [
        (85.5, 27.6, "EPSG:4326"),
        (24.9, 60.2, "EPSG:3857"),
        (-43.7, -23.0, "EPSG:3857"),
        (0.0, -89.9, "EPSG:3031"),
        (169.4, -19.5, "EPSG:32759"),
        (179.9999, -17.0, "EPSG:3832"),
        (-73.9, 40.7, "EPSG:2263"),
        (2.3, 48.9, "EPSG:27572"),
    ],
)
def test_squares_have_their_area_in_any_crs(lon: float, lat: float, crs: str, side: float) -> None:
    ground = equal_area(lon, lat, crs)
    square = shapely.segmentize(shapely.box(-side / 2, -side / 2, side / 2, side / 2), side / 8)
    square = reproject(square, ground, crs)
    assert area_m2([square], crs)[0] == pytest.approx(side**2, rel=2e-6)


def test_web_mercator_at_60_degrees_is_a_quarter() -> None:
    place = reproject(shapely.Point(10, 60), "EPSG:4326", "EPSG:3857")
    drawn = shapely.buffer(place, 100, cap_style="square")
    assert drawn.area == 40_000
    assert area_m2([drawn], "EPSG:3857")[0] == pytest.approx(10_000, rel=0.01)


@settings(deadline=None, max_examples=20)
@given(st.floats(-179, 179), st.floats(-89, 89), st.floats(0, 6.28), st.floats(0.6, 1.6))
def test_plane_and_geodesic_areas_meet_where_one_takes_over(lon: float, lat: float, turn: float, size: float) -> None:
    angles = turn + np.arange(7) * 2 * np.pi / 7
    ring = size * PLANE_SIDE_M / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    polygon = reproject(shapely.Polygon(ring), equal_area(lon, lat), "EPSG:4326")
    xy = shapely.get_coordinates(polygon)
    geodesic, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(xy[:, 0], xy[:, 1])
    assert area_m2([polygon], "EPSG:4326")[0] == pytest.approx(abs(geodesic), rel=1e-6)


def test_a_polygon_around_the_pole() -> None:
    cap = reproject(shapely.Point(0, 0).buffer(2_000_000, 64), equal_area(0, -90), "EPSG:3031")
    assert area_m2([cap], "EPSG:3031")[0] == pytest.approx(np.pi * 4e12, rel=2e-3)


def test_holes_parts_empties_and_what_is_no_polygon() -> None:
    crs = equal_area(10, 50)
    holed = shapely.box(5, 5, 105, 105) - shapely.box(20, 20, 40, 40) - shapely.box(60, 60, 70, 70)
    parts = shapely.MultiPolygon([holed, shapely.box(200, 5, 210, 15)])
    geometries = [
        holed,
        parts,
        shapely.Polygon(),
        None,
        shapely.Point(1, 1),
        shapely.LineString([(0, 0), (9, 9)]),
        holed.reverse(),
    ]
    assert area_m2(geometries, crs) == pytest.approx([9500, 9600, 0, 0, 0, 0, 9500], rel=1e-6)
    assert area_m2([], crs).shape == (0,)
    assert area_m2([None, shapely.Polygon()], crs).tolist() == [0, 0]


def test_a_multipolygon_is_the_sum_of_its_parts() -> None:
    boxes = [shapely.box(x, 50, x + 0.001 * (1 + x), 50.002) for x in range(20)]
    each = area_m2(boxes, "EPSG:4326")
    assert area_m2([shapely.MultiPolygon(boxes)], "EPSG:4326")[0] == pytest.approx(each.sum(), rel=1e-12)
    nested = shapely.GeometryCollection([shapely.MultiPolygon(boxes[:2]), boxes[3], shapely.Point(0, 0)])
    assert area_m2([nested], "EPSG:4326")[0] == pytest.approx(each[[0, 1, 3]].sum(), rel=1e-12)


@pytest.mark.parametrize(("unit", "metres"), [("metre", 1.0), ("foot", 0.3048), ("US survey foot", 1200 / 3937)])
def test_a_local_crs_is_plane_in_its_unit(unit: str, metres: float) -> None:
    crs = f'ENGCRS["site",EDATUM["here"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["{unit}",{metres!r}]]'
    assert area_m2([shapely.box(0, 0, 10, 20), None], crs) == pytest.approx([200 * metres**2, 0], rel=1e-12)


def test_other_worlds_have_their_own_size() -> None:
    moon = pyproj.CRS.from_user_input("+proj=longlat +R=1737400")
    degree = 1737400 * np.pi / 180
    assert area_m2([shapely.box(0, 0, 0.01, 0.01)], moon)[0] == pytest.approx((0.01 * degree) ** 2, rel=1e-6)


def test_a_corner_outside_the_domain_gives_nan() -> None:
    areas = area_m2([shapely.box(0, 0, 1, 1), shapely.Polygon([(0, 0), (1, 0), (1, float("inf"))])], "EPSG:4326")
    assert np.isfinite(areas[0])
    assert np.isnan(areas[1])


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        (None, "need a CRS"),
        ("EPSG:4978", "not a geographic or projected CRS"),
        ("EPSG:5773", "not a geographic or projected CRS"),
    ],
)
def test_a_crs_that_has_no_areas_is_refused(crs, words) -> None:
    with pytest.raises(OptionError, match=words):
        area_m2([shapely.box(0, 0, 1, 1)], crs)

"""Prompts of any kind and CRS come to the pixels that they mean."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.geo.coordinates.pixel_coordinates import STEPS_PER_PX
from samgeo.geo.coordinates.prompt_geometry import from_pixels, read_boxes, read_points, read_polygons
from samgeo.testing.rasters import TRANSFORMS, transform

UTM = "EPSG:32633"
CRSS = [None, UTM, "EPSG:4326", "EPSG:3857", "EPSG:32632", "pixels"]


def grid(name: str = "north-up", crs: str | None = UTM) -> GeoBox:
    return GeoBox((400, 600), transform(name), crs)


@pytest.mark.parametrize("crs", CRSS)
@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_pixels_to_any_crs_and_back_are_the_same_pixels(name: str, crs: str | None) -> None:
    if name == "none" and crs != "pixels":
        return
    px = np.random.default_rng(0).integers(0, 400 * STEPS_PER_PX, (50, 2)) / STEPS_PER_PX
    there = from_pixels(px, grid(name), crs)
    back, labels, table = read_points(there, geobox=grid(name), crs=crs)
    assert np.array_equal(back[:, 0], px)
    assert (labels == 1).all()
    assert table is None


@settings(max_examples=50, deadline=None)
@given(x=st.floats(-100, 700), y=st.floats(-100, 500), crs=st.sampled_from(["EPSG:4326", "EPSG:3857", "EPSG:32632"]))
def test_a_place_is_the_same_prompt_to_the_bit_in_every_crs(x: float, y: float, crs: str) -> None:
    px = np.rint(np.array([[x, y]]) * STEPS_PER_PX) / STEPS_PER_PX
    box = grid("rotated")
    assert np.array_equal(read_points(from_pixels(px, box, crs), geobox=box, crs=crs)[0][:, 0], px)


def test_shapes_of_arrays_say_how_many_points_a_prompt_has() -> None:
    one, labels, _ = read_points([[1, 2], [3, 4]], geobox=grid(), crs="pixels")
    assert one.shape == (2, 1, 2)
    assert labels.tolist() == [[1], [1]]
    two, labels, _ = read_points([[[1, 2], [3, 4]]], [[1, -1]], geobox=grid(), crs="pixels")
    assert labels.tolist() == [[1, -1]]
    assert np.isnan(two[0, 1]).all()


def test_features_with_one_value_of_prompt_are_one_prompt_with_their_labels() -> None:
    frame = gpd.GeoDataFrame(
        {"prompt": ["b", "a", "b"], "label": [1, 1, 0], "name": ["x", "y", "z"]},
        geometry=shapely.points([[1, 1], [2, 2], [3, 3]]),
    )
    points, labels, table = read_points(frame, geobox=grid(crs=None), crs="pixels")
    assert points[0].tolist() == [[1, 1], [3, 3]]
    assert labels.tolist() == [[1, 0], [1, -1]]
    assert table["name"].tolist() == ["x", "y"]


def test_a_multipoint_is_one_prompt_and_an_empty_point_is_one_without_points() -> None:
    frame = gpd.GeoDataFrame(geometry=[shapely.MultiPoint([[1, 1], [2, 2]]), shapely.Point(), None])
    points, labels, _ = read_points(frame, geobox=grid(crs=None), crs="pixels")
    assert points[0].tolist() == [[1, 1], [2, 2]]
    assert labels.tolist() == [[1, 1], [-1, -1], [-1, -1]]


def test_a_box_is_the_hull_of_its_corners_wherever_they_come_to_lie() -> None:
    geobox = grid("rotated")
    box, _ = read_boxes([[0, 0, 10, 20]], geobox=geobox, crs="pixels")
    assert box.tolist() == [[0, 0, 10, 20]]
    corners = from_pixels([[0, 0], [10, 0], [10, 20], [0, 20]], geobox, "EPSG:4326")
    frame = gpd.GeoDataFrame({"kind": ["roof"]}, geometry=[shapely.Polygon(corners)], crs="EPSG:4326")
    box, table = read_boxes(frame, geobox=geobox)
    assert box.tolist() == [[0, 0, 10, 20]]
    assert table["kind"].tolist() == ["roof"]
    upright, _ = read_boxes([[*corners.min(axis=0), *corners.max(axis=0)]], geobox=geobox, crs="EPSG:4326")
    assert upright[0, 0] < 0
    assert upright[0, 2] > 10


def test_south_up_and_north_up_boxes_are_never_inside_out() -> None:
    for name in ("north-up", "south-up"):
        x, y = np.sort(from_pixels([[10, 20], [30, 50]], grid(name)), axis=0).T
        box, _ = read_boxes([[x[0], y[0], x[1], y[1]]], geobox=grid(name))
        assert box.tolist() == [[10, 20, 30, 50]]


def test_polygons_come_valid_and_keep_their_holes() -> None:
    bow = shapely.Polygon([[0, 0], [10, 10], [10, 0], [0, 10]])
    ring = shapely.Polygon([[0, 0], [9, 0], [9, 9], [0, 9]], [[[3, 3], [6, 3], [6, 6], [3, 6]]])
    shapes, table = read_polygons([bow, ring, None], geobox=grid(), crs="pixels")
    assert shapely.is_valid(shapes).all()
    assert shapely.area(shapes).tolist() == [50, 72, 0]
    assert table is None


def test_what_has_no_place_in_the_rasters_crs_is_nan() -> None:
    points, _, _ = read_points([[0.0, 95.0]], geobox=grid(), crs="EPSG:4326")
    assert np.isnan(points).all()
    boxes, _ = read_boxes([[0.0, 80.0, 1.0, 95.0]], geobox=grid(), crs="EPSG:4326")
    assert np.isnan(boxes).all()


def test_files_are_read(tmp_path) -> None:
    path = tmp_path / "points.gpkg"
    place = from_pixels([[5.5, 6.5]], grid(), "EPSG:4326")
    gpd.GeoDataFrame(geometry=shapely.points(place), crs="EPSG:4326").to_file(path)
    points, _, _ = read_points(path, geobox=grid())
    assert points.tolist() == [[[5.5, 6.5]]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: read_points([[1, 2, 3]], geobox=grid()), OptionError, "points have shape"),
        (lambda: read_points([[1, np.nan]], geobox=grid()), OptionError, "prompt 0 are not finite"),
        (lambda: read_points([["a", "b"]], geobox=grid()), OptionError, "not numbers"),
        (lambda: read_points([[1, 2]], [2], geobox=grid()), OptionError, "labels must be"),
        (lambda: read_points([[1, 2]], [1, 1], geobox=grid()), OptionError, "a label for each point"),
        (lambda: read_points([[1, 2]], geobox=grid(), crs="EPSG:0"), OptionError, "which is not a CRS"),
        (lambda: read_points([[1, 2]], geobox=grid(crs=None), crs="EPSG:4326"), OptionError, "the raster has no CRS"),
        (lambda: read_boxes([[1, 2, 3]], geobox=grid()), OptionError, "boxes have shape"),
        (lambda: read_boxes([[0, 0, 1, 1], [5, 0, 1, 1]], geobox=grid()), OptionError, "box 1 is"),
        (lambda: read_boxes(gpd.GeoSeries([shapely.Point(1, 1)], crs=UTM), geobox=grid()), VectorError, "Point"),
        (lambda: read_polygons(gpd.GeoSeries([shapely.box(0, 0, 1, 1)]), geobox=grid()), VectorError, " has none"),
        (
            lambda: read_polygons(gpd.GeoSeries([shapely.box(0, 0, 1, 1)], crs=UTM), geobox=grid(), crs="EPSG:4326"),
            OptionError,
            "omit crs for features",
        ),
    ],
)
def test_prompts_that_cannot_be_understood_are_refused(call, error: type[SamgeoError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()

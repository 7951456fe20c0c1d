"""A meridian is one place, whether it is called 190 or -170 degrees, and geometries go on over the antimeridian."""

import json

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

import samgeo
from samgeo.evaluation import evaluate
from samgeo.geo.coordinates.antimeridian import cut_at_antimeridian, period_of, shifted_by_turns
from samgeo.geo.coordinates.area_of_interest import read_area, to_pixels
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points, read_polygons
from samgeo.geo.vector.reading import read_vectors, write_vectors
from samgeo.testing import Oracle, encode_ids
from samgeo.testing.rasters import write_raster

DEGREES = "EPSG:4326"
# The same ground, 10 x 6 degrees, in the ways that people and programs have for it.
WAYS = {
    "170 to 190": shapely.box(175, -18, 185, -12),
    "-190 to -170": shapely.box(-185, -18, -175, -12),
    "cut by RFC 7946": shapely.MultiPolygon([shapely.box(175, -18, 180, -12), shapely.box(-180, -18, -175, -12)]),
}


def degrees(west: float, east: float, side: float = 0.1) -> GeoBox:
    return GeoBox((round(10 / side), round((east - west) / side)), Affine(side, 0, west, 0, -side, -10), DEGREES)


def frame(*geometries: shapely.Geometry, crs: str | None = DEGREES) -> gpd.GeoSeries:
    return gpd.GeoSeries(list(geometries), crs=crs)


@pytest.mark.parametrize("way", WAYS)
def test_a_raster_over_the_antimeridian_has_its_ground_in_one_piece(way: str) -> None:
    geobox, given = degrees(170, 190), WAYS[way]
    expected = shapely.box(50, 20, 150, 80)
    assert to_pixels(frame(given), geobox).symmetric_difference(expected).area < 1e-6
    assert to_pixels(given, geobox).symmetric_difference(expected).area < 1e-6
    (shape,), _ = read_polygons(frame(given), geobox=geobox)
    assert shape.equals(expected)
    assert read_boxes(frame(given), geobox=geobox)[0].tolist() == [[50, 20, 150, 80]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("crs", "bounds", "side"),
    [
        ("EPSG:32601", (-5e5, -2.2e6, 1.1e6, -1.1e6), 1000),
        ("EPSG:3832", (2.5e6, -2.2e6, 4.5e6, -1.1e6), 1000),
        ("EPSG:3857", (19.3e6, -2.2e6, 20.8e6, -1.1e6), 1000),
        ("EPSG:3857", (-20.8e6, -2.2e6, -19.3e6, -1.1e6), 1000),
        ("EPSG:3994", (5.5e6, -1.8e6, 8.5e6, -0.8e6), 1000),
    ],
)
def test_projected_rasters_near_the_antimeridian_do_too(way: str, crs: str, bounds: tuple[float, ...], side: int) -> None:
    x0, y0, x1, y1 = bounds
    height, width = round((y1 - y0) / side), round((x1 - x0) / side)
    geobox = GeoBox((height, width), Affine(side, 0, x0, 0, -side, y1), crs)
    area = to_pixels(frame(WAYS[way]), geobox)
    x, y = np.random.default_rng(0).uniform(0, [width, height], (3000, 2)).T
    lon, lat = pyproj.Transformer.from_crs(crs, DEGREES, always_xy=True).transform(x0 + x * side, y1 - y * side)
    inside = (lat > -18) & (lat < -12) & ((lon - 175) % 360 < 10)
    far = shapely.distance(area.boundary, shapely.points(x, y)) > 0.5
    assert area.geom_type == "Polygon"
    assert inside[far].any()
    assert np.array_equal(shapely.contains_xy(area, x, y)[far], inside[far])
    box, _ = read_boxes(frame(WAYS[way]), geobox=geobox)
    np.testing.assert_allclose(box[0], area.bounds, atol=0.2)


def test_a_raster_from_0_to_360_takes_longitudes_below_0() -> None:
    geobox = degrees(0, 360, 0.5)
    assert read_points([[-20, -12], [340, -12]], geobox=geobox, crs=DEGREES)[0][:, 0].tolist() == [[680, 4], [680, 4]]
    assert read_boxes([[-20, -14, -10, -12]], geobox=geobox)[0].tolist() == [[680, 4, 700, 8]]
    around_greenwich = to_pixels(frame(shapely.box(-10, -14, 10, -12)), geobox)
    assert around_greenwich.equals(shapely.union(shapely.box(0, 4, 20, 8), shapely.box(700, 4, 720, 8)))


def test_a_raster_of_all_the_world_has_the_ground_at_both_ends() -> None:
    geobox = degrees(-180, 180, 0.5)
    for way in WAYS.values():
        expected = shapely.union(shapely.box(0, 4, 10, 16), shapely.box(710, 4, 720, 16))
        assert to_pixels(frame(way), geobox).symmetric_difference(expected).area < 1e-6


@pytest.mark.parametrize("sides", [[175, -18, 185, -12], [175, -18, -175, -12], [-185, -18, -175, -12]])
def test_boxes_of_numbers_cross_the_antimeridian_as_in_rfc_7946(sides: list[float]) -> None:
    assert read_boxes([sides], geobox=degrees(170, 190), crs=DEGREES)[0].tolist() == [[50, 20, 150, 80]]


def test_points_that_are_there_keep_every_bit() -> None:
    geobox = degrees(170, 190)
    lon = np.random.default_rng(0).uniform(170, 190, 100)
    xy = np.stack([lon, np.full(100, -15.0)], axis=1)
    assert np.array_equal(read_points(xy, geobox=geobox)[0], read_points(xy - [360, 0], geobox=geobox)[0])


def test_a_disk_around_a_pole_is_a_band_of_latitudes() -> None:
    geobox = GeoBox((360, 720), Affine(0.5, 0, -180, 0, -0.5, 90), DEGREES)
    for ring, crs, rows in ((1e6, "EPSG:3031", (0, 341)), (1e6, "EPSG:3413", (18, 360))):
        disk = shapely.Point(0, 0).buffer(ring, quad_segs=512)
        area = to_pixels(frame(disk, crs=crs), geobox)
        assert not shapely.intersects(area, shapely.box(1, rows[0] + 2, 719, rows[1] - 2))
        rest = shapely.box(0, 343, 720, 360) if rows[0] == 0 else shapely.box(0, 0, 720, 17)
        assert area.intersection(rest).area / rest.area > 0.999
        hole = to_pixels(frame(disk.difference(shapely.Point(0, 0).buffer(ring / 2)), crs=crs), geobox)
        assert 0.2 < hole.area / area.area < 0.8


@pytest.mark.parametrize(("crs", "turn"), [("EPSG:4326", 360), ("EPSG:4807", 400), ("EPSG:3857", 2 * np.pi * 6378137)])
def test_turns_of_crss(crs: str, turn: float) -> None:
    assert period_of(pyproj.CRS(crs)) == pytest.approx(turn, rel=1e-12)


@pytest.mark.parametrize("crs", ["EPSG:32601", "EPSG:3031", "EPSG:3035", "EPSG:2193", "EPSG:2056"])
def test_other_crss_do_not_repeat(crs: str) -> None:
    assert period_of(pyproj.CRS(crs)) is None


def test_turning_leaves_alone_what_is_there() -> None:
    given = np.array([shapely.box(1, 1, 2, 2), None, shapely.Polygon(), shapely.Point(5, 5)], dtype=object)
    assert shifted_by_turns(given, 0.0, 360.0) is given
    assert shifted_by_turns(given, 1000.0, None) is given


def test_what_is_no_longitude_stays_as_it_is() -> None:
    metres = np.array([shapely.box(500_000, 5_400_000, 500_010, 5_400_010), shapely.box(0, 0, 1e300, 1)], dtype=object)
    assert shapely.equals_exact(cut_at_antimeridian(metres, pyproj.CRS(DEGREES)), metres).all()
    points, _, _ = read_points([[500_000, -15]], geobox=degrees(170, 190))
    assert points[0, 0, 0] > 1e6


def test_lines_and_points_are_cut_too() -> None:
    line, points = shapely.LineString([(170, 0), (190, 0)]), shapely.MultiPoint([(170, 0), (190, 0)])
    cut = cut_at_antimeridian(np.array([line, points], dtype=object), pyproj.CRS(DEGREES))
    assert cut[0].equals(shapely.MultiLineString([[(170, 0), (180, 0)], [(-180, 0), (-170, 0)]]))
    assert cut[1].equals(shapely.MultiPoint([(170, 0), (-170, 0)]))


def test_geojson_is_cut_at_180_degrees_and_comes_back_whole(tmp_path) -> None:
    """RFC 7946, section 3.1.9."""
    path = tmp_path / "fiji.geojson"
    given = [WAYS["170 to 190"], shapely.box(190, 0, 200, 10), shapely.box(10, 0, 20, 10)]
    write_vectors(gpd.GeoDataFrame({"n": [0, 1, 2]}, geometry=given, crs=DEGREES), path)
    written = [shapely.geometry.shape(feature["geometry"]) for feature in json.loads(path.read_text())["features"]]
    assert [one.geom_type for one in written] == ["MultiPolygon"] * 3
    assert written[0].equals(WAYS["cut by RFC 7946"])
    assert written[1].equals(shapely.box(-170, 0, -160, 10))
    whole = shapely.to_geojson(shapely.multipolygons([given[2]]))
    assert json.loads(whole) == json.loads(path.read_text())["features"][2]["geometry"]
    back = read_polygons(read_vectors(path), geobox=degrees(170, 190))[0]
    assert back[0].equals(shapely.box(50, 20, 150, 80))
    utm = gpd.GeoDataFrame(geometry=[shapely.box(1e5, 0, 9e5, 1e6)], crs="EPSG:32601")
    write_vectors(utm, tmp_path / "utm.geojson")
    assert read_vectors(tmp_path / "utm.geojson").geometry[0].equals(utm.geometry[0])


def test_evaluation_knows_a_place_by_either_longitude() -> None:
    x = np.array([178.0, 179.99, 181.0])
    ours = shapely.box(x, 0, x + 0.02, 0.02)
    cut = cut_at_antimeridian(ours, pyproj.CRS(DEGREES))
    for found, truth in ((ours, cut), (cut, ours)):
        overall = evaluate(frame(*found).to_frame("geometry"), frame(*truth).to_frame("geometry")).overall
        assert (overall.matched, overall.mean_iou) == (3, pytest.approx(1))
    area = frame(WAYS["cut by RFC 7946"].buffer(20))
    assert evaluate(frame(*ours).to_frame("geometry"), frame(*cut).to_frame("geometry"), aoi=area).overall.truth == 3


def test_an_area_contains_a_place_by_either_longitude() -> None:
    area, degrees = read_area(frame(WAYS["cut by RFC 7946"])), pyproj.CRS(DEGREES)
    xy = np.array([[177, -15], [183, -15], [-177, -15], [-183, -15], [10, -15], [np.inf, 0]])
    assert area.contains(xy, degrees).tolist() == [True, True, True, True, False, False]


def test_segmenting_over_the_antimeridian(tmp_path) -> None:
    ids = np.zeros((128, 256), dtype=np.int32)
    ids[20:60, 20:60], ids[40:80, 110:150], ids[20:60, 200:240] = 1, 2, 3
    path = write_raster(tmp_path / "fiji.tif", encode_ids(ids), crs=DEGREES, transform=Affine(0.01, 0, 178.72, 0, -0.01, -15))
    east = frame(shapely.MultiPolygon([shapely.box(179.5, -17, 180, -14), shapely.box(-180, -17, -178, -14)]))
    found = samgeo.segment(path, model=Oracle(128), aoi=east, progress=False)
    assert len(found) == 2
    assert found.total_bounds.tolist() == pytest.approx([179.82, -15.8, 181.12, -15.2])
    samgeo.segment(path, tmp_path / "found.geojson", model=Oracle(128), aoi=east, progress=False)
    written = gpd.read_file(tmp_path / "found.geojson")
    assert sorted(written.geom_type) == ["MultiPolygon", "MultiPolygon"]
    assert written.total_bounds[0] >= -180
    assert written.total_bounds[2] <= 180
    asked = samgeo.Predictor(path, model=Oracle(128)).predict(points=[[-179.9, -15.6]], crs=DEGREES)
    assert asked.geometry.iloc[0].bounds == pytest.approx((179.82, -15.8, 180.22, -15.4))

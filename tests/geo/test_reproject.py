"""Edges that are straight in one CRS are the curves that they are in another."""

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from samgeo.buildings.population import allocate_population
from samgeo.errors import VectorError
from samgeo.evaluation import evaluate
from samgeo.geo.coordinates.area_of_interest import to_pixels
from samgeo.geo.coordinates.overlay import read_onto
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_polygons
from samgeo.geo.coordinates.reprojection import TOLERANCE_M, default_tolerance, reproject
from samgeo.geo.vector.reading import read_vectors
from samgeo.map.files.placing import place_geometry, read_proposals

DEGREES = "EPSG:4326"
UTM = "EPSG:32633"
POLAR = "EPSG:3031"
DEGREE = shapely.box(14.5, 49.5, 15.5, 50.5)
PAIRS = [
    (DEGREES, UTM),
    (UTM, DEGREES),
    (DEGREES, "EPSG:3035"),
    ("EPSG:3857", UTM),
    (UTM, "EPSG:3857"),
    ("EPSG:3035", DEGREES),
    (UTM, "EPSG:32634"),
]


def crs(name: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(name)


def frame(*geometries: shapely.Geometry, crs: str | None = DEGREES) -> gpd.GeoSeries:
    return gpd.GeoSeries(list(geometries), crs=crs)


def around(geometry: shapely.Geometry, crs: str, side: float, margin: float = 0) -> GeoBox:
    """Return a raster around a geometry that is given in degrees; its pixels have this side."""
    x0, y0, x1, y1 = gpd.GeoSeries(geometry.segmentize(0.01), crs=DEGREES).to_crs(crs).total_bounds
    shape = (int((y1 - y0 + 2 * margin) / side) + 1, int((x1 - x0 + 2 * margin) / side) + 1)
    return GeoBox(shape, Affine(side, 0, x0 - margin, 0, -side, y1 + margin), crs)


def corners(geometries: object) -> int:
    return len(shapely.get_coordinates(geometries))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_edges_are_where_their_finely_cut_selves_are(source: str, target: str) -> None:
    given = gpd.GeoSeries([DEGREE], crs=DEGREES).to_crs(source).to_numpy()
    unit = 5e-4 if crs(source).is_geographic else 50.0
    fine = gpd.GeoSeries(shapely.segmentize(given, unit), crs=source).to_crs(target)[0]
    placed = reproject(given, crs(source), crs(target))
    assert not placed.lost.any()
    # The fine one is itself off by a tenth of a millimetre.
    assert placed.geometries[0].hausdorff_distance(fine) <= 1.2 * default_tolerance(crs(target))
    assert corners(placed.geometries) < corners(fine) / 4


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_buildings_keep_their_corners_to_the_bit(source: str, target: str) -> None:
    x, y = np.random.default_rng(0).uniform([14.5, 49.5], [15.5, 50.5], (50, 2)).T
    small = gpd.GeoSeries(shapely.box(x, y, x + 2e-4, y + 1e-4), crs=DEGREES).to_crs(source)
    placed = reproject(small.to_numpy(), crs(source), crs(target)).geometries
    assert shapely.equals_exact(placed, small.to_crs(target).to_numpy()).all()


def test_neighbours_still_share_their_whole_edges() -> None:
    west, east = shapely.box(14, 49, 15, 50), shapely.box(15, 49, 16, 50)
    placed = reproject([west, east, west.union(east)], crs(DEGREES), crs(UTM), tolerance=1.0).geometries
    assert shapely.relate_pattern(placed[0], placed[1], "F********")
    assert placed[0].union(placed[1]).symmetric_difference(placed[2]).area / placed[2].area < 1e-5


@settings(max_examples=30, deadline=None)
@given(
    lon=st.floats(-179, 170),
    lat=st.floats(-84, 80),
    width=st.floats(0.01, 8),
    height=st.floats(0.01, 4),
    seed=st.integers(0, 99),
)
def test_a_place_is_inside_before_if_and_only_if_it_is_inside_afterwards(lon, lat, width, height, seed) -> None:
    """In a plane around any place, of polygons with holes: the definition of bringing a region to another CRS."""
    outer = shapely.box(lon, lat, lon + width, lat + height)
    region = outer.difference(shapely.box(lon + width / 4, lat + height / 4, lon + width / 2, lat + height / 2))
    plane = pyproj.CRS.from_proj4(f"+proj=laea +lat_0={lat} +lon_0={lon}")
    placed = reproject([region], crs(DEGREES), plane, tolerance=0.5)
    xy = np.random.default_rng(seed).uniform([lon - width, lat - height], [lon + 2 * width, lat + 2 * height], (300, 2))
    there = np.stack(pyproj.Transformer.from_crs(DEGREES, plane, always_xy=True).transform(*xy.T), axis=1)
    moved = placed.geometries[0]
    shapely.prepare(moved)
    far = shapely.distance(moved.boundary, shapely.points(there)) > 1.0
    assert not placed.lost.any()
    assert np.array_equal(shapely.contains_xy(region, xy)[far], shapely.contains_xy(moved, there)[far])


def test_an_area_of_one_degree_keeps_to_its_parallels() -> None:
    geobox = around(DEGREE, UTM, 1.0, margin=5000)
    exact = to_pixels(frame(DEGREE.segmentize(0.0005)), geobox)
    assert to_pixels(frame(DEGREE), geobox).hausdorff_distance(exact) < 0.15
    by_corners = gpd.GeoSeries([DEGREE], crs=DEGREES).to_crs(UTM)[0]
    assert by_corners.hausdorff_distance(gpd.GeoSeries([DEGREE.segmentize(0.005)], crs=DEGREES).to_crs(UTM)[0]) > 100


@pytest.mark.parametrize(
    "area",
    [
        shapely.box(-60, -85, 60, -78),
        shapely.box(-180, -90, 180, -80),
        shapely.box(0, -90, 360, -80),
        shapely.box(-180, -85, 180, -80),
    ],
    ids=["sector", "cap", "cap from 0 to 360", "ring"],
)
def test_areas_around_a_pole(area: shapely.Polygon) -> None:
    """Sectors are sectors, and caps are disks: their meridians coincide."""
    geobox = GeoBox((6000, 6000), Affine(500, 0, -1_500_000, 0, -500, 1_500_000), POLAR)
    placed = to_pixels(frame(area), geobox)
    x, y = np.random.default_rng(0).uniform(0, 6000, (2, 4000))
    lon, lat = pyproj.Transformer.from_crs(POLAR, DEGREES, always_xy=True).transform(x * 500 - 1_500_000, 1_500_000 - y * 500)
    x0, y0, x1, y1 = area.bounds
    inside = (lat > y0) & (lat < y1) & ((lon - x0) % 360 <= x1 - x0)
    far = shapely.distance(placed.boundary, shapely.points(x, y)) > 0.5
    assert np.array_equal(shapely.contains_xy(placed, x, y)[far], inside[far])


def test_a_polar_cap_is_a_valid_disk() -> None:
    """The meridians at both of its ends coincide, and are no edge."""
    cap = shapely.box(-180, -90, 180, -80)
    radius = pyproj.Transformer.from_crs(DEGREES, POLAR, always_xy=True).transform(0, -80)[1]
    for disk in (read_vectors(frame(cap), crs=POLAR).geometry[0], reproject([cap], crs(DEGREES), crs(POLAR)).geometries[0]):
        assert disk.is_valid
        assert disk.length == pytest.approx(2 * np.pi * radius, rel=1e-6)
        assert disk.area == pytest.approx(np.pi * radius**2, rel=1e-6)


def test_an_area_of_all_the_world_covers_any_raster() -> None:
    everything = frame(shapely.box(-180, -90, 180, 90))
    for name, x, y in ((UTM, 4e5, 5e6), ("EPSG:32601", 2e5, 5e6), (POLAR, -1e5, 1e5), ("EPSG:3857", 0, 0), (DEGREES, 10, 50)):
        side = 0.001 if name == DEGREES else 10
        geobox = GeoBox((200, 300), Affine(side, 0, x, 0, -side, y), name)
        assert shapely.covers(to_pixels(everything, geobox), shapely.box(0, 0, 300, 200)), name


def test_a_box_becomes_the_bounding_box_of_what_it_is_on_the_raster() -> None:
    geobox = around(DEGREE, UTM, 10.0, margin=5000)
    x0, y0, x1, y1 = to_pixels(frame(DEGREE.segmentize(0.0005)), geobox).bounds
    for boxes, theirs in (([DEGREE.bounds], DEGREES), (frame(DEGREE), None)):
        (box,), _ = read_boxes(boxes, geobox=geobox, crs=theirs)
        np.testing.assert_allclose(box, [x0, y0, x1, y1], atol=0.07)
    # The southern parallel is lowest in its middle, not at its ends.
    ends = gpd.GeoSeries(shapely.points([[14.5, 49.5], [15.5, 49.5]]), crs=DEGREES).to_crs(UTM)
    assert box[3] > (geobox.affine.f - ends.y.min()) / 10 + 10


def test_polygons_of_prompts_proposals_and_maps_have_their_edges() -> None:
    geobox = around(DEGREE, UTM, 10.0)
    exact = to_pixels(frame(DEGREE.segmentize(0.0005)), geobox)
    (px,), _ = read_polygons(frame(DEGREE), geobox=geobox)
    assert px.hausdorff_distance(exact) < 0.15
    (bare,), _ = read_polygons([DEGREE], geobox=geobox, crs=DEGREES)
    assert bare.equals_exact(px)
    back = (~geobox.affine).to_shapely()
    placed = [place_geometry(DEGREE, geobox, DEGREES), read_proposals(frame(DEGREE), geobox).proposals[0].geometry]
    placed.append(read_onto(frame(DEGREE), geobox).geometry[0])
    for one in placed:
        assert shapely.affinity.affine_transform(one, back).hausdorff_distance(exact) < 0.15


def test_read_vectors_reprojects_edges_to_a_millimetre() -> None:
    placed = read_vectors(frame(DEGREE), crs=UTM).geometry[0]
    assert placed.hausdorff_distance(gpd.GeoSeries([DEGREE.segmentize(5e-4)], crs=DEGREES).to_crs(UTM)[0]) < 1.2 * TOLERANCE_M


def test_evaluation_counts_what_lies_between_a_parallel_and_its_chord() -> None:
    x, y = pyproj.Transformer.from_crs(DEGREES, UTM, always_xy=True).transform(15.0, 49.5)
    below, inside = shapely.box(x - 10, y - 60, x + 10, y - 40), shapely.box(x - 10, y + 40, x + 10, y + 60)
    truth = gpd.GeoDataFrame(geometry=[below, inside], crs=UTM)
    assert evaluate(truth, truth, aoi=frame(DEGREE)).overall.truth == 1
    assert evaluate(truth, truth, aoi=frame(shapely.box(-180, -90, 180, 90))).overall.truth == 2


def test_evaluation_compares_large_objects_of_two_crss_by_their_edges() -> None:
    field = shapely.box(14.5, 49.5, 14.8, 49.7)
    ours = gpd.GeoDataFrame(geometry=[field], crs=DEGREES)
    truth = gpd.GeoDataFrame(geometry=gpd.GeoSeries([field.segmentize(1e-4)], crs=DEGREES).to_crs(UTM))
    assert evaluate(ours, truth).overall.mean_iou > 0.99999


def test_people_are_shared_out_by_buildings_with_their_edges() -> None:
    west, east = shapely.box(14, 49, 15, 49.5), shapely.box(14, 49.5, 15, 50)
    census = gpd.GeoDataFrame({"population": [10, 20]}, geometry=[west, east], crs=DEGREES)
    halls = gpd.GeoDataFrame(geometry=[west, east], crs=DEGREES).geometry.segmentize(1e-3).to_crs("EPSG:32634")
    shared = allocate_population(census, gpd.GeoDataFrame(geometry=halls)).buildings.population
    np.testing.assert_allclose(shared, [10, 20], rtol=1e-4)


@pytest.mark.parametrize("box", [(0, 80, 10, 95), (0, 0, 120, 10)], ids=["no latitude", "beyond the projection"])
def test_what_has_no_place_is_refused_not_cut_short(box: tuple[float, ...]) -> None:
    beyond = frame(DEGREE, shapely.box(*box))
    with pytest.raises(VectorError, match="feature 1 of the GeoSeries cannot be transformed to"):
        read_vectors(beyond, crs=UTM)
    with pytest.raises(VectorError, match="feature 1 of the layer cannot be transformed to"):
        read_onto(beyond, around(DEGREE, UTM, 10.0))
    geobox = around(DEGREE, UTM, 10.0)
    boxes, _ = read_boxes(beyond, geobox=geobox)
    shapes, _ = read_polygons(beyond, geobox=geobox)
    assert np.isnan(boxes).all(axis=1).tolist() == [False, True]
    assert shapely.is_empty(shapes).tolist() == [False, True]


def test_lines_points_and_collections_come_along() -> None:
    line = shapely.LineString([(14.5, 49.5), (15.5, 49.5)])
    mixed = shapely.GeometryCollection([DEGREE, line, shapely.Point(15, 50)])
    placed = reproject([line, mixed, shapely.MultiPoint([(15, 50)]), None, shapely.Polygon()], crs(DEGREES), crs(UTM))
    assert not placed.lost.any()
    one, two, three, missing, empty = placed.geometries
    assert corners(one) > 10
    assert [part.geom_type for part in two.geoms] == ["Polygon", "LineString", "Point"]
    assert two.geoms[1].equals(one)
    assert three.geom_type == "MultiPoint"
    assert missing is None
    assert empty.is_empty

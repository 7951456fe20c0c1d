"""Regularization makes right angles, keeps areas, gives neighbours shared walls, and keeps outlines that do not fit."""

import os
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter
from shapely import affinity

from samgeo.buildings import regularize
from samgeo.cli import main
from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.area import area_m2
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import georeference, polygons

UTM = "EPSG:32645"
RECTANGLE = shapely.box(0, 0, 12, 8)
L_SHAPE = shapely.box(0, 0, 14, 6) | shapely.box(0, 0, 6, 14)
T_SHAPE = shapely.box(0, 8, 16, 14) | shapely.box(5, 0, 11, 10)
U_SHAPE = shapely.box(0, 0, 16, 12) - shapely.box(5, 5, 11, 13)
COURTYARD = shapely.box(0, 0, 20, 16) - shapely.box(6, 5, 14, 11)
SHAPES = {"rectangle": RECTANGLE, "L": L_SHAPE, "T": T_SHAPE, "U": U_SHAPE, "courtyard": COURTYARD}
TERRACE = [shapely.box(6 * i, 0 if i % 2 else 1.5, 6 * i + 6, 10 + i % 3) for i in range(6)]
BACK_TO_BACK = [*TERRACE, *(shapely.box(6 * i, -9, 6 * i + 6, 0 if i % 2 else 1.5) for i in range(6))]


def staircases(true, pixel, noise=0.0, seed=0):
    """Return outlines of the shapes' pixels, as a model makes them, with edges moved by smooth noise in metres."""
    x0, y0, x1, y1 = shapely.total_bounds(np.array(true)) + np.array([-3, -3, 3, 3])
    height, width = int((y1 - y0) / pixel) + 1, int((x1 - x0) / pixel) + 1
    transform = Affine(pixel, 0, x0, 0, -pixel, y0 + height * pixel)
    labels = rasterize([(shape, i + 1) for i, shape in enumerate(true)], (height, width), transform=transform, dtype="int32")
    if noise:
        random = np.random.default_rng(seed)
        moved = [gaussian_filter(random.standard_normal(labels.shape), 2) * 7 * noise / pixel for _ in range(2)]
        y, x = (np.rint(grid + move).astype(int) for grid, move in zip(np.mgrid[:height, :width], moved, strict=True))
        labels = labels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    outlines = georeference(polygons([Mask.from_array(labels == i + 1) for i in range(len(true))]), transform)
    return [max(shapely.get_parts(each), key=lambda part: part.area) for each in outlines]


def frame(outlines, crs=UTM, **columns):
    return gpd.GeoDataFrame(columns, geometry=list(outlines), crs=crs)


def iou(first, second):
    first, second = np.array(list(first)), np.array(list(second))
    return shapely.area(first & second) / shapely.area(first | second)


def corners(polygon):
    """Return the angle in degrees, from 0 to 180, at every corner where an outline turns."""
    found = []
    for ring in shapely.get_rings(polygon):
        edge = np.diff(shapely.get_coordinates(ring), axis=0)
        before = np.roll(edge, 1, axis=0)
        turn = np.arctan2(before[:, 0] * edge[:, 1] - before[:, 1] * edge[:, 0], (before * edge).sum(axis=1))
        found.append(180 - np.abs(np.degrees(turn)))
    angles = np.concatenate(found)
    return angles[angles < 179.99]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("pixel", "noise"), [(0.1, 0), (0.1, 0.15), (0.3, 0), (0.3, 0.15), (0.5, 0), (0.5, 0.15)])
def test_a_staircase_becomes_its_building(name, pixel, noise):
    for turned in (17, 33, 71):
        true = affinity.rotate(SHAPES[name], turned)
        (outline,) = staircases([true], pixel, noise)
        result = regularize(frame([outline]))
        (found,) = result.geometry
        assert result["regularized"].all()
        assert result["outline"].tolist() == ["right"]
        np.testing.assert_allclose(corners(found), 90, atol=1e-6)
        assert len(corners(found)) == len(corners(true))
        assert len(found.interiors) == len(true.interiors)
        assert iou([found], [true]) >= iou([outline], [true])
        assert iou([found], [true]) > (0.985 if noise == 0 else 0.95)


def test_areas_are_not_biased():
    true = [affinity.translate(affinity.rotate(SHAPES[name], 7 * i), 40 * i, 0) for name in SHAPES for i in range(1, 11)]
    true = [affinity.translate(shape, 0, 60 * i) for i, shape in enumerate(true)]
    found = [regularize(frame(staircases([shape], 0.5, 0.1, seed))).area.iloc[0] for seed, shape in enumerate(true)]
    ratio = np.array(found) / shapely.area(np.array(true))
    assert abs(ratio.mean() - 1) < 0.005
    assert np.abs(ratio - 1).max() < 0.06


@pytest.mark.parametrize("turned", [0, 17, 40])
@pytest.mark.parametrize(("pixel", "noise"), [(0.1, 0.15), (0.3, 0), (0.5, 0.15)])
def test_a_terrace_shares_its_walls(turned, pixel, noise):
    true = [affinity.rotate(house, turned, origin=(3, 2)) for house in BACK_TO_BACK]
    result = regularize(frame(staircases(true, pixel, noise)))
    found = np.array(list(result.geometry))
    assert result["regularized"].all()
    assert shapely.coverage_is_valid(found)  # There are no overlaps, and the corners of neighbours meet.
    whole = shapely.union_all(found)
    assert whole.geom_type == "Polygon"
    assert len(whole.interiors) == 0
    assert iou(found, true).mean() > (0.985 if noise == 0 else 0.955)
    for house in found:
        np.testing.assert_allclose(corners(house), 90, atol=1e-6)


def test_walls_apart_by_less_than_the_tolerance_become_one_and_others_stay_apart():
    houses = [shapely.box(0, 0, 10, 8), shapely.box(10.3, 0, 20, 8), shapely.box(21.5, 0, 30, 8)]
    found = np.array(list(regularize(frame(houses)).geometry))
    assert found[0].intersection(found[1]).length == pytest.approx(8, abs=0.002)
    assert found[1].distance(found[2]) == pytest.approx(1.5, abs=0.002)
    alone = np.array(list(regularize(frame(houses), shared_walls=False).geometry))
    assert alone[0].distance(alone[1]) == pytest.approx(0.3, abs=0.002)


def test_neighbours_that_overlap_a_little_are_parted_and_two_tries_at_one_building_are_not():
    some = [shapely.box(0, 0, 10, 8), shapely.box(9.5, 0, 20, 8)]
    first, second = regularize(frame(some)).geometry
    assert first.intersection(second).area == pytest.approx(0, abs=1e-9)
    same = [shapely.box(0, 0, 10, 8), shapely.box(0, 0, 10, 6)]
    first, second = regularize(frame(same)).geometry
    assert first.intersection(second).area == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_of_different_directions_fit_too(seed):
    wedge = [
        shapely.box(0, 0, 12, 10),
        affinity.rotate(shapely.box(12, 0, 24, 10), 25, origin=(12, 0)),
        shapely.Point(-4, 5).buffer(4),
    ]
    wedge[1] -= wedge[0]
    outlines = staircases([affinity.rotate(each, 20 * seed, origin=(0, 0)) for each in wedge], 0.2, 0.1, seed)
    result = regularize(frame(outlines), min_iou=0.8)
    found = np.array(list(result.geometry))
    assert shapely.is_valid(found).all()
    assert shapely.coverage_is_valid(found)
    assert shapely.union_all(found).geom_type == "Polygon"


@pytest.mark.parametrize(("pixel", "noise"), [(0.1, 0), (0.1, 0.15), (0.3, 0.1), (0.5, 0)])
def test_tanks_stay_round(pixel, noise):
    true = [shapely.Point(0, 0).buffer(6), shapely.Point(30, 3).buffer(4)]
    outlines = staircases(true, pixel, noise)
    result = regularize(frame(outlines))
    assert result["outline"].tolist() == ["circle", "circle"]
    np.testing.assert_allclose(result.area, shapely.area([shapely.Polygon(each.exterior) for each in outlines]), rtol=1e-9)
    assert (iou(result.geometry, true) >= iou(outlines, true)).all()
    square = regularize(frame(outlines), circles=False)
    assert "circle" not in square["outline"].tolist()


def test_a_square_is_no_circle():
    outlines = staircases([affinity.rotate(shapely.box(0, 0, 9, 9), 20).buffer(-1).buffer(1)], 0.2, 0.1)
    assert regularize(frame(outlines))["outline"].tolist() == ["right"]


def test_diagonal_walls_on_request():
    true = affinity.rotate(shapely.Polygon([(0, 0), (20, 0), (20, 8), (14, 14), (0, 14)]), 22)
    outlines = staircases([true], 0.2, 0.05)
    right, diagonal = (regularize(frame(outlines), angles=angles) for angles in ("right", "45"))
    assert diagonal["outline"].tolist() == ["45"]
    assert right["outline"].tolist() != ["45"]
    np.testing.assert_allclose(np.sort(corners(diagonal.geometry[0])), [90, 90, 90, 135, 135], atol=1e-6)
    assert iou(diagonal.geometry, [true]) > 0.98
    plain = regularize(frame(staircases([affinity.rotate(RECTANGLE, 22)], 0.2, 0.15)), angles="45")
    np.testing.assert_allclose(corners(plain.geometry[0]), 90, atol=1e-6)


def test_an_outline_that_no_footprint_fits_stays_and_says_why():
    star = shapely.Polygon(
        [(r * np.cos(a), r * np.sin(a)) for a, r in zip(np.arange(10) * np.pi / 5, [12, 5] * 5, strict=True)]
    )
    result = regularize(frame([star, RECTANGLE.buffer(0), shapely.box(50, 0, 50.4, 0.4)]))
    assert result["regularized"].tolist() == [False, True, False]
    assert iou([result.geometry[0]], [star]) > 0.95
    assert "below 0.85" in result["kept_because"][0]
    assert result["kept_because"][1] is None
    assert result["kept_because"][2] == "smaller than the tolerance"
    assert result["outline_iou"][1] > 0.999
    assert regularize(frame([star]), min_iou=0.3)["regularized"].all()


@settings(max_examples=15, deadline=None)
@given(
    turned=st.floats(0, 90),
    east=st.floats(-1e3, 1e3),
    north=st.floats(-1e3, 1e3),
    widths=st.lists(st.floats(4, 12), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_results_are_valid_fit_and_move_with_their_input(turned, east, north, widths, seed):
    edges = np.cumsum([0, *widths])
    true = [
        affinity.rotate(shapely.box(a, 0, b, 5 + (i * 2.5) % 6), turned, origin=(0, 0))
        for i, (a, b) in enumerate(pairwise(edges))
    ]
    outlines = [shapely.Polygon(each.exterior) for each in staircases(true, 0.25, 0.1, seed)]
    result = regularize(frame(outlines))
    found = np.array(list(result.geometry))
    assert shapely.is_valid(found).all()
    assert shapely.coverage_is_valid(found)
    assert (result["outline_iou"] >= 0.85)[result["regularized"]].all()
    # The column does not count parts that went to neighbours, so that it differs a little.
    np.testing.assert_allclose(result["outline_iou"], iou(found, outlines), atol=0.05)
    moved = np.array([affinity.translate(affinity.rotate(each, 50, origin=(0, 0)), east, north) for each in outlines])
    back = [
        affinity.rotate(affinity.translate(each, -east, -north), -50, origin=(0, 0))
        for each in regularize(frame(moved)).geometry
    ]
    assert (iou(back, found) > 0.97).all()


def test_metres_are_metres_in_any_crs():
    true = [affinity.translate(affinity.rotate(house, 25, origin=(0, 0)), 350_000, 3_060_000) for house in TERRACE]
    plain = frame(staircases(true, 0.3, 0.1))
    expected = regularize(plain)
    for crs in ("EPSG:4326", "EPSG:3857"):  # The units are degrees, and metres that are stretched by an eighth.
        result = regularize(plain.to_crs(crs))
        assert result.crs == crs
        found = np.array(list(result.geometry))
        assert shapely.coverage_is_valid(found)
        back = list(result.to_crs(UTM).geometry)
        assert (iou(back, expected.geometry) > 0.985).all()
        assert all(np.abs(corners(each) - 90).max() < 0.01 for each in back)


def test_feet_and_pixels():
    feet = gpd.GeoDataFrame(geometry=[affinity.rotate(shapely.box(980_000, 200_000, 980_060, 200_040), 30)], crs="EPSG:2263")
    jagged = feet.geometry[0] | affinity.translate(shapely.box(980_030, 200_039, 980_031, 200_061), 0, 0)
    np.testing.assert_allclose(corners(regularize(frame([jagged], "EPSG:2263")).geometry[0]), 90, atol=1e-6)
    (outline,) = staircases([affinity.rotate(shapely.box(0, 0, 60, 40), 30)], 1, 0)
    result = regularize(frame([outline], None, area_px=[outline.area]))
    np.testing.assert_allclose(corners(result.geometry[0]), 90, atol=1e-6)
    assert result["area_px"][0] == result.geometry[0].area


def test_odd_geometries():
    bowtie = shapely.Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    several = shapely.MultiPolygon([RECTANGLE, affinity.translate(L_SHAPE, 40, 0), shapely.box(80, 0, 80.3, 9)])
    result = regularize(frame([None, shapely.Polygon(), bowtie, several, shapely.box(0, 90, 9, 99)], name=list("abcde")))
    assert result["name"].tolist() == list("abcde")
    assert result["kept_because"][:2].tolist() == ["no polygon"] * 2
    assert result.geometry[0] is None
    assert result.geometry[1].is_empty
    assert result.geometry[2].is_valid
    assert len(result.geometry[3].geoms) == 2  # The sliver is treated as noise.
    assert result["regularized"].tolist() == [False, False, False, True, True]
    none = regularize(frame([]))
    assert len(none) == 0
    assert none["regularized"].dtype == bool
    with pytest.raises(VectorError, match="row 1 is a Point"):
        regularize(frame([RECTANGLE, shapely.Point(0, 0)]))
    with np.errstate(invalid="ignore"):
        broken = shapely.Polygon([(0, 0), (1, 0), (np.nan, 1)])
    with pytest.raises(VectorError, match=r"row 0 .*finite"):
        regularize(frame([broken]))


def test_the_order_of_rows_and_repeats_do_not_matter():
    outlines = staircases([affinity.rotate(house, 33, origin=(0, 0)) for house in BACK_TO_BACK], 0.3, 0.15)
    index = [f"house {i}" for i in range(len(outlines))]
    features = gpd.GeoDataFrame({"name": index}, geometry=outlines, crs=UTM, index=index)
    first, again = regularize(features), regularize(features)
    assert first.index.tolist() == index
    assert first.geometry.to_wkb().tolist() == again.geometry.to_wkb().tolist()
    backwards = regularize(features[::-1])[::-1]
    assert (iou(backwards.geometry, first.geometry) > 0.97).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"angles": "30"}, "angles"),
        ({"tolerance_m": 0}, "tolerance_m"),
        ({"tolerance_m": np.nan}, "tolerance_m"),
        ({"min_iou": 2}, "min_iou"),
    ],
)
def test_options_that_cannot_work(options, said):
    with pytest.raises(OptionError, match=said):
        regularize(frame([RECTANGLE]), **options)


def test_the_command(tmp_path):
    source, output = tmp_path / "masks.parquet", tmp_path / "houses.gpkg"
    outlines = frame(staircases([affinity.rotate(L_SHAPE, 20)], 0.3))
    outlines.assign(area_m2=area_m2(outlines.geometry, outlines.crs)).to_parquet(source)
    arguments = ["regularize", str(source), str(output), "--angles", "45", "--tolerance", "0.8", "--no-circles"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "1 footprint of 1 outline" in done.stderr
    result = read_vectors(output)
    assert result["area_m2"][0] == pytest.approx(132, rel=0.01)
    assert read_provenance(output)["regularize"]["tolerance"] == 0.8
    assert CliRunner().invoke(main, arguments).exit_code == 1
    assert CliRunner().invoke(main, [*arguments, "--overwrite", "--quiet"]).exit_code == 0


@pytest.mark.skipif("SAMGEO_DATA" not in os.environ, reason="SAMGEO_DATA does not name the folder of test data")
def test_real_footprints_survive_being_rasterized():
    true = gpd.read_file(Path(os.environ["SAMGEO_DATA"]) / "oam-banepa-buildings" / "footprints.geojson")
    true = true.to_crs(true.estimate_utm_crs()).geometry.explode(ignore_index=True)
    true = true[true.is_valid & (true.area > 30)][:120]
    outlines = [staircases([each], 0.25, 0.1, seed)[0] for seed, each in enumerate(true)]
    result = regularize(frame(outlines, true.crs))
    done = result["regularized"].to_numpy()
    assert done.mean() > 0.8
    before, after = iou(outlines, true), iou(result.geometry, true)
    assert after[done].mean() > before[done].mean()
    assert result.area.sum() == pytest.approx(true.area.sum(), rel=0.02)
    assert result.is_valid.all()

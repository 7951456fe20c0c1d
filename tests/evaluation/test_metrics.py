"""Figures are correct for cases calculated by hand, general laws hold, and objects that are left out are reported."""

import json
import math
import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely import box
from shapely.affinity import translate

from samgeo.errors import OptionError, VectorError
from samgeo.evaluation import LeftOut, boundary_iou, evaluate, match, polis
from samgeo.geo.coordinates.area import area_m2

UTM = "EPSG:32645"
SQUARE = box(0, 0, 10, 10)


def layer(*geometries, crs=None, **columns):
    return gpd.GeoDataFrame(columns, geometry=list(geometries), crs=crs)


def at(x, y=0.0, side=10.0):
    return box(x, y, x + side, y + side)


# The intersection of two squares shifted by half a side is a third of their union.
@pytest.mark.parametrize("crs", [None, UTM, "EPSG:3857"])
def test_half_shifted_squares_have_an_iou_of_a_third(crs):
    origin = (500_000, 3_000_000) if crs else (0, 0)
    truth, found = (layer(translate(at(x), *origin), crs=crs) for x in (0, 5))
    assert match(found, truth, min_iou=0.34).matched == 0
    matches = match(found, truth, min_iou=0.33)
    assert matches.matched == 1
    assert matches.mean_iou == pytest.approx(1 / 3, abs=1e-7)
    assert (matches.precision, matches.recall, matches.f1) == (1, 1, 1)


def test_iou_of_exactly_the_threshold_is_a_match():
    assert match(layer(box(0, 0, 10, 5)), layer(SQUARE)).matched == 1
    assert match(layer(SQUARE), layer(SQUARE), min_iou=1).matched == 1


def test_polis_of_a_shifted_square_is_half_the_shift():
    # Two corners of each square are 3 from the other's outline, and two lie on it: the mean is 1.5 in both directions.
    np.testing.assert_allclose(polis([SQUARE], [at(3)]), [1.5])


def test_polis_of_nested_squares():
    # Outer corners are sqrt(2) * 2 from the inner outline; inner corners are 2 from the outer outline.
    np.testing.assert_allclose(polis([SQUARE], [box(2, 2, 8, 8)]), [(2 * math.sqrt(2) + 2) / 2])


def test_polis_counts_each_corner_once_and_those_of_holes():
    triangle, shifted = shapely.Polygon([(0, 0), (4, 0), (0, 4)]), shapely.Polygon([(0, 1), (4, 1), (0, 5)])
    # Distances of the triangle's corners: (0, 0) is 1 from the bottom edge of the other triangle, (4, 0) is 1 from (4, 1), and
    # (0, 4) is on the left edge. Distances of the shifted corners: (0, 1) is on an edge; (4, 1) is sqrt(1/2) from the edge
    # x + y = 4, at (3.5, 0.5); (0, 5) is 1 from the end (0, 4) of this edge.
    np.testing.assert_allclose(polis([triangle], [shifted]), [(2 / 3 + (0 + math.sqrt(0.5) + 1) / 3) / 2])
    ring = shapely.difference(SQUARE, box(4, 4, 6, 6))
    # The hole's corners are 4 from the outline of the square without a hole; the square's corners are on the ring's outline.
    np.testing.assert_allclose(polis([ring], [SQUARE]), [(4 * 4 / 8 + 0) / 2])


def test_boundary_iou_by_hand():
    # A band of width 1 inside a 10 x 10 square has the area 36. If one square is shifted by 1, the top and bottom strips share
    # 2 * 9. The left and right strips share no more, because they lie in the interior of the other square or outside of it.
    np.testing.assert_allclose(boundary_iou([SQUARE], [at(1)], 1.0), [18 / (72 - 18)])
    # The second polygon is the left half of the square: bands of 36 and 26 share three sides of it, 2 * 5 + 8.
    np.testing.assert_allclose(boundary_iou([SQUARE], [box(0, 0, 5, 10)], 1.0), [18 / (36 + 26 - 18)])
    # If the distance is larger than the objects, the result is their IoU.
    np.testing.assert_allclose(boundary_iou([SQUARE], [at(5)], 50.0), [1 / 3])


def test_area_bias_and_means_are_over_pairs():
    truth = layer(at(0), at(100), at(200))
    found = layer(box(0, 0, 10, 9), box(100, 0, 110, 12), at(300, side=50))
    scores = evaluate(found, truth).overall
    assert (scores.truth, scores.found, scores.matched) == (3, 3, 2)
    assert scores.mean_iou == pytest.approx((0.9 + 10 / 12) / 2)
    assert scores.mean_dice == pytest.approx((1.8 / 1.9 + 20 / 22) / 2)
    assert scores.area_bias == pytest.approx(210 / 200 - 1)
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_surer_objects_choose_first_and_without_scores_the_best_pair():
    truth = layer(SQUARE)
    found = layer(box(0, 0, 10, 6), SQUARE, score=[0.9, 0.8])
    by_score, by_iou = evaluate(found, truth), evaluate(found.drop(columns="score"), truth)
    assert by_score.overall.mean_iou == pytest.approx(0.6)
    assert by_iou.overall.mean_iou == 1
    assert by_score.worst("false").row.tolist() == [1]
    assert by_iou.worst("false").row.tolist() == [0]
    assert math.isnan(by_iou.overall.ap)
    assert "AP" not in by_iou.to_markdown().splitlines()[0]


def test_classes_match_within_themselves():
    truth = layer(at(0), at(100), at(200), kind=[1, 1, 2])
    found = layer(at(0), at(100), at(200), kind=[1.0, 2.0, 2.0])
    report = evaluate(found, truth, class_column="kind")
    assert {name: (one.truth, one.found, one.matched) for name, one in report.by_class.items()} == {
        "1": (2, 1, 1),
        "2": (1, 2, 1),
    }
    assert (report.overall.precision, report.overall.recall) == pytest.approx((2 / 3, 2 / 3))
    assert evaluate(found, truth).overall.matched == 3


def test_sizes_add_up():
    truth = layer(at(0, side=5), at(100, side=40), at(200, side=100), at(400, side=100))
    found = layer(at(0, side=5), at(100, side=30), at(200, side=100), at(600, side=5))
    report = evaluate(found, truth, sizes=(1000, 5000))
    counts = {name: (one.truth, one.found, one.matched) for name, one in report.by_size.items()}
    assert counts == {"small": (1, 2, 1), "medium": (1, 1, 1), "large": (2, 1, 1)}
    assert tuple(map(sum, zip(*counts.values(), strict=True))) == (4, 4, 3)


def test_what_cannot_be_judged_is_counted_with_the_reason():
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    spike = shapely.Polygon([(0, 0), (10, 0), (5, 0)])
    with np.errstate(invalid="ignore"):
        not_finite = shapely.Polygon([(0, 0), (np.nan, 0), (5, 5)])
    found = layer(at(0), None, shapely.Polygon(), shapely.Point(1, 1), spike, not_finite, translate(bow_tie, 50))
    truth = layer(at(0), translate(bow_tie, 50))
    report = evaluate(found, truth)
    assert report.left_out == (
        LeftOut("found", "coordinates that have no place in the CRS", 1),
        LeftOut("found", "empty geometry", 1),
        LeftOut("found", "no area", 1),
        LeftOut("found", "no geometry", 1),
        LeftOut("found", "not a polygon", 1),
    )
    assert report.repaired == {"found": 1, "truth": 1}
    assert len(report.objects) == len(found) + len(truth)
    of_found = report.objects[report.objects.layer == "found"]
    assert of_found.row.tolist() == list(range(7))
    assert of_found.reason.isna().tolist() == [True, False, False, False, False, False, True]
    table = report.to_markdown()
    assert "1 left out: not a polygon" in table
    assert "1 not valid and judged as repaired" in table


def test_collections_are_judged_by_their_polygons():
    inner = shapely.GeometryCollection([shapely.MultiPolygon([at(20)]), shapely.LineString([(0, 0), (0, 50)])])
    report = evaluate(layer(shapely.GeometryCollection([at(0), inner])), layer(shapely.MultiPolygon([at(0), at(20)])))
    assert report.overall.mean_iou == 1
    assert report.repaired == {"found": 1, "truth": 0}


def test_areas_without_class_are_left_out():
    report = evaluate(layer(at(0), at(100), kind=["a", None]), layer(at(0), kind=["a"]), class_column="kind")
    assert report.left_out == (LeftOut("found", "no class", 1),)
    assert report.overall.found == 1


def test_outside_the_area_of_interest_nothing_is_right_or_wrong():
    truth = layer(at(0), at(100), at(195))
    found = layer(at(1), at(195), at(300), at(50))
    report = evaluate(found, truth, aoi=layer(box(-10, -10, 110, 20)))
    assert (report.overall.truth, report.overall.found, report.overall.matched) == (2, 2, 1)
    assert report.left_out == (
        LeftOut("found", "matches an object outside the area of interest", 1),
        LeftOut("found", "outside the area of interest", 1),
        LeftOut("truth", "outside the area of interest", 1),
    )


def test_an_object_over_the_edge_of_the_area_matches_what_is_inside():
    truth, found = layer(box(0, 0, 10, 10)), layer(box(0, 0, 12, 10))
    report = evaluate(found, truth, aoi=layer(box(-10, -10, 5.5, 20)))
    assert (report.overall.found, report.overall.matched) == (1, 1)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:27700", "EPSG:3035", "EPSG:32631"])
def test_the_figures_are_the_same_in_every_crs(crs):
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 2000, (200, 2))
    truth = gpd.GeoSeries([box(x, y, x + 12, y + 8) for x, y in corners], crs="EPSG:32631").translate(300_000, 5_800_000)
    found = truth.translate(1.5, 0.5)
    expected = evaluate(found.to_frame("geometry"), truth.to_frame("geometry")).overall
    report = evaluate(found.to_crs(4326).to_frame("geometry"), truth.to_crs(crs).to_frame("geometry")).overall
    for name in ("matched", "mean_iou", "boundary_iou", "polis", "area_bias"):
        assert getattr(report, name) == pytest.approx(getattr(expected, name), rel=2e-4, abs=1e-6), name


def test_areas_are_true_far_from_the_middle_of_a_projection():
    truth = gpd.GeoSeries([box(25.0, 69.0, 25.001, 69.001)], crs=4326).to_crs(3857).to_frame("geometry")
    report = evaluate(truth, truth)
    assert report.objects["area"].iloc[0] == pytest.approx(area_m2(truth.geometry, truth.crs)[0], rel=1e-7)


def test_layers_far_apart_and_at_the_ends_of_the_earth_are_measured():
    places = [(-179.9995, 10), (179.9, -10), (0, 0), (0.99999, 0.99999), (-0.00001, -45), (30, 89), (30, -89)]
    truth = gpd.GeoSeries([box(x, y, x + 0.0002, y + 0.0002) for x, y in places], crs=4326).to_frame("geometry")
    report = evaluate(truth, truth)
    assert report.overall.matched == len(places)
    assert report.overall.mean_iou == pytest.approx(1)
    np.testing.assert_allclose(report.objects["area"][: len(places)], area_m2(truth.geometry, truth.crs), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_iou": 0}, "min_iou"),
        ({"min_iou": 1.5}, "min_iou"),
        ({"sizes": (5, 5)}, "sizes"),
        ({"boundary_m": 0}, "boundary_m"),
        ({"boundary_m": math.nan}, "boundary_m"),
        ({"score": "certainty"}, "certainty"),
        ({"class_column": "sort"}, "sort"),
        ({"aoi": gpd.GeoDataFrame(geometry=[SQUARE], crs=UTM)}, "CRS"),
        ({"aoi": gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)])}, "area of interest"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        evaluate(layer(SQUARE), layer(SQUARE), **options)


def test_layers_that_do_not_go_together_are_refused():
    with pytest.raises(OptionError, match="CRS"):
        evaluate(layer(SQUARE, crs=UTM), layer(SQUARE))
    with pytest.raises(OptionError, match="CRS"):
        match(layer(SQUARE), layer(SQUARE, crs=UTM))
    with pytest.raises(OptionError, match="no class of kind is in both"):
        evaluate(layer(SQUARE, kind=["Building"]), layer(SQUARE, kind=["building"]), class_column="kind")
    with pytest.raises(VectorError, match="1 of 2 found objects have no score, the first in row 1"):
        evaluate(layer(SQUARE, at(50), score=[0.5, np.nan]), layer(SQUARE))
    with pytest.raises(VectorError, match="numbers"):
        evaluate(layer(SQUARE, score=["high"]), layer(SQUARE))


@pytest.mark.parametrize(("found", "truth"), [((), ()), ((SQUARE,), ()), ((), (SQUARE,)), ((shapely.Polygon(),), (SQUARE,))])
@pytest.mark.parametrize("crs", [None, UTM])
def test_empty_layers_are_judged(found, truth, crs, tmp_path):
    report = evaluate(layer(*found, crs=crs, score=[0.5] * len(found)), layer(*truth, crs=crs))
    assert report.overall.matched == 0
    assert math.isnan(report.overall.mean_iou)
    assert len(report.objects) == len(found) + len(truth)
    report.write(tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["overall"]["mean_iou"] is None


def test_a_report_is_written_whole_and_not_over_another(tmp_path):
    truth = layer(at(0), at(100), kind=["a|b", "c"], crs=UTM)
    report = evaluate(truth.assign(score=[0.9, 0.8]), truth, class_column="kind")
    report.write(tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["objects.parquet", "report.json", "report.md"]
    assert list(tmp_path.iterdir()) == [tmp_path / "report"]
    with pytest.raises(OptionError, match="overwrite"):
        report.write(tmp_path / "report")
    report.write(tmp_path / "report", overwrite=True)
    rows = [line for line in (tmp_path / "report" / "report.md").read_text().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {rows[0].count("|")}
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert figures["by_class"]["a|b"]["ap"] == pytest.approx(1)
    assert figures["overall"]["f1"] == 1
    assert gpd.read_parquet(tmp_path / "report" / "objects.parquet").verdict.tolist() == ["matched"] * 4


def test_the_worst_come_first():
    truth = layer(at(0), at(100), at(300, side=5), at(400, side=50))
    found = layer(box(0, 0, 10, 6), box(100, 0, 110, 9), at(600), at(700, side=20))
    report = evaluate(found, truth)
    assert report.worst("matched").row.tolist() == [0, 1]
    assert report.worst("missed").row.tolist() == [3, 2]
    assert report.worst("false", 1).row.tolist() == [3]
    with pytest.raises(OptionError, match="verdict"):
        report.worst("bad")


# All positions are different, because pairs with equal IoUs would be chosen by their order.
towns = st.integers(0, 2**32 - 1).map(
    lambda seed: [
        [
            box(x, y, x + w, y + h)
            for x, y, w, h in np.random.default_rng([seed, side]).uniform((0, 0, 4, 4), (30, 30, 12, 12), (25, 4))
        ]
        for side in (0, 1)
    ]
)


@settings(max_examples=15, deadline=None)
@given(towns, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(town, random):
    found, truth = (layer(*some) for some in town)
    found["score"] = np.random.default_rng(0).permutation(len(found)) / len(found)
    expected = evaluate(found, truth)
    orders = [random.sample(range(25), 25) for _ in range(2)]
    report = evaluate(found.iloc[orders[0]].reset_index(drop=True), truth.iloc[orders[1]].reset_index(drop=True))
    assert report.to_dict()["overall"] == pytest.approx(expected.to_dict()["overall"], nan_ok=True)


@settings(max_examples=15, deadline=None)
@given(towns)
def test_without_scores_the_layers_can_change_places(town):
    a, b = (layer(*some) for some in town)
    one, other = evaluate(a, b, min_iou=0.3).overall, evaluate(b, a, min_iou=0.3).overall
    assert (one.matched, one.precision, one.recall) == (other.matched, other.recall, other.precision)
    if one.matched:
        for name in ("mean_iou", "boundary_iou", "polis"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))
        assert one.area_bias == pytest.approx(1 / (1 + other.area_bias) - 1)


coordinates = arrays(np.float64, (2, 4), elements=st.floats(0, 100, width=32))


@settings(max_examples=40, deadline=None)
@given(coordinates, st.floats(0.1, 40))
def test_laws_of_the_distances(corners, distance):
    a, b = (box(x0, y0, x0 + 1 + w, y0 + 1 + h) for x0, y0, w, h in corners)
    assert polis([a], [b])[0] == pytest.approx(polis([b], [a])[0])
    assert polis([a], [a])[0] == 0
    assert boundary_iou([a], [a], distance)[0] == pytest.approx(1)
    ours = boundary_iou([a], [b], distance)[0]
    assert ours == pytest.approx(boundary_iou([b], [a], distance)[0])
    assert 0 <= ours <= 1 + 1e-9


def test_one_object_over_the_whole_town_matches_nothing_and_takes_no_time():
    squares = [at(20 * (number % 100), 20 * (number // 100)) for number in range(4_000)]
    cover = box(-5, -5, 2005, 805)
    report = evaluate(layer(cover, *squares), layer(*squares, cover))
    assert report.overall.matched == 4_001
    assert report.overall.mean_iou == 1


@pytest.mark.skipif(not os.environ.get("SAMGEO_DATA"), reason="needs real footprints: SAMGEO_DATA is not set to their folder")
def test_real_footprints_moved_by_a_foot():
    truth = gpd.read_file(Path(os.environ["SAMGEO_DATA"]) / "oam-banepa-buildings" / "footprints.geojson")
    local = truth.to_crs(UTM)
    report = evaluate(local.set_geometry(local.translate(0.3)), truth)
    assert report.overall.matched > 0.99 * len(truth)
    assert report.left_out == ()
    # The distance of a corner from the other outline is at most the shift; it is 0 for corners of edges along the shift.
    assert 0.05 < report.overall.polis < 0.3
    assert abs(report.overall.area_bias) < 1e-4

"""Calibration of scores: a known distortion is undone, no evidence changes nothing, and mistakes are told."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scipy import special

from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.finding import Calibration, calibrate, suggest_threshold, threshold_curve
from samgeo.geo.vector.reading import write_vectors

COUNT = 400


def frame_of(scores) -> gpd.GeoDataFrame:
    squares = [shapely.box(10 * place, 0, 10 * place + 6, 6) for place in range(len(scores))]
    return gpd.GeoDataFrame({"score": np.asarray(scores, dtype=float)}, geometry=squares, crs="EPSG:32633")


def judged_as(truth: np.ndarray, places: np.ndarray) -> tuple[list[int], list[int]]:
    return places[truth[places]].tolist(), places[~truth[places]].tolist()


@pytest.mark.parametrize(("slope", "offset"), [(1.0, -1.5), (0.5, 1.0), (1.8, 0.7)])
def test_many_examples_undo_a_distortion(slope: float, offset: float) -> None:
    random = np.random.default_rng(3)
    true = random.beta(0.8, 1.0, 4000).clip(0.01, 0.99)
    right = random.random(len(true)) < true
    distorted = special.expit((special.logit(true) - offset) / slope)
    fitted = Calibration.fit(distorted, right)
    assert (fitted.slope, fitted.offset) == pytest.approx((slope, offset), abs=0.15)
    assert np.abs(fitted(distorted) - true).mean() < 0.02
    assert np.abs(distorted - true).mean() > 0.05
    assert fitted.accepted + fitted.rejected == 4000


def test_the_minimum_is_where_the_gradient_is_zero() -> None:
    random = np.random.default_rng(4)
    scores, right = random.uniform(0.05, 0.95, 60), random.random(60) < 0.3
    fitted = Calibration.fit(scores, right)
    error = fitted(scores) - right
    assert (error @ special.logit(scores)) + (fitted.slope - 1) / 0.25**2 == pytest.approx(0, abs=1e-5)
    assert error.sum() + fitted.offset / 0.5**2 == pytest.approx(0, abs=1e-5)


def test_without_evidence_nothing_changes_and_little_evidence_changes_little() -> None:
    scores = np.linspace(0, 1, 101)
    assert Calibration.fit([], []) == Calibration()
    assert Calibration()(scores) == pytest.approx(scores, abs=2e-6)
    # Examples that are as the scores say are no reason for a change.
    agreed = Calibration.fit([0.5] * 40 + [0.25] * 40, ([True] * 20 + [False] * 20) + ([True] * 10 + [False] * 30))
    assert (agreed.slope, agreed.offset) == pytest.approx((1, 0), abs=1e-5)
    changes = []
    for count in (1, 4, 16, 64):
        fitted = Calibration.fit([0.5] * count, [False] * count)
        assert fitted.slope == pytest.approx(1)
        changes.append(0.5 - fitted([0.5])[0])
    assert changes == sorted(changes)
    assert changes[0] < 0.04
    assert changes[-1] > 0.35


def test_the_order_stays_even_against_the_evidence() -> None:
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    fitted = Calibration.fit(np.tile(scores, 50), np.tile([True, True, False, False], 50))
    assert 0 < fitted.slope < 0.2
    assert (np.diff(fitted(np.linspace(0.001, 0.999, 50))) > 0).all()


def test_a_place_with_scores_that_are_too_high_is_calibrated() -> None:
    random = np.random.default_rng(5)
    true = random.beta(0.7, 1.2, COUNT).clip(0.02, 0.98)
    truth = random.random(COUNT) < true
    found = frame_of(special.expit(special.logit(true) + 1.5))
    found.attrs["samgeo"] = {"options": {"min_score": 0.05}}
    accepted, rejected = judged_as(truth, np.arange(0, COUNT, 4))
    calibrated = calibrate(found, accepted, rejected)
    objects, calibration = calibrated.objects, calibrated.calibration
    assert np.abs(objects["score"] - true).mean() < np.abs(found["score"] - true).mean() / 3
    assert objects["score"].rank().tolist() == found["score"].rank().tolist()
    assert objects.geometry.equals(found.geometry)
    assert (calibration.accepted, calibration.rejected) == (len(accepted), len(rejected))
    note = objects.attrs["samgeo"]["calibration"]
    assert note == {
        **{name: getattr(calibration, name) for name in ("slope", "offset", "accepted", "rejected")},
        "min_score": calibration([0.05])[0],
        "threshold": calibrated.threshold,
    }
    assert objects.attrs["samgeo"]["options"] == {"min_score": 0.05}
    assert "calibration" not in found.attrs["samgeo"]
    # The figures without truth agree with the truth.
    assert calibrated.threshold == suggest_threshold(objects)
    assert calibrated.kept["score"].min() == calibrated.threshold
    kept = (objects["score"] >= calibrated.threshold).to_numpy()
    row = threshold_curve(objects, [calibrated.threshold]).iloc[0]
    assert row.expected_precision == pytest.approx(truth[kept].mean(), abs=0.07)
    before = threshold_curve(found, [0.4]).iloc[0]
    assert before.expected_precision - truth[found["score"] >= 0.4].mean() > 0.1
    assert threshold_curve(objects)["threshold"][0] == note["min_score"]
    # The map of one image is applied to another one.
    other = calibration.apply(frame_of([0.2, 0.6]))
    assert other["score"].tolist() == calibration([0.2, 0.6]).tolist()
    assert other.attrs["samgeo"]["calibration"]["slope"] == calibration.slope
    with pytest.raises(OptionError, match="calibrated already"):
        calibration.apply(objects)


def test_labels_and_polygons_judge_the_same(tmp_path) -> None:
    found = frame_of(np.linspace(0.2, 0.9, 8))
    found.index = [f"roof {number}" for number in range(8)]
    wanted = calibrate(found, ["roof 5", "roof 7"], found.index[:3]).calibration
    right, wrong = found.geometry.iloc[[5, 7]], found.geometry.iloc[:3]
    # Outlines that were drawn anew do not have to be the same; what hits no object is left out.
    moved = [*right.translate(1, 0), shapely.box(500, 500, 510, 510)]
    write_vectors(gpd.GeoDataFrame(geometry=wrong).reset_index(drop=True), tmp_path / "wrong.gpkg")
    far = gpd.GeoSeries(right).to_crs(4326)
    for accepted, rejected in ((right, list(wrong)), (moved, tmp_path / "wrong.gpkg"), (far, gpd.GeoDataFrame(geometry=wrong))):
        assert calibrate(found, accepted, rejected).calibration == wanted
    assert (wanted.accepted, wanted.rejected) == (2, 3)
    one = calibrate(found, shapely.box(50, 0, 56, 6), ["roof 0"]).calibration
    assert (one.accepted, one.rejected) == (1, 1)


@pytest.mark.parametrize(
    ("accepted", "rejected", "told"),
    [
        ([], [0], "no object is accepted"),
        ([0], [], "no object is rejected"),
        ([0, 1], [1, 2], "object 1 is both accepted and rejected"),
        ([0], [99], "no object 99 in the index of the result, which rejected names"),
        ([True, False, False], [1], "accepted is a mask"),
        ([shapely.box(3, 0, 9, 6)], [1], "none of the 1 accepted features has an IoU of 0.5"),
        (gpd.GeoSeries([shapely.box(0, 0, 6, 6)]), [1], "the layer of accepted features has no CRS"),
        ("missing.gpkg", [1], "missing.gpkg"),
    ],
)
def test_evidence_that_cannot_be_used_is_refused(accepted: object, rejected: object, told: str) -> None:
    with pytest.raises(SamgeoError, match=told):
        calibrate(frame_of([0.3, 0.5, 0.7]), accepted, rejected)


def test_results_that_cannot_be_calibrated_are_refused() -> None:
    found = frame_of([0.3, 0.5, 0.7])
    with pytest.raises(OptionError, match="no column score"):
        calibrate(found.drop(columns="score"), [0], [1])
    with pytest.raises(OptionError, match="label twice"):
        calibrate(found.set_index([[0, 0, 1]]), [0], [1])
    with pytest.raises(OptionError, match="found_share is 2"):
        calibrate(found, [0], [1], found_share=2)
    with pytest.raises(VectorError, match="the result has no CRS"):
        calibrate(found.set_crs(None, allow_override=True), found.iloc[[0]], [1])
    with pytest.raises(OptionError, match="slope is 0"):
        Calibration(slope=0.0)
    with pytest.raises(OptionError, match="one label for each score"):
        Calibration.fit([0.5, 0.6], [True])
    with pytest.raises(OptionError, match="not a number from 0 to 1"):
        Calibration.fit([0.5, np.nan], [True, False])

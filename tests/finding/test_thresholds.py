"""What a threshold keeps, against a direct computation; and the threshold that `samgeo.find` chooses by itself."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, SamgeoError
from samgeo.finding import Finder, boxes_from, suggest_threshold, threshold_curve
from samgeo.finding.thresholds.expected import LEAST_SCORE, best_cut
from samgeo.geo.vector.reading import read_provenance, read_vectors, write_vectors
from samgeo.segmentation.run.folder import RunFolder
from samgeo.synthetic import Scene, town

SHARE = 0.75


def frame_of(scores, **provenance) -> gpd.GeoDataFrame:
    squares = [shapely.box(10 * place, 0, 10 * place + 5, 5) for place in range(len(scores))]
    frame = gpd.GeoDataFrame({"score": np.asarray(scores, dtype=float)}, geometry=squares, crs="EPSG:32633")
    if provenance:
        frame.attrs["samgeo"] = provenance
    return frame


@pytest.fixture
def scores() -> np.ndarray:
    rounded = np.random.default_rng(0).beta(0.6, 1.0, 300).round(2)  # many are equal
    return rounded.clip(0.01, 0.99)


@pytest.mark.parametrize("share", [SHARE, 1.0])
def test_the_curve_is_what_a_loop_computes(scores: np.ndarray, share: float) -> None:
    curve = threshold_curve(frame_of(scores), found_share=share)
    assert curve["threshold"].tolist() == pytest.approx(np.arange(0.05, 0.96, 0.05))
    for row in curve.itertuples():
        kept = [score for score in scores if score >= row.threshold]
        precision, recall = sum(kept) / len(kept), sum(kept) / (sum(scores) / share)
        assert row.kept == len(kept)
        assert row.expected_precision == pytest.approx(precision)
        assert row.expected_recall == pytest.approx(recall)
        assert row.expected_f1 == pytest.approx(2 / (1 / precision + 1 / recall))


def test_expected_numbers_are_means_over_draws(scores: np.ndarray) -> None:
    random = np.random.default_rng(1)
    right = random.random((4000, len(scores))) < scores
    row = threshold_curve(frame_of(scores), [0.4], found_share=1).iloc[0]
    kept = scores >= 0.4
    assert row.expected_precision == pytest.approx(right[:, kept].sum(1).mean() / kept.sum(), rel=0.01)
    assert row.expected_recall == pytest.approx(right[:, kept].sum(1).mean() / right.sum(1).mean(), rel=0.01)


def test_the_suggested_threshold_is_the_best_of_all(scores: np.ndarray) -> None:
    chosen, total = suggest_threshold(frame_of(scores)), scores.sum() / SHARE
    f1 = {one: 2 * scores[scores >= one].sum() / ((scores >= one).sum() + total) for one in np.unique(scores)}
    assert chosen in f1
    assert f1[chosen] == max(f1.values())
    # Half the best F1 lies between the threshold and the next lower score.
    assert max(one for one in f1 if one < chosen) <= max(f1.values()) / 2 <= chosen
    # If everything is surely right, everything is kept; among many bad objects the good ones are.
    assert suggest_threshold(frame_of([0.99, 0.98, 0.97])) == 0.97
    assert suggest_threshold(frame_of([0.9] * 10 + [0.1] * 50)) == 0.9


def test_thresholds_begin_at_the_least_score_of_the_run(tmp_path: Path) -> None:
    options = {"options": {"min_score": 0.12}}
    found = frame_of([0.2, 0.3, 0.9], **options)
    write_vectors(found, tmp_path / "found.gpkg", provenance=options)
    for source in (found, tmp_path / "found.gpkg", str(tmp_path / "found.gpkg")):
        assert threshold_curve(source)["threshold"].tolist()[:2] == [0.12, 0.15]
        with pytest.raises(OptionError, match=r"only objects with a score of 0\.12 or more"):
            threshold_curve(source, [0.5, 0.1])
    chosen = frame_of([0.4, 0.9], options={"min_score": "auto"}, threshold={"min_score": 0.31})
    assert threshold_curve(chosen)["threshold"].tolist()[:2] == [0.31, 0.35]
    assert threshold_curve(frame_of([0.4], options={"min_score": None}), [0.0]).kept.tolist() == [1]


def test_without_objects_the_curve_is_empty_of_figures() -> None:
    curve = threshold_curve(frame_of([]), [0.5])
    assert curve["kept"].tolist() == [0]
    assert curve["expected_f1"].isna().all()
    assert threshold_curve(frame_of([0.2]), [0.5])[["kept", "expected_recall", "expected_f1"]].values.tolist() == [[0, 0, 0]]
    assert best_cut(np.empty(0), least=0.05).about["candidates"] == 0
    with pytest.raises(OptionError, match="no objects"):
        suggest_threshold(frame_of([]))


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (frame_of([0.5]).drop(columns="score"), {}, "no column score"),
        (frame_of([0.5, 1.5]), {}, "score in row 1 of the result is .*1.5"),
        (frame_of([0.5, np.nan]), {}, "score in row 1"),
        (frame_of([0.5]), {"thresholds": [0.5, 1.2]}, "a threshold is 1.2"),
        (frame_of([0.5]), {"thresholds": ["high"]}, "thresholds is"),
        (frame_of([0.5]), {"found_share": 0.0}, "found_share is 0.0"),
        ("missing.gpkg", {}, "missing.gpkg"),
    ],
)
def test_what_is_no_result_is_refused(given: object, options: dict[str, object], told: str) -> None:
    with pytest.raises(SamgeoError, match=told):
        threshold_curve(given, **options)


# A town of pixels of 1 m is read at zoom 4, in one window, which is quickly encoded.
@pytest.fixture(scope="module")
def scene() -> Scene:
    return town((80, 96), seed=1, resolution_m=1.0)


@pytest.fixture(scope="module")
def image(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.save(tmp_path_factory.mktemp("town") / "town.tif")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where embeddings are kept, so that the window is encoded once."""
    return tmp_path_factory.mktemp("store") / "embeddings"


@pytest.fixture(scope="module")
def everything(image: Path, store: Path) -> gpd.GeoDataFrame:
    return samgeo.find(image, min_score=LEAST_SCORE, workers=1, cache=store, progress=False)


def same(first: gpd.GeoDataFrame, second: gpd.GeoDataFrame) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(first.drop(columns="geometry")), pd.DataFrame(second.drop(columns="geometry")))
    assert first.bounds.to_numpy().tolist() == second.bounds.to_numpy().tolist()


def test_auto_is_the_filter_by_hand_and_goes_on_after_a_stop(
    image: Path, store: Path, everything: gpd.GeoDataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = suggest_threshold(everything)
    wanted = everything[everything["score"] >= chosen].reset_index(drop=True)
    assert 0 < len(wanted) < len(everything)
    output, windows, propose, write = tmp_path / "found.gpkg", [], Finder.propose, RunFolder.write_row

    def counting(self, *arguments):
        windows.append(arguments[2].rect)
        return propose(self, *arguments)

    def stop(self, row, *arguments) -> None:
        write(self, row, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Finder, "propose", counting)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_row", stop)
        with pytest.raises(KeyboardInterrupt):
            samgeo.find(image, output=output, min_score="auto", workers=1, cache=store, progress=False)
    assert not output.exists()
    with pytest.raises(SamgeoError, match=r'options.min_score was "auto" and is now 0\.3'):
        samgeo.find(image, output=output, min_score=0.3, cache=store, progress=False)
    result = CliRunner().invoke(main, ["find", str(image), str(output), "--min-score", "auto", "--cache", str(store)])
    assert result.exit_code == 0, result.output
    assert f"{len(wanted)} objects in {output}, found at zoom 4.0, with a score of {chosen:.2f} or more" in result.stderr
    assert len(windows) == 1
    same(read_vectors(output), wanted)
    made = read_provenance(output)
    assert made["options"]["min_score"] == "auto"
    told = {"min_score": chosen, "kept": len(wanted), "candidates": len(everything), "least_score": 0.05, "found_share": 0.75}
    assert {name: value for name, value in made["threshold"].items() if name != "expected"} == told
    at = threshold_curve(everything, [chosen]).iloc[0]
    assert made["threshold"]["expected"]["f1"] == pytest.approx(at.expected_f1, abs=1e-6)


def test_at_two_zooms_one_threshold_is_chosen_for_both(scene: Scene, tmp_path: Path) -> None:
    pixels = scene.image[:48, :48]
    found = samgeo.find(pixels, output=tmp_path / "found.gpkg", min_score="auto", run_dir=tmp_path / "run", progress=False)
    # The runs at both zooms have all candidates, so that nothing is found anew.
    everything = samgeo.find(pixels, min_score=LEAST_SCORE, run_dir=tmp_path / "run", progress=False)
    chosen = suggest_threshold(everything)
    assert len(found) < len(everything)
    same(found, everything[everything["score"] >= chosen].reset_index(drop=True))
    made = read_provenance(tmp_path / "found.gpkg")
    assert made["threshold"]["min_score"] == chosen
    assert made["options"]["min_score"] == "auto"
    assert made["options"]["zoom"] == [1, 2]


def test_auto_needs_scores_that_are_probabilities(image: Path) -> None:
    boxes = boxes_from([[9, 9, 31, 31]], image, crs="pixels")
    for options in ({"finder": boxes}, {"examples": [shapely.box(0, 0, 1, 1)]}):
        with pytest.raises(OptionError, match="needs scores that are probabilities"):
            samgeo.find(image, min_score="auto", progress=False, **options)
    with pytest.raises(OptionError, match="min_score is 'best'"):
        samgeo.find("missing.tif", min_score="best")
    result = CliRunner().invoke(main, ["find", str(image), "found.gpkg", "--min-score", "best"])
    assert result.exit_code == 2
    assert "'best' is neither a number nor auto" in result.stderr


def test_the_command_line_prints_the_curve(scores: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "found.parquet"
    found = frame_of(scores)
    write_vectors(found, path, provenance={"options": {"min_score": 0.05}})
    result = CliRunner().invoke(main, ["thresholds", str(path)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    row = threshold_curve(found, [0.4]).iloc[0]
    figures = f"{row.expected_precision:.3f} | {row.expected_recall:.3f} | {row.expected_f1:.3f}"
    assert f"| 0.40 | {row.kept:.0f} | {figures} |" in lines
    assert lines[2].startswith("| 0.05 | ")
    write_vectors(frame_of([0.5]), tmp_path / "one.gpkg")
    assert "| 0.95 | 0 | - | 0.000 | 0.000 |" in CliRunner().invoke(main, ["thresholds", str(tmp_path / "one.gpkg")]).stdout
    assert lines[-1] == f"Suggested threshold: {suggest_threshold(found):.3f}"
    among = CliRunner().invoke(main, ["thresholds", str(path), "--found-share", "1"])
    assert f"{suggest_threshold(found, found_share=1):.3f}" in among.stdout
    assert CliRunner().invoke(main, ["thresholds", str(path), "--found-share", "2"]).exit_code == 1

"""The zoom of segment and of prompts is the window that it sets, and "auto" answers small objects in finer windows."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from click.testing import CliRunner

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError
from samgeo.geo.vector.reading import read_provenance
from samgeo.map import Session
from samgeo.map.state.log import describe
from samgeo.segmentation.prompts.prompt_zoom import ZOOMS
from samgeo.synthetic import town
from samgeo.testing import Oracle, encode_ids

INPUT = 128
SMALL, MIDDLE, LARGE = (20, 20, 32, 32), (80, 20, 112, 50), (30, 70, 100, 130)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    ids = np.zeros((150, 140), dtype=np.int32)
    for number, (x0, y0, x1, y1) in enumerate((SMALL, MIDDLE, LARGE), start=1):
        ids[y0:y1, x0:x1] = number
    return encode_ids(ids)


@pytest.fixture(scope="module")
def boxes() -> np.ndarray:
    return np.array([SMALL, LARGE, MIDDLE], dtype=np.float64)


def middles(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_a_zoom_of_two_is_a_window_of_half_the_input(image: np.ndarray) -> None:
    zoomed, windowed, plain = (
        samgeo.segment(image, model=Oracle(INPUT), points_per_side=12, progress=False, **given)
        for given in ({"zoom": 2}, {"window": INPUT // 2}, {})
    )
    assert zoomed.drop(columns="geometry").equals(windowed.drop(columns="geometry"))
    assert shapely.equals_exact(zoomed.geometry, windowed.geometry).all()
    made, other, without = (one.attrs["samgeo"]["options"] for one in (zoomed, windowed, plain))
    assert made == {**other, "zoom": 2}
    assert (made["window"], made["overlap"]) == (INPUT // 2, INPUT // 8)
    assert "zoom" not in without


def test_the_bundled_model_sees_the_zoom(tmp_path) -> None:
    scene = town((96, 96), seed=1)
    raster, roof = scene.save(tmp_path / "town.tif"), scene.footprints.iloc[:1]
    zoomed, windowed, default = (
        samgeo.Predictor(raster, threads=1, **given).predict(boxes=roof[["geometry"]]).geometry[0]
        for given in ({"zoom": 4}, {"window": 128}, {})
    )
    assert shapely.equals_exact(zoomed, windowed)
    assert not shapely.equals_exact(zoomed, default)


def test_a_predictor_with_a_zoom_has_its_windows(image: np.ndarray, boxes: np.ndarray) -> None:
    zoomed, windowed = (
        samgeo.Predictor(image, model=Oracle(INPUT), **given) for given in ({"zoom": 2}, {"window": INPUT // 2})
    )
    assert zoomed.lattice == windowed.lattice
    one, other = (predictor.predict(boxes=boxes) for predictor in (zoomed, windowed))
    assert shapely.equals_exact(one.geometry, other.geometry).all()
    assert one.attrs["samgeo"]["options"] == {**other.attrs["samgeo"]["options"], "zoom": 2}


@pytest.mark.parametrize("kind", ["boxes", "points", "polygons", "both"])
def test_small_objects_are_answered_in_finer_windows(image: np.ndarray, boxes: np.ndarray, kind: str) -> None:
    prompts = {
        "boxes": {"boxes": boxes},
        "points": {"points": middles(boxes)},
        "polygons": {"polygons": shapely.box(*boxes.T)},
        "both": {"boxes": boxes, "points": middles(boxes)},
    }[kind]
    auto = samgeo.Predictor(image, model=Oracle(INPUT), zoom="auto")
    found = auto.predict(**prompts, crs="pixels")
    assert found.attrs["samgeo"]["options"]["zoom"] == "auto"
    for row, box in enumerate(boxes):
        side = (box[2:] - box[:2]).max()
        zoom = max((zoom for zoom, most in ZOOMS if side <= most), default=1.0)
        expected = samgeo.Predictor(image, model=Oracle(INPUT), zoom=zoom).predict(**prompts, crs="pixels")
        assert shapely.equals_exact(found.geometry[row], expected.geometry[row]), zoom
    assert len({one[:2] for one in auto._windows._windows}) > 1
    assert found.reason.isna().all()


def test_windows_of_all_zooms_share_the_memory(image: np.ndarray, boxes: np.ndarray) -> None:
    model = Oracle(INPUT)
    auto = samgeo.Predictor(image, model=model, zoom="auto", memory=0)
    auto.predict(boxes=boxes)
    assert len(auto._windows) == 1
    kept = samgeo.Predictor(image, model=model, zoom="auto")
    kept.predict(boxes=boxes)
    embedded = model.embedded
    again = kept.predict(boxes=boxes)
    assert model.embedded == embedded
    assert len(again) == 3


def test_candidates_of_a_small_object_are_corrected_in_the_window_that_made_them(image: np.ndarray) -> None:
    auto = samgeo.Predictor(image, model=Oracle(INPUT), zoom="auto")
    first = auto.candidates(points=[middles(np.array([SMALL]))[0]])[0]
    assert first.earlier.level > 0
    assert auto.rect_of(first.earlier).width < INPUT
    assert auto.candidates(masks=[first.earlier])[0].earlier.level == first.earlier.level
    assert auto.predict(points=[[25, 25]], masks=[first.earlier]).area_px[0] == first.mask.area
    with pytest.raises(OptionError, match="does not have"):
        samgeo.Predictor(image, model=Oracle(INPUT)).predict(masks=[first.earlier])
    assert not auto.candidates(points=[[500, 500]])
    large = auto.candidates(points=[middles(np.array([LARGE]))[0]])[0]
    assert large.earlier.level <= 0


def test_a_session_corrects_clicks_on_small_objects_and_records_the_zoom(image: np.ndarray) -> None:
    auto = samgeo.Predictor(image, model=Oracle(INPUT), zoom="auto")
    session = Session(auto)
    session.add_point(25, 25)
    once = session.state.candidate
    session.add_point(27, 27)
    assert once is not None
    assert session.state.candidate == once
    assert describe(auto)["lattice"]["zoom"] == "auto"
    assert "zoom" not in describe(samgeo.Predictor(image, model=Oracle(INPUT)))["lattice"]


def test_windows_are_used_again_for_nearly_the_same_zoom(image: np.ndarray) -> None:
    predictor = samgeo.Predictor(image, model=Oracle(INPUT), zoom=2)
    assert predictor.windows_at(1.6).lattice == predictor.lattice
    assert predictor.windows_at(4).lattice.window == INPUT // 4
    with pytest.raises(OptionError, match="zoom is 99"):
        predictor.windows_at(99)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"zoom": 0}, "zoom is 0; give a number from 1/16 to 16"),
        ({"zoom": float("nan")}, "zoom is nan"),
        ({"zoom": 12}, "at most 4"),
        ({"zoom": 2, "window": 64}, "give one of them"),
    ],
)
def test_bad_zooms_are_refused(image: np.ndarray, given: dict, told: str) -> None:
    for make in (samgeo.segment, samgeo.Predictor):
        with pytest.raises(OptionError, match=told):
            make(image, model=Oracle(INPUT), **given)


def test_texts_are_refused(image: np.ndarray) -> None:
    with pytest.raises(OptionError, match="zoom is 'auto'"):
        samgeo.segment(image, model=Oracle(INPUT), zoom="auto")
    with pytest.raises(OptionError, match=r'"auto" or a number'):
        samgeo.Predictor(image, model=Oracle(INPUT), zoom="fine")


def test_the_commands_have_the_zoom(tmp_path) -> None:
    scene = town((96, 96), seed=1)
    raster, boxes = scene.save(tmp_path / "town.tif"), tmp_path / "boxes.gpkg"
    scene.footprints[["geometry"]].iloc[:2].to_file(boxes)
    runner = CliRunner()
    result = runner.invoke(main, ["predict", str(raster), str(tmp_path / "a.gpkg"), "--boxes", str(boxes), "--zoom", "auto"])
    assert result.exit_code == 0, result.output
    assert read_provenance(tmp_path / "a.gpkg")["options"]["zoom"] == "auto"
    assert runner.invoke(main, ["predict", str(raster), "b.gpkg", "--boxes", str(boxes), "--zoom", "x"]).exit_code == 2
    few = ["--points-per-side", "4", "--pred-iou", "0.01", "--stability", "0.01", "--zoom", "5.33"]
    result = runner.invoke(main, ["segment", str(raster), str(tmp_path / "all.parquet"), *few])
    assert result.exit_code == 0, result.output
    assert read_provenance(tmp_path / "all.parquet")["options"]["zoom"] == 5.33

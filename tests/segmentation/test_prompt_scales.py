"""Prompts of objects larger than a window: found at a coarser scale, and drawn by finer windows along their outline."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from scaled import Doubtful, Sharp, Shortsighted, paint

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.vector.reading import read_provenance
from samgeo.map import Session
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Segment
from samgeo.segmentation.prompts import outline_drawing
from samgeo.synthetic import town
from samgeo.testing.rasters import write_raster

WINDOW = 64
# A field of six windows with a thin arm, a yard inside it, a hall of three windows, and houses that fit into windows.
SCENE = np.zeros((460, 520), dtype=np.int32)
SCENE[20:300, 30:420] = 1
SCENE[296:299, 420:500] = 1
SCENE[120:150, 200:240] = 2
SCENE[330:430, 60:250] = 3
SCENE[330:360, 330:360] = 4
SCENE[60:80, 440:470] = 5
BOXES = {1: (30, 20, 500, 300), 2: (200, 120, 240, 150), 3: (60, 330, 250, 430), 4: (330, 330, 360, 360), 5: (440, 60, 470, 80)}
CLICKS = {1: (300.5, 200.5), 2: (220.5, 130.5), 3: (65.5, 425.5), 4: (340.5, 350.5), 5: (450.5, 70.5)}
AREAS = {number: int((number == SCENE).sum()) for number in BOXES}
LARGE, SMALL = (1, 3), (4, 5)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return paint(SCENE)


@pytest.fixture(scope="module")
def predictor(image: np.ndarray) -> samgeo.Predictor:
    return samgeo.Predictor(image, model=Sharp(WINDOW))


def prompts_of(kind: str, numbers: tuple[int, ...]) -> dict:
    boxes = np.array([BOXES[number] for number in numbers], dtype=float)
    points = np.array([CLICKS[number] for number in numbers])
    return {
        "boxes": {"boxes": boxes},
        "points": {"points": points},
        "polygons": {"polygons": shapely.box(*boxes.T).tolist()},
        "both": {"boxes": boxes, "points": points},
    }[kind]


def scales_of(result) -> dict[str, int]:
    return result.attrs["samgeo"]["scales"]


@pytest.mark.parametrize("kind", ["points", "polygons", "both"])
def test_large_objects_have_their_very_pixels(predictor: samgeo.Predictor, kind: str) -> None:
    found = predictor.predict(**prompts_of(kind, LARGE))
    assert found.area_px.tolist() == [AREAS[number] for number in LARGE]
    assert found.complete.all()
    assert sum(scales_of(found).values()) == 2
    assert set(scales_of(found)) - {"1"}


def test_one_scale_fails_where_several_find_the_object(image: np.ndarray) -> None:
    """The model does not see what fills most of its window, as real models do."""
    for kind, numbers in (("boxes", (3,)), ("points", (3,))):
        shares = []
        for scales in ((1,), "auto"):
            near = samgeo.Predictor(image, model=Shortsighted(WINDOW), scales=scales)
            found = near.predict_masks(**prompts_of(kind, numbers))
            shares.append(
                [0.0 if isinstance(one, str) else iou(one, number) for one, number in zip(found, numbers, strict=True)]
            )
        assert max(shares[0]) < 0.7, kind
        assert min(shares[1]) > 0.97, kind


@pytest.mark.parametrize("points", [[(110.5, 80.5)], [[(110.5, 80.5), (112.5, 83.5)]]], ids=["one", "two"])
def test_clicks_at_which_a_window_shows_nothing_go_to_coarser_ones(points: list) -> None:
    """The hall fills the windows of scale 1 around the clicks, so that the model finds nothing in them."""
    labels = np.zeros((160, 220), dtype=np.int32)
    labels[40:120, 60:160] = 1
    one, several = (samgeo.Predictor(paint(labels), model=Shortsighted(WINDOW), scales=scales) for scales in ((1,), "auto"))
    assert one.predict_masks(points=points) == ["no mask"]
    assert one.candidates(points=points) == []
    (answer,) = several.predict_masks(points=points)
    assert answer.scale > 1
    assert answer.complete
    assert answer.mask == Mask.from_array(labels == 1)
    assert [candidate.mask for candidate in several.candidates(points=points)] == [answer.mask]


def test_clicks_with_a_doubtful_answer_go_to_coarser_windows_if_the_object_is_large() -> None:
    labels = np.zeros((160, 220), dtype=np.int32)
    labels[40:120, 60:160] = 1
    labels[20:28, 190:198] = 2
    one, several = (samgeo.Predictor(paint(labels), model=Doubtful(WINDOW), scales=scales) for scales in ((1,), "auto"))
    clicks = [(110.5, 80.5), (193.5, 24.5)]
    hall, small = several.predict_masks(points=clicks)
    block, alone = one.predict_masks(points=clicks)
    assert block.mask.area == Doubtful.BLOCK**2
    assert hall.mask == Mask.from_array(labels == 1)
    assert several.candidates(points=clicks[:1])[0].mask == hall.mask
    assert small == alone
    assert (small.mask.area, small.predicted_iou) == (64, pytest.approx(0.1))


def test_a_click_on_nothing_finds_nothing_at_any_scale(predictor: samgeo.Predictor) -> None:
    found = predictor.predict(points=[[5.5, 5.5], [600.0, 5.0], CLICKS[4]])
    assert found.reason.tolist()[:2] == ["no mask", "outside the raster"]
    assert found.area_px.tolist() == [0, 0, AREAS[4]]
    assert predictor.candidates(points=[[5.5, 5.5]]) == []


def iou(found: Segment | str, number: int) -> float:
    if isinstance(found, str):
        return 0.0
    drawn = found.mask.to_array(Rect(0, 0, *SCENE.shape[::-1]))
    truth = number == SCENE
    return (drawn & truth).sum() / (drawn | truth).sum()


@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_objects_that_fit_a_window_do_not_depend_on_scales(image: np.ndarray, predictor: samgeo.Predictor, kind: str) -> None:
    one = samgeo.Predictor(image, model=Sharp(WINDOW), scales=(1,)).predict(**prompts_of(kind, SMALL), refine=1)
    several = predictor.predict(**prompts_of(kind, (*SMALL, 3)), refine=1).iloc[: len(SMALL)]
    assert one.geometry.to_wkb().tolist() == several.geometry.to_wkb().tolist()
    assert one.drop(columns="geometry").equals(several.drop(columns="geometry"))
    assert scales_of(one) == {"1": len(SMALL)}


@pytest.mark.slow
def test_the_bundled_model_does_not_depend_on_scales_where_objects_fit(tmp_path) -> None:
    scene = town((192, 192), seed=4)
    raster = scene.save(tmp_path / "town.tif")
    clicks = scene.footprints.geometry.iloc[:3].representative_point()
    boxes = scene.footprints.geometry.iloc[:3]
    for prompts in ({"points": clicks}, {"boxes": boxes}):
        one, several = (
            samgeo.Predictor(raster, threads=1, window=128, scales=scales).predict(**prompts) for scales in ((1,), "auto")
        )
        fits = [number for number in range(3) if one.complete[number]]
        assert fits
        assert one.geometry.to_wkb()[fits].tolist() == several.geometry.to_wkb()[fits].tolist()


def test_the_order_of_prompts_does_not_matter(predictor: samgeo.Predictor) -> None:
    numbers = (4, 3, 2, 5)
    together = predictor.predict_masks(**prompts_of("points", numbers))
    alone = [predictor.predict_masks(**prompts_of("points", (number,)))[0] for number in reversed(numbers)]
    assert together == alone[::-1]


def test_candidates_of_a_large_object_are_corrected_at_their_scale(predictor: samgeo.Predictor) -> None:
    first = predictor.candidates(points=[(100.5, 400.5)])[0]
    assert first.mask.area == AREAS[3]
    assert first.complete
    assert first.earlier.level < 0
    assert predictor.rect_of(first.earlier).width > WINDOW
    again = predictor.candidates(points=[[(100.5, 400.5), (150, 400)]], masks=[first.earlier])[0]
    assert (again.mask, again.earlier.level) == (first.mask, first.earlier.level)
    with pytest.raises(OptionError, match="does not have"):
        samgeo.Predictor(paint(SCENE), model=Sharp(WINDOW), scales=(1,)).predict(masks=[first.earlier])


def test_the_map_answers_clicks_and_boxes_on_large_objects(predictor: samgeo.Predictor) -> None:
    session = Session(predictor)
    session.add_point(100.5, 400.5)
    session.add_point(150.5, 400.5)
    assert session.state.candidate.area == AREAS[3]
    session.accept()
    session.set_box(*BOXES[1])
    assert session.state.candidate.area == AREAS[1]


def test_thin_objects_are_left_to_scale_one(image: np.ndarray) -> None:
    labels = np.zeros((200, 500), dtype=np.int32)
    labels[100:104] = 1
    predictor = samgeo.Predictor(paint(labels), model=Sharp(WINDOW))
    found = predictor.predict(boxes=[(0, 100, 500, 104)])
    assert found.area_px.tolist() == [2000.0]
    assert scales_of(found) == {"1": 1}


def test_an_object_larger_than_all_windows_says_so(image: np.ndarray) -> None:
    labels = np.ones((300, 900), dtype=np.int32)
    labels[:20] = 0
    predictor = samgeo.Predictor(paint(labels), model=Sharp(WINDOW), scales=(1, 2))
    found = predictor.predict(points=[(450, 150)])
    assert scales_of(found) == {"2": 1}
    assert not found.complete[0]
    assert found.area_px[0] > 128 * 128


def test_outlines_through_too_many_windows_stay_coarse(image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline_drawing, "MOST_WINDOWS", 12)
    model = Sharp(WINDOW)
    found = samgeo.Predictor(image, model=model).predict_masks(boxes=[BOXES[3]])
    monkeypatch.setattr(outline_drawing, "MOST_WINDOWS", 0)
    none = Sharp(WINDOW)
    rough = samgeo.Predictor(image, model=none).predict_masks(boxes=[BOXES[3]])
    assert none.embedded == 1 < model.embedded
    assert iou(rough[0], 3) < iou(found[0], 3) <= 1
    assert iou(rough[0], 3) > 0.8


def test_thick_parts_that_the_coarse_scale_excludes_are_leaks() -> None:
    pixels = np.zeros((80, 80), dtype=bool)
    pixels[:, :40] = True
    coarse = Mask.from_array(pixels)
    pixels[10:12, 40:70] = True
    thin = Mask.from_array(pixels)
    assert outline_drawing._without_leaks(thin, coarse, 2) == thin
    pixels[30:60, 40:75] = True
    kept = outline_drawing._without_leaks(Mask.from_array(pixels), coarse, 2).to_array(Rect(0, 0, 80, 80))
    assert kept[:, :40].all()
    assert kept[10:12, 40:70].all()
    assert not kept[30:60, 48:].any()


@pytest.mark.parametrize(
    ("scales", "told"), [("all", '"auto" or whole numbers'), ((2, 4), "add scale 1"), ((1, 0), "whole numbers from 1")]
)
def test_bad_scales_are_refused(image: np.ndarray, scales: object, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        samgeo.Predictor(image, model=Sharp(WINDOW), scales=scales)


def test_the_command_has_scales(tmp_path) -> None:
    raster, boxes = write_raster(tmp_path / "ids.tif", paint(SCENE)), tmp_path / "boxes.gpkg"
    samgeo.Predictor(raster, model=Sharp(WINDOW)).predict(points=[CLICKS[5]], crs="pixels")[["geometry"]].to_file(boxes)
    made = ["predict", str(raster), str(tmp_path / "a.gpkg"), "--boxes", str(boxes)]
    result = CliRunner().invoke(main, [*made, "--window", "128", "--scales", "1,2"])
    assert result.exit_code == 0, result.output
    written = read_provenance(tmp_path / "a.gpkg")
    assert (written["options"]["scales"], written["scales"]) == ([1, 2], {"1": 1})
    assert CliRunner().invoke(main, [*made, "--scales", "many", "--overwrite"]).exit_code == 2

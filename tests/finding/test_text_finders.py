"""Text finders: models of random weights against the networks of transformers, and an oracle over a raster of many windows."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from functools import cache
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from click.testing import CliRunner
from text_models import save_grounding_dino, save_owlv2, save_sam3

import samgeo
from samgeo.cli import main
from samgeo.errors import CheckpointError, ModelError, OptionError, SamgeoError, SamgeoWarning
from samgeo.finding import Detections, TextFinder, load_text_finder
from samgeo.finding.text import loading, sam3
from samgeo.finding.text.images import Preprocessing, bilinear, smooth_bilinear
from samgeo.finding.text.phrases import read_phrases
from samgeo.finding.text.roi_align import roi_align
from samgeo.finding.text.sam3 import Exemplars
from samgeo.finding.text.text_model import TextModel
from samgeo.geo.grid import Rect
from samgeo.samrs import make_samrs
from samgeo.segmentation.windows.proposals import WindowView
from samgeo.synthetic import town
from samgeo.testing import Oracle, decode_ids, encode_ids

PHRASES = "solar panel, swimming pool, red roof"
IMAGE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
SAVE = {
    "dino": save_grounding_dino,
    "mm": lambda folder: save_grounding_dino(folder, mm=True),
    "owlv2": save_owlv2,
    "sam3": save_sam3,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save(root / name) for name, save in SAVE.items()}


def network(folder: Path, name: str):
    """Return the network of a folder as transformers itself loads it, and its tokenizer."""
    import transformers

    loaded = getattr(transformers, name).from_pretrained(folder).eval()
    return loaded, transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def load(folders):
    """Return a function that loads a finder of a model of random weights once for each list of phrases."""

    @cache
    def loaded(name: str, phrases: str = PHRASES, min_score: float = 0.0) -> TextFinder:
        return load_text_finder(folders[name], phrases, min_score=min_score)

    return loaded


# Phrases


def test_phrases_of_a_text_and_of_a_sequence() -> None:
    assert read_phrases(" solar  panel,Pool ") == read_phrases(["solar panel", "Pool"]) == ("solar panel", "Pool")
    assert read_phrases(["a, b"]) == ("a, b",)


@pytest.mark.parametrize(
    ("given", "told"),
    [("", "no phrase"), ([], "no phrase"), ("a,,b", "phrase 2 of 3 is empty"), ("Pool, pool", "given twice")],
)
def test_bad_phrases_are_refused(given, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        read_phrases(given)


# Grounding DINO


@pytest.mark.parametrize(("name", "kind"), [("dino", "GroundingDino"), ("mm", "MMGroundingDino")])
def test_grounding_dino_equals_transformers_and_scores_each_phrase_by_its_tokens(folders, load, name: str, kind: str) -> None:
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    finder = load(name)
    reference, tokenizer = network(folders[name], f"{kind}ForObjectDetection")
    pixels = GroundingDinoImageProcessorPil.from_pretrained(folders[name])(IMAGE, return_tensors="pt")["pixel_values"]
    text = tokenizer("solar panel. swimming pool. red roof.", return_tensors="pt")
    with torch.no_grad():
        answer = reference(pixel_values=pixels, **text)
    chances = answer.logits[0].sigmoid()
    wanted = torch.stack([chances[:, columns].amax(1) for columns in ([1, 2], [4, 5], [7, 8])], dim=1)
    boxes, scores = finder.model.scored(IMAGE)
    torch.testing.assert_close(scores, wanted)
    x, y, width, height = answer.pred_boxes[0].unbind(1)
    torch.testing.assert_close(boxes, torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1))
    found = finder.model.detect(IMAGE)
    assert len(found) == 20
    assert np.array_equal(np.sort(found.classes), np.sort(wanted.argmax(1).numpy()))
    assert found.scores == pytest.approx(np.sort(wanted.amax(1).numpy())[::-1], abs=1e-6)
    assert np.ptp(found.boxes) > 2


def test_other_phrases_change_the_scores_of_grounding_dino_and_its_digest(load) -> None:
    """This is why all phrases are asked in every window."""
    both = load("dino", "solar panel, red roof")
    one = load("dino", "solar panel")
    assert not np.allclose(both.model.scored(IMAGE)[1][:, 0], one.model.scored(IMAGE)[1][:, 0])
    other = load("dino", "red roof, solar panel")
    assert len({both.digest, one.digest, other.digest, load("dino", "solar panel, red roof", 0.1).digest}) == 4


def test_texts_that_grounding_dino_cannot_read_are_refused(folders) -> None:
    many = [f"{'solar ' * count}panel" for count in range(1, 24)]
    with pytest.raises(OptionError, match="23 phrases have 324 tokens together, and dino reads at most 256"):
        load_text_finder(folders["dino"], many)
    with pytest.raises(OptionError, match="full stop or a question mark"):
        load_text_finder(folders["dino"], ["solar panel. red roof"])


# OWLv2


def test_owlv2_equals_transformers_and_phrases_that_are_asked_alone(folders, load) -> None:
    finder = load("owlv2")
    reference, tokenizer = network(folders["owlv2"], "Owlv2ForObjectDetection")
    tokens = tokenizer(list(finder.classes), padding="max_length", max_length=16, return_tensors="pt")
    pixels = finder.model.preprocessing.normalized(smooth_bilinear(IMAGE, 64))
    with torch.no_grad():
        answer = reference(pixel_values=pixels, **tokens)
    boxes, scores = finder.model.scored(IMAGE)
    torch.testing.assert_close(scores, answer.logits[0].sigmoid())
    for column, phrase in enumerate(finder.classes):
        alone = load("owlv2", phrase)
        torch.testing.assert_close(alone.model.scored(IMAGE)[1][:, 0], scores[:, column])
        torch.testing.assert_close(alone.model.scored(IMAGE)[0], boxes)
    assert len(finder.model.detect(IMAGE)) == 64
    assert (finder.model.for_score(0.5).detect(IMAGE).scores >= 0.5).all()


@pytest.mark.parametrize("side", [40, 64, 80, 150])
def test_images_are_prepared_as_the_processors_of_transformers_do(side: int) -> None:
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    image = np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype=np.uint8)
    processor = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    own = Preprocessing(64, tuple(processor.image_mean), tuple(processor.image_std)).normalized(smooth_bilinear(image, 64))
    torch.testing.assert_close(own, processor(image, return_tensors="pt")["pixel_values"])


# SAM 3


def test_sam3_equals_transformers_and_phrases_that_are_asked_alone(folders, load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam3, "AT_ONCE", 2)
    finder = load("sam3")
    reference, tokenizer = network(folders["sam3"], "Sam3Model")
    pixels = finder.model.preprocessing.normalized(bilinear(IMAGE, 112))
    assert float(pixels.min()) == pytest.approx(-1, abs=0.05)
    boxes, scores, logits = finder.model.scored(IMAGE)
    for row, phrase in enumerate(finder.classes):
        tokens = tokenizer([phrase], padding="max_length", max_length=32, return_tensors="pt")
        with torch.no_grad():
            answer = reference(pixel_values=pixels, **tokens)
        torch.testing.assert_close(boxes[row], answer.pred_boxes[0])
        torch.testing.assert_close(scores[row], (answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid())[0])
        torch.testing.assert_close(logits[row], answer.pred_masks[0], atol=1e-5, rtol=1e-4)
    found = finder.model.detect(IMAGE)
    assert found.logits is not None
    assert found.logits.shape == (36, 32, 32)
    assert np.bincount(found.classes).tolist() == [12, 12, 12]
    assert (np.diff(found.scores) <= 0).all()


def test_sam3_warns_where_it_may_have_found_as_many_as_it_can(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam3, "MANY", 11)
    finder = load("sam3", "solar panel")
    with pytest.warns(SamgeoWarning, match="more than 11 objects of 'solar panel' in a window"):
        finder.model.detect(IMAGE)


def test_the_weights_of_the_video_model_of_sam3_are_read(folders, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import Sam3Config, Sam3VideoConfig

    shutil.copytree(folders["sam3"], tmp_path / "video")
    Sam3VideoConfig(detector_config=Sam3Config.from_pretrained(folders["sam3"])).save_pretrained(tmp_path / "video")
    tensors = {f"detector_model.{name}": one for name, one in load_file(folders["sam3"] / "model.safetensors").items()}
    save_file(tensors | {"tracker_model.other": torch.zeros(1)}, tmp_path / "video" / "model.safetensors", {"format": "pt"})
    video, image = (load_text_finder(folder, PHRASES) for folder in (tmp_path / "video", folders["sam3"]))
    torch.testing.assert_close(video.model.scored(IMAGE)[1], image.model.scored(IMAGE)[1])


def exemplars(*rows: tuple[int, bool]) -> Exemplars:
    """One exemplar for each class and sign that is given."""
    boxes = np.float32([[8 + 20 * place, 10, 24 + 20 * place, 30] for place in range(len(rows))])
    return Exemplars(boxes, np.array([sign for _, sign in rows]), np.array([kind for kind, _ in rows]))


def test_exemplars_change_their_phrase_alone(load) -> None:
    model = load("sam3").model
    without, one = model.scored(IMAGE)[1], model.scored(IMAGE, exemplars((1, True)))[1]
    torch.testing.assert_close(one[[0, 2]], without[[0, 2]], atol=1e-3, rtol=0)
    assert float((one[1] - without[1]).abs().max()) > 1e-5
    negative = model.scored(IMAGE, exemplars((1, False)))[1]
    assert float((one[1] - negative[1]).abs().max()) > 1e-6
    both = model.scored(IMAGE, exemplars((1, True), (1, True), (2, False)))[1]
    alone = load("sam3", "red roof").model
    last = exemplars((0, True), (0, True), (0, False))
    only = Exemplars(last.boxes[2:], last.positive[2:], last.classes[2:])
    torch.testing.assert_close(both[2], alone.scored(IMAGE, only)[1][0], atol=1e-6, rtol=1e-4)


def test_exemplars_are_used_in_the_windows_that_show_them(folders) -> None:
    given = gpd.GeoDataFrame(
        {"class": ["red roof", "pool"], "label": [1, 0]}, geometry=shapely.box([10, 70], [10, 70], [30, 90], [30, 90])
    )
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    finder = load_text_finder(folders["sam3"], "pool, red roof", exemplars=given, image=image, crs="pixels")
    assert finder.exemplars is not None
    assert finder.exemplars.classes.tolist() == [1, 0]
    assert finder.exemplars.positive.tolist() == [True, False]
    assert finder.digest != load_text_finder(folders["sam3"], "pool, red roof").digest
    seen: list[Exemplars] = []

    class Watched:
        def __init__(self, model):
            self.model = model

        def __call__(self, image, shown=None):
            seen.append(shown)
            return Detections.none()

    finder.model.detect = Watched(finder.model)  # type: ignore[method-assign]
    for x0 in (0, 20):
        rect = Rect(x0, 0, x0 + 64, 64)
        view = WindowView(rect, (64, 64), np.ones((64, 64), bool), rect, 1, 1.0, None, image[:64, :64])
        assert not len(finder.propose(Oracle(64), None, view)[0])
    assert seen[0].boxes.tolist() == [[10, 10, 30, 30]]
    assert len(seen[1]) == 0
    for options, told in (
        ({"image": None}, "need the raster"),
        ({"exemplars": given.assign(**{"class": "tree"})}, "class 'tree'"),
        ({"exemplars": given.drop(columns="class")}, "tell the phrase of each exemplar"),
        ({"exemplars": given.assign(label=2)}, "other than 0 and 1"),
    ):
        with pytest.raises(OptionError, match=told):
            load_text_finder(
                folders["sam3"], "pool, red roof", **({"exemplars": given, "image": image, "crs": "pixels"} | options)
            )
    with pytest.raises(OptionError, match="does not read exemplars"):
        load_text_finder(folders["owlv2"], "pool, red roof", exemplars=given, image=image, crs="pixels")


def at(maps: np.ndarray, y: float, x: float) -> float:
    """The bilinear value of a map at continuous cell indices, as RoIAlign defines it."""
    height, width = maps.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = max(y, 0), max(x, 0)
    row, column = min(int(y), height - 1), min(int(x), width - 1)
    below, right = min(row + 1, height - 1), min(column + 1, width - 1)
    y, x = min(y, height - 1), min(x, width - 1)
    down, along = y - row, x - column
    upper = maps[row, column] * (1 - along) + maps[row, right] * along
    lower = maps[below, column] * (1 - along) + maps[below, right] * along
    return float(upper * (1 - down) + lower * down)


def test_roi_align_equals_a_direct_computation() -> None:
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(2, 3, 9, 11))
    corners = rng.uniform(-2, 9, (2, 6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 8, (2, 6, 2))], axis=2)
    size = 3
    pooled = roi_align(torch.from_numpy(maps), [torch.from_numpy(one).float() for one in boxes], size).numpy()
    assert pooled.shape == (12, 3, size, size)
    for number, (x0, y0, x1, y1) in enumerate(boxes.reshape(-1, 4).astype(np.float32).astype(float)):
        tall, wide = max(y1 - y0, 1) / size, max(x1 - x0, 1) / size
        rows, columns = int(np.ceil(tall)), int(np.ceil(wide))
        for channel in range(3):
            for i in range(size):
                for j in range(size):
                    values = [
                        at(
                            maps[number // 6, channel],
                            y0 + (i + (a + 0.5) / rows) * tall,
                            x0 + (j + (b + 0.5) / columns) * wide,
                        )
                        for a in range(rows)
                        for b in range(columns)
                    ]
                    assert pooled[number, channel, i, j] == pytest.approx(np.mean(values), abs=1e-5)
    assert roi_align(torch.zeros(1, 3, 4, 4), [torch.zeros(0, 4)], 2).shape == (0, 3, 2, 2)


# The whole command


def test_the_command_finds_phrases_with_each_model(folders, tmp_path: Path) -> None:
    image = town((128, 128), seed=1, resolution_m=1.0).save(tmp_path / "town.tif")
    for name, least in (("dino", 0.3), ("owlv2", 0.3), ("sam3", 0.2)):
        output = tmp_path / f"{name}.gpkg"
        arguments = ["find", image, output, "--text", PHRASES, "--finder", folders[name], "--min-score", least, "--zoom", 4]
        result = CliRunner().invoke(main, [str(argument) for argument in [*arguments, "--workers", 2]])
        assert result.exit_code == 0, result.output
        found = gpd.read_file(output)
        assert len(found)
        assert f"{len(found)} object" in result.stderr
        assert set(found["class"]) <= set(read_phrases(PHRASES))
        assert found["score"].between(least, 1).all()
        assert found["predicted_iou"].between(0, 1).all()
    again = samgeo.find(
        image, PHRASES, finder=folders["sam3"], min_score=least, zoom=4, scheduler="synchronous", progress=False
    )
    assert again["score"].tolist() == pytest.approx(found["score"].tolist())
    assert again["class"].tolist() == found["class"].tolist()
    told = again.attrs["samgeo"]["options"]
    assert told["finder"]["name"] == "sam3"
    assert told["finder"]["classes"] == list(read_phrases(PHRASES))
    assert (told["min_score"], told["zoom"]) == (least, 4)


def test_a_data_set_is_made_of_phrases(folders, tmp_path: Path) -> None:
    image = town((64, 64), seed=1, resolution_m=1.0).save(tmp_path / "town.tif")
    classes = list(read_phrases(PHRASES))
    made = make_samrs(
        image, None, tmp_path / "set", finder=folders["dino"], classes=classes, min_score=0.3, zoom=8, progress=False
    )
    assert made.instances
    told = json.loads((tmp_path / "set" / "instances" / "all.json").read_text())
    assert [one["name"] for one in told["categories"]] == classes
    with pytest.raises(OptionError, match="finds what phrases describe"):
        make_samrs(image, None, tmp_path / "other", finder=folders["dino"], progress=False)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--text", "pool"], 1, "phrases are found by a text finder; give finder"),
        (["--text", "pool", "--class", "building", "--finder", "sam3"], 1, "--text and --class"),
        (["--text", "pool", "--boxes", "boxes.gpkg", "--finder", "sam3"], 1, "--finder and --boxes are given"),
        (["--finder", "sam3"], 1, "sam3 finds what phrases describe"),
        (["--text", "pool,pool", "--finder", "sam3"], 1, "'pool' is given twice"),
        (["--class", "pool"], 1, "there is no finder pool; give the path"),
        (["--text", "pool", "--finder", "sam3", "--resolution", "1"], 1, "resolution"),
    ],
)
def test_the_command_refuses_what_does_not_fit(folders, tmp_path: Path, monkeypatch, arguments, code: int, told: str) -> None:
    monkeypatch.setattr(loading, "_folder", lambda _: folders["sam3"])
    image = town((64, 64), seed=1, resolution_m=1.0).save(tmp_path / "town.tif")
    result = CliRunner().invoke(main, ["find", str(image), str(tmp_path / "o.gpkg"), *arguments])
    assert result.exit_code == code
    assert told in result.output


# An oracle over many windows


class OracleText(TextModel):
    """It finds the objects of `samgeo.testing.encode_ids`, and gives each the phrase of its id."""

    MIN_SCORE = 0.5

    def __init__(self, phrases: tuple[str, ...]) -> None:
        self.phrases, self.name, self.digest, self.min_score = phrases, "oracle text", "1", self.MIN_SCORE

    def detect(self, image: np.ndarray) -> Detections:
        ids = decode_ids(image[None])[0]
        numbers = [number for number in np.unique(ids) if number]
        places = [np.nonzero(ids == number) for number in numbers]
        boxes = np.float32([[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in places]).reshape(-1, 4)
        kinds = np.array([(number - 1) % len(self.phrases) for number in numbers], dtype=np.int64)
        return Detections(boxes, np.full(len(kinds), 0.9, np.float32), kinds)


def scene() -> np.ndarray:
    """Labels of 8 objects, of which many lie on the borders of windows of 64 pixels."""
    labels = np.zeros((100, 190), dtype=np.int32)
    for number in range(8):
        y, x = 6 + 44 * (number // 4), 4 + 44 * (number % 4)
        labels[y : y + 30 + number % 7, x : x + 34 - number % 5] = number + 1
    return labels


def oracle_found(labels: np.ndarray, **options) -> gpd.GeoDataFrame:
    options = {"model": Oracle(64), "finder": TextFinder(OracleText(("car", "truck")))} | options
    return samgeo.find(encode_ids(labels), progress=False, **options)


def test_an_oracle_gives_exact_objects_over_seams_and_keeps_phrases_apart() -> None:
    labels = scene()
    found = oracle_found(labels)
    areas = np.bincount(labels.ravel())[1:]
    assert sorted(found["area_px"]) == sorted(areas)
    for kind, first in (("car", 0), ("truck", 1)):
        assert sorted(found["area_px"][found["class"] == kind]) == sorted(areas[first::2])
    assert found["score"].to_numpy() == pytest.approx(np.sqrt(0.9), abs=1e-5)
    trucks = oracle_found(labels, what="truck")
    assert trucks["class"].eq("truck").all()
    assert sorted(trucks["area_px"]) == sorted(areas[1::2])
    for options in ({"workers": 2}, {"scheduler": "synchronous"}):
        again = oracle_found(labels, **options)
        assert again.geometry.equals(found.geometry)
        assert again.drop(columns="geometry").equals(found.drop(columns="geometry"))


def test_a_stopped_run_is_continued_with_the_same_phrases_alone(tmp_path: Path) -> None:
    labels, whole = scene(), oracle_found(scene())

    class Failing(Oracle):
        left = 2

        def embed(self, images, sizes=None):
            Failing.left -= 1
            if Failing.left < 0:
                raise KeyboardInterrupt
            return super().embed(images, sizes)

    kept = {"run_dir": tmp_path / "run", "scheduler": "synchronous"}
    with pytest.raises(KeyboardInterrupt):
        oracle_found(labels, model=Failing(64), **kept)
    with pytest.raises(SamgeoError, match="finder"):
        oracle_found(labels, finder=TextFinder(OracleText(("truck", "car"))), **kept)
    model = Oracle(64)
    again = oracle_found(labels, model=model, **kept)
    assert again.geometry.equals(whole.geometry)
    assert again["class"].equals(whole["class"])
    fresh = Oracle(64)
    oracle_found(labels, model=fresh, scheduler="synchronous")
    assert model.embedded < fresh.embedded


# Loading


def test_a_loaded_finder_is_pickled_by_its_reference(folders) -> None:
    finder = load_text_finder(folders["owlv2"], PHRASES).for_score(0.3).only(["red roof"])
    sent = pickle.dumps(finder)
    assert len(sent) < 2000
    again = pickle.loads(sent)  # noqa: S301
    assert (again.digest, again.classes, again.min_score) == (finder.digest, ("red roof",), pytest.approx(0.09))
    assert np.array_equal(again.model.detect(IMAGE).boxes, finder.model.detect(IMAGE).boxes)


def changed(folder: Path, to: Path, **settings) -> Path:
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | settings))
    return to


def test_folders_that_hold_no_sound_text_model_are_refused(folders, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    owl = folders["owlv2"]
    (tmp_path / "empty").mkdir()
    changed(owl, tmp_path / "other", model_type="bert")
    for name in ("pickle", "cut", "fewer", "nothing", "no-tokenizer"):
        shutil.copytree(owl, tmp_path / name)
    (tmp_path / "pickle" / "model.safetensors").rename(tmp_path / "pickle" / "pytorch_model.bin")
    (tmp_path / "nothing" / "model.safetensors").unlink()
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    tensors = load_file(owl / "model.safetensors")
    tensors.pop("class_head.dense0.weight")
    save_file(tensors, tmp_path / "fewer" / "model.safetensors", {"format": "pt"})
    for file in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / "no-tokenizer" / file).unlink()
    for name, told in {
        "empty": "has no config.json",
        "other": "model_type 'bert'",
        "pickle": "could execute code",
        "nothing": "there is no model.safetensors",
        "cut": "cannot be read",
        "fewer": "1 tensors are missing or have another shape, such as class_head.dense0.weight",
        "no-tokenizer": "it has no tokenizer.json",
    }.items():
        with pytest.raises(CheckpointError, match=told):
            load_text_finder(tmp_path / name, PHRASES)
    for name in ("grounding", "~nobody/x", "x" * 5000):
        with pytest.raises(ModelError, match=f"there is no text finder '{name}'"):
            load_text_finder(name, PHRASES)


@pytest.mark.parametrize(("name", "most"), [("owlv2", 16), ("sam3", 32)])
def test_phrases_that_are_too_long_are_refused(folders, name: str, most: int) -> None:
    load_text_finder(folders[name], ["a" * (most - 2)])
    with pytest.raises(OptionError, match=f"has {most + 1} tokens, and {name} reads at most {most} tokens of a phrase"):
        load_text_finder(folders[name], ["b", "a" * (most - 1)])


def test_missing_and_old_transformers_are_told(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = loading.KINDS["owlv2"]
    monkeypatch.setitem(loading.KINDS, "owlv2", type(kind)(kind.wrapper, "NotYetThere", "99.0"))
    with pytest.raises(ModelError, match=r"needs transformers 99\.0 or newer"):
        load_text_finder(folders["owlv2"], PHRASES)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'samgeo\[hf\]'"):
        load_text_finder(folders["owlv2"], PHRASES)


def test_downloads_tell_the_licence_first_and_each_refusal_says_what_to_do(folders, tmp_path: Path, monkeypatch) -> None:
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    fetched: list[str] = []

    def snapshot(repository: str, *, allow_patterns, local_files_only: bool = False) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        fetched.append(repository)
        return str(folders["owlv2"])

    def one(repository: str, file: str) -> str:
        if repository == "facebook/sam3":
            raise GatedRepoError("no", response=httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co")))
        return str(folders["owlv2"] / file)

    monkeypatch.delenv("SAMGEO_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one)
    with pytest.warns(SamgeoWarning, match=r"downloaded from https://huggingface.co/google/owlv2.*Its licence is Apache-2.0"):
        finder = load_text_finder("owlv2-base", PHRASES)
    assert finder.name == "owlv2-base"
    assert fetched == ["google/owlv2-base-patch16-ensemble"]
    with pytest.warns(SamgeoWarning, match="samgeo does not know its licence"):
        load_text_finder("hf://someone/owl", PHRASES)
    with (
        pytest.warns(SamgeoWarning, match="SAM License, which is not an open-source licence"),
        pytest.raises(ModelError, match=r"its publisher grants access at https://huggingface.co/facebook/sam3.*hf auth login"),
    ):
        load_text_finder("sam3", PHRASES)
    monkeypatch.setenv("SAMGEO_OFFLINE", "1")
    with pytest.raises(ModelError, match="forbids downloads"):
        load_text_finder("grounding-dino-tiny", PHRASES)
    shutil.copytree(folders["dino"], tmp_path / "grounding-dino-tiny")
    monkeypatch.setenv("SAMGEO_MODELS", str(tmp_path))
    assert load_text_finder("grounding-dino-tiny", PHRASES).name == "grounding-dino-tiny"
    assert len(fetched) == 2

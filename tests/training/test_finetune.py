"""Fine-tuning on the outlines of one place, and the gate that keeps the start where nothing became better."""

from __future__ import annotations

import dataclasses
import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from click.testing import CliRunner
from PIL import Image

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, VectorError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.vector import write_vectors
from samgeo.models.tiny import load_tiny, save_tiny
from samgeo.synthetic import town
from samgeo.testing import write_raster
from samgeo.training import Finetuned, finetune
from samgeo.training.assessment.click_evaluation import ObjectScores
from samgeo.training.finetuning import api, split
from samgeo.training.finetuning.gate import bootstrap_means, decide
from samgeo.training.finetuning.outlines import draw_outlines, read_outlines
from samgeo.training.finetuning.shift import find_shift
from samgeo.training.finetuning.split import LAYER, held_out_pictures, split_by_blocks, training_pictures

SIDE, CELL = 192, 24
QUICK = {"minutes": None, "device": "cpu", "threads": 1}


def lattice(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright rectangles of many sizes on dark ground, one in each cell of an 8 x 8 lattice, and their numbers."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 60, (SIDE, SIDE, 3)).astype(np.uint8)
    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    for number in range((SIDE // CELL) ** 2):
        top, left = (number // (SIDE // CELL)) * CELL + 4, (number % (SIDE // CELL)) * CELL + 4
        part = slice(top, top + int(rng.integers(8, 17))), slice(left, left + int(rng.integers(8, 17)))
        labels[part] = number + 1
        image[part] = rng.integers(150, 250, 3)
    return image, labels


def polygons_of(labels: np.ndarray) -> np.ndarray:
    boxes = []
    for number in range(1, int(labels.max()) + 1):
        rows, columns = np.nonzero(labels == number)
        boxes.append(shapely.box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return np.array(boxes, dtype=object)


def scores(click: list[float], three: list[float] | None = None, box: list[float] | None = None) -> ObjectScores:
    first = np.array(click)
    every = [first if part is None else np.array(part) for part in (click, click, three, box, click)]
    return ObjectScores(*every, region=float("nan"), predicted=first, true=first)


@pytest.fixture
def start(small_network, tmp_path):
    path = tmp_path / "start.safetensors"
    save_tiny(small_network.state_dict(), small_network.config, path)
    return path


# The gate.


def test_the_means_of_resamples_have_the_spread_that_theory_gives():
    differences = np.random.default_rng(0).normal(0.1, 0.3, (2, 200))
    means = bootstrap_means(differences, 0)
    assert means.shape == (2, 4000)
    assert means.mean(1) == pytest.approx(differences.mean(1), abs=0.002)
    assert means.std(1) == pytest.approx(differences.std(1) / 200**0.5, rel=0.05)
    assert np.array_equal(means, bootstrap_means(differences, 0))


def test_resamples_are_paired():
    one = np.random.default_rng(1).normal(0, 1, 50)
    means = bootstrap_means(np.stack([one, one]), 3)
    assert np.array_equal(means[0], means[1])


def test_a_clear_gain_of_one_prompt_is_accepted_if_the_others_hold():
    before = np.linspace(0.3, 0.9, 30)
    decided = decide(scores(before), scores(before, box=before + np.tile([0.04, 0.06], 15)))
    assert decided.accepted
    assert "box" in decided.reason
    assert decided.gains["box"].is_better
    assert decided.gains["box"].difference == pytest.approx(0.05)
    assert not decided.gains["click"].is_better
    assert decided.gains["box"].low < 0.05 < decided.gains["box"].high


@pytest.mark.parametrize("change", [0.0, 0.03], ids=["equal", "box worse"])
def test_without_a_gain_or_with_a_loss_it_is_refused(change):
    before = np.linspace(0.3, 0.9, 30)
    after = scores(before + (0.1 if change else 0), three=before, box=before - change)
    decided = decide(scores(before), after)
    assert not decided.accepted
    assert decided.gains["box"].is_worse is bool(change)
    assert ("worse" in decided.reason) is bool(change)


def test_noise_is_accepted_in_few_of_many_cases():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.2, 0.9, 20)
    accepted = [
        decide(scores(before), scores(*(before + rng.normal(0, 0.1, 20) for _ in range(3))), seed).accepted
        for seed in range(150)
    ]
    assert np.mean(accepted) <= 0.07


# Outlines and the split.


def test_outlines_are_read_from_labels_polygons_and_files(tmp_path):
    image, labels = lattice()
    raster = Raster.open(image, check=False)
    polygons = polygons_of(labels)
    file = tmp_path / "outlines.gpkg"
    write_vectors(gpd.GeoDataFrame(geometry=polygons), file)
    for given in (labels, list(polygons), gpd.GeoSeries(polygons), str(file)):
        found = read_outlines(given, raster)
        assert shapely.equals(shapely.union_all(found.polygons), shapely.union_all(polygons))
        assert np.all(np.diff(shapely.area(found.polygons)) <= 0)


def test_small_outlines_and_those_outside_are_left_out():
    image, labels = lattice()
    given = [*polygons_of(labels), shapely.box(0, 0, 3, 3), shapely.box(500, 500, 520, 520)]
    found = read_outlines(given, Raster.open(image, check=False))
    assert (found.given, found.outside, found.small) == (66, 1, 1)
    assert len(found.polygons) == 64
    assert found.left_out() == "1 lie outside the image and 1 have fewer than 30 pixels"


@pytest.mark.parametrize("seed", range(3))
def test_held_out_outlines_and_pixels_are_not_used_in_training(seed):
    image, labels = lattice()
    raster = Raster.open(image, check=False)
    found = read_outlines(labels, raster)
    split = split_by_blocks(found, 0.3, 64, seed)
    assert len(split.held_out) >= 10
    assert len(split.held_out) == pytest.approx(0.3 * 64, abs=8)
    assert not set(split.trained) & set(split.held_out)
    held_out = draw_outlines(found.polygons[split.held_out], raster_rect(raster)) > 0
    used = np.zeros((SIDE, SIDE), dtype=bool)
    for picture in training_pictures(raster, found, split, 64, 0):
        top, left = (int(part) for part in picture.name.split(", ")[1:])
        place = slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1])
        used[place] |= picture.image.any(-1)
        assert np.array_equal(picture.image[picture.image.any(-1)], image[place][picture.image.any(-1)])
        assert not (picture.layers[LAYER] > 0)[held_out[place]].any()
    assert not (used & held_out).any()
    for column, row in split.blocks:
        assert not used[row * split.side : (row + 1) * split.side, column * split.side : (column + 1) * split.side].any()
    judged = sum(int(picture.layers[LAYER].max()) for picture in held_out_pictures(raster, found, split, 64))
    assert judged == len(split.held_out)


def raster_rect(raster):
    return Rect(0, 0, raster.shape[1], raster.shape[0])


# Shifted outlines.


def shifted_town(seed: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    scene = town((320, 320), seed, resolution_m=0.5)
    return scene.image, np.roll(scene.labels.astype(np.int32), shift, axis=1)


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))])
def test_outlines_that_are_shifted_by_20_pixels_are_refused(start, tmp_path, seed):
    image, labels = shifted_town(seed, 20)
    done = finetune(image, labels, tmp_path / "tuned.safetensors", model=start, steps=1, seed=seed, **QUICK)
    assert not done.accepted
    assert done.shift_px == (20, 0)
    assert done.steps == 0
    assert samgeo.load_model(done.output).digest == samgeo.load_model(start).digest
    assert "20 pixels to the right" in done.page.read_text()


@pytest.mark.parametrize("grown", [0, 3, -2])
def test_outlines_that_are_right_or_drawn_too_large_or_too_small_are_not_shifted(grown):
    image, labels = lattice()
    polygons = list(shapely.buffer(polygons_of(labels), grown, join_style="mitre"))
    raster = Raster.open(image, check=False)
    found = read_outlines(polygons, raster)
    assert find_shift(raster, found, 0) is None


# The whole way.


def test_training_that_repairs_a_damaged_model_is_accepted_and_written(tmp_path, monkeypatch):
    image, labels = lattice()
    monkeypatch.setattr(split, "CROP_PX", 96)
    damaged, lines = tmp_path / "damaged.safetensors", []
    network = load_tiny(device="cpu").network
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.upscaler.parameters():
            parameter.add_(0.6 * parameter.std(correction=0) * torch.randn_like(parameter))
    save_tiny(network.state_dict(), network.config, damaged)
    path = tmp_path / "tuned.safetensors"
    done = finetune(image, labels, path, model=damaged, rate=2e-3, steps=16, report=lines.append, **QUICK)
    assert isinstance(done, Finetuned)
    assert done.accepted, done.reason
    assert done.gains["box"].low > 0.03
    assert done.gains["box"].after_dice > done.gains["box"].after > done.gains["box"].before
    assert done.trained_on + done.held_out == 64
    assert samgeo.load_model(path).digest == done.digest != samgeo.load_model(damaged).digest
    page = done.page.read_text()
    assert page.count("<img") == 24
    assert "Accepted" in page
    assert "<polyline" in page
    assert any("better" in line for line in lines)


def test_training_that_does_not_help_writes_the_start(start, tmp_path):
    image, labels = lattice()
    done = finetune(image, labels, tmp_path / "tuned.safetensors", model=start, steps=1, rate=1e-9, soup=0.5, **QUICK)
    assert not done.accepted
    assert done.steps == 1
    assert samgeo.load_model(done.output).digest == samgeo.load_model(start).digest
    assert "weights of the start" in done.page.read_text()


def test_the_share_of_the_trained_weights_mixes_them_and_iou_heads_stay(start, tmp_path, monkeypatch):
    image, labels = lattice()
    monkeypatch.setattr(api, "decide", lambda *given: dataclasses.replace(decide(*given), accepted=True))
    networks = [load_tiny(start).network.state_dict()]
    for soup in (1.0, 0.5):
        path = tmp_path / f"{soup}.safetensors"
        finetune(image, labels, path, model=start, steps=2, rate=1e-2, soup=soup, check_shift=False, **QUICK)
        networks.append(load_tiny(path).network.state_dict())
    first, whole, half = networks
    moved = [name for name in first if not torch.equal(first[name], whole[name])]
    assert moved
    assert all(name.startswith(("prompts.", "decoder.", "upscaler.")) for name in moved)
    assert not any(name.startswith(("decoder.iou.", "decoder.quality.")) for name in moved)
    for name in moved:
        torch.testing.assert_close(half[name], (first[name] + whole[name]) / 2, rtol=2e-3, atol=2e-3)


def test_a_stopped_run_continues_and_ends_with_the_same_file(start, tmp_path, monkeypatch):
    image, labels = lattice()
    monkeypatch.setattr(api, "SAVE_S", 0.0)
    monkeypatch.setattr(api, "LOG_STEPS", 1)
    monkeypatch.setattr(api, "decide", lambda *given: dataclasses.replace(decide(*given), accepted=True))
    options = {"model": start, "steps": 3, "rate": 1e-2, "check_shift": False, **QUICK}
    whole = finetune(image, labels, tmp_path / "whole.safetensors", **options)

    def stop(line: str) -> None:
        if line.startswith("step 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(image, labels, tmp_path / "stopped.safetensors", report=stop, **options)
    assert not (tmp_path / "stopped.safetensors").exists()
    lines: list[str] = []
    continued = finetune(image, labels, tmp_path / "stopped.safetensors", report=lines.append, **options)
    assert continued.digest == whole.digest
    assert not any(line.startswith("step 1 ") for line in lines)
    with pytest.raises(OptionError, match="started with other inputs"):
        finetune(image, np.roll(labels, 1, 0), tmp_path / "other.safetensors", folder=continued.folder, **options)


@pytest.mark.parametrize("kind", ["png", "16-bit", "georeferenced"])
def test_images_of_other_kinds_are_read(start, tmp_path, kind):
    image, labels = lattice()
    outlines: object = labels
    path = tmp_path / "image.png"
    if kind == "png":
        Image.fromarray(image[..., 0]).save(path)
    elif kind == "16-bit":
        path = tmp_path / "image.tif"
        Image.fromarray(image[..., 0].astype(np.uint16) * 200).save(path)
    else:
        path = write_raster(tmp_path / "place.tif", image, crs="EPSG:32633")
        affine = Raster.open(path, check=False).geobox.affine
        placed = shapely.transform(polygons_of(labels), lambda xy: np.stack(affine * xy.T, axis=-1))
        outlines = gpd.GeoSeries(placed, crs="EPSG:32633").to_crs("EPSG:4326")
    done = finetune(path, outlines, tmp_path / "tuned.safetensors", model=start, steps=1, **QUICK)
    assert done.trained_on + done.held_out == 64
    assert 0 <= done.gains["box"].before <= 1


def test_the_command_reads_files_and_says_what_was_decided(start, tmp_path):
    image, labels = lattice()
    Image.fromarray(image).save(tmp_path / "image.png")
    write_vectors(gpd.GeoDataFrame(geometry=polygons_of(labels)), tmp_path / "outlines.gpkg")
    names = [str(tmp_path / name) for name in ("image.png", "outlines.gpkg", "tuned.safetensors")]
    options = ["--model", str(start), "--steps", "1", "--device", "cpu", "--page", str(tmp_path / "page.html")]
    shown = CliRunner().invoke(main, ["finetune", *names, *options])
    assert shown.exit_code == 0, shown.output
    assert "Refused: " in shown.output or "Accepted: " in shown.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    log = [json.loads(line) for line in (tmp_path / "tuned.run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 1


# Errors, before any work.


def test_what_cannot_be_used_is_refused(start, tmp_path):
    image, labels = lattice()
    polygons = list(polygons_of(labels))
    output = tmp_path / "tuned.safetensors"

    def call(outlines: object = labels, **options: object) -> None:
        finetune(image, outlines, output, **{"model": start, "steps": 1, **QUICK, **options})

    for outlines, message in (
        ([], "there are no outlines"),
        ([shapely.Point(3, 3)], "Point"),
        ([shapely.box(300, 300, 310, 310)] * 30, "none of the 30 outlines lies on"),
        (gpd.GeoSeries(polygons, crs="EPSG:4326"), "has a CRS"),
        (labels[:10], "label image"),
    ):
        with pytest.raises(VectorError, match=message):
            call(outlines)
    for options, message in (
        ({"outlines": polygons[:19]}, "there are 19 usable outlines of 19, and 20 are needed"),
        ({"preset": "nothing"}, "there is no preset 'nothing'"),
        ({"holdout": 0.9}, "holdout is 0.9"),
        ({"soup": 0.0}, "soup 0"),
        ({"steps": None}, "minutes and steps are both None"),
        ({"minutes": -1.0}, "minutes is -1"),
        ({"outlines": [shapely.box(0, 0, 7, 7)] * 40}, "close together"),
    ):
        with pytest.raises(OptionError, match=message):
            call(**options)
    output.write_bytes(b"kept")
    with pytest.raises(OptionError, match="exists"):
        call()
    assert output.read_bytes() == b"kept"
    assert not list(tmp_path.glob("*.run"))

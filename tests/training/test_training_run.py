import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from samgeo.cli import main
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.tiny import load_tiny, save_tiny
from samgeo.synthetic import town
from samgeo.training.assessment.plots import plot_log, read_log
from samgeo.training.assessment.report import judge
from samgeo.training.recipe_run import run_recipe

RECIPE = """
start = "start.safetensors"
[train]
steps = 4
images = 1
crops = [[64, 4, 1]]
save_s = 0
log_steps = 1
[[source]]
images = "town.tif"
vectors = "town.geojson"
[[validation]]
name = "town"
images = "town.tif"
vectors = "town.geojson"
"""


@pytest.fixture
def recipe(small_network, tmp_path):
    scene = town((96, 96), 3)
    scene.save(tmp_path / "town.tif")
    scene.footprints.to_file(tmp_path / "town.geojson")
    save_tiny(small_network.state_dict(), small_network.config, tmp_path / "start.safetensors")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_trains_weights_that_segment_takes(recipe, tmp_path):
    done = run("train", recipe, tmp_path / "out.safetensors", "--curve", tmp_path / "curve.png", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "vectors: 1 pictures with" in done.stderr
    assert "step 4 of 4: loss" in done.stderr
    start, end = (load_tiny(tmp_path / f"{name}.safetensors", device="cpu") for name in ("start", "out"))
    assert start.digest != end.digest
    with Image.open(tmp_path / "curve.png") as curve:
        assert curve.width > 500
    given = ("--model", tmp_path / "out.safetensors", "--points-per-side", 4, "--overlap", 0, "--device", "cpu", "--quiet")
    segmented = run("segment", tmp_path / "town.tif", tmp_path / "o.gpkg", *given)
    assert segmented.exit_code == 0, segmented.output


def test_the_clock_and_a_larger_network_may_be_asked_for_on_the_command_line(recipe, tmp_path):
    recipe.write_text(RECIPE.replace("images = 1", "images = 1\ndraw_on_device = true"))
    given = ("--network", "deep", "--minutes", 60, "--steps", 2, "--device", "cpu")
    done = run("train", recipe, tmp_path / "out.safetensors", *given)
    assert done.exit_code == 0, done.output
    assert "step 2 of 60 minutes: minutes" in done.stderr
    assert "after 2 steps" in done.stderr
    config = load_tiny(tmp_path / "out.safetensors", device="cpu").network.config
    assert (config.attend, config.deepen) == ((1, 3), (3, 3, 2))
    refused = run("train", recipe, tmp_path / "other.safetensors", "--network", "deepest")
    assert refused.exit_code != 0
    assert "give one of base, deep, deeper, context" in refused.output


def test_a_killed_run_goes_on_to_the_same_file(recipe, tmp_path):
    def kill(line):
        if line.startswith("step 3"):
            raise KeyboardInterrupt

    whole = run_recipe(recipe, tmp_path / "whole.safetensors", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, tmp_path / "parts.safetensors", device="cpu", report=kill)
    assert not (tmp_path / "parts.safetensors").exists()
    told = []
    parts = run_recipe(recipe, tmp_path / "parts.safetensors", device="cpu", report=told.append)
    assert parts.digest == whole.digest
    # Step 3 was done and not yet saved.
    assert [line.split(":")[0] for line in told if line.startswith("step")] == ["step 3 of 4", "step 4 of 4"]
    assert (parts.folder / "log.jsonl").read_bytes() == (whole.folder / "log.jsonl").read_bytes()
    assert [line["step"] for line in read_log(parts.folder / "log.jsonl")] == [1, 2, 3, 4]


def test_a_run_does_not_go_on_with_something_else(recipe, small_network, tmp_path):
    output = tmp_path / "out.safetensors"
    run_recipe(recipe, output, device="cpu")
    again = {"device": "cpu", "overwrite": True}
    with pytest.raises(CheckpointError, match=r"other options \(steps was 4 and is now 5\)"):
        run_recipe(recipe, output, steps=5, **again)
    with pytest.raises(OptionError, match=r"was started with 1 threads.*--threads"):
        run_recipe(recipe, output, threads=2, **again)
    small_network.prompts.frequencies.normal_()
    save_tiny(small_network.state_dict(), small_network.config, tmp_path / "other.safetensors")
    with pytest.raises(OptionError, match=r"started with other inputs: start was \"[0-9a-f]{64}\" and is now \"[0-9a-f]{64}\""):
        run_recipe(recipe, output, start=tmp_path / "other.safetensors", **again)
    recipe.write_text(RECIPE.replace('vectors = "town.geojson"', 'vectors = "town.geojson"\nweight = 3', 1))
    with pytest.raises(OptionError, match="was started with other inputs: pictures was"):
        run_recipe(recipe, output, **again)


def test_a_run_may_deepen_what_it_starts_from(recipe, tmp_path):
    recipe.write_text(
        RECIPE.replace("[train]\nsteps = 4", "[network]\nattend = [1, 0]\ndeepen = [0, 0, 2]\n[train]\nsteps = 1")
    )
    run_recipe(recipe, tmp_path / "out.safetensors", device="cpu")
    start, end = (load_tiny(tmp_path / f"{name}.safetensors", device="cpu").network for name in ("start", "out"))
    assert (start.config.attend, start.config.deepen) == ((0, 0), (0, 0, 0))
    assert (end.config.attend, end.config.deepen) == ((1, 0), (0, 0, 2))
    assert end.encoder.refine4.deeper[1].narrow.weight.any()


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({}, ["--start", "no.safetensors"], "no.safetensors does not exist"),
        ({}, ["--steps", "0"], "at least 1"),
        ({}, ["--device", "tpu"], "tpu"),
        ({}, ["--curve", "curve.pdf"], ".png"),
        ({"[[64, 4, 1]]": "[[96, 4, 1]]"}, [], "larger than the network's window of 64 px"),
        ({"town.tif": "city.tif"}, [], "matches no file"),
        ({'images = "town.tif"\nvectors = "town.geojson"': "open_data = true"}, [], "--data"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(recipe, tmp_path, changed, options, message):
    text = RECIPE
    for old, new in changed.items():
        text = text.replace(old, new)
    recipe.write_text(text)
    before = set(tmp_path.iterdir())
    done = run("train", recipe, tmp_path / "out.safetensors", *options)
    assert done.exit_code == 1, done.output
    assert message in done.stderr
    assert set(tmp_path.iterdir()) == before


def test_an_output_that_is_there_is_kept(recipe, tmp_path):
    (tmp_path / "out.safetensors").write_text("mine")
    assert "overwrite" in run("train", recipe, tmp_path / "out.safetensors").stderr
    assert (tmp_path / "out.safetensors").read_text() == "mine"


def test_a_model_is_judged_on_what_a_recipe_holds_back(recipe, tmp_path):
    page, plot = tmp_path / "report.md", tmp_path / "calibration.png"
    given = ("--recipe", recipe, "--tile", 64, "-o", page, "--calibration", plot, "--device", "cpu")
    done = run("models", "evaluate", tmp_path / "start.safetensors", *given)
    assert done.exit_code == 0, done.output
    assert page.read_text() == done.stdout
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| town, building | ") and line.count("|") == 11)
    assert int(row.split("|")[2]) > 3
    assert all(0 <= float(value) <= 1 for value in row.split("|")[3:10])
    with Image.open(plot) as opened:
        shown = np.asarray(opened.convert("RGB"))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 10
    assert "overwrite" in run("models", "evaluate", tmp_path / "start.safetensors", *given).stderr


def test_a_recipe_without_validation_judges_nothing(recipe, tmp_path):
    recipe.write_text(RECIPE.partition("[[validation]]")[0])
    with pytest.raises(OptionError, match="validation"):
        judge(tmp_path / "start.safetensors", recipe)
    with pytest.raises(OptionError, match="--data"):
        judge(tmp_path / "start.safetensors")


def test_a_log_that_is_none_is_refused(tmp_path):
    (tmp_path / "log.jsonl").write_text("step 3\n")
    with pytest.raises(OptionError, match="not the log"):
        plot_log(tmp_path / "log.jsonl", tmp_path / "curve.png")
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1, "loss": 2.0, "rate": 1.0}) + "\n")
    plot_log(tmp_path / "log.jsonl", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000

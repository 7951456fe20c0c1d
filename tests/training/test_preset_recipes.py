"""Recipes with a preset, for the bundled model's architecture and for SAM 1."""

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from test_sam2_presets import random_network as random_sam2
from test_sam_presets import random_network
from test_training_run import RECIPE

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError
from samgeo.models.sam1.checkpoint import save_checkpoint
from samgeo.models.sam1.model import Sam
from samgeo.models.sam2.checkpoint import write_sam2
from samgeo.models.tiny import load_tiny, save_tiny
from samgeo.synthetic import town
from samgeo.testing.oracle import Oracle
from samgeo.training import run_recipe
from samgeo.training.recipe import load_recipe


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    place, scene = tmp_path_factory.mktemp("town"), town((96, 96), 3)
    scene.save(place / "town.tif")
    scene.footprints.to_file(place / "town.geojson")
    return place


@pytest.fixture
def folder(small_network, drawn, tmp_path):
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    save_tiny(small_network.state_dict(), small_network.config, tmp_path / "start.safetensors")
    save_checkpoint(random_network(), tmp_path / "sam.pth")
    return tmp_path


def written(folder, train, *, start="start.safetensors"):
    text = (
        RECIPE.replace("start.safetensors", start)
        .replace("steps = 4", f"steps = 2\n{train}")
        .replace("save_s = 0", "save_s = 1e9")
    )
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def weights(path):
    return samgeo.load_model(path, device="cpu").network.state_dict()


def changed(folder, start, output):
    before, after = weights(folder / start), weights(folder / output)
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_recipe_with_a_preset_trains_what_the_preset_names(folder):
    recipe = written(folder, 'preset = "lora"\nrank = 2\nrate = 0.05\ntargets = ["upscaler"]')
    run_recipe(recipe, folder / "out.safetensors", device="cpu")
    names = changed(folder, "start.safetensors", "out.safetensors")
    assert names
    assert all(name.startswith("upscaler.") and name.endswith("weight") for name in names)
    recipe = written(folder, 'preset = "lora"\nrank = 3\nrate = 0.05\ntargets = ["upscaler"]')
    with pytest.raises(OptionError, match="started with other inputs: preset was"):
        run_recipe(recipe, folder / "out.safetensors", device="cpu", overwrite=True)


def test_a_stopped_training_of_sam_goes_on_to_the_same_file(folder):
    recipe = written(folder, 'preset = "decoder"', start="sam.pth")
    recipe.write_text(recipe.read_text().replace("save_s = 1e9", "save_s = 0").replace("crops = [[64, 4, 1]]\n", ""))
    run_recipe(recipe, folder / "whole.pth", device="cpu")

    def kill(line):
        if line.startswith("step 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, folder / "parts.pth", device="cpu", report=kill)
    stored = list((folder / "parts.run" / "crops").iterdir())
    assert len(stored) == 1
    assert not (folder / "parts.pth").exists()
    # A file that was damaged meanwhile is computed again.
    stored[0].write_bytes(b"damaged")
    run_recipe(recipe, folder / "parts.pth", device="cpu")
    assert (folder / "whole.pth").read_bytes() == (folder / "parts.pth").read_bytes()
    assert not (folder / "parts.run" / "crops").exists()
    names = changed(folder, "sam.pth", "whole.pth")
    assert names
    assert all(name.startswith("mask_decoder.") for name in names)


def test_a_model_with_adapters_comes_out_of_a_recipe(folder):
    recipe = written(folder, 'preset = "medical-adapter"\nrate = 0.05', start="sam.pth")
    run_recipe(recipe, folder / "out.safetensors", device="cpu")
    model = samgeo.load_model(folder / "out.safetensors", device="cpu")
    assert isinstance(model, Sam)
    assert model.architecture.adapter == "bottlenecks"
    assert model.network.image_encoder.blocks[2].mlp_adapter.up.weight.any()
    start = weights(folder / "sam.pth")
    assert all(
        torch.equal(model.network.state_dict()[name], start[name]) for name in start if name.startswith("image_encoder.")
    )


def test_a_preset_gives_defaults_and_the_recipe_decides(folder):
    train = 'preset = "medsam"\nrate = 0.01\ncourse = { grow_px = 5.0 }\nlosses = { dice = 2.0 }'
    loaded = load_recipe(written(folder, train))
    options = loaded.options
    assert (options.rate, options.course.grow_px, options.course.boxes) == (0.01, 5.0, 1.0)
    assert (options.losses.dice, options.losses.entropy, options.losses.focal) == (2.0, 1.0, 0.0)
    assert loaded.preset.preset == "medsam"


def test_a_preset_that_is_given_takes_the_place_of_that_of_the_recipe(folder):
    recipe = written(folder, 'preset = "medsam"\nrate = 0.05')
    command = ["train", str(recipe), str(folder / "out.safetensors"), "--preset", "bitfit", "--device", "cpu", "--quiet"]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    names = changed(folder, "start.safetensors", "out.safetensors")
    assert names
    assert all(name.endswith("bias") or "norm" in name or "refine" in name for name in names)
    assert load_recipe(recipe, preset="lora").options.rate == 0.05
    with pytest.raises(OptionError, match="has rates and a preset"):
        load_recipe(written(folder, "rates = { encoder = 0 }"), preset="lora")
    with pytest.raises(OptionError, match="trains a finder, which has no presets"):
        load_recipe("building", preset="lora")


def test_a_recipe_trains_sam_2(folder):
    network = random_sam2()
    write_sam2(network.state_dict(), network.architecture, folder / "sam2.safetensors")
    recipe = written(folder, 'preset = "lora"\nrate = 0.05', start="sam2.safetensors")
    with pytest.raises(OptionError, match=r"does not end in \.safetensors"):
        run_recipe(recipe, folder / "out.pth", device="cpu")
    run_recipe(recipe, folder / "out.safetensors", device="cpu", steps=1)
    names = changed(folder, "sam2.safetensors", "out.safetensors")
    assert {name.split(".")[0] for name in names} == {"image_encoder", "mask_decoder"}


@pytest.mark.parametrize(
    ("train", "start", "options", "message"),
    [
        ("rank = 2", "start.safetensors", {}, "has rank but no preset"),
        ('preset = "best"', "start.safetensors", {}, "there is no preset 'best'"),
        ('preset = "decoder"\nrank = 2', "start.safetensors", {}, "leave rank out"),
        ('preset = "lora"\nrates = { encoder = 0 }', "start.safetensors", {}, "has rates and a preset"),
        ('preset = "adapter"', "start.safetensors", {}, "not for a TinyNetwork"),
        ('preset = "all"\ncached_crops = 3', "start.safetensors", {}, "an image encoder that is not trained"),
        ('preset = "decoder"\ncached_crops = 3\ndraw_on_device = true', "start.safetensors", {}, "cannot be cached"),
        ('preset = "decoder"', "sam.pth", {"network": "deep"}, "fixed number of blocks"),
        ('preset = "decoder"\n', "mobile.pth", {}, "cannot be trained"),
    ],
)
def test_what_cannot_be_trained_is_refused(folder, train, start, options, message, monkeypatch):
    if start == "mobile.pth":
        (folder / start).write_bytes(b"")
        monkeypatch.setattr("samgeo.training.network_kinds.load_model", lambda *_, **__: Oracle())
    with pytest.raises(OptionError, match=message):
        run_recipe(written(folder, train, start=start), folder / "out.safetensors", device="cpu", **options)
    assert not (folder / "out.safetensors").exists()


def test_the_bundled_architecture_has_no_torch_file(folder):
    with pytest.raises(OptionError, match=r"does not end in \.safetensors"):
        run_recipe(written(folder, ""), folder / "out.pth", device="cpu")


def test_cached_crops_of_the_bundled_architecture(folder):
    recipe = written(folder, 'preset = "decoder"\ncached_crops = 1')
    trained = run_recipe(recipe, folder / "out.safetensors", device="cpu", steps=3)
    lines = [json.loads(line) for line in (trained.folder / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert load_tiny(folder / "out.safetensors", device="cpu").network.config.input_size == 64
    assert not any(name.startswith("encoder.") for name in changed(folder, "start.safetensors", "out.safetensors"))

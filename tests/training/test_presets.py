"""Presets of training on the network of the bundled model's architecture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samgeo.errors import CheckpointError, OptionError
from samgeo.training import TRAINING_PRESETS, LossWeights, TrainOptions, apply_preset, train, training_preset
from samgeo.training.low_rank import LowRank
from samgeo.training.run_folder import read_state
from samgeo.training.step import _grown

IOU_HEADS = ("decoder.iou.", "decoder.quality.")
FOR_TINY = ("decoder", "lora", "bitfit", "all", "medsam")


def weights(network):
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def answer(network, crop=64, seed=3):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 255, (1, crop, crop, 3), generator=generator).float()
    with torch.no_grad():
        window = network.window(network.encode(images))
        points = torch.tensor([[[10.5, 20.5]], [[40.0, 33.0]]])
        clicked = network.answer(window, points, torch.ones(2, 1, dtype=torch.long))
        boxed = network.answer(window, boxes=torch.tensor([[4.0, 4.0, 40.0, 30.0]]), candidates=slice(0, 1))
    return torch.cat([clicked.logits.flatten(), clicked.predicted_iou.flatten(), boxed.logits.flatten()])


def options_of(applied, **changes):
    return replace(applied.train_options(2, crops=[(64, 4, 1.0)]), warm_up=1, save_s=1e9, **changes)


@pytest.mark.parametrize("name", FOR_TINY)
def test_a_preset_changes_exactly_what_it_trains(small_network, source, tmp_path, name):
    applied = apply_preset(small_network, name)
    start = weights(small_network)
    options = replace(options_of(applied), steps=3)
    after = train(small_network, [source], tmp_path, options, window_px=64)
    changed = {key for key in start if not torch.equal(start[key], after[key])}
    assert changed <= set(applied.trained)
    unchanged = set(applied.trained) - changed
    # A prompt of a kind that was not drawn in these steps has no gradient.
    assert len(unchanged) <= 0.2 * len(applied.trained), unchanged
    judging = {key for key in applied.trained if key.startswith(IOU_HEADS)}
    assert bool(judging) == (name in {"all", "medsam"})
    assert not any(key.endswith(".key.bias") for key in applied.trained)


def test_the_parts_of_presets(small_network):
    trained = {name: set(apply_preset(small_network, name).trained) for name in ("decoder", "bitfit", "medsam", "all")}
    assert {key.split(".")[0] for key in trained["decoder"]} == {"prompts", "decoder", "upscaler"}
    assert all(key.endswith("bias") or "norm" in key or "refine" in key for key in trained["bitfit"])
    assert any(key.startswith("encoder.trunk") for key in trained["bitfit"])
    assert {key.split(".")[0] for key in trained["medsam"]} == {"encoder", "decoder", "upscaler"}
    keys = {key for key in dict(small_network.named_parameters()) if key.endswith(".key.bias")}
    assert trained["all"] == set(dict(small_network.named_parameters())) - keys


def test_heads_of_the_iou_are_trained_when_asked(small_network):
    assert any(key.startswith(IOU_HEADS) for key in apply_preset(small_network, "decoder", train_iou=True).trained)
    assert not any(key.startswith(IOU_HEADS) for key in apply_preset(small_network, "all", train_iou=False).trained)


def test_low_rank_changes_are_nothing_at_first_and_merge(small_network, source, tmp_path):
    before, names = answer(small_network), set(small_network.state_dict())
    applied = apply_preset(small_network, "lora", rank=2)
    assert all(".parametrizations.weight.0." in key for key in applied.trained)
    # Other tensors with the same weights may lie otherwise in memory, which changes the last bits.
    torch.testing.assert_close(answer(small_network), before, atol=1e-5, rtol=0)
    trained = train(small_network, [source], tmp_path, options_of(applied, rate=0.05), window_px=64)
    small_network.load_state_dict(trained)
    unmerged = answer(small_network)
    merged = applied.merge(trained)
    assert set(merged) == names
    assert (unmerged - before).abs().max() > 1e-3
    torch.testing.assert_close(answer(small_network), unmerged, atol=1e-5, rtol=1e-5)


def test_a_change_of_some_parts_of_a_fused_layer():
    layer = torch.nn.Linear(6, 12)
    change = LowRank(layer, 2, parts=3, changed=(0, 2))
    torch.nn.init.normal_(change.b)
    new = change(layer.weight)
    assert torch.equal(new[4:8], layer.weight[4:8])
    torch.testing.assert_close(new[8:], layer.weight[8:] + change.b[1] @ change.a[1])
    assert not torch.equal(new[:4], layer.weight[:4])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("best", {}, "give one of decoder, lora"),
        ("decoder", {"rank": 4}, "no low-rank changes; leave rank out"),
        ("bitfit", {"targets": ["decoder"]}, "leave targets out"),
        ("lora", {"rank": 0}, "give 1 or more"),
        ("lora", {"targets": ["head"]}, "targets has head, which is no part"),
        ("lora", {"targets": []}, "targets has nothing"),
    ],
)
def test_what_does_not_fit_a_preset_is_refused(small_network, name, options, message):
    with pytest.raises(OptionError, match=message):
        apply_preset(small_network, name, **options)


def test_other_networks_are_refused():
    with pytest.raises(OptionError, match="not for Linear"):
        apply_preset(torch.nn.Linear(2, 2), "decoder")


def test_targets_choose_the_layers(small_network):
    applied = apply_preset(small_network, "lora", targets=["upscaler"])
    assert applied.rank == 4
    assert applied.trained
    assert all(key.startswith("upscaler.") for key in applied.trained)


def test_boxes_are_grown_outward_and_stay_in_the_crop():
    masks = torch.zeros(40, 32, 32, dtype=torch.bool)
    masks[:, 10:14, 2:30] = True
    boxes = _grown(masks, 5.0, np.random.default_rng(0))
    left, top, right, bottom = boxes.T
    assert ((left >= 0) & (left <= 2) & (top > 5) & (top <= 10)).all()
    assert ((right >= 30) & (right <= 32) & (bottom >= 14) & (bottom < 19)).all()
    assert len(boxes.unique(dim=0)) == 40


def test_medsam_asks_boxes_alone(small_network, source, tmp_path):
    lines = []
    applied = apply_preset(small_network, "medsam")
    options = options_of(applied, log_steps=1)
    assert options.losses == LossWeights(focal=0, dice=1, entropy=1, iou=1, regret=0, coverage=0)
    train(small_network, [source], tmp_path, options, window_px=64, report=lines.append)
    assert all("box" in line and "click" not in line and "corrected" not in line for line in lines)


def test_the_table_gives_the_values_of_a_recipe():
    defaults = training_preset("lora").defaults()
    assert defaults["rate"] == 1e-3
    assert set(defaults) <= set(TrainOptions.__dataclass_fields__)
    assert all(name == preset.name for name, preset in TRAINING_PRESETS.items())


def test_a_state_has_what_is_trained_and_refuses_other_frozen_weights(small_network, source, tmp_path):
    start = weights(small_network)
    applied = apply_preset(small_network, "bitfit")
    whole = train(small_network, [source], tmp_path / "whole", options_of(applied), window_px=64)
    assert whole.keys() == start.keys()
    state = read_state(tmp_path / "whole" / "state.pt")
    assert set(state["network"]) == set(state["average"]) == {*applied.trained, "prompts.frequencies"}
    again = train(small_network, [source], tmp_path / "whole", options_of(applied), window_px=64)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    with torch.no_grad():
        small_network.upscaler.split4.weight.add_(1)
    with pytest.raises(CheckpointError, match="the weights that are not trained differ"):
        train(small_network, [source], tmp_path / "whole", options_of(applied), window_px=64)

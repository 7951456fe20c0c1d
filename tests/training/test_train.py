import json
from dataclasses import replace

import pytest
import torch

from samgeo.errors import CheckpointError, OptionError
from samgeo.training.loop import TrainOptions, train

OPTIONS = TrainOptions(steps=3, crops=((64, 4, 1.0),), rate=2e-3, warm_up=2, save_s=0.0, log_steps=2, images=2)


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def fresh(network, start):
    network.load_state_dict(start)
    return network


def test_a_run_that_was_stopped_goes_the_way_of_one_that_was_not(small_network, source, tmp_path, monkeypatch):
    start = weights(small_network)
    whole = train(small_network, [source], tmp_path / "whole", OPTIONS, window_px=64)
    import samgeo.training.loop as module

    drawn = module.draw
    calls = []

    def stopping(*given):
        calls.append(given)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return drawn(*given)

    monkeypatch.setattr(module, "draw", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(fresh(small_network, start), [source], tmp_path / "parts", OPTIONS, window_px=64)
    monkeypatch.setattr(module, "draw", drawn)
    parts = train(fresh(small_network, start), [source], tmp_path / "parts", OPTIONS, window_px=64)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_training_learns(small_network, source, tmp_path):
    options = replace(OPTIONS, steps=36, images=1, warm_up=3, rate=5e-3, save_s=1e9, log_steps=12, average=0.9)
    train(small_network, [source], tmp_path, options, window_px=64)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [12, 24, 36]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]


def test_parameters_with_a_rate_of_zero_stay_as_they_are(small_network, source, tmp_path):
    start = weights(small_network)
    after = train(small_network, [source], tmp_path, replace(OPTIONS, rates={"encoder": 0, "encoder.refine4": 1}), window_px=64)
    changed = {name for name in start if not torch.equal(start[name], after[name])}
    assert not any(name.startswith("encoder.trunk") for name in changed)
    assert any(name.startswith("encoder.refine4") for name in changed)
    assert any(name.startswith("decoder.") for name in changed)


def test_a_state_of_other_options_is_not_continued(small_network, source, tmp_path):
    train(small_network, [source], tmp_path, replace(OPTIONS, steps=1), window_px=64)
    with pytest.raises(CheckpointError, match="other options"):
        train(small_network, [source], tmp_path, OPTIONS, window_px=64)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"crops": ((50, 4, 1.0),)}, {"rate": 0.0}, {"average": 1.0}])
def test_options_that_cannot_work_are_refused(wrong):
    with pytest.raises(OptionError):
        replace(OPTIONS, **wrong)


def test_nothing_to_train_on_or_nothing_to_train_is_refused(small_network, source, tmp_path):
    with pytest.raises(OptionError, match="at least one source"):
        train(small_network, [], tmp_path, OPTIONS, window_px=64)
    with pytest.raises(OptionError, match="every parameter"):
        train(small_network, [source], tmp_path, replace(OPTIONS, rates={"": 0}), window_px=64)

"""Training that the clock ends, and training that draws its crops on the device."""

import json

import pytest
import torch

import samgeo.training.loop as module
from samgeo.errors import OptionError
from samgeo.models.tiny import PRESETS, deepened, load_tiny, network_preset, save_tiny
from samgeo.training.loop import TrainOptions, train, train_locked
from samgeo.training.run_folder import FileState

ON_DEVICE = TrainOptions(
    steps=3, crops=((64, 3, 0.5), (32, 4, 0.5)), rate=2e-3, warm_up=2, images=1, log_steps=1, draw_on_device=True
)


class Clock:
    """A clock that goes on by a minute whenever a step begins."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        whole = module.draw_crops

        def drawing(*given):
            self.now += 60
            return whole(*given)

        monkeypatch.setattr(module, "draw_crops", drawing)


def test_crops_of_the_device_train_and_a_stopped_run_goes_the_same_way(small_network, source, tmp_path, monkeypatch):
    start = {name: tensor.clone() for name, tensor in small_network.state_dict().items()}
    whole = train(small_network, [source], tmp_path / "whole", ON_DEVICE, window_px=64)
    drawn, calls = module.draw_crops, []

    def stopping(*given):
        calls.append(given)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return drawn(*given)

    monkeypatch.setattr(module, "draw_crops", stopping)
    small_network.load_state_dict(start)
    options = TrainOptions(**{name: getattr(ON_DEVICE, name) for name in ON_DEVICE.__slots__} | {"save_s": 0.0})
    with pytest.raises(KeyboardInterrupt):
        train(small_network, [source], tmp_path / "parts", options, window_px=64)
    monkeypatch.setattr(module, "draw_crops", drawn)
    small_network.load_state_dict(start)
    parts = train(small_network, [source], tmp_path / "parts", options, window_px=64)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]
    # A crop of half the side has a quarter of the pixels, so that there are four times as many.
    counts = [json.loads(line)["crops"] for line in logs[0].splitlines()]
    assert {after - before for before, after in zip([0, *counts], counts, strict=False)} == {1, 4}


def test_the_clock_ends_the_run_and_takes_the_rate_down(small_network, source, tmp_path, monkeypatch):
    Clock(monkeypatch)
    options = TrainOptions(
        steps=1000, minutes=5, crops=((32, 2, 1.0),), rate=1e-3, warm_up=1, images=1, log_steps=1, draw_on_device=True
    )
    train(small_network, [source], tmp_path / "run", options, window_px=64)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["minutes"] for line in lines] == [1, 2, 3, 4, 5]
    rates = [line["rate"] for line in lines]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(3e-5)


def test_a_run_of_the_clock_goes_on_for_what_is_left_also_without_the_optimisers_state(
    small_network, source, tmp_path, monkeypatch
):
    class Light(FileState):
        def write(self, state):
            super().write({name: value for name, value in state.items() if name != "optimizer"})

    clock = Clock(monkeypatch)
    options = TrainOptions(steps=1000, minutes=6, crops=((32, 2, 1.0),), images=1, log_steps=1, save_s=0, draw_on_device=True)
    drawn, home = module.draw_crops, tmp_path
    monkeypatch.setattr(module, "draw_crops", lambda *given: 1 / 0 if clock.now > 1150 else drawn(*given))
    store = Light(home / "state.pt")
    with pytest.raises(ZeroDivisionError):
        train_locked(small_network, [source], home, options, window_px=64, store=store)
    monkeypatch.setattr(module, "draw_crops", drawn)
    clock.now = 50_000.0
    result = train_locked(small_network, [source], home, options, window_px=64, store=store)
    assert result.steps == 6
    assert train_locked(small_network, [source], home, options, window_px=64, store=store).steps == 6


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan"), float("inf")])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(OptionError, match="minutes"):
        TrainOptions(steps=1, minutes=minutes)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_larger_network_answers_as_its_start_and_fits_into_the_package(name, tmp_path):
    start = load_tiny(device="cpu").network
    preset = network_preset(name)
    larger = deepened(start, preset.attend, preset.deepen)
    assert save_tiny(larger.state_dict(), larger.config, tmp_path / "larger.safetensors")
    assert (tmp_path / "larger.safetensors").stat().st_size < 12_000_000
    image = torch.rand(1, 64, 64, 3) * 255
    with torch.no_grad():
        assert torch.equal(larger.eval().encode(image).stride4, start.encode(image).stride4)


def test_a_network_without_such_a_name_is_refused():
    with pytest.raises(OptionError, match="give one of base, deep, deeper, context"):
        network_preset("deepest")

"""The fit of a screen of points, and the choice of its least chance."""

import numpy as np
import pytest
import torch

from samgeo.models.tiny import load_tiny
from samgeo.synthetic import town
from samgeo.training import point_screen
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture
from samgeo.training.point_screen import Decoded, choose_least_chance, collect, fit

GATE = 0.55


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(point_screen, "STEPS", 200)
    monkeypatch.setattr(point_screen, "BATCH", 512)


@pytest.fixture
def decoded():
    """Points of three sources whose best predicted IoU follows from one feature, with noise."""
    generator = torch.Generator().manual_seed(0)
    windows = []
    for number in range(9):
        features = torch.randn(400, 6, generator=generator) * 3 + 1
        noise = 0.3 * torch.randn(400, generator=generator)
        windows.append(Decoded("abc"[number % 3], features, torch.sigmoid(features[:, 2] + noise)))
    return windows


def test_a_fit_learns_what_the_features_tell_and_repeats(decoded):
    screen = fit(decoded, model="abc", least_chance=0.1)
    assert (screen.model, screen.least_chance) == ("abc", 0.1)
    features, best = decoded[0].features, decoded[0].best
    chances = [torch.sigmoid(screen(features, torch.full((len(features),), least))) for least in (0.4, GATE, 0.7)]
    for least, chance in zip((0.4, GATE, 0.7), chances, strict=True):
        assert (chance - (best > least).float()).abs().mean() < 0.2
    assert (chances[0] >= chances[1]).all()
    assert (chances[1] >= chances[2]).all()
    again = fit(decoded, model="abc", least_chance=0.1)
    assert all(torch.equal(one, other) for one, other in zip(screen.parameters(), again.parameters(), strict=True))


def test_the_least_chance_loses_the_share_that_is_allowed(decoded):
    careful, few = choose_least_chance(decoded, min_iou=GATE, lost=0.01)
    bold, many = choose_least_chance(decoded, min_iou=GATE, lost=0.2)
    assert 0 < careful < bold < 1
    assert few.keys() == {"a", "b", "c"}
    assert all(few[name] < many[name] for name in few)
    screen = fit(decoded, model="", least_chance=careful)
    features, best = (torch.cat([getattr(one, name) for one in decoded]) for name in ("features", "best"))
    assert (best[~screen.passes(features, GATE)] > GATE).sum() <= 0.03 * (best > GATE).sum()


def test_windows_are_drawn_and_decoded(monkeypatch):
    monkeypatch.setattr(point_screen, "POINTS_PER_SIDE", 3)
    scene = town((600, 600), seed=3)
    source = Source(
        "town",
        [Picture("town", scene.image, {"building": scene.labels.astype(np.uint16)})],
        1.0,
        {"building": Layer(1.0)},
        (1.0, 1.0),
    )
    model = load_tiny(device="cpu", dtype="float32")
    windows = collect(model, [source], 2, np.random.default_rng(0))
    assert [one.source for one in windows] == ["town", "town"]
    assert [tuple(one.features.shape) for one in windows] == [(9, 224), (9, 224)]
    assert all(((one.best > 0) & (one.best < 1)).all() for one in windows)
    assert not torch.equal(windows[0].features, windows[1].features)

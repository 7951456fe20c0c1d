"""The screen of points: its file, and what it leaves out."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import samgeo
from samgeo.errors import CheckpointError
from samgeo.models.protocols import Screening
from samgeo.models.tiny import load_tiny, save_tiny
from samgeo.models.tiny.point_screen import PointScreen, bundled_screen, load_screen, save_screen
from samgeo.synthetic import town

SIDE, POINTS_PER_SIDE, GATE = 512, 24, 0.55


@pytest.fixture(scope="module")
def tiny():
    return load_tiny(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def embedding(tiny):
    return tiny.embed(town((SIDE, SIDE), seed=31).image[None])[0]


@pytest.fixture(scope="module")
def lattice():
    along = (np.arange(POINTS_PER_SIDE, dtype=np.float32) + 0.5) * (SIDE / POINTS_PER_SIDE)
    return np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)


def test_the_bundled_screen_was_fitted_to_the_bundled_weights(tiny):
    assert isinstance(tiny, Screening)
    screen = bundled_screen(tiny.digest)
    assert screen is not None
    assert 0 < screen.least_chance < 0.5
    assert bundled_screen("0" * 64) is None


def test_points_that_are_left_out_give_nearly_no_mask(tiny, embedding, lattice):
    kept = tiny.screen_points(embedding, lattice, min_iou=GATE)
    labels = np.ones((len(lattice), 1), dtype=np.int64)
    prompt, _, _, _ = tiny.decode_gated(embedding, points=lattice[:, None], labels=labels, min_iou=GATE)
    passing = np.zeros(len(lattice), dtype=bool)
    passing[prompt] = True
    assert (~kept).mean() > 0.2
    assert (passing & ~kept).sum() <= 0.03 * passing.sum()


def test_a_point_is_judged_by_itself_and_by_the_threshold(tiny, embedding, lattice):
    kept = [tiny.screen_points(embedding, lattice, min_iou=least) for least in (0.0, 0.3, 0.55, 0.8, 1.0)]
    assert kept[0].all()
    assert not kept[-1].any()
    assert all((stricter <= looser).all() for looser, stricter in pairwise(kept))
    some = np.random.default_rng(0).permutation(len(lattice))[:50]
    np.testing.assert_array_equal(tiny.screen_points(embedding, lattice[some], min_iou=GATE), kept[2][some])
    assert tiny.screen_points(embedding, lattice[:0], min_iou=GATE).shape == (0,)


def test_bfloat16_leaves_out_the_same_points(tiny, embedding, lattice):
    model = load_tiny(device="cpu", dtype="bfloat16")
    expected = tiny.screen_points(embedding, lattice, min_iou=GATE)
    np.testing.assert_array_equal(model.screen_points(embedding, lattice, min_iou=GATE), expected)


def test_other_weights_leave_out_nothing(tiny, embedding, lattice, tmp_path):
    weights = {name: tensor.float() for name, tensor in tiny.network.state_dict().items()}
    weights["decoder.iou.4.bias"] = weights["decoder.iou.4.bias"] + 0.25
    save_tiny(weights, tiny.network.config, tmp_path / "mine.safetensors")
    mine = samgeo.load_model(tmp_path / "mine.safetensors", device="cpu")
    assert mine.screen_points(embedding, lattice, min_iou=GATE).all()


def test_a_screen_is_read_as_it_was_written(tmp_path):
    torch.manual_seed(0)
    screen = PointScreen(12, 8, model="abc", least_chance=0.03)
    digest = save_screen(screen, tmp_path / "screen.safetensors")
    again = load_screen(tmp_path / "screen.safetensors")
    assert (again.model, again.least_chance) == ("abc", 0.03)
    features = torch.randn(40, 12)
    threshold = torch.full((40,), GATE)
    torch.testing.assert_close(again(features, threshold), screen(features, threshold), rtol=0, atol=1e-2)
    assert save_screen(again, tmp_path / "again.safetensors") == digest


def halves(screen):
    return {name: tensor.half() for name, tensor in screen.state_dict().items()}


@pytest.mark.parametrize(
    ("header", "change"),
    [
        (None, None),
        ({"architecture": "another"}, None),
        ({}, None),
        ({"model": "abc", "least_chance": "[]"}, None),
        ({"model": "abc", "least_chance": "0"}, None),
        ({"model": "abc", "least_chance": "0.1"}, lambda state: state.pop("layers.4.bias")),
        ({"model": "abc", "least_chance": "0.1"}, lambda state: state["layers.0.bias"].fill_(torch.nan)),
    ],
    ids=["no file", "architecture", "header", "no number", "no chance", "missing tensor", "not finite"],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, header, change):
    path = tmp_path / "screen.safetensors"
    if header is not None:
        state = halves(PointScreen(12, 8, model="", least_chance=0.1))
        if change is not None:
            change(state)
        save_file(state, path, {"architecture": "samgeo-point-screen"} | header)
    with pytest.raises(CheckpointError, match=r"screen\.safetensors"):
        load_screen(path)

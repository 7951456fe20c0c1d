"""Masks that are drawn only where they are expected are those of the whole window."""

import numpy as np
import pytest
import torch
from drawn import assert_same_masks
from hypothesis import given, settings
from hypothesis import strategies as st

import samgeo
from samgeo.models.tiny import mask_regions as module
from samgeo.models.tiny.mask_regions import BACKGROUND, HALO, INEXACT_PX, LEAST_LOGIT, CellRegions, regions_of
from samgeo.models.tiny.network import TinyConfig, TinyNetwork
from samgeo.synthetic import town

pytestmark = pytest.mark.usefixtures("one_thread")

CELLS = 32


@pytest.fixture(scope="module")
def tiny():
    return samgeo.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def scene():
    return town((512, 512), seed=3)


@pytest.fixture(scope="module")
def embedding(tiny, scene):
    return tiny.embed(scene.image[None])[0]


def buildings(scene, count):
    """Return clicks in the middle of buildings, and their boxes."""
    labels = scene.labels
    clicks, boxes = [], []
    for number in np.unique(labels[labels > 0])[:count]:
        y, x = np.nonzero(labels == number)
        middle = len(y) // 2
        clicks.append([[x[middle] + 0.5, y[middle] + 0.5]])
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return np.array(clicks, np.float32), np.array(boxes, np.float32)


def drawn_whole(monkeypatch, tiny, embedding, **prompts):
    with monkeypatch.context() as patch:
        patch.setattr(module, "SIDES", ())
        return tiny.decode(embedding, **prompts)


@pytest.mark.parametrize("kind", ["clicks", "lattice", "boxes", "corrected"])
@pytest.mark.parametrize("multimask", [True, False])
def test_they_are_the_masks_of_the_whole_window(monkeypatch, tiny, scene, embedding, kind, multimask):
    clicks, boxes = buildings(scene, 12)
    spread = np.stack(np.meshgrid(*[np.arange(40, 512, 108.0)] * 2), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    two = np.concatenate([clicks, clicks + 40], axis=1).clip(0, 512)
    prompts = {
        "clicks": {"points": clicks, "labels": np.ones((len(clicks), 1), np.int64)},
        "lattice": {"points": spread, "labels": np.ones((len(spread), 1), np.int64)},
        "boxes": {"boxes": boxes},
        "corrected": {"points": two, "labels": np.tile([1, 0], (len(two), 1))},
    }[kind]
    whole, scores = drawn_whole(monkeypatch, tiny, embedding, **prompts, multimask=multimask)
    some, same_scores = tiny.decode(embedding, **prompts, multimask=multimask)
    undrawn = some == BACKGROUND
    assert undrawn.float().mean() > (0.3 if kind != "boxes" else 0.8)
    torch.testing.assert_close(some[~undrawn], whole[~undrawn], rtol=0, atol=1e-4)
    assert not (whole[undrawn] > 0).any()
    torch.testing.assert_close(scores, same_scores)


def test_what_goes_on_past_its_region_is_drawn_whole(monkeypatch, tiny, scene, embedding):
    clicks, _ = buildings(scene, 6)
    prompts = {"points": clicks, "labels": np.ones((len(clicks), 1), np.int64)}
    whole, _ = drawn_whole(monkeypatch, tiny, embedding, **prompts)
    expected = []

    def nothing_but_the_click(coverage, wanted):
        low = torch.full_like(coverage, -20.0)
        low[..., 0] = 0.0  # the corner of the window, wherever they are
        expected.extend(regions_of(low, wanted))
        yield from regions_of(low, wanted)

    monkeypatch.setattr("samgeo.models.tiny.model.regions_of", nothing_but_the_click)
    some, _ = tiny.decode(embedding, **prompts)
    assert all(one.side == 7 for one in expected)
    square = whole[:, :, : 28 - INEXACT_PX, : 28 - INEXACT_PX]
    border = torch.cat([square[:, :, -1], square[:, :, :, -1]], dim=-1)
    goes_on = (border > LEAST_LOGIT).flatten(1).any(1)
    assert goes_on.any()
    assert not goes_on.all()
    torch.testing.assert_close(some[goes_on], whole[goes_on], rtol=0, atol=1e-4)
    assert (some[~goes_on][:, :, 28 - INEXACT_PX :] == BACKGROUND).all()


def test_gated_masks_are_those_of_decode(tiny, scene, embedding):
    clicks, _ = buildings(scene, 12)
    labels = np.ones((len(clicks), 1), np.int64)
    logits, scores = tiny.decode(embedding, points=clicks, labels=labels)
    prompt, token, gated, _ = tiny.decode_gated(embedding, points=clicks, labels=labels, min_iou=0.6)
    assert len(prompt) == int((scores > 0.6).sum()) > 5
    assert_same_masks(gated, logits[prompt, token], rtol=0, atol=1e-4)


@given(data=st.data(), cells=st.sampled_from([2, 6, 8, 16, 32]))
@settings(deadline=None)
def test_regions_hold_every_cell_that_is_expected(data, cells):
    prompts = data.draw(st.integers(1, 5))
    coverage = torch.full((prompts, 2, cells * cells), -20.0)
    wanted = torch.tensor(
        data.draw(st.lists(st.sampled_from([(True, True), (True, False)]), min_size=prompts, max_size=prompts))
    )
    boxes = []
    for row in range(prompts):
        top, left = (data.draw(st.integers(0, cells - 1)) for _ in range(2))
        bottom, right = (data.draw(st.integers(low, cells - 1)) for low in (top, left))
        boxes.append((top, left, bottom, right))
        coverage[row, 0].view(cells, cells)[top, left] = coverage[row, 0].view(cells, cells)[bottom, right] = 3.0
        coverage[row, 1] = 5.0 if not wanted[row, 1] else -20.0  # nobody asked for it
    found = list(regions_of(coverage, wanted))
    assert sorted(torch.cat([one.rows for one in found]).tolist()) == list(range(prompts))
    for one in found:
        assert one.whole or one.side in module.SIDES
        for row, y, x in zip(one.rows.tolist(), one.top.tolist(), one.left.tolist(), strict=True):
            top, left, bottom, right = boxes[row]
            for first, last, begin in ((top, bottom, y), (left, right, x)):
                assert 0 <= begin <= cells - one.side
                assert begin <= max(first - HALO, 0)
                assert begin + one.side - 1 >= min(last + HALO, cells - 1)


def test_a_candidate_that_is_expected_nowhere_has_a_region_where_it_is_expected_most():
    coverage = torch.full((1, 1, CELLS * CELLS), -20.0)
    coverage[0, 0, 20 * CELLS + 9] = -15.0
    (one,) = regions_of(coverage, torch.ones(1, 1, dtype=torch.bool))
    assert (one.side, one.top.item(), one.left.item()) == (7, 17, 6)


def test_placing_leaves_out_what_is_not_exact():
    region = CellRegions(torch.tensor([0]), torch.tensor([0]), torch.tensor([5]), 7, CELLS)
    onto = torch.full((1, 2, 128, 128), BACKGROUND)
    drawn = torch.full((1, 2, 28, 28), -5.0)
    drawn[0, 1, 10, 27 - INEXACT_PX] = 0.0
    drawn[0, 0, 0, 10] = 0.0  # on the edge of the window, past which there is nothing
    assert region.place(drawn, onto).tolist() == [[False, True]]
    y, x = (onto[0, 0] != BACKGROUND).nonzero(as_tuple=True)
    assert (y.min(), y.max(), x.min(), x.max()) == (0, 27 - INEXACT_PX, 20 + INEXACT_PX, 20 + 27 - INEXACT_PX)


def test_a_network_that_expects_nothing_draws_the_window():
    torch.manual_seed(0)
    network = TinyNetwork(TinyConfig(channels=(32, 16, 8), maps=(4, 8), depth=1, hidden=32, input_size=128))
    model = samgeo.models.tiny.Tiny(network, digest="random")
    embedding = model.embed(np.zeros((1, 128, 128, 3), np.uint8))[0]
    logits, _ = model.decode(embedding, boxes=np.array([[10, 10, 30, 30]], np.float32))
    assert network.config.quality == 0
    assert not (logits == BACKGROUND).any()

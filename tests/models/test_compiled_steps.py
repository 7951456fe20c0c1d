"""The compiled steps against the operations of torch that they stand for."""

import os
import re
import warnings

import numpy as np
import pytest
import torch
from compiled_parity import by_torch, needs_library, same
from torch import nn
from torch.nn import functional

from samgeo.errors import SamgeoWarning
from samgeo.models.compiled import dense_maps, image_steps, library
from samgeo.models.sam1.attention import add_read_of_tokens, read_image, what_cells_read
from samgeo.models.tiny import load_tiny
from samgeo.models.tiny.layers import Attention, DepthwiseConv, nest

CELLS, CHANNELS, HEADS = image_steps.CELLS, image_steps.CHANNELS, image_steps.HEADS
pytestmark = pytest.mark.usefixtures("one_thread_without_gradients")


@pytest.fixture(scope="module")
def model():
    return load_tiny(device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def embedding(model):
    rng = np.random.default_rng(2)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 24, 24)).astype(np.float32))
    image = functional.interpolate(coarse, size=(512, 512), mode="bicubic").clamp(0, 255)
    return model.embed(np.ascontiguousarray(image.permute(0, 2, 3, 1).to(torch.uint8).numpy()))


def in_threads_and_alone(work, prompts):
    """What a step returns for all prompts with several threads; it may not differ by a bit, nor from that for one prompt."""
    whole = work(slice(0, prompts))
    torch.set_num_threads(2)
    assert torch.equal(work(slice(0, prompts)), whole)
    torch.set_num_threads(1)
    assert torch.equal(work(slice(1, 2)), whole[1:2])
    return whole


def test_the_library_is_there_where_it_is_required():
    assert os.environ.get(library.SWITCH) != "required" or library.library() is not None


@needs_library
def test_maps_of_clicks_are_those_of_torch(random):
    x, y, points = random(64) * 100, random(64) * 100, random(3, 4, 2) * 100
    labels = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]])
    squared = (x - points[..., :1]) ** 2 + (y - points[..., 1:]) ** 2
    for label in (0, 1):
        nearest = squared.masked_fill((labels != label)[..., None], torch.inf).amin(1)
        spot, decay = dense_maps.click_maps(x, y, points, labels, label, factors=(-0.001, -0.05))
        assert torch.allclose(spot, torch.exp(-0.001 * nearest), rtol=1e-5, atol=1e-12)
        assert torch.allclose(decay, torch.exp(-0.05 * nearest.sqrt()), rtol=1e-5, atol=1e-12)
        assert (spot[2] == 0).all() == (label == 0)


@needs_library
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("side", [2, 6, 32])
def test_maps_are_enlarged_into_nested_order_as_by_torch(side, factor, random):
    rows = random(3, side * side)
    image = rows.view(3, 1, side, side)
    larger = functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    expected = nest(larger[:, 0, :, :, None], 2)[..., 0]
    assert torch.allclose(dense_maps.enlarge_nested(rows, factor), expected, atol=1e-6)


@needs_library
@pytest.mark.parametrize("maps", [2, 6, 14])
def test_prompt_maps_are_merged_as_by_torch(maps, random):
    merge8, merge16 = nn.Linear(64, 32), nn.Linear(128, CHANNELS)
    values, weight = random(maps, 3, 16 * CELLS) * 3, random(maps, 16)
    values[-1] = 1
    shared = random(1, CELLS, CHANNELS)
    maps4 = functional.gelu(torch.einsum("kpn,kc->pnc", values, weight))
    maps8 = functional.gelu(merge8(maps4.reshape(3, -1, 64)))
    expected = shared + maps8.reshape(3, CELLS, 128) @ merge16.weight.T
    merge = lambda part: image_steps.merge_maps(values[:, part].contiguous(), weight, merge8, merge16, shared)  # noqa: E731
    assert same(in_threads_and_alone(merge, 3), expected)


@needs_library
@pytest.mark.parametrize("tokens", image_steps.TOKENS)
def test_tokens_and_cells_attend_to_each_other_as_by_torch(tokens, random, monkeypatch):
    projections = Attention(CHANNELS, HEADS, CHANNELS // 2).projections
    placed, image, positions = random(3, tokens, CHANNELS), random(3, CELLS, CHANNELS), random(CELLS, CHANNELS)
    placed *= 20  # scores far from each other, of which the largest comes anywhere
    read = lambda: read_image(projections, placed, image, positions)  # noqa: E731
    assert same(read(), by_torch(monkeypatch, read))
    absorbed = random(3, HEADS * tokens, CHANNELS)
    pooled = in_threads_and_alone(lambda part: image_steps.pool_image(absorbed[part], image[part], positions), 3)
    assert same(pooled, torch.softmax(absorbed @ (image + positions).transpose(1, 2), dim=-1) @ image)


@needs_library
@pytest.mark.parametrize("tokens", image_steps.TOKENS)
def test_cells_are_renewed_as_by_torch(tokens, random, monkeypatch):
    projections = Attention(CHANNELS, HEADS, CHANNELS // 2).projections
    placed, values, image = random(3, tokens, CHANNELS) * 5, random(3, tokens, CHANNELS), random(3, CELLS, CHANNELS)
    positions = random(CELLS, CHANNELS)
    neighbourhood, norm = DepthwiseConv(CHANNELS, 3, residual=True), nn.LayerNorm(CHANNELS)
    norm.weight.copy_(random(CHANNELS)), norm.bias.copy_(random(CHANNELS))

    def then(cells):
        return norm(neighbourhood(cells.view(len(cells), 32, 32, CHANNELS))).flatten(1, 2)

    expected = add_read_of_tokens(projections, image, positions, placed, values, then=then)
    read, depthwise = what_cells_read(projections, placed, values), (neighbourhood.kernel, neighbourhood.bias)

    def renew(part):
        return image_steps.renew_image(image[part].clone(), positions, tuple(one[part] for one in read), depthwise, norm)

    assert same(in_threads_and_alone(renew, 3), expected)
    assert image_steps.renew_image(image, positions, read, depthwise, norm) is image
    assert same(image, expected)


@needs_library
@pytest.mark.parametrize("candidates", range(1, image_steps.CANDIDATES + 1))
def test_candidates_are_judged_as_by_torch(candidates, random):
    image, weights = random(2, CELLS, CHANNELS), random(2, candidates, CHANNELS)
    coverage, seen, area = image_steps.judge_candidates(image, weights, -4.0)
    for number in range(3):
        in_threads_and_alone(lambda part, n=number: image_steps.judge_candidates(image[part], weights[part], -4.0)[n], 2)
    expected = weights @ image.transpose(1, 2) - 4
    assert same(coverage, expected)
    assert same(seen, torch.sigmoid(expected) @ image)
    assert same(area, torch.sigmoid(expected).sum(-1, keepdim=True))


def prompts(kind):
    rng = np.random.default_rng(7)
    clicks = rng.uniform(0, 512, (5, 9, 2)).astype(np.float32)
    labels = rng.integers(0, 2, (5, 9))
    labels[:, 0] = 1
    corners = rng.uniform(10, 250, (5, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(20, 250, (5, 2)).astype(np.float32)], axis=1)
    count = {"click": 1, "clicks": 3, "many clicks": 9, "click and box": 1}.get(kind)
    given = {} if count is None else {"points": clicks[:, :count], "labels": labels[:, :count]}
    if "box" in kind:
        given["boxes"] = boxes
    if kind == "box and mask":
        given["masks"] = rng.normal(size=(5, 128, 128)).astype(np.float32)
    return given


@needs_library
@pytest.mark.parametrize("kind", ["click", "clicks", "many clicks", "box", "click and box", "box and mask"])
def test_masks_are_those_of_torch(kind, model, embedding, monkeypatch):
    given = prompts(kind)
    logits, iou = model.decode(embedding, **given)
    expected, expected_iou = by_torch(monkeypatch, lambda: model.decode(embedding, **given))
    assert (logits - expected).abs().max() < 2e-4
    assert (iou - expected_iou).abs().max() < 1e-5


@needs_library
def test_what_the_functions_are_not_compiled_for_is_left_to_torch():
    image = torch.zeros(1, CELLS, CHANNELS)
    assert image_steps.fits(image)
    assert not image_steps.fits(image, tokens=13)
    assert not image_steps.fits(image, heads=8)
    assert not image_steps.fits(image[:, :100])
    assert not image_steps.fits(image.double())
    assert not image_steps.fits(image, torch.zeros(4, 4).T[:, :2])
    with torch.inference_mode(mode=False):
        assert not image_steps.fits(torch.zeros(1, CELLS, CHANNELS))  # a gradient may be wanted
        with torch.no_grad():
            assert image_steps.fits(torch.zeros(1, CELLS, CHANNELS))


@needs_library
def test_small_numbers_are_computed_with_as_before_the_library_was_loaded():
    assert torch.tensor([1e-40]).mul(0.5).item() > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the threads that Python 3.12 warns of wait for work
def test_a_forked_process_starts_threads_of_its_own():
    torch.set_num_threads(2)
    seen = []
    library.over_prompts(seen.append, 4)
    assert sorted(part.start for part in seen) == [0, 2]
    child = os.fork()
    if child == 0:
        seen.clear()
        library.over_prompts(seen.append, 4)
        os._exit(len(seen))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_a_library_that_cannot_be_used_is_named_in_a_warning_and_left_out(tmp_path, monkeypatch):
    load = library.library.__wrapped__
    monkeypatch.delenv(library.SWITCH, raising=False)
    monkeypatch.setattr(library, "FILE", tmp_path / "steps.so")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load() is None  # it was not built
    library.FILE.write_bytes(b"no library")
    with pytest.warns(SamgeoWarning, match=re.escape(f"{library.FILE} cannot be loaded")):
        assert load() is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert load() is None


@needs_library
def test_the_library_of_other_sources_is_refused_and_can_be_switched_off(monkeypatch):
    load = library.library.__wrapped__
    monkeypatch.setattr(library, "INTERFACE", library.INTERFACE + 1)
    with pytest.warns(SamgeoWarning, match="another version of its sources.*Install samgeo again"):
        assert load() is None
    monkeypatch.setenv(library.SWITCH, "0")
    assert load() is None

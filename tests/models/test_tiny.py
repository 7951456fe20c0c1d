"""The bundled model answers what it answered in training, whatever is decoded beside it, and refuses files that are not it."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import assert_same_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn import functional

import samgeo.models
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.batching import by_cached_parts
from samgeo.models.protocols import Segmenter, embedding_digest
from samgeo.models.sam1.attention import add_read_of_tokens, read_image
from samgeo.models.tiny import deepened, load_tiny, new_tiny
from samgeo.models.tiny.layers import Attention, AttentionBlock, ConvolutionBlock, DepthwiseConv, nest, sample_bilinear, unnest
from samgeo.models.tiny.mask_regions import BACKGROUND, LEAST_LOGIT
from samgeo.models.tiny.network import TinyConfig, TinyNetwork
from samgeo.models.tiny.prompt_encoder import _click_maps
from samgeo.synthetic import town

pytestmark = pytest.mark.usefixtures("one_thread")

PACKAGED = Path(samgeo.models.__file__).parent / "weights" / "tiny.safetensors"
CLOSE = {"rtol": 0, "atol": 1e-3}

# A house, a white roof, a pond.
CLICKS = np.array([[[160.5, 120.5]], [[380.5, 290.5]], [[140.5, 380.5]]], np.float32)
ONE = np.ones((3, 1), np.int64)
SECOND = np.array([[[300, 200]], [[390, 300]], [[40, 480]]], np.float32)
PAIRS = np.concatenate([CLICKS, SECOND], axis=1)
BOTH = np.array([[1, 0], [1, 1], [1, 0]])
BOXES = np.array([[80, 60, 240, 180], [300, 250, 460, 330], [80, 320, 200, 440]], np.float32)

# What the network answered in float32 as it was trained, before its arithmetic was rearranged: predicted IoU of every
# candidate of the three prompts, logits of the white roof's candidates at five pixels, areas of all masks in pixels.
AT = np.array([[15, 20], [30, 40], [72, 95], [95, 35], [110, 100]])
GOLDEN = {
    "click": (
        [[0.93449, 0.90345, 0.95908, 0.9112], [0.60878, 0.5586, 0.65038, 0.41024], [0.45473, 0.38149, 0.49793, 0.27878]],
        [
            [-4.769, -6.54, 3.74, -5.247, -5.966],
            [-3.716, -5.346, 5.056, -3.936, -4.681],
            [-9.807, -13.141, 5.977, -10.608, -10.982],
            [-7.096, -9.01, 2.329, -8.143, -8.348],
        ],
        [[1200, 1200, 1200, 1200], [833, 1342, 839, 757], [864, 6458, 754, 687]],
    ),
    "two clicks": (
        [[0.94392, 0.91867, 0.96648, 0.92231], [0.64362, 0.60739, 0.68515, 0.43871], [0.54335, 0.43921, 0.59148, 0.35055]],
        [
            [-4.805, -6.492, 3.828, -5.281, -6.012],
            [-4.015, -5.67, 5.325, -4.341, -5.135],
            [-10.063, -13.356, 6.029, -10.957, -11.311],
            [-7.268, -9.276, 2.364, -8.376, -8.568],
        ],
        [[1200, 1200, 1200, 1200], [834, 1299, 839, 760], [712, 949, 708, 376]],
    ),
    "box": (
        [[0.95075, 0.92819, 0.96823, 0.9417], [0.8598, 0.83666, 0.87715, 0.71372], [0.89747, 0.85804, 0.91745, 0.83188]],
        [
            [-9.7, -12.21, 3.36, -12.637, -11.928],
            [-8.924, -11.27, 8.09, -11.729, -11.953],
            [-13.341, -16.718, 5.098, -17.272, -16.414],
            [-9.556, -11.086, 2.25, -11.479, -10.84],
        ],
        [[1200, 1200, 1200, 1200], [761, 810, 760, 742], [697, 725, 700, 689]],
    ),
    "box and click": (
        [[0.9494, 0.92624, 0.96899, 0.94352], [0.89239, 0.87795, 0.91349, 0.77713], [0.90551, 0.87132, 0.93047, 0.85871]],
        [
            [-10.636, -12.359, 3.757, -12.843, -11.831],
            [-9.592, -11.245, 8.692, -11.837, -11.802],
            [-13.439, -15.498, 5.523, -16.235, -15.168],
            [-9.59, -10.776, 3.374, -11.145, -10.508],
        ],
        [[1200, 1200, 1200, 1200], [761, 819, 760, 757], [701, 733, 706, 692]],
    ),
    "two clicks and a mask": (
        [[0.95088, 0.92984, 0.97165, 0.93974], [0.61431, 0.59196, 0.63373, 0.39324], [0.39451, 0.39699, 0.39458, 0.16907]],
        [
            [-4.476, -5.966, 3.832, -4.97, -5.41],
            [-3.848, -5.35, 5.191, -4.284, -4.856],
            [-8.776, -11.301, 5.269, -9.732, -9.625],
            [-7.287, -9.075, 2.977, -8.328, -8.411],
        ],
        [[1200, 1200, 1200, 1200], [1182, 2510, 1055, 836], [905, 7440, 827, 712]],
    ),
    "background click": (
        [[0.61706, 0.48709, 0.5605, 0.49613], [0.61513, 0.48713, 0.55889, 0.49604], [0.61568, 0.48826, 0.55971, 0.49617]],
        [
            [-12.332, -12.429, -11.87, -12.156, -12.187],
            [-5.955, -6.493, -6.398, -6.696, -6.43],
            [43.293, 46.093, 47.628, 48.423, 45.321],
            [-15.319, -16.241, -16.566, -16.284, -16.326],
        ],
        [[0, 0, 16384, 0], [0, 0, 16384, 0], [0, 0, 16384, 0]],
    ),
}


def scene():
    y, x = np.mgrid[:512, :512]
    image = np.stack([90 + x // 16, 110 + y // 16, 80 + (x + y) // 32], axis=-1)
    image[60:180, 80:240] = (200, 90, 70)
    image[250:330, 300:460] = (225, 225, 215)
    image[(x - 140) ** 2 + (y - 380) ** 2 < 60**2] = (70, 75, 80)
    image[400:, 300:] = (60, 120, 50)
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def tiny():
    return load_tiny(device="cpu")


@pytest.fixture(scope="module")
def embedding(tiny):
    return tiny.embed(scene()[None])[0]


def all_four(model, embedding, **prompts):
    """Return the single mask and the three candidates side by side."""
    parts = [model.decode(embedding, **prompts, multimask=multimask) for multimask in (False, True)]
    return tuple(torch.cat(part, dim=1).numpy() for part in zip(*parts, strict=True))


def prompts_of(name, tiny, embedding):
    prompts = {
        "click": {"points": CLICKS, "labels": ONE},
        "two clicks": {"points": PAIRS, "labels": BOTH},
        "box": {"boxes": BOXES},
        "box and click": {"points": CLICKS, "labels": ONE, "boxes": BOXES},
        "background click": {"points": CLICKS, "labels": 0 * ONE},
    }
    if name == "two clicks and a mask":
        logits, _ = tiny.decode(embedding, points=CLICKS, labels=ONE)
        return {"points": PAIRS, "labels": BOTH, "masks": logits[:, 0].numpy()}
    return prompts[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_it_answers_what_it_answered_when_it_was_trained(tiny, embedding, name):
    predicted, at, areas = GOLDEN[name]
    logits, predicted_iou = all_four(tiny, embedding, **prompts_of(name, tiny, embedding))
    assert logits.shape == (3, 4, 128, 128)
    np.testing.assert_allclose(predicted_iou, predicted, rtol=0, atol=1e-4)
    answered = logits[1][:, AT[:, 0], AT[:, 1]]
    undrawn = answered == BACKGROUND
    assert (np.array(at)[undrawn] < LEAST_LOGIT).all()
    np.testing.assert_allclose(answered[~undrawn], np.array(at)[~undrawn], **CLOSE)
    np.testing.assert_allclose((logits > 0).sum((2, 3)), areas, rtol=0, atol=1)


def test_it_fits_the_door_and_says_which_weights_it_holds(tiny, embedding):
    assert isinstance(tiny, Segmenter)
    assert (tiny.name, tiny.input_size, tiny.dtype) == ("tiny", 512, torch.float32)
    assert tiny.digest == hashlib.sha256(PACKAGED.read_bytes()).hexdigest()
    assert len(embedding) == 1
    with pytest.raises(IndexError, match="window 1 of an embedding of 1"):
        embedding[1]


def test_a_window_is_embedded_alike_alone_and_in_a_batch(tiny):
    images = np.stack([scene(), scene()[::-1]])
    batch = tiny.embed(images)
    assert len(batch) == 2
    for one, image in zip(batch, images, strict=True):
        alone = tiny.embed(image[None])
        torch.testing.assert_close(one.stride16, alone.stride16, **CLOSE)
        torch.testing.assert_close(one.similar4, alone.similar4, **CLOSE)


def test_padding_is_zeros_whatever_it_holds(tiny):
    image, noisy = scene(), scene()
    image[300:], image[:, 350:] = 0, 0
    noisy[300:], noisy[:, 350:] = 255, 7
    ours, theirs = tiny.embed(noisy[None], np.array([[300, 350]])), tiny.embed(image[None])
    assert torch.equal(ours.stride4, theirs.stride4)
    assert torch.equal(ours.stride16, theirs.stride16)


def test_padding_points_and_neighbours_do_not_change_an_answer(tiny, embedding):
    clicks = np.concatenate([SECOND, CLICKS], axis=1)
    labels = np.array([[-1, 1], [1, 1], [-1, -1]])
    logits, predicted_iou = tiny.decode(embedding, points=clicks, labels=labels, boxes=BOXES)
    for row, (points, label) in enumerate([(CLICKS[:1], ONE[:1]), (clicks[1:2], labels[1:2]), (None, None)]):
        alone, alone_iou = tiny.decode(embedding, points=points, labels=label, boxes=BOXES[row : row + 1])
        torch.testing.assert_close(logits[row], alone[0], **CLOSE)
        torch.testing.assert_close(predicted_iou[row], alone_iou[0], rtol=0, atol=1e-5)


@settings(max_examples=5, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(0, 512, width=32), st.floats(0, 512, width=32)), max_size=5),
    min_iou=st.sampled_from([0.0, 0.5, 0.7, 0.85, 1.0]),
    multimask=st.booleans(),
)
def test_gating_only_leaves_out(tiny, embedding, points, min_iou, multimask):
    clicks = np.array(points, np.float32).reshape(-1, 1, 2)
    labels = np.ones(clicks.shape[:2], np.int64)
    logits, predicted_iou = tiny.decode(embedding, points=clicks, labels=labels, multimask=multimask)
    prompt, token, drawn, scores = tiny.decode_gated(
        embedding, points=clicks, labels=labels, min_iou=min_iou, multimask=multimask
    )
    passing = np.argwhere(predicted_iou.numpy() > min_iou)
    np.testing.assert_array_equal(np.stack([prompt, token], axis=1), passing)
    np.testing.assert_array_equal(scores, predicted_iou[prompt, token].numpy())
    assert_same_masks(drawn, logits[prompt, token], **CLOSE)


def test_gated_candidates_come_in_the_order_of_their_prompts(tiny, embedding):
    labels = np.array([[1, 0], [1, -1], [1, 0]])
    prompt, token, logits, _ = tiny.decode_gated(embedding, points=PAIRS, labels=labels, min_iou=0.0)
    assert prompt.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert token.tolist() == [0, 1, 2] * 3
    expected, _ = tiny.decode(embedding, points=PAIRS, labels=labels)
    torch.testing.assert_close(logits, expected.flatten(0, 1), **CLOSE)


def test_threads_may_share_it(tiny, embedding):
    alone = tiny.decode(embedding, points=PAIRS, labels=BOTH)
    with ThreadPoolExecutor(4) as pool:
        for logits, predicted_iou in pool.map(lambda _: tiny.decode(embedding, points=PAIRS, labels=BOTH), range(8)):
            assert torch.equal(logits, alone[0])
            assert torch.equal(predicted_iou, alone[1])


@pytest.fixture(scope="module")
def rounded():
    return load_tiny(device="cpu", dtype="bfloat16")


def test_bfloat16_rounds_the_decoder_and_not_the_embeddings(tiny, rounded, embedding):
    assert rounded.digest == f"{tiny.digest}-bfloat16"
    assert embedding_digest(rounded) == embedding_digest(tiny) == tiny.digest
    for layer in fields(embedding):
        assert torch.equal(getattr(rounded.embed(scene()[None]), layer.name), getattr(embedding, layer.name))


def test_bfloat16_draws_nearly_the_same_masks(tiny, rounded, embedding):
    logits, predicted_iou = rounded.decode(embedding, boxes=BOXES, multimask=False)
    exact, exact_iou = tiny.decode(embedding, boxes=BOXES, multimask=False)
    assert logits.dtype == predicted_iou.dtype == torch.float32
    assert (predicted_iou - exact_iou).abs().max() < 0.01
    masks, expected = logits > 0, exact > 0
    assert ((masks & expected).sum((2, 3)) / (masks | expected).sum((2, 3))).min() > 0.95


def test_bfloat16_finds_the_objects_of_float32_in_a_town(tiny, rounded):
    """The condition under which "auto" chooses bfloat16: mean IoU of at least 0.99, and as many candidates within 1 %."""
    embedding = tiny.embed(town((512, 512), seed=2).image[None])[0]
    lattice = (np.arange(14) + 0.5) / 14 * 512
    clicks = np.stack(np.meshgrid(lattice, lattice), -1).reshape(-1, 1, 2).astype(np.float32)
    given = {"points": clicks, "labels": np.ones((len(clicks), 1), np.int64)}
    exact, exact_iou = tiny.decode(embedding, **given)
    close, close_iou = rounded.decode(embedding, **given)
    passing = exact_iou > 0.55
    assert abs(int((close_iou > 0.55).sum()) - int(passing.sum())) <= 0.01 * int(passing.sum())
    masks, expected = (close > 0)[passing], (exact > 0)[passing]
    union = (masks | expected).sum((1, 2))
    ious = (masks & expected).sum((1, 2))[union > 0] / union[union > 0]
    assert len(ious) > 100
    assert ious.mean() >= 0.99


def test_distant_clicks_make_no_subnormal_numbers(tiny, embedding):
    network = tiny.network
    with torch.inference_mode():
        maps = _click_maps(network.window(embedding), torch.tensor([[[3.0, 3.0]]]), torch.ones(1, 1, dtype=torch.long))
    values = torch.stack(list(maps.values())).abs()
    assert values.min() < 1e-20
    assert ((values == 0) | (values > torch.finfo(torch.float32).tiny)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is no prompt"),
        ({"masks": np.zeros((3, 128, 128))}, "prompt 0 has neither a point nor a box"),
        ({"points": CLICKS, "labels": np.array([[1], [-1], [1]])}, "prompt 1 has neither a point nor a box"),
        ({"points": CLICKS}, "points and labels must be given together"),
        ({"points": CLICKS, "labels": BOTH}, r"labels have shape \(3, 2\) and points \(3, 1, 2\)"),
        ({"boxes": BOXES[:, :3]}, "boxes must have shape"),
        ({"boxes": BOXES * np.nan}, "not finite"),
        ({"boxes": BOXES, "masks": np.zeros((3, 64, 64))}, "masks must have shape"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(tiny, embedding, arguments, message):
    with pytest.raises(OptionError, match=message):
        tiny.decode(embedding, **arguments)


def test_images_that_do_not_fit_are_refused(tiny):
    with pytest.raises(OptionError, match=r"uint8 images of shape \(B, 512, 512, 3\), not uint8 of \(1, 256, 256, 3\)"):
        tiny.embed(np.zeros((1, 256, 256, 3), np.uint8))
    with pytest.raises(OptionError, match="not float64"):
        tiny.embed(np.zeros((1, 512, 512, 3)))
    with pytest.raises(OptionError, match="sizes must be 1 pairs of height and width from 1 to 512"):
        tiny.embed(scene()[None], np.array([[512, 0]]))
    with pytest.raises(OptionError, match="one window's embedding, not 2"):
        tiny.decode(tiny.embed(np.stack([scene()] * 2)), boxes=BOXES)


def header(**changes):
    config = {"architecture": "samgeo-tiny", "config": json.dumps({**CONFIG, **changes})}
    return {name: value for name, value in config.items() if value}


CONFIG = asdict(load_tiny(device="cpu").network.config)
WEIGHTS = load_file(PACKAGED)
FILES = {
    "other bytes": (lambda path: path.write_bytes(b"PK\x03\x04 a pickle"), "not a safetensors file, or is damaged"),
    "half a file": (lambda path: path.write_bytes(PACKAGED.read_bytes()[:100_000]), "not a safetensors file, or is damaged"),
    "another architecture": (lambda path: save_file(WEIGHTS, path), "does not have the architecture samgeo-tiny"),
    "a config that is no JSON": (
        lambda path: save_file(WEIGHTS, path, {"architecture": "samgeo-tiny", "config": "{"}),
        "the config in its header cannot be read",
    ),
    "an unknown size": (lambda path: save_file(WEIGHTS, path, header(wings=2)), "the config in its header cannot be read"),
    "sizes that make no network": (lambda path: save_file(WEIGHTS, path, header(channels=[1])), "cannot be read"),
    "other sizes": (
        lambda path: save_file(WEIGHTS, path, header(hidden=64)),
        r"tensors do not fit the sizes in its header, decoder.blocks.0.perceptron.0.bias first: \(256,\) in the file, \(64,\)",
    ),
    "a tensor missing": (
        lambda path: save_file({k: v for k, v in WEIGHTS.items() if k != "decoder.norm.bias"}, path, header()),
        r"1 tensors do not fit .* decoder.norm.bias first: nothing in the file, \(128,\) expected",
    ),
    "a number that is not finite": (
        lambda path: save_file({**WEIGHTS, "decoder.norm.bias": WEIGHTS["decoder.norm.bias"] * torch.nan}, path, header()),
        "decoder.norm.bias contains numbers that are not finite",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_the_model_is_refused(tmp_path, name):
    write, message = FILES[name]
    write(tmp_path / "weights")
    with pytest.raises(CheckpointError, match=message):
        load_tiny(tmp_path / "weights", device="cpu")


def test_a_missing_file_and_an_unknown_type_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_tiny(tmp_path / "weights", device="cpu")
    with pytest.raises(OptionError, match="dtype 'int8' is not supported"):
        load_tiny(device="cpu", dtype="int8")


def test_a_network_of_other_sizes_trains_in_every_parameter():
    torch.manual_seed(0)
    config = replace(TinyConfig(), channels=(32, 16, 8), maps=(4, 8), depth=1, hidden=32, input_size=64)
    network = TinyNetwork(config)
    network.prompts.frequencies.normal_()
    window = network.window(network.encode(torch.rand(1, 64, 64, 3) * 255)[0])
    points, labels = torch.rand(2, 2, 2) * 64, torch.tensor([[1, 0], [0, 1]])
    boxes, masks = torch.tensor([[4.0, 4, 40, 50]]).expand(2, 4), torch.randn(2, 16, 16)
    prompted, decoded = network.decode(window, points, labels, boxes, masks)
    logits = network.draw(window, prompted, decoded, slice(None), slice(None))
    assert logits.shape == (2, 4, 16, 16)
    (logits.square().mean() + decoded.predicted_iou.sum()).backward()
    still = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # A key's bias shifts a whole row of the softmax.
    assert {name.removesuffix("key.bias") for name in still} <= {
        "decoder.last_read.",
        "decoder.blocks.0.tokens_to_image.",
        "decoder.blocks.0.image_to_tokens.",
        "decoder.blocks.0.among_tokens.",
    }


@given(cells=st.integers(1, 4), levels=st.integers(1, 2))
@settings(deadline=None)
def test_nested_order_goes_there_and_back_and_keeps_cells_together(cells, levels):
    side = cells * 2**levels
    pixels = torch.arange(2 * side * side * 3).view(2, side, side, 3)
    nested = nest(pixels, levels)
    assert torch.equal(unnest(nested, levels), pixels)
    y, x = nested[0, :4, 0] // (3 * side), nested[0, :4, 0] // 3 % side
    assert list(zip(y.tolist(), x.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_sampling_is_that_of_grid_sample():
    torch.manual_seed(0)
    pixels, xy = torch.randn(16, 24, 5), torch.rand(7, 3, 2) * 220 - 30
    scaled = 2 * xy / torch.tensor([24 * 4, 16 * 4]) - 1
    expected = functional.grid_sample(pixels.permute(2, 0, 1)[None], scaled[None], padding_mode="border", align_corners=False)
    torch.testing.assert_close(sample_bilinear(pixels[None], xy, 4), expected[0].permute(1, 2, 0))


def test_a_residual_kernel_adds_its_input():
    torch.manual_seed(0)
    plain, residual = DepthwiseConv(6, 3), DepthwiseConv(6, 3, residual=True)
    residual.load_state_dict(plain.state_dict())
    pixels = torch.randn(2, 8, 8, 6)
    torch.testing.assert_close(residual(pixels), pixels + plain(pixels))


def plain_attention(layer, query, key, value):
    of = layer.projections
    split = [of.split(project(x)) for project, x in ((of.query, query), (of.key, key), (of.value, value))]
    return layer.output(functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("shared", [False, True])
def test_absorbed_attention_is_attention(shared):
    torch.manual_seed(0)
    layer, positions = Attention(32, 4, 16), torch.randn(64, 32)
    tokens, placed = torch.randn(2, 2, 5, 32).unbind()
    image = torch.randn(1 if shared else 2, 64, 32)
    each = image.expand(2, -1, -1)
    expected = plain_attention(layer, placed, each + positions, each)
    torch.testing.assert_close(read_image(layer.projections, placed, image, positions), expected, rtol=0, atol=1e-5)
    expected = each + plain_attention(layer, each + positions, placed, tokens)
    found = add_read_of_tokens(layer.projections, image, positions, placed, tokens)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_an_image_that_all_prompts_share_is_projected_once(monkeypatch):
    torch.manual_seed(0)
    layer, positions = Attention(32, 4, 16), torch.randn(64, 32)
    tokens, image = torch.randn(5, 3, 32), torch.randn(1, 64, 32)
    expected = add_read_of_tokens(layer.projections, image, positions, tokens, tokens)
    monkeypatch.setattr("samgeo.models.batching.CACHED_BYTES", 1)
    projected = []
    layer.query.register_forward_hook(lambda *_: projected.append(1))
    with torch.inference_mode():
        found = add_read_of_tokens(layer.projections, image, positions, tokens, tokens)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert len(projected) == 1


def test_prompts_in_parts_that_fit_the_cache_are_answered_as_all_at_once(tiny, monkeypatch):
    torch.manual_seed(0)
    image, into = torch.randn(5, 16, 4), torch.empty(5, 16, 4)
    parts = []

    def double(part):
        parts.append(part)
        return 2 * image[part]

    monkeypatch.setattr("samgeo.models.batching.CACHED_BYTES", 2 * image[0].nbytes)
    with torch.inference_mode():
        assert by_cached_parts(double, image, into) is into
        assert torch.equal(into, 2 * image)
        assert torch.equal(by_cached_parts(double, image), 2 * image)
    assert parts == 2 * [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert torch.equal(by_cached_parts(double, image), 2 * image)  # with gradients in one part
    assert parts[6:] == [slice(0, 5)]

    embedding = tiny.embed(np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), dtype=np.uint8))[0]
    points = np.random.default_rng(1).uniform(0, 512, (9, 1, 2)).astype(np.float32)
    answers = []
    for cached in (1, 1 << 30):
        monkeypatch.setattr("samgeo.models.batching.CACHED_BYTES", cached)
        answers.append(tiny.decode(embedding, points=points, labels=np.ones((9, 1), dtype=np.int64)))
    for one, whole in zip(*answers, strict=True):
        torch.testing.assert_close(one, whole, rtol=0, atol=2e-4)


def test_boxes_of_mapped_buildings_become_their_footprints(tiny):
    folder = os.environ.get("SAMGEO_DATA")
    if not folder:
        pytest.skip("SAMGEO_DATA does not name the folder of test data")
    place = Path(folder) / "oam-banepa-buildings"
    if not place.is_dir():
        pytest.skip(f"{place} is not there")
    import geopandas
    import rasterio
    from affine import Affine
    from rasterio.features import rasterize
    from rasterio.windows import Window

    with rasterio.open(place / "banepa.tif") as raster:
        top = raster.height - 512
        image = raster.read([1, 2, 3], window=Window(0, top, 512, 512)).transpose(1, 2, 0)
        transform = raster.transform @ Affine.translation(0, top)
        footprints = geopandas.read_file(place / "footprints.geojson").to_crs(raster.crs)
    (west, north), (east, south) = transform @ (0, 0), transform @ (512, 512)
    near = footprints.cx[west:east, south:north].geometry
    truth = [rasterize([one], (512, 512), transform=transform).astype(bool) for one in near[near.is_valid]]
    truth = [one for one in truth if one.sum() >= 400]
    rows, columns = ([np.flatnonzero(one.any(axis)) for one in truth] for axis in (1, 0))
    boxes = np.array([[c[0], r[0], c[-1] + 1, r[-1] + 1] for r, c in zip(rows, columns, strict=True)], np.float32)
    logits, _ = tiny.decode(tiny.embed(image[None])[0], boxes=boxes, multimask=False)
    masks = functional.interpolate(logits, scale_factor=4, mode="bilinear")[:, 0].numpy() > 0
    iou = [(mask & one).sum() / (mask | one).sum() for mask, one in zip(masks, truth, strict=True)]
    assert np.mean(iou) > 0.75


DEEP = TinyConfig(
    channels=(32, 16, 8), maps=(4, 8), depth=1, hidden=32, input_size=64, attend=(1, 1), deepen=(1, 2, 1), blanks=0
)


SMALL_IMAGE = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0)) * 255


def small(config):
    network = new_tiny(config)
    return network, network.window(network.encode(SMALL_IMAGE)[0])


POINT = (torch.tensor([[[20.0, 30]]]), torch.ones(1, 1, dtype=torch.long))
BOX = torch.tensor([[4.0, 4, 40, 50]])


def test_new_blocks_change_nothing_until_they_are_trained():
    shallow = new_tiny(replace(DEEP, attend=(0, 0), deepen=(0, 0, 0)))
    deep = deepened(shallow, DEEP.attend, DEEP.deepen)
    assert deep.config == DEEP
    with torch.no_grad():
        window = shallow.window(shallow.encode(SMALL_IMAGE)[0])
        again = deep.window(deep.encode(SMALL_IMAGE)[0])
        before, after = shallow.answer(window, *POINT), deep.answer(again, *POINT)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.predicted_iou, after.predicted_iou)


def test_new_blocks_learn_and_are_used():
    network, window = small(DEEP)
    network.answer(window, *POINT).logits.square().mean().backward()
    added = [block for block in network.modules() if isinstance(block, AttentionBlock | ConvolutionBlock)]
    assert len(added) == 6
    for block in added:
        assert block.narrow.weight.grad.any()
        torch.nn.init.normal_(block.narrow.weight)
        if isinstance(block, AttentionBlock):
            assert block.attention.output.weight.grad.any()
            torch.nn.init.normal_(block.attention.output.weight)
    before, after = window.features, network.encode(SMALL_IMAGE)
    for name in ("stride16", "stride8", "stride4"):
        assert not torch.allclose(getattr(before, name), getattr(after, name))


def test_a_network_does_not_lose_blocks():
    with pytest.raises(OptionError, match=r"has blocks attend=\[1, 1\], deepen=\[1, 2, 1\]; give at least as many"):
        deepened(new_tiny(DEEP), (1, 1), (1, 1, 1))


@pytest.mark.parametrize(("blanks", "clicks", "boxes"), [(1, 3, 3), (0, 1, 2)])
def test_what_a_prompt_lacks_has_a_token_or_none(blanks, clicks, boxes):
    network, window = small(replace(DEEP, blanks=blanks))
    assert network.prompts(window, *POINT, None, None).tokens.shape == (1, clicks, 32)
    assert network.prompts(window, None, None, BOX, None).tokens.shape == (1, boxes, 32)
    assert network.prompts(window, *POINT, BOX, None).tokens.shape == (1, 3, 32)


@pytest.mark.parametrize("kinds", ["points", "boxes", "points boxes masks"])
def test_several_windows_are_answered_as_each_by_itself(kinds):
    network = load_tiny(device="cpu").network
    torch.manual_seed(0)
    features = network.encode(torch.rand(3, 64, 64, 3) * 255)
    given = {
        "points": torch.rand(6, 2, 2) * 64,
        "labels": torch.tensor([[1, 0]] * 6),
        "boxes": torch.tensor([[5.0, 8, 40, 50]]) + torch.arange(6)[:, None],
        "masks": torch.randn(6, 16, 16),
    }
    names = [*kinds.split(), *(["labels"] if "points" in kinds else [])]
    together = network.answer(network.window(features, (3.0, 5.0)), **{name: given[name] for name in names})
    for number in range(3):
        rows = slice(2 * number, 2 * number + 2)
        alone = network.answer(network.window(features[number], (3.0, 5.0)), **{name: given[name][rows] for name in names})
        torch.testing.assert_close(together.logits[rows], alone.logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(together.predicted_iou[rows], alone.predicted_iou, rtol=0, atol=1e-5)
        torch.testing.assert_close(together.coverage[rows], alone.coverage, rtol=0, atol=1e-4)

"""SAM 1 behind the training protocol, and its presets, on random checkpoints of the official layout with small widths."""

import dataclasses

import numpy as np
import pytest
import torch

import samgeo
from samgeo.errors import OptionError
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.checkpoint import build_network, load_checkpoint, save_checkpoint
from samgeo.models.sam1.model import Sam, SamNetwork
from samgeo.models.sam1.trainable import SamTrainable, add_adapters
from samgeo.training import LossWeights, apply_preset, train, trainable_network
from samgeo.training.data.examples import draw
from samgeo.training.step import Course, example_loss

SIZES = Architecture(
    width=32, depth=3, heads=2, mlp_width=48, global_blocks=(1,), window=3, grid=4, prompt_width=32, mask_channels=8,
    decoder_mlp_width=48, decoder_inner_width=16, iou_width=24,
)  # fmt: skip
ALL = ("decoder", "lora", "bitfit", "adapter", "medical-adapter", "medsam", "all")
IOU = "mask_decoder.iou_prediction_head."


def random_network(seed=0):
    network = SamNetwork(SIZES)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.normal_(std=0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                tensor.add_(1)
    return network


@pytest.fixture
def network():
    return SamTrainable(random_network())


def crops(side, count=1):
    return torch.from_numpy(np.random.default_rng(5).integers(0, 255, (count, side, side, 3), np.uint8))


def answer(network, side=64):
    """Answers of a click, of a box, and of a correction with the mask of the box."""
    with torch.no_grad():
        window = network.window(network.encode(crops(side).float()))
        points, labels = torch.tensor([[[10.5, 20.5]], [[28.0, 9.0]]]), torch.ones(2, 1, dtype=torch.long)
        boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [2.0, 8.0, 20.0, 21.0]])
        clicked = network.answer(window, points, labels)
        boxed = network.answer(window, boxes=boxes, candidates=slice(0, 1))
        corrected = network.answer(window, points, labels, boxes, boxed.logits[:, 0], candidates=slice(0, 1))
    parts = (clicked, boxed, corrected)
    return torch.cat([part.flatten() for one in parts for part in (one.logits, one.predicted_iou)])


def weights(network):
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def step_loss(network, source, course, seed=0):
    rng = np.random.default_rng(seed)
    example = draw([source], 64, 4, rng)
    given = {"window_px": 64, "rng": rng, "weights": LossWeights(), "course": course, "device": torch.device("cpu")}
    return example_loss(network, example, **given)[0]


def test_answers_are_those_of_the_model(network):
    model = Sam(random_network(), name="sam", digest="")
    image = crops(64)
    embedding = model.embed(image.numpy())
    points, labels = np.array([[[10.5, 20.5]], [[28.0, 9.0]]], np.float32), np.ones((2, 1), np.int64)
    boxes = np.array([[4, 4, 30, 30], [2, 8, 20, 21]], np.float32)
    with torch.no_grad():
        window = network.window(network.encode(image.float()))
        clicked = network.answer(window, torch.from_numpy(points), torch.from_numpy(labels))
        boxed = network.answer(window, boxes=torch.from_numpy(boxes))
    logits, predicted = model.decode(embedding[0], points=points, labels=labels)
    torch.testing.assert_close(clicked.logits[:, 1:], logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(clicked.predicted_iou[:, 1:], predicted, atol=1e-5, rtol=1e-5)
    logits, _ = model.decode(embedding[0], boxes=boxes, multimask=False)
    torch.testing.assert_close(boxed.logits[:, :1], logits, atol=1e-5, rtol=1e-5)


def test_a_smaller_crop_is_a_padded_window(network):
    model = Sam(random_network(), name="sam", digest="")
    image = crops(32)
    padded = np.zeros((1, 64, 64, 3), np.uint8)
    padded[:, :32, :32] = image
    embedding = model.embed(padded, np.array([[32, 32]]))
    with torch.no_grad():
        encoded = network.encode(image.float())
        boxed = network.answer(network.window(encoded, (7.0, 9.0)), boxes=torch.tensor([[4.0, 4.0, 30.0, 30.0]]))
    torch.testing.assert_close(encoded.features, embedding.features, atol=1e-5, rtol=1e-5)
    logits, _ = model.decode(embedding[0], boxes=np.array([[4, 4, 30, 30]], np.float32), multimask=False)
    assert boxed.logits.shape == (1, 4, 8, 8)
    torch.testing.assert_close(boxed.logits[:, :1], logits[..., :8, :8], atol=1e-5, rtol=1e-5)


def test_several_crops_are_answered_as_one_by_one(network):
    images = crops(64, 2).float()
    boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [2.0, 8.0, 20.0, 21.0]])
    with torch.no_grad():
        together = network.answer(network.window(network.encode(images)), boxes=boxes)
        each = [network.answer(network.window(network.encode(images[i : i + 1])), boxes=boxes[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(together.logits, torch.cat([one.logits for one in each]), atol=1e-5, rtol=1e-5)


def test_crops_that_do_not_fit_are_refused(network):
    with pytest.raises(OptionError, match="an input of 64 pixels"):
        network.encode(torch.zeros(1, 96, 96, 3))


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_exactly_what_the_preset_names(network, source, name):
    applied = apply_preset(network, name)
    for course in (Course(boxes=0.5, box_and_click=0, correct_boxes=1, forget=0), Course(boxes=0.5, box_and_click=0, forget=1)):
        step_loss(network, source, course).backward()
    reached = {key for key, parameter in network.named_parameters() if parameter.grad is not None}
    assert reached <= set(applied.trained)
    # Padding and background points were not asked for, and the factor A of a change has no effect while B is zero.
    rare = ("prompt_encoder.point_embeddings.0.", "prompt_encoder.not_a_point_embed.")
    assert all(key.startswith(rare) for key in set(applied.trained) - reached)
    assert any(key.startswith(IOU) for key in reached) == (name in {"medsam", "all"})


@pytest.mark.parametrize("name", ALL)
def test_frozen_weights_keep_their_bytes(network, source, tmp_path, name):
    applied = apply_preset(network, name)
    start = weights(network)
    options = dataclasses.replace(applied.train_options(2, crops=[(64, 3, 1.0)]), warm_up=1, save_s=1e9)
    after = train(network, [source], tmp_path, options, window_px=64)
    changed = {key for key in start if not torch.equal(start[key], after[key])}
    assert changed
    assert changed <= set(applied.trained)


@pytest.mark.parametrize("name", ["lora", "adapter", "medical-adapter"])
def test_new_layers_change_nothing_at_first(network, name):
    before = answer(network)
    applied = apply_preset(network, name)
    assert torch.equal(answer(network), before)
    for key, parameter in network.named_parameters():
        if key in applied.trained and not key.startswith("mask_decoder.") and parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter)
    assert (answer(network) - before).abs().max() > 1e-4


def test_merged_weights_answer_as_unmerged_ones(network):
    names, values = set(network.state_dict()), network.image_encoder.blocks[0].attn.qkv.weight[32:64].clone()
    applied = apply_preset(network, "lora", rank=2)
    for key, parameter in network.named_parameters():
        if key.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.1)
    unmerged = answer(network)
    assert set(applied.merge()) == names
    torch.testing.assert_close(answer(network), unmerged, atol=1e-5, rtol=1e-5)
    # The keys are not changed.
    assert torch.equal(network.image_encoder.blocks[0].attn.qkv.weight[32:64], values)


@pytest.mark.parametrize(
    ("kind", "suffix"), [("patches", ".safetensors"), ("bottlenecks", ".pth"), ("bottlenecks", ".safetensors")]
)
def test_a_model_with_adapters_is_loaded(network, tmp_path, kind, suffix):
    add_adapters(network, kind)
    for _, parameter in network.image_encoder.named_parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path / f"adapted{suffix}"
    save_checkpoint(network, path)
    model = samgeo.load_model(path, device="cpu")
    assert model.architecture == network.architecture
    assert model.architecture.adapter == kind
    assert torch.equal(answer(SamTrainable(model.network)), answer(network))
    with pytest.raises(OptionError, match="already has adapters"):
        add_adapters(network, {"patches": "bottlenecks", "bottlenecks": "patches"}[kind])


def test_a_torch_file_has_the_official_tensors_and_the_same_bytes_each_time(network, tmp_path):
    for name in ("one", "other"):
        save_checkpoint(network, tmp_path / f"{name}.pth")
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()
    tensors = torch.load(tmp_path / "one.pth", weights_only=True)
    assert list(tensors) == list(random_network().state_dict())
    assert load_checkpoint(tmp_path / "one.pth").architecture == SIZES


def test_a_torch_file_needs_sizes_that_can_be_derived(tmp_path):
    network = SamNetwork(dataclasses.replace(SIZES, relative_positions=False))
    with pytest.raises(samgeo.errors.SamgeoError, match="relative positions"):
        save_checkpoint(network, tmp_path / "sam.pth")
    assert not list(tmp_path.iterdir())
    save_checkpoint(network, tmp_path / "sam.safetensors")
    assert build_network(load_checkpoint(tmp_path / "sam.safetensors")).architecture == network.architecture


def test_a_loaded_model_gives_its_network(tmp_path):
    save_checkpoint(random_network(), tmp_path / "sam.pth")
    model = samgeo.load_model(tmp_path / "sam.pth", device="cpu")
    network = trainable_network(model)
    assert network.mask_decoder is model.network.mask_decoder
    with pytest.raises(OptionError, match="load it with dtype='float32'"):
        trainable_network(samgeo.load_model(tmp_path / "sam.pth", device="cpu", dtype="bfloat16"))


def test_adapters_are_refused_for_the_bundled_network(small_network):
    with pytest.raises(OptionError, match="'adapter' is not for a TinyNetwork; give one of decoder, lora, bitfit, all, medsam"):
        apply_preset(small_network, "adapter")

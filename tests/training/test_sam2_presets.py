"""SAM 2 behind the training protocol, and its presets, on a small random configuration."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors import safe_open

import samgeo
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.sam2.architecture import Architecture, Trunk
from samgeo.models.sam2.checkpoint import load_sam2, write_sam2
from samgeo.models.sam2.model import Sam2, Sam2Network
from samgeo.models.sam2.trainable import Sam2Trainable
from samgeo.training import LossWeights, apply_preset, train, trainable_network
from samgeo.training.data.crop_cache import CropCache
from samgeo.training.data.examples import draw
from samgeo.training.step import Course, example_loss

SIDE = 128
SIZES = Architecture(
    widths=(8, 16, 32, 64), blocks=(1, 1, 2, 1), trunk=Trunk((1, 2, 4, 8), (8, 4, 4, 2), global_blocks=(3,)), input_size=SIDE,
    prompt_width=32, mask_channels=8, decoder_mlp_width=48, decoder_inner_width=16, iou_width=24,
)  # fmt: skip
ALL = ("decoder", "lora", "bitfit", "medsam", "all")
IOU = "mask_decoder.iou_prediction_head."
OBJECT = "mask_decoder.pred_obj_score_head."
FINER = ("mask_decoder.conv_s0.", "mask_decoder.conv_s1.")
POINTS, LABELS = torch.tensor([[[20.5, 40.5]], [[56.0, 18.0]]]), torch.ones(2, 1, dtype=torch.long)
BOXES = torch.tensor([[8.0, 8.0, 60.0, 60.0], [4.0, 16.0, 40.0, 42.0]])


def random_network(seed=0):
    network = Sam2Network(SIZES)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.normal_(std=0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                tensor.add_(1)
    return network


@pytest.fixture
def network():
    return Sam2Trainable(random_network())


def crops(side=SIDE, count=1):
    return torch.from_numpy(np.random.default_rng(5).integers(0, 255, (count, side, side, 3), np.uint8))


def answer(network):
    """Answers of a click, of a box, and of a correction with the mask of the box."""
    with torch.no_grad():
        window = network.window(network.encode(crops().float()))
        clicked = network.answer(window, POINTS, LABELS)
        boxed = network.answer(window, boxes=BOXES, candidates=slice(0, 1))
        corrected = network.answer(window, POINTS, LABELS, BOXES, boxed.logits[:, 0], candidates=slice(0, 1))
    parts = (clicked, boxed, corrected)
    return torch.cat([part.flatten() for one in parts for part in (one.logits, one.predicted_iou)])


def weights(network):
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def step_loss(network, source, course, cache=None):
    rng = np.random.default_rng(0)
    example = draw([source], SIDE, 4, rng)
    given = {"window_px": SIDE, "rng": rng, "weights": LossWeights(), "course": course, "device": torch.device("cpu")}
    return example_loss(network, example, cache=cache, **given)[0]


def test_answers_are_those_of_the_model(network):
    model = Sam2(random_network(), name="sam2", digest="")
    image = crops()
    embedding = model.embed(image.numpy())
    with torch.no_grad():
        encoded = network.encode(image.float())
        clicked = network.answer(network.window(encoded), POINTS, LABELS)
    for name in ("features", "s1", "s0"):
        torch.testing.assert_close(getattr(encoded, name), getattr(embedding, name), atol=1e-5, rtol=1e-5)
    logits, predicted = model.decode(embedding[0], points=POINTS.numpy(), labels=LABELS.numpy())
    torch.testing.assert_close(clicked.logits[:, 1:], logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(clicked.predicted_iou[:, 1:], predicted, atol=1e-5, rtol=1e-5)


def test_a_smaller_crop_is_a_padded_window_and_several_are_answered_as_one_by_one(network):
    model = Sam2(random_network(), name="sam2", digest="")
    images = crops(64, 2)
    padded = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    padded[:, :64, :64] = images[0]
    embedding = model.embed(padded, np.array([[64, 64]]))
    with torch.no_grad():
        together = network.answer(network.window(network.encode(images.float())), boxes=BOXES)
        each = [
            network.answer(network.window(network.encode(images[i : i + 1].float())), boxes=BOXES[i : i + 1]) for i in (0, 1)
        ]
    torch.testing.assert_close(together.logits, torch.cat([one.logits for one in each]), atol=1e-5, rtol=1e-5)
    logits, _ = model.decode(embedding[0], boxes=BOXES[:1].numpy())
    assert together.logits.shape == (2, 4, 16, 16)
    torch.testing.assert_close(together.logits[:1, 1:], logits[..., :16, :16], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_exactly_what_the_preset_names(network, source, name):
    applied = apply_preset(network, name)
    for course in (Course(boxes=0.5, box_and_click=0, correct_boxes=1, forget=0), Course(boxes=0.5, box_and_click=0, forget=1)):
        step_loss(network, source, course).backward()
    reached = {key for key, parameter in network.named_parameters() if parameter.grad is not None}
    assert reached <= set(applied.trained)
    # Background points and padding points were not asked for.
    rare = ("prompt_encoder.point_embeddings.0.",)
    assert all(key.startswith(rare) for key in set(applied.trained) - reached)
    assert any(key.startswith(IOU) for key in reached) == (name in {"medsam", "all"})
    assert any(key.startswith("image_encoder.") for key in reached) == (name != "decoder")
    assert any(key.startswith(FINER) for key in reached) == (name in {"bitfit", "medsam", "all"})
    assert not any(key.startswith(OBJECT) for key in applied.trained)


@pytest.mark.parametrize("name", ALL)
def test_frozen_weights_keep_their_bytes(network, source, tmp_path, name):
    applied = apply_preset(network, name)
    start = weights(network)
    options = dataclasses.replace(applied.train_options(2, crops=[(64, 3, 1.0)]), warm_up=1, save_s=1e9)
    after = train(network, [source], tmp_path, options, window_px=SIDE)
    changed = {key for key in start if not torch.equal(start[key], after[key])}
    assert changed
    assert changed <= set(applied.trained)


def test_low_rank_changes_are_nothing_at_first_and_merged_ones_answer_as_unmerged_ones(network):
    before, names = answer(network), set(network.state_dict())
    keys = network.image_encoder.trunk.blocks[1].attn.qkv.weight[16:32].clone()
    applied = apply_preset(network, "lora", rank=2)
    assert torch.equal(answer(network), before)
    for key, parameter in network.named_parameters():
        if key.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.1)
    unmerged = answer(network)
    assert (unmerged - before).abs().max() > 1e-3
    assert set(applied.merge()) == names
    torch.testing.assert_close(answer(network), unmerged, atol=1e-5, rtol=1e-5)
    assert torch.equal(network.image_encoder.trunk.blocks[1].attn.qkv.weight[16:32], keys)


def test_embeddings_of_frozen_parts_are_kept_with_the_finer_features(network, source, tmp_path, monkeypatch):
    applied = apply_preset(network, "decoder")
    assert applied.cached_crops == 200
    encode, calls = network.encode, []
    monkeypatch.setattr(network, "encode", lambda images: calls.append(1) or encode(images))
    cache = CropCache(network, tmp_path / "crops")
    course = Course(boxes=0.5)
    first, again = (step_loss(network, source, course, cache) for _ in range(2))
    assert torch.equal(first, again)
    assert len(calls) == 1
    (stored,) = (tmp_path / "crops").iterdir()
    with safe_open(stored, framework="pt") as file:
        assert set(file.keys()) == {"features", "crop_px", "s1", "s0"}
    first.backward()
    torch.testing.assert_close(first, step_loss(network, source, course), rtol=0.02, atol=0)
    apply_preset(network, "bitfit")
    with pytest.raises(OptionError, match="an image encoder that is not trained"):
        CropCache(network, tmp_path / "crops")


def test_a_written_file_is_loaded_and_answers_equally(network, tmp_path):
    path = tmp_path / "tuned.safetensors"
    write_sam2(network.state_dict(), network.architecture, path)
    model = samgeo.load_model(path, device="cpu")
    assert model.architecture == SIZES
    assert torch.equal(answer(trainable_network(model)), answer(network))
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    assert {"sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight", "image_encoder.neck.convs.0.conv.weight"} <= names
    assert samgeo.load_model(path, device="cpu", input_size=256).input_size == 256
    with pytest.raises(OptionError, match="float32"):
        trainable_network(samgeo.load_model(path, device="cpu", dtype="bfloat16"))


def test_a_side_in_the_header_that_cannot_be_used_is_refused(network, tmp_path):
    path = tmp_path / "tuned.safetensors"
    write_sam2(network.state_dict(), dataclasses.replace(SIZES, input_size=100), path)
    with pytest.raises(CheckpointError, match=r"tuned\.safetensors: the architecture in the header .* input_size is 100"):
        load_sam2(path, name="tuned", device="cpu")


def test_adapters_are_refused(network):
    with pytest.raises(
        OptionError, match="'adapter' is not for a Sam2Trainable; give one of decoder, lora, bitfit, all, medsam"
    ):
        apply_preset(network, "adapter")

"""SAM 3's answers to points, boxes and masks are those of transformers, and it runs as any other model."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sam3_oracle import random_sam3, sam3_config
from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel

import samgeo
from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.models import Describing, Gates, Segmenter
from samgeo.models.embedding_packing import pack, rounded, unpack
from samgeo.models.hf.sam3_tracker import Sam3Tracker, load_sam3_tracker
from samgeo.models.registry import default_gates, load_model
from samgeo.synthetic import town

SIDE = 112
CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
POINTS = np.float32([[[20, 30], [70, 11]], [[50, 60], [0, 0]], [[3, 100], [5, 5]]])
LABELS = np.array([[1, 0], [1, -1], [1, 1]])
BOXES = np.float32([[10, 12, 60, 70], [3, 3, 20, 9], [30, 0, 112, 40]])

pytestmark = pytest.mark.usefixtures("one_thread")


def tracker(**sizes):
    return Sam3Tracker(random_sam3(**sizes), name="small", digest="0")


@pytest.fixture(scope="module")
def model():
    return tracker()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam3")
    random_sam3().save_pretrained(path)
    return path


def reference_pixels(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def test_the_embedding_is_that_of_the_reference():
    reference = random_sam3(scale_factors=(4.0, 2.0, 1.0))
    ours = Sam3Tracker(random_sam3(scale_factors=(4.0, 2.0, 1.0)), name="small", digest="0").embed(PIXELS)
    theirs = reference.get_image_embeddings(reference_pixels(PIXELS))
    for got, expected in zip((ours.fine4, ours.fine2, ours.features), theirs, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_of_four_maps_the_third_has_the_embedding_of_no_memory(model):
    """The published weights have four maps. The video model of transformers is right; its image model adds it to the fourth."""
    config = sam3_config()
    video = Sam3TrackerVideoModel(
        Sam3TrackerVideoConfig(
            vision_config=config.vision_config,
            prompt_encoder_config=config.prompt_encoder_config.to_dict(),
            mask_decoder_config=config.mask_decoder_config.to_dict(),
            image_size=SIDE,
            memory_attention_num_layers=1,
            memory_attention_feed_forward_hidden_size=8,
            memory_fuser_num_layers=1,
        )
    ).eval()
    assert video.load_state_dict(model.network.state_dict(), strict=False).unexpected_keys == []
    ours = model.embed(PIXELS)
    theirs = video.get_image_embeddings(reference_pixels(PIXELS))
    for got, expected in zip((ours.fine4, ours.fine2, ours.features), theirs, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kinds", ["points", "boxes", "both", "masks", "points and masks"])
@torch.no_grad()
def test_answers_are_those_of_the_reference(model, kinds, multimask):
    reference, embedding = model.network, model.embed(PIXELS)[0]
    maps = [embedding.fine4, embedding.fine2, embedding.features]
    masks = np.random.default_rng(1).normal(0, 4, (3, 32, 32)).astype(np.float32)
    has_points, has_boxes, has_masks = (
        kinds.startswith("points") or kinds == "both",
        kinds in ("boxes", "both"),
        "masks" in kinds,
    )
    ours = model.decode(
        embedding,
        points=POINTS if has_points else None,
        labels=LABELS if has_points else None,
        boxes=BOXES if has_boxes else None,
        masks=masks if has_masks else None,
        multimask=multimask,
    )
    for row in range(3):
        theirs = reference(
            image_embeddings=[map_.clone() for map_ in maps],
            input_points=torch.tensor(POINTS[row])[None, None] - 0.5 if has_points else None,
            input_labels=torch.tensor(LABELS[row])[None, None] if has_points else None,
            input_boxes=torch.tensor(BOXES[row])[None, None] - 0.5 if has_boxes else None,
            input_masks=torch.tensor(masks[row])[None, None] if has_masks else None,
            multimask_output=multimask,
        )
        torch.testing.assert_close(ours[0][row], theirs.pred_masks[0, 0], rtol=0, atol=5e-5)
        torch.testing.assert_close(ours[1][row], theirs.iou_scores[0, 0], rtol=0, atol=1e-6)
    assert ours[0].shape == (3, 3 if multimask else 1, 32, 32)


def test_padding_is_read_as_grey_whatever_it_holds(model):
    sizes = np.array([[SIDE, SIDE], [60, 90]])
    other = PIXELS.copy()
    other[1, 60:] = 7
    other[1, :, 90:] = 200
    one, two = model.embed(PIXELS, sizes), model.embed(other, sizes)
    assert torch.equal(one.features, two.features)
    assert not torch.equal(one[1].features, model.embed(PIXELS)[1].features)


def test_it_is_a_segmenter_with_masks_of_its_own_side(model):
    assert isinstance(model, Segmenter)
    assert isinstance(model, Describing)
    assert (model.input_size, model.mask_size) == (SIDE, 32)
    assert default_gates(model) == Gates(pred_iou=0.8)
    assert model.features(model.embed(PIXELS)[0]).shape == (8, 8, 32)


def test_an_embedding_of_three_tensors_is_packed_and_unpacked(model):
    embedding = model.embed(PIXELS)[1]
    arrays = pack(model, embedding)
    assert {name: array.shape for name, array in arrays.items()} == {
        "features": (32, 8, 8),
        "fine2": (8, 16, 16),
        "fine4": (4, 32, 32),
    }
    back, on_device = unpack(model, arrays), rounded(model, embedding)
    for name in arrays:
        assert torch.equal(getattr(back, name), getattr(on_device, name))
    answers = [model.decode(one, boxes=BOXES)[0] for one in (back, on_device)]
    assert torch.equal(*answers)


def test_wrong_embeddings_and_prompts_are_refused(model):
    embedding = model.embed(PIXELS)
    with pytest.raises(OptionError, match=r"give embedding\[i\]"):
        model.decode(embedding, boxes=BOXES)
    with pytest.raises(OptionError, match="there is no prompt"):
        model.decode(embedding[0])
    with pytest.raises(OptionError, match="made by another model"):
        model.decode(tracker(grid=4).embed(PIXELS[:, :56, :56])[0], boxes=BOXES)
    with pytest.raises(IndexError):
        embedding[2]


def test_in_bfloat16_the_encoder_alone_is_coarser(folder):
    half = load_model(folder, device="cpu", dtype="bfloat16")
    assert half.digest.endswith("-bfloat16")
    exact = load_model(folder, device="cpu", dtype="float32").embed(PIXELS)
    embedding = half.embed(PIXELS)
    assert embedding.features.dtype == torch.float32
    assert 0 < (embedding.features - exact.features).abs().mean() < 0.1 * exact.features.abs().mean()
    logits, predicted = half.decode(embedding[0], boxes=BOXES)
    assert logits.dtype == predicted.dtype == torch.float32


def test_a_raster_is_segmented_and_prompts_are_answered(model, tmp_path):
    image = tmp_path / "town.tif"
    town((150, 130), seed=3).save(image)
    found = samgeo.segment(image, model=model, points_per_side=4, pred_iou=0.0, stability=0.0)
    assert len(found) > 0
    assert found.predicted_iou.between(0, 1).all()
    predictor = samgeo.Predictor(image, model=model)
    boxes = [[20, 20, 70, 60], [60, 80, 120, 140]]
    answers = predictor.predict(boxes=boxes, crs="pixels", refine=1)
    assert len(answers) <= 2
    assert {"predicted_iou", "stability_score"} <= set(answers.columns)


def test_a_folder_is_loaded_and_its_weights_are_those_of_the_file(folder, capfd):
    loaded = load_model(folder, device="cpu")
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    assert isinstance(loaded, Sam3Tracker)
    expected = random_sam3().state_dict()
    found = loaded.network.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    by_file = load_model(folder / "model.safetensors", device="cpu")
    assert by_file.digest == loaded.digest
    with pytest.raises(CheckpointError, match="has sha256"):
        load_sam3_tracker(folder, name="x", device=CPU, dtype=torch.float32, sha256="0" * 64)


def test_incomplete_and_damaged_folders_are_refused(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    config = (folder / "config.json").read_text()

    def saved(name, tensors, text=config):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        if text is not None:
            (tmp_path / name / "config.json").write_text(text)
        return tmp_path / name

    with pytest.raises(CheckpointError, match=r"with config\.json and model\.safetensors"):
        load_model(saved("bare", weights, None), device="cpu")
    half = {name: tensor for name, tensor in weights.items() if "mask_decoder" not in name}
    with pytest.raises(CheckpointError, match=r"tensors are missing, such as mask_decoder.*not a complete SAM 3"):
        load_model(saved("half", half), device="cpu")
    name = next(name for name in weights if "no_memory" in name)
    with pytest.raises(CheckpointError, match="no_memory_embedding holds values that are not finite"):
        load_model(saved("infinite", weights | {name: weights[name] * float("nan")}), device="cpu")
    sizes = json.loads(config)
    sizes["prompt_encoder_config"]["image_size"] = 224
    with pytest.raises(CheckpointError, match="224"):
        load_model(saved("sizes", weights, json.dumps(sizes)), device="cpu")


@pytest.mark.parametrize("version", ["4.57.1", "4.45.0.dev0"])
def test_an_old_transformers_is_told(folder, monkeypatch, version):
    monkeypatch.setattr(sys.modules["transformers"], "__version__", version)
    with pytest.raises(ModelError, match=rf"needs the library transformers 5\.0 or newer, and {version} is installed"):
        load_model(folder, device="cpu")


def test_a_missing_transformers_is_told(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"which is not installed.*pip install"):
        load_model(folder, device="cpu")

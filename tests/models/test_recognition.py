"""The names of the tensors tell what a file is: the right model is loaded, or the message says what the file is."""

import json

import pytest
import torch
from drawn_weights import SMALL, hq_state, mobile_state
from safetensors.torch import save_file
from sam2_oracle import official_state as official_sam2
from sam2_oracle import random_sam2
from sam3_oracle import random_sam3
from sam_oracle import official_state, random_sam

from samgeo.errors import CheckpointError, OptionError
from samgeo.models import Segmenter, model_path
from samgeo.models.recognition import recognize_config, recognize_file, recognize_names
from samgeo.models.registry import default_gates, load_model

SAM = ["prompt_encoder.no_mask_embed.weight", "mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight"]
VIT = ["image_encoder.pos_embed", *(f"image_encoder.blocks.{i}.norm1.weight" for i in range(12))]
TINY_VIT = ["image_encoder.patch_embed.seq.0.c.weight", "image_encoder.layers.0.blocks.0.conv1.c.weight"]


def hiera(blocks, *more):
    return [
        *(f"image_encoder.trunk.blocks.{i}.norm1.weight" for i in range(blocks)),
        "sam_mask_decoder.iou_token.weight",
        *more,
    ]


READ = {
    "SAM 1": ([*VIT, *SAM], "sam", "a SAM 1 checkpoint"),
    "SAM 1 of transformers": (["vision_encoder.layers.0.layer_norm1.weight", *SAM], "sam", "a SAM 1 checkpoint"),
    "SAM 1 in a wrapper": ([f"module.model.{name}" for name in (*VIT, *SAM)], "sam", "a SAM 1 checkpoint"),
    "SAM 2 tiny": (hiera(12), "sam2", "a SAM 2 tiny checkpoint"),
    "SAM 2.1 tiny": (hiera(12, "no_obj_embed_spatial"), "sam2", "a SAM 2.1 tiny checkpoint"),
    "SAM 2.1 small": (hiera(16, "no_obj_embed_spatial"), "sam2", "a SAM 2.1 small checkpoint"),
    "SAM 2.1 base plus": (hiera(24, "no_obj_embed_spatial"), "sam2", "a SAM 2.1 base-plus checkpoint"),
    "SAM 2.1 large": (hiera(48, "no_obj_embed_spatial"), "sam2", "a SAM 2.1 large checkpoint"),
    "SAM 2 of another size": (hiera(5), "sam2", "a SAM 2 checkpoint"),
    "SAM 2.1 of transformers": (
        [
            *(f"vision_encoder.backbone.blocks.{i}.layer_norm1.weight" for i in range(12)),
            "occlusion_spatial_embedding_parameter",
        ],
        "sam2",
        "a SAM 2.1 tiny checkpoint",
    ),
    "MobileSAM": ([*TINY_VIT, *SAM], "mobile-sam", "a MobileSAM checkpoint"),
    "SAM-HQ": ([*VIT, *SAM, "mask_decoder.hf_token.weight"], "sam-hq", "a SAM-HQ checkpoint"),
    "SAM-HQ tiny": ([*TINY_VIT, *SAM, "mask_decoder.hf_token.weight"], "sam-hq", "a SAM-HQ tiny checkpoint"),
    "SAM 3": (
        ["detector_model.vision_encoder.x", "tracker_model.mask_decoder.x", "tracker_neck.x"],
        "sam3",
        "a SAM 3 checkpoint",
    ),
    "SAM 3 for points": (["vision_encoder.backbone.x", "vision_encoder.neck.fpn_layers.0.x"], "sam3", "a SAM 3 checkpoint"),
}

REFUSED = {
    "RobustSAM": ([*VIT, *SAM, "mask_decoder.custom_robust_token.weight"], "a RobustSAM checkpoint, which samgeo cannot read"),
    "EdgeTAM": (["image_encoder.trunk.body.stem.conv1.c.weight"], "an EdgeTAM checkpoint, which samgeo cannot read"),
    "EfficientSAM": (
        [*VIT, *SAM, "prompt_encoder.bbox_top_left_embeddings.weight"],
        "an EfficientSAM checkpoint, which samgeo cannot read",
    ),
    "EfficientViT-SAM": (
        ["image_encoder.backbone.stages.0.op_list.0.conv.weight", *SAM],
        "an EfficientViT-SAM checkpoint, which samgeo cannot read",
    ),
    "SAM 3.1": (
        ["detector.backbone.x", "tracker.model.interactive_sam_mask_decoder.iou_token.weight"],
        "a SAM 3.1 checkpoint, which samgeo cannot read",
    ),
    "SAM 3 by Meta": (["detector.backbone.x", "tracker.sam_mask_decoder.x"], "Meta's own layout.*give a folder with config"),
    "SAM 3 for words": (
        ["detr_encoder.layers.0.x", "vision_encoder.backbone.x"],
        "finds boxes for words.*Give hf://facebook/sam3",
    ),
    "HQ-SAM 2": ([*hiera(12), "sam_mask_decoder.hf_token.weight"], "an HQ-SAM 2 checkpoint, which samgeo cannot read"),
    "Grounding DINO": (["model.text_backbone.x", "bbox_embed.0.x"], "a Grounding DINO model, which finds boxes for words"),
    "OWLv2": (["owlv2.text_model.x", "box_head.x"], "an OWL model, which finds boxes for words"),
    "another network": (
        ["conv1.weight", "fc.bias"],
        r"2 tensors of an unknown kind \(conv1\.weight, fc\.bias, \.\.\.\).*SAM-HQ",
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_what_is_read_is_named(kind, tmp_path):
    names, family, title = READ[kind]
    found = recognize_names(names)
    assert (found.family, found.title) == (family, title)
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "weights.safetensors")
    assert recognize_file(tmp_path / "weights.safetensors") == found


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pth"])
def test_what_is_not_read_is_named_too(kind, file, tmp_path):
    names, says = REFUSED[kind]
    weights, path = {name: torch.zeros(1) for name in names}, tmp_path / file
    if path.suffix == ".pth":
        torch.save({"model": weights}, path)
    else:
        save_file(weights, path)
    with pytest.raises(CheckpointError, match=rf"weights.*: this is (a file of )?.*{says}") as error:
        load_model(path, device="cpu")
    assert "SAM 1 checkpoint" not in str(error.value)


def test_unknown_names_are_told_by_the_configuration(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "edgetam"}))
    with pytest.raises(CheckpointError, match="this is an EdgeTAM checkpoint"):
        load_model(tmp_path, device="cpu")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam2_video"}))
    assert recognize_file(tmp_path).family == "sam2"


def test_configurations_of_transformers_are_known():
    kinds = {
        "sam": "sam",
        "sam2": "sam2",
        "sam2_video": "sam2",
        "sam_hq": "sam-hq",
        "sam3_video": "sam3",
        "sam3_tracker": "sam3",
    }
    assert {kind: recognize_config({"model_type": kind}).family for kind in kinds} == kinds
    assert recognize_config({"model_type": "sam3"}).family == ""


def test_a_file_without_tensors_and_a_cut_file_are_told(tmp_path):
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="a file without tensors"):
        load_model(tmp_path / "empty.safetensors", device="cpu")
    whole = model_path("tiny").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors: the safetensors file is truncated"):
        load_model(tmp_path / "cut.safetensors", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def test_a_file_of_each_family_gives_its_class(folder):
    torch.save(official_state(random_sam()), folder / "sam.pth")
    torch.save(mobile_state(), folder / "mobile_sam.pt")
    torch.save(hq_state(), folder / "sam_hq.pth")
    torch.save(hq_state(SMALL), folder / "sam_hq_tiny.pth")
    random_sam2().save_pretrained(folder / "sam2")
    random_sam3().save_pretrained(folder / "sam3")
    (folder / "official").mkdir()
    torch.save({"model": official_sam2(random_sam2())}, folder / "official" / "sam2.1.pt")
    # A small model of SAM 2 has no entry in the table of published sizes, so that its configuration must be beside it.
    (folder / "official" / "config.json").write_text((folder / "sam2" / "config.json").read_text())
    expected = {
        "sam.pth": ("Sam", 0.88),
        "mobile_sam.pt": ("MobileSam", 0.88),
        "sam_hq.pth": ("SamHq", 0.88),
        "sam_hq_tiny.pth": ("SamHq", 0.88),
        "sam2": ("Sam2", 0.8),
        "official/sam2.1.pt": ("Sam2", 0.8),
        "sam3": ("Sam3Tracker", 0.8),
    }
    found = {name: load_model(folder / name, device="cpu") for name in expected}
    assert {name: (type(model).__name__, default_gates(model).pred_iou) for name, model in found.items()} == expected
    assert all(isinstance(model, Segmenter) for model in found.values())
    for name in ("mobile_sam.pt", "sam_hq.pth", "sam3"):
        with pytest.raises(OptionError, match="is fixed"):
            load_model(folder / name, device="cpu", input_size=512)


def test_sam_2_takes_other_sides(folder):
    random_sam2().save_pretrained(folder / "sides")
    assert load_model(folder / "sides", device="cpu", input_size=512).input_size == 512

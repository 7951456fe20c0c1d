"""Fine-tuning of SAM 1, of MedSAM's file and of SAM 2, on random checkpoints with small widths."""

from __future__ import annotations

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from test_finetune import QUICK, lattice
from test_sam2_presets import random_network as random_sam2
from test_sam_presets import random_network as random_sam

import samgeo
from samgeo.errors import CheckpointError, OptionError
from samgeo.map import Session
from samgeo.models.registry import model_path
from samgeo.models.sam1.checkpoint import save_checkpoint
from samgeo.models.sam1.model import Sam
from samgeo.models.sam2 import Sam2
from samgeo.models.sam2.checkpoint import write_sam2
from samgeo.testing import Oracle
from samgeo.training import finetune
from samgeo.training.data.crop_cache import CropCache
from samgeo.training.finetuning import api, page
from samgeo.training.finetuning.gate import decide
from samgeo.training.finetuning.split import crop_side
from samgeo.training.network_kinds import to_train

SIDE = 96
FAST = {**QUICK, "check_shift": False}


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch):
    monkeypatch.setattr(page, "SHOWN", 2)


@pytest.fixture
def place():
    """A part of the lattice with 16 bright rectangles, and the four parts of each as objects."""
    image, labels = lattice()
    image, labels = image[:SIDE, :SIDE], labels[:SIDE, :SIDE]
    rows, columns = np.indices(labels.shape)
    # Each rectangle is divided at the middle of its cell, so that there are enough objects for a split.
    part = (rows % 24 >= 11).astype(int) * 2 + (columns % 24 >= 11)
    return image, np.where(labels, labels * 4 + part, 0)


@pytest.fixture
def sam(tmp_path):
    """A random SAM 1 in the layout of the published file of MedSAM: a plain state dict with the official names."""
    path = tmp_path / "medsam_vit_b.pth"
    torch.save(dict(random_sam().state_dict()), path)
    return path


@pytest.fixture
def accepting(monkeypatch):
    monkeypatch.setattr(api, "decide", lambda *given: dataclasses.replace(decide(*given), accepted=True))


def weights(path):
    return samgeo.load_model(path, device="cpu", dtype="float32").network.state_dict()


def moved(start, output):
    before, after = weights(start), weights(output)
    assert before.keys() <= after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_file_of_medsam_is_loaded_and_trained_with_its_preset(sam, place, tmp_path, accepting):
    assert isinstance(samgeo.load_model(sam, device="cpu"), Sam)
    # The script of MedSAM saves the optimizer too.
    torch.save({"model": torch.load(sam), "optimizer": {"step": 3, "rates": [1e-4]}, "epoch": 1}, tmp_path / "latest.pth")
    assert not moved(sam, tmp_path / "latest.pth")
    done = finetune(
        *place, tmp_path / "cells.safetensors", model=sam, preset="medsam", train_iou=True, steps=1, rate=1e-2, **FAST
    )
    names = moved(sam, done.output)
    assert {name.split(".")[0] for name in names} == {"image_encoder", "mask_decoder"}
    assert any(name.startswith("mask_decoder.iou_prediction_head.") for name in names)
    assert "medsam: " in done.page.read_text()
    assert 0 <= done.gains["box"].before <= 1
    assert done.gains["box"].before_dice >= done.gains["box"].before


@pytest.mark.parametrize("kind", [pytest.param("sam", marks=pytest.mark.slow), "sam2"])
def test_a_stopped_run_continues_with_the_kept_embeddings_and_ends_with_the_same_file(
    place, tmp_path, monkeypatch, accepting, kind
):
    start = tmp_path / "start.safetensors"
    if kind == "sam":
        save_checkpoint(random_sam(), start)
    else:
        network = random_sam2()
        write_sam2(network.state_dict(), network.architecture, start)
    for name, value in {"SAVE_S": 0.0, "LOG_STEPS": 1, "CACHED_CROPS": 1}.items():
        monkeypatch.setattr(api, name, value)
    read: list[bool] = []
    encode = CropCache.encode
    monkeypatch.setattr(CropCache, "encode", lambda *given, **rest: read.append(True) or encode(*given, **rest))
    options = {"model": start, "steps": 3, "rate": 1e-2, **FAST}
    whole = finetune(*place, tmp_path / "whole.safetensors", **options)

    def stop(line: str) -> None:
        if line.startswith("step 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(*place, tmp_path / "stopped.safetensors", report=stop, **options)
    folder = tmp_path / "stopped.run"
    assert len(list((folder / "crops").iterdir())) == 1
    continued = finetune(*place, tmp_path / "stopped.safetensors", **options)
    assert continued.digest == whole.digest
    # The state after the first step was saved.
    assert len(read) == 3 + 2 + 2
    assert not (folder / "crops").exists()
    names = moved(start, continued.output)
    assert names
    assert all(name.startswith("mask_decoder.") for name in names)
    assert not any(name.startswith(("mask_decoder.iou_prediction_head.", "mask_decoder.conv_s")) for name in names)
    model = samgeo.load_model(continued.output, device="cpu")
    assert isinstance(model, Sam if kind == "sam" else Sam2)
    assert model.input_size == (64 if kind == "sam" else 128)
    assert "; 1 are drawn and encoded once" in continued.page.read_text()


def test_adapters_come_with_the_model_and_their_share_is_taken(sam, place, tmp_path, accepting):
    networks = []
    for soup in (1.0, 0.5):
        path = tmp_path / f"{soup}.safetensors"
        finetune(*place, path, model=sam, preset="medical-adapter", steps=1, rate=1e-2, soup=soup, **FAST)
        assert samgeo.load_model(path, device="cpu").architecture.adapter == "bottlenecks"
        networks.append(weights(path))
    whole, half = networks
    last = "image_encoder.blocks.2.mlp_adapter.up.weight"
    assert whole[last].any()
    # The last layers of adapters begin with zeros.
    torch.testing.assert_close(half[last], whole[last] / 2)
    first = weights(sam)["mask_decoder.mask_tokens.weight"]
    torch.testing.assert_close(half["mask_decoder.mask_tokens.weight"], (first + whole["mask_decoder.mask_tokens.weight"]) / 2)
    assert not any(name.startswith("image_encoder.") for name in moved(sam, path))


def test_changes_of_low_rank_are_merged(sam, place, tmp_path, accepting):
    done = finetune(*place, tmp_path / "tuned.safetensors", model=sam, preset="lora", steps=1, rate=1e-2, **FAST)
    names = moved(sam, done.output)
    assert weights(done.output).keys() == weights(sam).keys()
    assert {name for name in names if name.startswith("image_encoder.")} == {
        f"image_encoder.blocks.{block}.attn.qkv.weight" for block in range(3)
    }
    assert all(name.endswith("weight") for name in names)


def test_a_refused_training_writes_the_start_without_new_layers(sam, place, tmp_path):
    done = finetune(*place, tmp_path / "tuned.safetensors", model=sam, preset="adapter", steps=1, rate=1e-9, **FAST)
    assert not done.accepted
    assert weights(done.output).keys() == weights(sam).keys()
    assert not moved(sam, done.output)


@pytest.mark.slow
def test_a_model_of_hugging_face_is_trained(place, tmp_path, accepting):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "image_size": 64, "num_pos_feats": 8}
    config = transformers.SamConfig(
        vision_config={**sizes, "output_channels": 16, "mlp_dim": 24, "window_size": 2, "global_attn_indexes": [1]},
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "image_embedding_size": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 24, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    transformers.SamModel(config).save_pretrained(tmp_path / "hf")
    done = finetune(*place, tmp_path / "tuned.safetensors", model=tmp_path / "hf", preset="bitfit", steps=1, rate=1e-2, **FAST)
    names = moved(tmp_path / "hf", done.output)
    assert any(name.startswith("image_encoder.") for name in names)
    assert all(name.endswith(("bias", "weight")) for name in names)


def test_crops_are_as_large_as_what_a_window_shows(small_network):
    sam, tiny = to_train(Sam(random_sam(), name="sam", digest="")), to_train(small_network)
    assert [crop_side(sam, px) for px in (20, 33, 64, 5000)] == [32, 64, 64, 64]
    assert crop_side(tiny, 20) == crop_side(tiny, 5000) == 64
    large = dataclasses.replace(sam, network=sam.network)
    large.network.architecture = dataclasses.replace(sam.network.architecture, grid=64)
    assert [crop_side(large, px) for px in (300, 512, 5000)] == [320, 512, 1024]


def test_what_cannot_be_trained_is_refused_before_any_work(sam, place, tmp_path, monkeypatch):
    output = tmp_path / "tuned.safetensors"
    for options, message in (
        ({"model": sam, "input_size": 128}, "input_size is 128"),
        ({"preset": "adapter"}, "'adapter' is not for a TinyNetwork"),
        ({"model": sam, "preset": "best"}, "there is no preset 'best'"),
    ):
        with pytest.raises(OptionError, match=message):
            finetune(*place, output, steps=1, **{**FAST, **options})
    monkeypatch.setattr(api, "load_model", lambda *_, **__: Oracle())
    with pytest.raises(OptionError, match="oracle cannot be trained: it is neither SAM 1, SAM 2 nor"):
        finetune(*place, output, steps=1, **FAST)
    assert not list(tmp_path.glob("tuned.*"))


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_the_model_of_a_session_is_trained_and_exchanged(place, tmp_path, accepting, kind):
    image, labels = place
    start = tmp_path / "start.safetensors"
    if kind == "sam":
        save_checkpoint(random_sam(), start)
    else:
        network = random_sam2()
        write_sam2(network.state_dict(), network.architecture, start)
    predictor = samgeo.Predictor(image, model=start, device="cpu", threads=1, min_part=0, min_hole=0)
    session = Session(predictor)
    places = [np.nonzero(labels == number) for number in np.unique(labels[labels > 0])]
    boxes = [shapely.box(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places]
    session.propose(gpd.GeoDataFrame(geometry=boxes))
    session.accept_proposals()
    done = session.train_on_accepted(tmp_path / "new.safetensors", minutes=None, steps=1, rate=1e-2, check_shift=False)
    trained = session.predictor.model
    assert isinstance(trained, Sam if kind == "sam" else Sam2)
    assert trained.digest.startswith(done.digest)
    assert trained.digest != predictor.model.digest
    assert trained.input_size == predictor.model.input_size
    assert moved(start, done.output)
    session.undo()
    assert session.predictor is predictor
    with pytest.raises(CheckpointError, match="another architecture than start"):
        session.use_model(model_path("tiny"))

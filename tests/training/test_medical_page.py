"""The Python of docs/medical.md runs as a whole, on an image that scikit-image ships."""

from __future__ import annotations

import re

import numpy as np
import pytest
import skimage.data
import torch
from manual_pages import DOCS, Reader, blocks_of
from test_sam_presets import random_network

import samgeo
from samgeo.models import convert_medsam
from samgeo.models.sam1.checkpoint import save_checkpoint
from samgeo.training.finetuning import page

PAGE = (DOCS / "medical.md").read_text()
BLOCKS = [block for block in blocks_of(PAGE) if block.language == "python"]


@pytest.fixture
def medsam(tmp_path, monkeypatch):
    """Random weights of small widths in the layout of the published file, which are not at hand; and few pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "SHOWN", 2)
    torch.save(dict(random_network().state_dict()), "medsam_vit_b.pth")


def run(blocks):
    """Run blocks one after the other, with one step in place of minutes of training, and return their names."""
    whole = "\n".join(block.text for block in blocks)
    minutes = set(re.findall(r"minutes=\d+", whole))
    assert len(re.findall(r"minutes=\d+", whole)) == whole.count("samgeo.finetune(")
    reader = Reader(dict.fromkeys(minutes, 'minutes=None, steps=1, threads=1, device="cpu"'))
    reader.follow(PAGE, blocks)
    return reader.names


@pytest.mark.usefixtures("medsam")
def test_all_blocks_run_one_after_the_other(monkeypatch):
    whole = skimage.data.immunohistochemistry()
    monkeypatch.setattr(skimage.data, "immunohistochemistry", lambda: whole[:208, 256:464])
    assert len(BLOCKS) == 3
    names = run(BLOCKS)
    assert names["done"].held_out >= 10
    assert 0 < names["done"].gains["box"].before < 1
    assert type(samgeo.load_model("cells.safetensors", device="cpu")).__name__ == "Sam"
    assert len(names["found"]) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("medsam")
def test_the_scores_of_the_page_are_those_of_the_whole_image():
    gains = run(BLOCKS[:1])["done"].gains
    numbers = (gains["click"].before, gains["three_clicks"].before, gains["box"].before, gains["box"].before_dice)
    told = re.findall(r"\| (?:one click, own pick.*?|three clicks|box) \| (0\.\d\d)(?: \(Dice (0\.\d\d)\))? \|", PAGE)
    assert [float(number) for pair in told for number in pair if number] == [round(number, 2) for number in numbers]


@pytest.mark.usefixtures("medsam")
def test_converted_weights_compute_what_medsam_computes_from_pixels_of_0_to_1():
    digest = convert_medsam("medsam_vit_b.pth", "medsam.safetensors")
    model = samgeo.load_model("medsam.safetensors", device="cpu")
    assert model.digest == digest
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    published = random_network()
    with torch.no_grad():
        expected = published.image_encoder(torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(model.embed(image).features, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(samgeo.errors.OptionError, match="exists"):
        convert_medsam("medsam_vit_b.pth", "medsam.safetensors")
    save_checkpoint(published, "again.safetensors")
    unconverted = samgeo.load_model("again.safetensors", device="cpu").embed(image).features
    assert (unconverted - expected).abs().max() > 0.01

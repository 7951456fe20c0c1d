"""Tasks on which training must help: objects with stripes, which no model has seen before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.model import Sam, SamNetwork
from samgeo.models.sam1.trainable import SamTrainable
from samgeo.training import Course, LossWeights, Scores, apply_preset, finetune, train
from samgeo.training.assessment.click_evaluation import score_objects
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIDE = 64
SIZES = Architecture(
    width=64, depth=2, heads=4, mlp_width=128, global_blocks=(0, 1), window=0, patch=8, grid=8, prompt_width=64,
    mask_channels=8, decoder_heads=4, decoder_mlp_width=128, decoder_inner_width=64, iou_width=32,
)  # fmt: skip
ONLY_BOXES = Course(boxes=1.0, box_and_click=0.0, correction=0.0)
LOSSES = LossWeights(iou=0.5, regret=0.0, coverage=0.0)


def rectangle(rng: np.random.Generator, margin: int, sizes: tuple[float, ...]) -> tuple[NDArray, NDArray]:
    """Draw a rectangle that is turned by any angle: its pixels, and the distance of all pixels to its longer axis."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    down, right = rng.uniform(margin, SIDE - margin, 2)
    angle, length, width = rng.uniform(0, np.pi), rng.uniform(*sizes[:2]), rng.uniform(*sizes[2:])
    along = (x - right) * np.cos(angle) + (y - down) * np.sin(angle)
    across = (y - down) * np.cos(angle) - (x - right) * np.sin(angle)
    return (np.abs(along) < length) & (np.abs(across) < width), across


def field(seed: int) -> Picture:
    """A field with light and dark stripes, which is one object, among small plain fields, which are none."""
    rng = np.random.default_rng([5, seed])
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 5)
    image = np.array([90, 100, 70]) + (ground / ground.std())[..., None] * np.array([12, 14, 10])
    striped, across = rectangle(rng, 18, (15, 21, 10, 15))
    light = np.floor(across / rng.uniform(2, 3.5)) % 2 == 1
    image[striped & light], image[striped & ~light] = rng.uniform(150, 220, 3), rng.uniform(30, 80, 3)
    taken = striped.copy()
    for _ in range(60):
        plain, _ = rectangle(rng, 0, (4, 9, 4, 9))
        if not (taken & ndimage.binary_dilation(plain, iterations=2)).any():
            image[plain] = rng.uniform(40, 200, 3)
            taken |= plain
    image += rng.normal(0, 4, image.shape)
    return Picture(f"field {seed}", np.clip(image, 1, 255).astype(np.uint8), {"field": striped.astype(np.uint16)})


def learned(folder: Path, steps: int, seed: int) -> tuple[Scores, Scores]:
    """Train a random network with the boxes of 60 fields; return its scores on 24 other fields before and after."""
    torch.manual_seed(seed)
    network = SamNetwork(SIZES)
    torch.nn.init.normal_(network.prompt_encoder.get_buffer("pe_layer.positional_encoding_gaussian_matrix"))
    trainable = SamTrainable(network)
    held_out = [field(1000 + number) for number in range(24)]

    def scores() -> Scores:
        model = Sam(network.eval(), name="sam", digest="")
        return score_objects(model, held_out, layer="field").means()

    before = scores()
    options = dataclasses.replace(
        apply_preset(trainable, "all").train_options(steps, images=8, crops=[(SIDE, 1, 1.0)], seed=seed),
        rate=2e-3, warm_up=20, average=0.97, losses=LOSSES, course=ONLY_BOXES, draw_on_device=True, save_s=1e9,
    )  # fmt: skip
    source = Source("fields", [field(number) for number in range(60)], 1.0, {"field": Layer(1.0)}, (0.9, 1.15))
    trainable.load_state_dict(train(trainable, [source], folder, options, window_px=SIDE))
    return before, scores()


def test_a_random_sam_learns_striped_fields_by_their_boxes(tmp_path):
    before, after = learned(tmp_path, 70, 0)
    assert before.box < 0.3
    assert after.box > 0.7 > before.filled_box


@pytest.mark.slow
def test_finetuning_of_the_bundled_model_on_striped_fields_is_accepted(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from bench_finetune import striped_fields

    image, labels = striped_fields(1024, 128)
    output = tmp_path / "fields.safetensors"
    done = finetune(image, labels, output, rate=5e-4, minutes=None, steps=60, device="cpu", threads=1)
    assert done.accepted, done.reason
    assert done.gains["click"].before < 0.5
    assert done.gains["click"].low > 0.2
    assert done.gains["three_clicks"].low > 0.05
    assert done.gains["box"].low > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_random_sam_learns_striped_fields_with_every_seed(tmp_path, seed):
    before, after = learned(tmp_path, 200, seed)
    assert before.box < 0.3
    assert after.box > 0.8

"""A GPU answers what the processor answers, in float32 and in bfloat16, in parts of any size, and when memory runs out.

SAMGEO_GPU_TESTS_ON=cpu lets a processor stand in for the GPU, to try the tests themselves.
"""

import os

import numpy as np
import pytest
import torch

from samgeo.models import batching
from samgeo.models.registry import default_gates, load_model
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.model import Sam, SamNetwork
from samgeo.models.sam2.architecture import Architecture as Architecture2
from samgeo.models.sam2.architecture import Trunk
from samgeo.models.sam2.model import Sam2, Sam2Network

DEVICE = torch.device(os.environ.get("SAMGEO_GPU_TESTS_ON", "cuda"))
HERE = torch.cuda.is_available() if DEVICE.type == "cuda" else True
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not HERE, reason="needs a CUDA device")]

SMALL = Architecture(
    width=64, depth=4, heads=4, mlp_width=128, global_blocks=(1, 3), window=3, grid=8, prompt_width=32, decoder_heads=4,
    decoder_mlp_width=64, decoder_inner_width=16, iou_width=32,
)  # fmt: skip
SMALL_2 = Architecture2(
    widths=(16, 32, 64, 128), blocks=(1, 2, 3, 1), trunk=Trunk((1, 2, 4, 8), (8, 4, 14, 7), (4,)), input_size=256,
    prompt_width=32, decoder_heads=4, decoder_mlp_width=64, decoder_inner_width=16, iou_width=32,
)  # fmt: skip


def painted(side):
    """Rectangles of even colour on a lattice of 4 x 4 cells, which both halves of a model can tell apart."""
    rng = np.random.default_rng(0)
    image = np.full((side, side, 3), 60, dtype=np.uint8)
    cell = side // 4
    for number in range(16):
        top, left = number // 4 * cell, number % 4 * cell
        low, high = cell // 5, cell - cell // 5
        image[top + low : top + high, left + low : left + high] = rng.integers(100, 250, 3)
    return image


def points(side, count):
    """Points in the middle of the rectangles, then anywhere."""
    centres = (np.arange(4) + 0.5) * side / 4
    middles = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    anywhere = np.random.default_rng(1).uniform(4, side - 4, (count, 2))
    xy = np.concatenate([middles, anywhere])[:count, None].astype(np.float32)
    return xy, np.ones(xy.shape[:2], dtype=np.int64)


def answers(model, count=16):
    xy, labels = points(model.input_size, count)
    logits, predicted = model.decode(model.embed(painted(model.input_size)[None])[0], points=xy, labels=labels)
    return logits.float().cpu(), predicted.float().cpu()


def small_sam(device, dtype):
    torch.manual_seed(0)
    return Sam(SamNetwork(SMALL), name="small", digest="random", device=device, dtype=dtype)


def small_sam2(device, dtype):
    torch.manual_seed(0)
    return Sam2(Sam2Network(SMALL_2), name="small", digest="random", device=device, dtype=dtype)


def same_masks(found, truth, meant=None):
    """Return the mean IoU of masks of more than a few pixels, of those that are meant."""
    one, other = found.flatten(2) > 0, truth.flatten(2) > 0
    union = (one | other).sum(2)
    kept = union > 30 if meant is None else (union > 30) & meant
    assert kept.sum() > 5
    return ((one & other).sum(2) / union.clamp(min=1))[kept].mean().item()


# TF32 in convolutions, which torch allows by default, and the rounding of bfloat16.
@pytest.mark.parametrize(("dtype", "least", "predicted_off"), [("float32", 0.99, 0.01), ("bfloat16", 0.93, 0.03)])
def test_the_bundled_model_draws_the_masks_of_the_processor(dtype, least, predicted_off):
    truth, scores = answers(load_model("tiny", device="cpu", dtype="float32"))
    found, found_scores = answers(load_model("tiny", device=DEVICE, dtype=dtype))
    # Candidates that no gate lets pass have edges that any rounding moves.
    assert same_masks(found, truth, scores > default_gates(load_model("tiny", device="cpu")).pred_iou) > least
    assert (found_scores - scores).abs().mean() < predicted_off


@pytest.mark.parametrize("make", [small_sam, small_sam2])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 0.01), (torch.bfloat16, 0.08)])
def test_sam_answers_what_the_processor_answers(make, dtype, most):
    truth, scores = answers(make(torch.device("cpu"), torch.float32))
    found, found_scores = answers(make(DEVICE, dtype))
    assert (found - truth).norm() / truth.norm() < most
    assert (found_scores - scores).abs().max() < 5 * most


MADE = (
    lambda: load_model("tiny", device=DEVICE),
    lambda: small_sam(DEVICE, torch.float32),
    lambda: small_sam2(DEVICE, torch.float32),
)


@pytest.mark.parametrize("make", MADE)
def test_a_point_is_answered_alike_alone_and_among_many(make):
    model = make()
    embedding = model.embed(painted(model.input_size)[None])[0]
    xy, labels = points(model.input_size, 70)
    many, scores = model.decode(embedding, points=xy, labels=labels)
    few, few_scores = model.decode(embedding, points=xy[60:], labels=labels[60:])
    assert same_masks(few.cpu(), many[60:].cpu()) > 0.999
    torch.testing.assert_close(few_scores, scores[60:], rtol=0, atol=1e-3)


@pytest.mark.skipif(DEVICE.type != "cuda", reason="a processor's memory does not run out on demand")
def test_parts_are_halved_when_the_memory_of_the_device_runs_out():
    sizes = []
    third = torch.cuda.mem_get_info()[0] // 3

    def work(part):
        count = part.stop - part.start
        held = torch.empty(count * third, dtype=torch.uint8, device=DEVICE)
        sizes.append(count)
        return held.numel() // third

    assert sum(batching.in_parts(work, 8, 8)) == 8
    assert max(sizes) <= 2
    torch.cuda.empty_cache()

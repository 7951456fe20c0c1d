"""What the parts of the GPU kit take on an H200, estimated from counted arithmetic and counted bytes: a table in Markdown.

python benchmarks/gpu/budget.py [--minutes 9]

Nothing of it was measured on a GPU. Arithmetic is counted by running each model on tensors without content, or a step of two
crops on the processor; the estimate of a unit is the largest of arithmetic over rate, bytes over bandwidth, and its kernels
times the time to start one. Attention is counted as its parts, which a GPU fuses, so that the bytes of encoding are too many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from results import ROOT

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from _roofline import flops_of
from kit import FINISHING_S, PARTS
from run_train import IMAGES, JUDGING_S, OPTIONS, larger
from torch.utils._python_dispatch import TorchDispatchMode

from samgeo.models.sam1.architecture import VIT_B, VIT_H
from samgeo.models.sam1.model import SamNetwork
from samgeo.training.losses import LossWeights
from samgeo.training.step import Crops, crops_loss

# Assumptions, all of them: the share of the vendor's dense rates that products reach, four fifths of the vendor's bandwidth,
# and the time to start a kernel from Python.
REACHED = 0.4
RATES = {"bfloat16": 989e12, "tf32": 495e12, "float32": 67e12}
BANDWIDTH = 0.8 * 4.8e12
START_S = 6e-6
POINTS = 1024
# Assumptions too: a process that imports torch and begins with CUDA; and reading the pack, 110 megapixels of WebP whose depths
# are measured on 14 cores.
STARTING_S, READING_S = 8.0, 15.0


class Counted(TorchDispatchMode):
    """Counts kernels and the bytes that they read and write, as if nothing stayed in a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = 0

    def __torch_dispatch__(self, function: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        result = function(*given, **(named or {}))
        tensors = (*given, *(result if isinstance(result, tuple | list) else (result,)))
        sizes = [one.numel() * one.element_size() for one in tensors if isinstance(one, torch.Tensor)]
        if not function.is_view and sizes:
            self.kernels += 1
            self.bytes += sum(sizes)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    minutes = parser.parse_args().minutes
    lines = ["| unit | TFLOP | GB moved | kernels | estimate |", "|---|---|---|---|---|"]
    for name, architecture in (("ViT-B", VIT_B), ("ViT-H", VIT_H)):
        for dtype in ("bfloat16", "float32"):
            lines.append(row(f"{name}, {dtype}: encode a window", *count(encoding(architecture, dtype)), dtype))
            counted = count(decoding(architecture, dtype))
            lines.append(row(f"{name}, {dtype}: {POINTS:,} points to predicted IoU", *counted, dtype))
    took = {}
    for side, prompts, _ in OPTIONS.crops:
        crops = round(IMAGES * (512 / side) ** 2)
        work, scale = step(side, prompts), crops / 2
        flops, moved, kernels = count(work)
        counted = flops * scale, moved * scale, kernels
        took[side] = seconds(*counted, "tf32")
        lines.append(row(f"a step of training: {crops} crops of {side} px, {prompts} objects each", *counted, "tf32"))
    print("\n".join(lines), end="\n\n")
    total = 60 * minutes - FINISHING_S
    whole = sum(PARTS.values())
    odds = np.array([share for _, _, share in OPTIONS.crops])
    a_step = float(np.average(list(took.values()), weights=odds))
    crops = float(np.average([IMAGES * (512 / side) ** 2 for side, _, _ in OPTIONS.crops], weights=odds))
    training = total * PARTS["train"] / whole - STARTING_S - READING_S - JUDGING_S
    print("| part | seconds | of which |\n|---|---|---|")
    print(f"| tests | {total * PARTS['tests'] / whole:.0f} | start {STARTING_S:.0f}, the rest tests |")
    print(f"| bench | {total * PARTS['bench'] / whole:.0f} | start {STARTING_S:.0f}, units as listed in run_bench.py |")
    print(f"| train | {total * PARTS['train'] / whole:.0f} | start {STARTING_S:.0f}, pictures {READING_S:.0f}, judging "
          f"{JUDGING_S:.0f}, training {training:.0f} |")  # fmt: skip
    print(f"| end | {FINISHING_S:.0f} | |")
    steps = training / a_step
    print(f"\nA step of {crops:.0f} crops is estimated at {1000 * a_step:.0f} ms, drawing them not counted: {steps:,.0f} steps "
          f"and {steps * crops:,.0f} crops in {training:.0f} s.")  # fmt: skip


def seconds(flops: float, moved: float, kernels: float, dtype: str) -> float:
    """Return the estimate of a unit."""
    return max(flops / (REACHED * RATES[dtype]), moved / BANDWIDTH, kernels * START_S)


def row(name: str, flops: float, moved: float, kernels: float, dtype: str) -> str:
    """Return a line of the table."""
    estimate = 1000 * seconds(flops, moved, kernels, dtype)
    return f"| {name} | {flops / 1e12:.2f} | {moved / 1e9:.1f} | {kernels:,.0f} | {estimate:.1f} ms |"


def count(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return operations, bytes and kernels of some work."""
    operations = flops_of(work)
    with Counted() as counted:
        work()
    return float(operations), float(counted.bytes), float(counted.kernels)


def encoding(architecture: Any, dtype: str) -> Callable[[], object]:
    """Return the encoding of one window."""
    with torch.device("meta"):
        encoder = SamNetwork(architecture).image_encoder.eval().to(getattr(torch, dtype))
        pixels = torch.empty(1, 3, 1024, 1024, dtype=getattr(torch, dtype))

    @torch.no_grad()
    def work() -> object:
        return encoder(pixels)

    return work


def decoding(architecture: Any, dtype: str) -> Callable[[], object]:
    """Return the two-way transformer of all points of a window."""
    side, width, kind = architecture.grid, architecture.prompt_width, getattr(torch, dtype)
    with torch.device("meta"):
        network = SamNetwork(architecture).eval()
        decoder = network.mask_decoder.to(kind)
        positions = network.prompt_encoder.grid_positions().to(kind)
        image = torch.empty(1, width, side, side, dtype=kind)
        # The tokens of the IoU and of the masks are the decoder's own; a click comes with one of padding.
        tokens = torch.empty(POINTS, 2, width, dtype=kind)

    @torch.no_grad()
    def work() -> object:
        return decoder.attend(image, positions, tokens)

    return work


def step(side: int, prompts: int) -> Callable[[], object]:
    """Return a step with two crops, forwards and backwards, on a processor."""
    network = larger("base").train()
    rng = np.random.default_rng(0)
    count = 2 * prompts
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    masks[:, 20:60, 20:60] = True
    box = torch.tensor([[20.0, 20, 60, 60]]).expand(count, -1)
    crops = Crops(torch.rand(2, side, side, 3) * 255, masks, torch.full((count, 2), 40.0), box, torch.ones(count))

    def work() -> object:
        loss, _ = crops_loss(network, crops, window_px=512, rng=rng, weights=LossWeights(), course=OPTIONS.course)
        torch.autograd.backward(loss)
        return loss

    return work


if __name__ == "__main__":
    main()

"""One window through SAM 2.1: ours and transformers' `Sam2Model` with the same random weights, in turns.

    python benchmarks/bench_sam2.py [--sizes tiny base_plus] [--points 64] [--repeats 2]

Both encode a window of 1,024 pixels and decode points with three masks each, on one thread. The figures are processor times.
A whole window of the automatic mode asks 1,024 points: its time is that of encoding, and that of the points times 1,024 by
their number. What comes after the decoder (masks of full size, suppression) is in neither; `bench_masks.py` compares it. Points
that do not pass the predicted IoU are not drawn by ours in use: "a quarter passes" is the time when the masks of a quarter of
the points are drawn. The logits of both are compared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

from samgeo.models import keep_freed_memory
from samgeo.models.preprocessing import normalise
from samgeo.models.sam2 import load_sam2

keep_freed_memory()  # as the command line does

SIDE, WHOLE = 1024, 1024
SIZES = {
    "tiny": {"hidden_size": 96, "blocks": (1, 2, 7, 2), "windows": (8, 4, 14, 7), "whole": (5, 7, 9), "heads": 1, "grid": 7},
    "base_plus": {
        "hidden_size": 112,
        "blocks": (2, 3, 16, 3),
        "windows": (8, 4, 14, 7),
        "whole": (12, 16, 20),
        "heads": 2,
        "grid": 14,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | what | ours, s | transformers, s | ratio |")
    print("|---|---|---|---|---|")
    for size in options.sizes:
        compare(size, options.points, options.repeats)


def peer(size: str) -> Sam2Model:
    a = SIZES[size]
    widths = tuple(a["hidden_size"] * 2**stage for stage in range(4))
    trunk = Sam2HieraDetConfig(
        hidden_size=a["hidden_size"],
        num_attention_heads=a["heads"],
        blocks_per_stage=list(a["blocks"]),
        embed_dim_per_stage=list(widths),
        num_attention_heads_per_stage=[a["heads"] * 2**stage for stage in range(4)],
        window_size_per_stage=list(a["windows"]),
        global_attention_blocks=list(a["whole"]),
        window_positional_embedding_background_size=[a["grid"], a["grid"]],
    )
    torch.manual_seed(0)
    vision = Sam2VisionConfig(backbone_config=trunk, backbone_channel_list=list(reversed(widths)))
    model = Sam2Model(Sam2Config(vision_config=vision)).eval()
    # Published files have the same frequencies twice; random ones would differ.
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(model.shared_image_embedding.positional_embedding)
    return model


def compare(size: str, count: int, repeats: int) -> None:
    theirs = peer(size)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = load_sam2(Path(folder), name=size, device=torch.device("cpu"), dtype=torch.float32)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    points = rng.uniform(0, SIDE, (count, 1, 2)).astype(np.float32)
    labels = np.ones((count, 1), dtype=np.int64)
    embedding = ours.embed(image)[0]
    pixels = normalise(torch.from_numpy(image), None)
    with torch.inference_mode():
        maps = theirs.get_image_embeddings(pixels)
    scores = ours.decode(embedding, points=points, labels=labels)[1]
    quarter = float(torch.quantile(scores.max(1).values, 0.75))

    @torch.inference_mode()
    def ask_theirs() -> torch.Tensor:
        return theirs(
            image_embeddings=maps,
            input_points=torch.from_numpy(points)[None] - 0.5,
            input_labels=torch.from_numpy(labels)[None].int(),
            multimask_output=True,
        ).pred_masks[0]

    @torch.inference_mode()
    def encode_theirs() -> object:
        return theirs.get_image_embeddings(pixels)

    works: dict[str, Callable[[], object]] = {
        "encode ours": lambda: ours.embed(image),
        "encode theirs": encode_theirs,
        "points ours": lambda: ours.decode(embedding, points=points, labels=labels),
        "points theirs": ask_theirs,
        "gated ours": lambda: ours.decode_gated(embedding, points=points, labels=labels, min_iou=quarter),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            begun = time.process_time()
            work()
            times[name].append(time.process_time() - begun)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    factor = WHOLE / count
    line(size, "encode a window", seconds["encode ours"], seconds["encode theirs"])
    line(size, f"{count} points, all drawn", seconds["points ours"], seconds["points theirs"])
    line(size, f"{count} points, a quarter passes", seconds["gated ours"], seconds["points theirs"])
    whole = seconds["encode theirs"] + factor * seconds["points theirs"]
    line(size, "whole window, a quarter passes", seconds["encode ours"] + factor * seconds["gated ours"], whole)
    mine = ours.decode(embedding, points=points, labels=labels)[0]
    print(
        f"{size}: largest difference of logits {float((mine - ask_theirs()).abs().max()):.1e}, spread {float(mine.std()):.2g}"
    )


def line(size: str, what: str, ours: float, theirs: float) -> None:
    print(f"| {size} | {what} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()

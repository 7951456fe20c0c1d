"""One window through SAM ViT-B: ours, the published segment_anything 1.0, and the encoder of transformers, in turns.

Then the encoder's memory, and the masks in bfloat16 against those in float32.

Random weights make gates meaningless, so what they see is replayed: each model does all of its work, and then the logits and
predicted IoU of the bundled model on a generated town take the place of its own. Both must give the same masks.

python benchmarks/bench_sam.py [--points-per-side 32] [--repeats 3] [--threads 2] [--device cpu] [--dtype float32]
                               [--parts window encoder memory precision]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _peers import import_segment_anything
from _roofline import flops_of, peak_flops
from _turns import in_turns, say
from torch.nn import functional

import samgeo
from samgeo.models import keep_freed_memory
from samgeo.models.registry import Gates, default_gates
from samgeo.models.sam1.model import Sam
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window

keep_freed_memory()  # as the command line does

SIDE = 1024
# Without suppression by masks, which SAM's own procedure does not have.
GATES = Gates(pred_iou=0.5, stability=0.6, mask_nms=None)
PARTS = ("window", "encoder", "memory", "precision")
PRECISION_POINTS = 12


class Replayed(Sam):
    """Does the work of a window, and gives answers that were made before; with ``works`` false, gives them at once."""

    answers: tuple[torch.Tensor, torch.Tensor]
    works = True
    at = 0

    @torch.inference_mode()
    def decode_gated(self, embedding: Any, *, points: Any, labels: Any, min_iou: float, **_: Any) -> Any:
        logits, scores = (part[self.at : self.at + len(points)] for part in self.answers)
        self.at += len(points)
        passing = scores > min_iou
        if self.works:
            self._work(embedding, points, labels, passing)
        prompt, token = passing.nonzero(as_tuple=True)
        return prompt.cpu().numpy(), token.cpu().numpy(), logits[passing], scores[passing].cpu().numpy()

    def _work(self, embedding: Any, points: Any, labels: Any, passing: torch.Tensor) -> None:
        from samgeo.models.sam1.prompt_encoder import EncodedPrompts

        features = self._features(embedding)
        prompts = EncodedPrompts.of(points, labels, None, None, low=self._low, device=self.device)
        rows = passing.any(dim=1)

        def answer(part: slice) -> None:
            tokens, cells = self._attend(features, prompts[part])
            self.network.mask_decoder.predict_iou(tokens)
            chosen = rows[part].to(self.device)
            if chosen.any():
                self.network.mask_decoder.paint(tokens[chosen], cells[chosen], range(1, 4)).sum().item()

        self._for_parts(len(prompts), answer)


class ReplayedDecoder(torch.nn.Module):
    """The peer's decoder with answers that were made before."""

    def __init__(self, decoder: torch.nn.Module, answers: tuple[torch.Tensor, torch.Tensor]) -> None:
        super().__init__()
        self.decoder, self.answers, self.works, self.at = decoder, answers, True, 0

    def forward(self, **given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(given["sparse_prompt_embeddings"])
        if self.works:
            self.decoder(**given)[0].sum().item()
        logits, scores = (part[self.at : self.at + count] for part in self.answers)
        self.at += count
        return logits, scores


def answers_of(image: np.ndarray, side: int, device: str | torch.device = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """What the bundled model answers to a grid of points on the image at half its size, as logits of 256 x 256."""
    tiny = samgeo.load_model("tiny", device=device)
    half = np.ascontiguousarray(image[::2, ::2])
    centres = (np.arange(side) + 0.5) * SIDE / 2 / side
    points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    embedding = tiny.embed(half[None])[0]
    parts = [points[at : at + 64] for at in range(0, len(points), 64)]
    answers = [tiny.decode(embedding, points=part, labels=np.ones(part.shape[:2], dtype=np.int64)) for part in parts]
    fine = [functional.interpolate(logits, size=(256, 256), mode="bilinear", align_corners=False) for logits, _ in answers]
    return torch.cat(fine), torch.cat([scores for _, scores in answers])


def encoder_memory(which: str) -> None:
    """Print by how many MB the peak of resident memory rises above the weights while one window is encoded."""
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        if which == "ours":
            from samgeo.models.sam1.architecture import VIT_B
            from samgeo.models.sam1.encoder import ImageEncoder

            encoder: Any = ImageEncoder(VIT_B).eval()
        else:
            encoder = transformers_encoder()
        before = peak_mb()
        encoder(pixels)
    print(peak_mb() - before)


def peak_mb() -> float:
    """Return the peak of this process's resident memory. What getrusage says begins with that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def transformers_encoder() -> Any:
    from transformers import SamConfig, SamModel

    return SamModel(SamConfig()).eval().vision_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure; all by default")
    parser.add_argument("--encoder-memory", choices=["ours", "transformers"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.encoder_memory:
        encoder_memory(options.encoder_memory)
        return
    if "memory" in options.parts:
        compare_memory(options.threads)
    theirs = transformers_encoder().to(options.device)  # before the stand-in, which transformers would look into
    peer = import_segment_anything()
    torch.manual_seed(0)
    reference = peer.sam_model_registry["vit_b"]().to(options.device).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        torch.save(reference.state_dict(), path)
        loaded = samgeo.load_model(path, device=options.device, dtype=options.dtype)
        if "precision" in options.parts:
            precision("tiny", options.device)
            precision(path, options.device)
    if "encoder" in options.parts:
        compare_encoders(loaded, reference.image_encoder, theirs, options)
    if "window" in options.parts:
        compare_windows(peer, loaded, reference, options)


def compare_windows(peer: Any, loaded: Sam, reference: Any, options: argparse.Namespace) -> None:
    from samgeo.synthetic import town

    image = town((SIDE, SIDE), seed=1).image
    answers = answers_of(image, options.points_per_side)
    ours = Replayed(loaded.network, name="ours", digest="random", device=loaded.device, dtype=loaded.dtype)
    ours.answers = answers
    reference.mask_decoder = ReplayedDecoder(reference.mask_decoder, answers)
    generator = peer.SamAutomaticMaskGenerator(
        reference,
        points_per_side=options.points_per_side,
        pred_iou_thresh=GATES.pred_iou,
        stability_score_thresh=GATES.stability,
        output_mode="uncompressed_rle",
    )
    centres = (np.arange(options.points_per_side) + 0.5) * SIDE / options.points_per_side
    points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)

    def our_window() -> list[Any]:
        ours.at = 0
        embedding = embed_window(ours, image, (SIDE, SIDE)) if ours.works else None
        return automatic_masks(ours, embedding, points, gates=GATES, window=SIDE, size=(SIDE, SIDE))

    def their_window() -> list[Any]:
        reference.mask_decoder.at = 0
        found: list[Any] = generator.generate(image)
        return found

    same = check_equal(our_window(), their_window())
    print(f"{same} masks, the same from both, of {len(points)} points; {int((answers[1] > GATES.pred_iou).any(1).sum())} "
          f"points pass the IoU gate; {options.dtype} on {options.device}")  # fmt: skip
    say("whole window", in_turns(options.repeats, warm=True, ours=our_window, segment_anything=their_window))

    ours.works = reference.mask_decoder.works = False
    reference.image_encoder = Instant(reference)
    say("after the decoder", in_turns(options.repeats, ours=our_window, segment_anything=their_window))


def compare_encoders(loaded: Sam, reference: Any, theirs: Any, options: argparse.Namespace) -> None:
    pixels = torch.randn(1, 3, SIDE, SIDE, device=options.device)
    with torch.inference_mode():
        typed = pixels.to(loaded.dtype)
        works = {
            "ours": lambda: loaded.network.image_encoder(typed),
            "segment_anything": lambda: reference(pixels),
            "transformers": lambda: theirs(pixels),
        }
        seconds = in_turns(options.repeats, **works)
        say("encoder", seconds)
        operations, peak = flops_of(works["segment_anything"]), peak_flops(loaded.device, loaded.dtype)
    least = operations / peak
    times = seconds["ours"].processor / least
    print(f"the encoder as published is {operations / 1e9:.0f} GFLOP; at the {peak / 1e9:,.0f} GFLOP/s of a matrix product in "
          f"{options.dtype} that is {least:.2f} s: ours takes {times:.1f} times as long")  # fmt: skip


def compare_memory(threads: int) -> None:
    if not Path("/proc/self/status").is_file():
        print("encoder's peak above the weights: needs /proc")
        return
    command = [sys.executable, __file__, "--threads", str(threads), "--encoder-memory"]
    peaks = {
        which: float(subprocess.run([*command, which], capture_output=True, text=True, check=True).stdout)  # noqa: S603
        for which in ("ours", "transformers")
    }
    share = peaks["ours"] / peaks["transformers"]
    print(f"encoder's peak above the weights: ours {peaks['ours']:.0f} MB, transformers {peaks['transformers']:.0f} MB: "
          f"{share:.0%}")  # fmt: skip


def precision(name: str | Path, device: str) -> None:
    """Print the IoU of masks in bfloat16 with those in float32, of three candidates for each point of a grid."""
    from samgeo.synthetic import town

    half, full = (samgeo.load_model(name, device=device, dtype=dtype) for dtype in ("bfloat16", "float32"))
    side = full.input_size
    centres = (np.arange(PRECISION_POINTS) + 0.5) * side / PRECISION_POINTS
    points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    image, labels = town((side, side), seed=1).image[None], np.ones((len(points), 1), dtype=np.int64)
    answers = [model.decode(model.embed(image)[0], points=points, labels=labels) for model in (half, full)]
    one, other = (logits.flatten(2) > 0 for logits, _ in answers)
    union = (one | other).sum(2)
    iou = (one & other).sum(2) / union
    trained = name == "tiny"
    kept = (answers[1][1] > default_gates(full).pred_iou) & (union > 0) if trained else union > 0
    which = "that pass its IoU gate" if trained else "of random weights"
    print(f"{'tiny' if trained else 'ViT-B'}: {int(kept.sum())} masks {which}, in bfloat16 against float32: mean IoU "
          f"{iou[kept].mean():.4f}, median {iou[kept].median():.4f}, least {iou[kept].min():.3f}", flush=True)  # fmt: skip


class Instant(torch.nn.Module):
    """An encoder that gives zeros at once."""

    def __init__(self, reference: Any) -> None:
        super().__init__()
        self.img_size = reference.image_encoder.img_size
        self.embedding = torch.zeros(1, 256, 64, 64, device=reference.device)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.embedding


def check_equal(ours: list[Any], theirs: list[Any]) -> int:
    """Assert that both found the same masks; return how many."""

    def runs(counts: list[int]) -> tuple[int, ...]:
        return tuple(counts)

    from samgeo.segmentation.masks.rle import Rle

    found = sorted(runs(Rle.from_mask(one.mask, (SIDE, SIDE)).counts.tolist()) for one in ours)
    expected = sorted(runs(one["segmentation"]["counts"]) for one in theirs)
    assert found == expected, f"{len(found)} and {len(expected)} masks, which are not the same"
    return len(found)


if __name__ == "__main__":
    main()

"""The part of the GPU kit that measures: what the device can do, windows through SAM 1 and the bundled model, and a raster.

Random weights make gates meaningless, so what they see is replayed, as in bench_sam.py: each model does all of its work, and
then the answers of the bundled model take the place of its own.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from packed import read_pack
from results import ROOT, Part, Results, milliseconds, wait_for

sys.path.insert(0, str(ROOT / "benchmarks"))

from bench_sam import GATES, Instant, Replayed, ReplayedDecoder, answers_of

from samgeo.models.registry import default_gates, load_model
from samgeo.models.sam1.architecture import VIT_B, VIT_H, Architecture
from samgeo.models.sam1.model import SamNetwork
from samgeo.segmentation.profile import profiling
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window

# For a processor: the same ways through the code, in a second.
SMALL = Architecture(
    width=32, depth=2, heads=2, mlp_width=64, global_blocks=(1,), window=3, grid=8, prompt_width=32, decoder_heads=2,
    decoder_mlp_width=32, decoder_inner_width=16, iou_width=32,
)  # fmt: skip
SMOKE_UNITS = {"roofline", "window vit_b bfloat16", "window tiny float32"}
GOALS_MS = {"vit_b": 15.0, "vit_h": 30.0}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Unit:
    """Something to measure, and how many seconds it is expected to take on an H200."""

    name: str
    seconds: float
    work: Callable[[], dict[str, Any]]


def main() -> None:
    part = Part.from_arguments(__doc__)
    results = Results(part.out / "bench.json")
    bench = Bench(part)
    for unit in bench.units():
        if results.has(unit.name):
            continue
        if part.smoke and unit.name not in SMOKE_UNITS:
            results.record(unit.name, {"status": "left out", "reason": "--smoke"})
            continue
        if part.clock.left < (0 if part.smoke else unit.seconds):
            results.record(unit.name, {"status": "left out", "reason": f"{unit.seconds:.0f} s were not left"})
            continue
        begun = time.monotonic()
        print(f"bench: {unit.name}", flush=True)
        if part.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            value = {"status": "done", **unit.work()}
        except (MissingPackageError, ModuleNotFoundError) as error:
            value = {"status": "left out", "reason": str(error)}
        except Exception as error:  # noqa: BLE001  one unit must not end the others
            traceback.print_exc()
            value = {"status": "failed", "reason": repr(error)[:500]}
        if part.device.type == "cuda":
            value["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        results.record(unit.name, {**value, "seconds": round(time.monotonic() - begun, 1)})


class MissingPackageError(RuntimeError):
    """A package that a unit needs is not installed."""


class Bench:
    """The units, and what they share: an image and the answers that are replayed."""

    def __init__(self, part: Part) -> None:
        self.part, self.device = part, part.device
        self.side = 4 if part.smoke else 32
        self.repeats = 1 if part.smoke else 10
        self._image: NDArray[np.uint8] | None = None
        self._answers: tuple[torch.Tensor, torch.Tensor] | None = None

    def units(self) -> list[Unit]:
        """Return what to measure, what matters most first; seconds as budget.py estimates them, and starting costs."""
        return [
            Unit("roofline", 4, self.roofline),
            *(
                Unit(f"window {name} {dtype}", seconds, lambda name=name, dtype=dtype: self.window(name, dtype))
                for name, dtype, seconds in (
                    ("vit_b", "bfloat16", 8), ("vit_h", "bfloat16", 12), ("vit_b", "float32", 8), ("vit_h", "float32", 14),
                )
            ),
            Unit("window tiny float32", 4, lambda: self.tiny("float32")),
            Unit("window tiny bfloat16", 4, lambda: self.tiny("bfloat16")),
            Unit("raster tiny", 20, self.raster),
            Unit("segment_anything vit_b float32", 20, lambda: self.segment_anything("vit_b")),
            Unit("transformers vit_b", 12, self.transformers),
            Unit("segment_anything vit_h float32", 30, lambda: self.segment_anything("vit_h")),
        ]  # fmt: skip

    @property
    def image(self) -> NDArray[np.uint8]:
        """A packed picture, repeated to 1,024 pixels a side."""
        if self._image is None:
            pictures = [one for found in read_pack(self.part.pack, threads=8).validation.values() for one in found]
            largest = max(pictures, key=lambda one: min(one.shape)).image
            times = [-(-1024 // size) for size in largest.shape[:2]]
            self._image = np.ascontiguousarray(np.tile(largest, (*times, 1))[:1024, :1024])
        return self._image

    @property
    def answers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the bundled model says of a grid of points, on the device."""
        if self._answers is None:
            logits, scores = answers_of(self.image, self.side, self.device)
            self._answers = logits, scores
        return self._answers

    def roofline(self) -> dict[str, Any]:
        """Large products and copies."""
        side = 256 if self.part.smoke else 8192
        found: dict[str, Any] = {}
        for name, dtype, precision in (
            ("bfloat16", torch.bfloat16, "highest"), ("float32", torch.float32, "highest"), ("tf32", torch.float32, "high"),
        ):  # fmt: skip
            a, b = (torch.randn(side, side, device=self.device, dtype=dtype) for _ in range(2))
            torch.set_float32_matmul_precision(precision)
            took = milliseconds(lambda a=a, b=b: a @ b, self.device, repeats=self.repeats)
            found[f"{name} TFLOP/s"] = round(2 * side**3 / took["ms"] / 1e9, 2)
        torch.set_float32_matmul_precision("highest")
        source = torch.empty(side * side * 16, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        took = milliseconds(lambda: target.copy_(source), self.device, repeats=self.repeats)
        found["copy TB/s, read and written"] = round(2 * source.numel() / took["ms"] / 1e9, 3)
        return found

    def window(self, name: str, dtype: str) -> dict[str, Any]:
        """One window of 1,024 pixels through SAM 1 with random weights."""
        architecture = SMALL if self.part.smoke else {"vit_b": VIT_B, "vit_h": VIT_H}[name]
        torch.manual_seed(0)
        with torch.device(self.device):
            network = SamNetwork(architecture)
        model = OnDevice(network, name=name, digest="random", device=self.device, dtype=DTYPES[dtype])
        model.answers = tuple(
            torch.nn.functional.interpolate(part, size=(model.mask_side,) * 2, mode="bilinear") if part.ndim == 4 else part
            for part in self.answers
        )
        size = architecture.input_size
        image = self.image[:size, :size]
        points = grid(self.side, size)
        found: dict[str, Any] = {"points": len(points)}
        found["encode"] = milliseconds(lambda: embed_window(model, image, (size, size)), self.device, repeats=self.repeats)
        embedding = embed_window(model, image, (size, size))

        def rest() -> list[Any]:
            model.at = 0
            return automatic_masks(model, embedding, points, gates=GATES, window=size, size=(size, size))

        def whole() -> list[Any]:
            model.at = 0
            fresh = embed_window(model, image, (size, size))
            return automatic_masks(model, fresh, points, gates=GATES, window=size, size=(size, size))

        found["masks"] = len(rest())
        found["whole window"] = milliseconds(whole, self.device, repeats=self.repeats, warm=1)
        found["points to masks"] = milliseconds(rest, self.device, repeats=self.repeats, warm=1)
        model.works = False
        found["after the decoder"] = milliseconds(rest, self.device, repeats=self.repeats, warm=1)
        model.works = True
        with profiling() as profile:
            whole()
            wait_for(self.device)
        found["stages, ms"] = {stage.name: round(1000 * stage.seconds, 2) for stage in profile.stages}
        found["goal, ms"] = GOALS_MS[name]
        found["goal met"] = found["whole window"]["ms"] <= GOALS_MS[name]
        return found

    def tiny(self, dtype: str) -> dict[str, Any]:
        """One window of 512 pixels through the bundled model, with its own weights and gates."""
        model = load_model("tiny", device=self.device, dtype=dtype)
        size = model.input_size
        image, points, gates = np.ascontiguousarray(self.image[:size, :size]), grid(self.side, size), default_gates(model)

        def masks(embedding: Any) -> list[Any]:
            return automatic_masks(model, embedding, points, gates=gates, window=size, size=(size, size))

        embedding = embed_window(model, image, (size, size))
        found: dict[str, Any] = {"points": len(points), "masks": len(masks(embedding))}
        found["encode"] = milliseconds(lambda: embed_window(model, image, (size, size)), self.device, repeats=self.repeats)
        found["points to masks"] = milliseconds(lambda: masks(embedding), self.device, repeats=self.repeats, warm=1)
        found["whole window"] = milliseconds(
            lambda: masks(embed_window(model, image, (size, size))), self.device, repeats=self.repeats, warm=1
        )
        with profiling() as profile:
            masks(embed_window(model, image, (size, size)))
            wait_for(self.device)
        found["stages, ms"] = {stage.name: round(1000 * stage.seconds, 2) for stage in profile.stages}
        return found

    def raster(self) -> dict[str, Any]:
        """A whole generated raster, with the share of the time in which the device had nothing to do."""
        try:
            import samgeo
            from samgeo.synthetic import town
        except ImportError as error:
            raise MissingPackageError(f"{error}; make gpu-pack WHEELS=raster takes the packages along") from None
        side = 512 if self.part.smoke else 2048
        image = town((side, side), seed=1).image
        found: dict[str, Any] = {"side": side}
        for workers in (1,) if self.part.smoke else (1, 8):
            begun = time.monotonic()
            with profiling() as profile:
                objects = samgeo.segment(image, device=str(self.device), workers=workers, progress=False)
            found[f"{workers} workers"] = {
                "objects": len(objects),
                "seconds": round(time.monotonic() - begun, 2),
                "device idle": profile.device_idle,
                "model idle": profile.model_idle,
                "stages": {stage.name: round(stage.seconds, 3) for stage in profile.stages},
            }
        return found

    def segment_anything(self, name: str) -> dict[str, Any]:
        """The published code with random weights: the encoder, and a whole window with the answers that ours had."""
        try:
            from _peers import import_segment_anything

            peer = import_segment_anything()
        except (ImportError, SystemExit):
            raise MissingPackageError("segment_anything is not installed") from None
        if self.part.smoke:
            return {"version": "installed"}
        torch.manual_seed(0)
        with torch.device(self.device):
            reference = peer.sam_model_registry[name]().eval()
        pixels = torch.randn(1, 3, 1024, 1024, device=self.device)
        found: dict[str, Any] = {}
        with torch.inference_mode():
            found["encoder"] = milliseconds(lambda: reference.image_encoder(pixels), self.device, repeats=5)
            with torch.autocast("cuda", torch.bfloat16):
                found["encoder, autocast"] = milliseconds(lambda: reference.image_encoder(pixels), self.device, repeats=5)
        decoder = ReplayedDecoder(reference.mask_decoder, self.answers)
        reference.mask_decoder = decoder
        generator = peer.SamAutomaticMaskGenerator(
            reference, pred_iou_thresh=GATES.pred_iou, stability_score_thresh=GATES.stability, output_mode="uncompressed_rle"
        )

        def whole() -> list[Any]:
            decoder.at = 0
            masks: list[Any] = generator.generate(self.image)
            return masks

        found["masks"] = len(whole())
        found["whole window"] = milliseconds(whole, self.device, repeats=2, warm=0)
        decoder.works, reference.image_encoder = False, Instant(reference)
        found["after the decoder"] = milliseconds(whole, self.device, repeats=1, warm=0)
        return found

    def transformers(self) -> dict[str, Any]:
        """The encoder of transformers."""
        try:
            from transformers import SamConfig, SamModel
        except ImportError:
            raise MissingPackageError("transformers is not installed") from None
        if self.part.smoke:
            return {"version": "installed"}
        encoder = SamModel(SamConfig()).eval().to(self.device).vision_encoder
        pixels = torch.randn(1, 3, 1024, 1024, device=self.device)
        with torch.inference_mode():
            full = milliseconds(lambda: encoder(pixels), self.device, repeats=5)
            halves = encoder.to(torch.bfloat16)
            return {
                "encoder": full,
                "encoder, bfloat16": milliseconds(lambda: halves(pixels.bfloat16()), self.device, repeats=5),
            }


class OnDevice(Replayed):
    """A model that does the work of a window and gives answers made before, which lie on its device."""

    @property
    def mask_side(self) -> int:
        """Side of its logits."""
        return self.input_size // 4


def grid(side: int, size: int) -> NDArray[np.float64]:
    """Return points on a lattice over a window."""
    centres = (np.arange(side) + 0.5) * size / side
    return np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)


if __name__ == "__main__":
    main()

"""The part of the GPU kit that trains the bundled model from its present weights, as the clock allows.

Two files of weights are written as it goes: ``weights.safetensors``, the averaged ones, which samgeo loads, and
``weights-now.safetensors``, those that are being trained. A call that finds both goes on from them; the optimiser's state is
larger than a file may be, and is not kept.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packed import Pack, read_pack
from results import Part, Results
from safetensors import safe_open

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.models.protocols import Segmenter
from samgeo.models.registry import default_gates
from samgeo.models.tiny import deepened, load_tiny, network_preset, save_tiny
from samgeo.models.tiny.network import TinyNetwork
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window
from samgeo.training.assessment.click_evaluation import evaluate, evaluate_boxes
from samgeo.training.assessment.scores import Scores
from samgeo.training.data.pictures import Picture
from samgeo.training.loop import TrainOptions, train_locked
from samgeo.training.losses import LossWeights
from samgeo.training.step import Course

AVERAGED, NOW = "weights.safetensors", "weights-now.safetensors"
# Seconds that are kept for judging the result, and crops of 512 px a step, which are halved where memory runs out.
JUDGING_S, IMAGES = 30.0, 48
MEASURES = ("click", "three_clicks", "box")
OPTIONS = TrainOptions(
    steps=1_000_000,
    images=IMAGES,
    crops=((256, 14, 0.3), (320, 12, 0.25), (384, 12, 0.25), (512, 12, 0.2)),
    rate=1e-3,
    warm_up=100,
    average=0.998,
    seed=43,
    autocast=True,
    draw_on_device=True,
    tf32=True,
    save_s=20.0,
    log_steps=20,
    losses=LossWeights(regret=0.7),
    course=Course(boxes=0.35, corrected=0.35, more_clicks=(0.3, 0.1)),
)
SMOKE = {"steps": 3, "images": 2, "crops": ((64, 3, 1.0),), "log_steps": 1, "save_s": 0.0, "warm_up": 2, "rate": 1e-4}


@dataclass(frozen=True, slots=True)
class CompactState:
    """The state of a training as two files of weights in half precision and some numbers in train.json."""

    path: Path
    network: TinyNetwork
    results: Results

    def read(self) -> dict[str, Any] | None:
        """Return the state without that of the optimiser, or None where it is not whole."""
        numbers = self.results.values.get("state")
        files = [self.path / name for name in (NOW, AVERAGED)]
        if numbers is None or not all(file.is_file() for file in files):
            return None
        now, averaged = (_tensors(file) for file in files)
        return {**numbers, "network": now, "average": averaged, "recent": []}

    def write(self, state: Mapping[str, Any]) -> None:
        """Write the weights, then the numbers; a kill between them costs the seconds since the state before."""
        save_tiny(state["network"], self.network.config, self.path / NOW, overwrite=True)
        save_tiny(state["average"], self.network.config, self.path / AVERAGED, overwrite=True)
        kept = ("step", "options", "threads", "crops", "progress")
        self.results.record("state", {name: state[name] for name in kept})


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118 - not a mapping


def main() -> None:
    part = Part.from_arguments(__doc__)
    results = Results(part.out / "train.json")
    if results.has("after"):
        return
    begun = time.monotonic()
    workers = max((os.cpu_count() or 2) - 2, 1)
    every = 12 if part.smoke else 1
    before = None if results.has("before") else judging_apart(part)
    pack = read_pack(part.pack, threads=workers, every=every)
    if not pack.sources:
        results.record("after", {"status": "left out", "reason": "the pack holds no training pictures"})
        return
    seconds = {"reading the pack": round(time.monotonic() - begun, 1)}
    network = larger(part.network)
    judging = min(JUDGING_S, 0.25 * part.clock.left)
    training = max(part.clock.left - judging, 1.0)
    # The schedule of a run that was stopped has a share left, which is to take all the time of this call.
    done = (results.values.get("state") or {}).get("progress", 0.0)
    images = results.values.get("images", IMAGES)
    options = replace(OPTIONS, minutes=training / 60 / max(1 - done, 1e-3), **(SMOKE if part.smoke else {"images": images}))
    begun = time.monotonic()
    while True:
        try:
            trained = train_locked(
                network,
                pack.sources,
                part.out,
                options,
                window_px=network.config.input_size,
                device=part.device,
                report=lambda line: print(json.dumps(line), flush=True),
                store=CompactState(part.out, network, results),
                loaders=workers,
            )
            break
        except torch.OutOfMemoryError:
            if options.images == 1:
                raise
            options = replace(options, images=options.images // 2)
            remember_images(results, options.images)
            print(f"memory ran out: {options.images} crops a step from now on", flush=True)
        torch.cuda.empty_cache()
        network = larger(part.network)
        options = replace(options, minutes=max(part.clock.left - judging, 1.0) / 60)
    seconds["training"] = round(time.monotonic() - begun, 1)
    state = results.values["state"]
    results.record(
        "training",
        {
            "status": "done", "network": part.network, "steps": trained.steps, "crops": state["crops"], **seconds,
            "crops a second": round(state["crops"] / max(seconds["training"], 1e-9), 1),
        },
    )  # fmt: skip
    model = load_tiny(part.out / AVERAGED, device=part.device)
    begun = time.monotonic()
    after = judge(model, pack, smoke=part.smoke, threads=workers)
    after["seconds"] = round(time.monotonic() - begun, 1)
    if before is not None:
        results.record("before", finished(before, part.clock.left))
    if "before" in results.values:
        after["worse than before"] = worse(results.values["before"], after)
    results.record("after", {"status": "done", **after})


def remember_images(results: Results, images: int) -> None:
    """Note that fewer crops fit into memory, for the state that is there too, so that it is taken up."""
    if "state" in results.values:
        begun_with = json.loads(results.values["state"]["options"])
        results.values["state"]["options"] = json.dumps({**begun_with, "images": images})
    results.record("images", images)


def larger(name: str) -> TinyNetwork:
    """Return the bundled network with its weights, with as many blocks as a preset has."""
    preset = network_preset(name)
    return deepened(load_tiny(device="cpu").network, preset.attend, preset.deepen)


def judging_apart(part: Part) -> subprocess.Popen[str]:
    """Judge the bundled weights on the processor, while the device trains."""
    target = Path(tempfile.mkdtemp(prefix="samgeo-kit-")) / "before.json"
    code = f"import run_train; run_train.judge_before({str(part.pack)!r}, {str(target)!r}, {part.smoke})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, text=True)  # noqa: S603
    process.target = target  # type: ignore[attr-defined]
    return process


def judge_before(pack: str, target: str, smoke: bool) -> None:
    """What `judging_apart` runs."""
    torch.set_num_threads(1)
    packed = read_pack(Path(pack), threads=2, every=12 if smoke else 1)
    found = judge(load_tiny(device="cpu"), packed, smoke=smoke, threads=1 if smoke else max((os.cpu_count() or 2) // 2, 1))
    Path(target).write_text(json.dumps(found))


def finished(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Wait for the judging beside the training as long as there is time."""
    try:
        process.wait(max(seconds, 0.1))
        found: dict[str, Any] = json.loads(process.target.read_text())  # type: ignore[attr-defined]
    except (subprocess.TimeoutExpired, OSError, ValueError):
        process.kill()
        return {"status": "left out", "reason": "it was not finished in time"}
    return {"status": "done", **found}


def judge(model: Segmenter, pack: Pack, *, smoke: bool, threads: int) -> dict[str, Any]:
    """Return mean IoU on the packed validation places, and what everything mode finds on Banepa's chips.

    Each picture is judged by itself in one of some threads: finding the clicks is work of the processor.
    """
    scores: dict[str, Any] = {}

    def one(layer: str, picture: Picture) -> Scores | None:
        try:
            return evaluate(model, [picture], layer=layer, tile_px=512, max_objects=2 if smoke else None)
        except OptionError:  # no object of this layer in this picture
            return None

    for name, pictures in pack.validation.items():
        for layer in sorted({layer for picture in pictures for layer in picture.layers}):
            some = pictures[:1] if smoke else pictures
            with ThreadPoolExecutor(threads) as pool:
                judged = [found for found in pool.map(lambda picture, layer=layer: one(layer, picture), some) if found]
            if judged:
                scores[f"{name}, {layer}"] = _together(judged)
    if pack.crowns:
        images = ((image, boxes[:2] if smoke else boxes) for _, image, boxes in pack.crowns[: 1 if smoke else None])
        crowns = evaluate_boxes(model, images, tile_px=512)
        scores["crowns"] = {"objects": crowns.objects, "click": _rounded(crowns.click)}
    for name, pictures in pack.validation.items():
        if name == "Banepa":
            try:
                found = everything(model, pictures[: 1 if smoke else None], side=2 if smoke else None)
            except ImportError as error:  # shapely, which the pack has
                found = {"status": "left out", "reason": str(error)}
            scores["Banepa, everything"] = found
    return {"scores": scores}


def _together(judged: list[Scores]) -> dict[str, Any]:
    """Return the means over the objects of all pictures."""
    weights = np.array([found.objects for found in judged], dtype=float)
    means = {
        measure: _rounded(float(np.average([getattr(found, measure) for found in judged], weights=weights)))
        for measure in (*MEASURES, "click_best", "iou_error")
    }
    return {"objects": int(weights.sum()), **means}


def everything(model: Segmenter, pictures: list[Picture], *, side: int | None = None) -> dict[str, Any]:
    """Return how many buildings everything mode finds at IoU 0.5, and how many of its objects are buildings."""
    gates, size = default_gates(model), model.input_size
    centres = (np.arange(side or gates.points_per_side) + 0.5) * size / (side or gates.points_per_side)
    points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    found = objects = truths = 0
    for picture in pictures:
        for tile in picture.tiles(size):
            ids = tile.layers["building"]
            image = np.zeros((size, size, 3), dtype=np.uint8)
            image[: ids.shape[0], : ids.shape[1]] = tile.image
            masks = automatic_masks(
                model, embed_window(model, image, ids.shape), points, gates=gates, window=size, size=ids.shape
            )  # fmt: skip
            areas = np.bincount(ids.ravel())
            hit = set()
            for one in masks:
                mask = one.mask.to_array(Rect(0, 0, ids.shape[1], ids.shape[0]))
                shared = np.bincount(ids[mask], minlength=len(areas)).astype(float)
                shared[0] = 0
                overlap = shared / (areas + mask.sum() - shared)
                if (best := int(overlap.argmax())) and overlap[best] >= 0.5:
                    hit.add(best)
            found, objects, truths = found + len(hit), objects + len(masks), truths + int((areas[1:] > 0).sum())
    recall, precision = found / max(truths, 1), found / max(objects, 1)
    harmonic = 2 * recall * precision / max(recall + precision, 1e-9)
    return {"objects": objects, "recall": _rounded(recall), "precision": _rounded(precision), "f1": _rounded(harmonic)}


def worse(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the measures that fell; where there are none, the new weights are better, or the same, on every set."""
    fell = []
    for name, values in before.get("scores", {}).items():
        for measure in (*MEASURES, "recall"):
            old, new = values.get(measure), after["scores"].get(name, {}).get(measure)
            if old is not None and new is not None and new < old:
                fell.append(f"{name}, {measure}: {old} to {new}")
    return fell


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


if __name__ == "__main__":
    main()

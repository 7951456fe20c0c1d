"""A whole raster end to end: the wall time, where it goes, and how far the model is from what the machine could do.

    python benchmarks/bench_raster.py [--size 2048 4096] [--side 8192] [--workers 1 2] [--scaling]
                                      [--model tiny] [--device auto] [--json raster.json] [--plot raster.png]

The raster is a tiled GeoTIFF of generated towns; everything else is the default, and the result is written to GeoParquet. A
share is of the time of all stages of all workers. The model's idle share is that of the wall time, from opening the raster to
the file written, in which no worker encoded or decoded. The floor of encoding and decoding is their arithmetic at the rate of a
large matrix product in float32, whatever the type of the model, on as many cores as there are workers. --scaling stands for
three sizes up to the default one, each with
one and with two workers, and --plot draws them. --json keeps what was measured; --plot FILE --from FILE.json draws it again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _roofline import flops_of, peak_flops

import samgeo
from samgeo.geo.grid import Lattice
from samgeo.models import keep_freed_memory
from samgeo.models.device import computing_in
from samgeo.models.registry import default_gates
from samgeo.segmentation.profile import profiling
from samgeo.synthetic import town
from samgeo.testing.rasters import write_raster

keep_freed_memory()  # as the command line does

TOWN = 1024
DEFAULT = (2048, 4096)
SCALING = ((1024, 1024), (2048, 2048), DEFAULT)
MODEL = ("encode", "decode")


def towns(shape: tuple[int, int]) -> np.ndarray:
    """Four towns, again and again, over an image of any size."""
    corners = [town((TOWN, TOWN), seed=seed).image for seed in range(1, 5)]
    four = np.vstack([np.hstack(corners[:2]), np.hstack(corners[2:])])
    times = [-(-length // len(four)) for length in shape]
    return np.ascontiguousarray(np.tile(four, (*times, 1))[: shape[0], : shape[1]])


def arithmetic(model: Any) -> tuple[float, float]:
    """Return the floating-point operations of encoding a window, and of a point on a town, gated as by default."""
    side, gates = model.input_size, default_gates(model)
    image = np.ascontiguousarray(towns((side, side)))[None]
    embedding = model.embed(image)[0]
    points = Lattice((side, side), side, 0).points(0, 0, gates.points_per_side)[:, None].astype(np.float32)
    labels = np.ones(points.shape[:2], dtype=np.int64)
    parts = [slice(at, at + 64) for at in range(0, len(points), 64)]

    def decode() -> None:
        for part in parts:
            model.decode_gated(embedding, points=points[part], labels=labels[part], min_iou=gates.pred_iou)

    return flops_of(lambda: model.embed(image)), flops_of(decode) / len(points)


def measure(size: tuple[int, int], model: Any, workers: int, folder: Path) -> dict[str, Any]:
    image, objects = folder / "towns.tif", folder / "objects.parquet"
    processor = time.process_time()
    with profiling() as profile:
        found = samgeo.segment(image, objects, model=model, workers=workers, progress=False, overwrite=True)
    processor = time.process_time() - processor
    return {
        "size": list(size),
        "workers": workers,
        "objects": len(found),
        "processor": processor,
        **profile.to_dict(),
    }


def floor(size: tuple[int, int], model: Any, operations: tuple[float, float], peak: float) -> dict[str, float]:
    """Return the least seconds of all workers for encoding and decoding."""
    side = model.input_size
    lattice, per_side = Lattice(size, side, side // 8 * 2), default_gates(model).points_per_side
    points = sum(len(lattice.points(*index, per_side)) for index in lattice)
    return {"encode": len(lattice) * operations[0] / peak, "decode": points * operations[1] / peak}


def report(run: dict[str, Any], model: Any) -> None:
    height, width = run["size"]
    print(
        f"\n{height:,} x {width:,} pixels, {run['workers']} workers, {model.name} on {model.device}: {run['objects']:,} "
        f"objects in {run['wall']:.1f} s ({run['processor']:.0f} s of processor), "
        f"{run['wall'] / megapixels(run):.1f} s a megapixel\n"
    )
    print("| stage | calls | s | share | times its floor |\n|---|---|---|---|---|")
    total = sum(one["seconds"] for one in run["stages"])
    for one in sorted(run["stages"], key=lambda one: -one["seconds"]):
        least = run["floor"].get(one["name"])
        times = "" if least is None else f"{one['seconds'] / least:.1f}"
        print(f"| {one['name']} | {one['calls']:,} | {one['seconds']:.2f} | {one['seconds'] / total:.1%} | {times} |")
    device = "" if run["device_idle"] is None else f", the GPU for {run['device_idle']:.1%}"
    least = sum(run["floor"].values()) / run["workers"]
    print(
        f"\noutside encode and decode: {run['outside_model']:.1%}; the model idle for {run['model_idle']:.1%} of the wall time"
        f"{device}; the wall time is {run['wall'] / least:.1f} times the model's floor of {least:.1f} s",
        flush=True,
    )


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw wall time over size for each number of workers, with its floor, and the shares of the stages of each run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for number, workers in enumerate(sorted({run["workers"] for run in runs})):
        some = sorted((run for run in runs if run["workers"] == workers), key=megapixels)
        x = [megapixels(run) for run in some]
        left.plot(x, [run["wall"] for run in some], "o-", color=f"C{number}", label=f"{workers} worker{'s' * (workers > 1)}")
        least = [sum(run["floor"].values()) / workers for run in some]
        left.plot(x, least, ":", color=f"C{number}", label="floor of the model")
    left.set(xlabel="megapixels", ylabel="seconds", xscale="log", yscale="log", title="Wall time")
    left.set_xticks(
        sorted({megapixels(run) for run in runs}), labels=[f"{x:.1f}" for x in sorted({megapixels(run) for run in runs})]
    )
    left.minorticks_off()
    left.grid(visible=True, which="major", alpha=0.3)
    left.legend()
    bottom = np.zeros(len(runs))
    names = sorted({one["name"] for run in runs for one in run["stages"]} - set(MODEL))
    for name in names:
        shares = np.array([share(run, name) for run in runs])
        if shares.max() >= 0.002:
            right.bar(range(len(runs)), 100 * shares, bottom=100 * bottom, label=name)
            bottom += shares
    ticks = [f"{megapixels(run):.1f} Mpx\n{run['workers']} w." for run in runs]
    right.set_xticks(range(len(runs)), labels=ticks, fontsize=8)
    right.set(ylabel="% of the time of all stages", title="Outside encode and decode")
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)


def megapixels(run: dict[str, Any]) -> float:
    return run["size"][0] * run["size"][1] / 1e6


def share(run: dict[str, Any], name: str) -> float:
    seconds = {one["name"]: one["seconds"] for one in run["stages"]}
    return seconds.get(name, 0.0) / sum(seconds.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, action="append", default=[], help="height and width; 2048 4096 by default")
    parser.add_argument("--side", type=int, action="append", default=[], help="of a square, such as 8192")
    parser.add_argument("--workers", type=int, nargs="+", help="threads, a run for each; 2 by default")
    parser.add_argument("--scaling", action="store_true", help="several sizes, and one worker and two")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write what was measured")
    parser.add_argument("--plot", type=Path, help="draw it, as a PNG")
    parser.add_argument("--from", dest="measured", type=Path, help="draw this JSON instead of measuring")
    options = parser.parse_args()
    if options.measured is not None:
        plot(json.loads(options.measured.read_text()), options.plot)
        return
    model = samgeo.load_model(options.model, device=options.device)
    with computing_in(1):
        peak, operations = peak_flops(model.device), arithmetic(model)
    print(
        f"{model.name}: {operations[0] / 1e9:.1f} GFLOP to encode a window, {operations[1] / 1e9:.2f} for a point; "
        f"{'one core' if model.device.type == 'cpu' else 'the device'} multiplies matrices at {peak / 1e9:,.0f} GFLOP/s; "
        f"torch {torch.__version__}",
        flush=True,
    )
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        sizes = [(height, width) for height, width in options.size] + [(side, side) for side in options.side]
        for size in sizes or (SCALING if options.scaling else [DEFAULT]):
            tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
            write_raster(Path(folder) / "towns.tif", towns(size), **tiles)
            for workers in options.workers or ([1, 2] if options.scaling else [2]):
                run = measure(size, model, workers, Path(folder)) | {"floor": floor(size, model, operations, peak)}
                report(run, model)
                runs.append(run)
                if options.json is not None:
                    options.json.write_text(json.dumps(runs, indent=1))
    if options.plot is not None:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()

"""Changes between two dates of a raster that is larger than memory needs to be: peak memory, and runs that are killed.

    python benchmarks/bench_change_large.py [--sides 2000 4000] [--kills 2] [--model colours] [--everything] [--folder FOLDER]

Two dates of a generated town of 1,000 x 1,000 pixels are repeated until a raster has the side, which is written strip by strip.
`samgeo change` compares them in a process of its own, whose resident memory is read from /proc four times a second. The true
footprints of both dates are given; with ``--everything`` the objects are segmented instead. With ``--model colours``, which
takes hardly any time, the features are the colours of the pixels, so that reading, matching and writing are what is measured.
The largest raster is compared once more in a process that is killed by SIGKILL at random moments and continued, and the bytes
of both results are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from samgeo.storage.run_folder import beside
from samgeo.synthetic import Scene, two_dates
from samgeo.testing import Oracle

TOWN, WINDOW, STRIDE = 1000, 512, 384
SECONDS_BETWEEN_SAMPLES = 0.25

WITH_COLOURS = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from bench_change_large import WINDOW, Colours
from samgeo.time_series import change_to_file
if __name__ == "__main__":
    *layers, workers, before, after, output = sys.argv[1:]
    change_to_file(before, after, output, objects=layers, workers=int(workers), model=Colours(WINDOW), progress=False)
"""


class Colours(Oracle):
    """A model whose features are the colours of an image, one pixel of 8 x 8."""

    name = "colours"

    def features(self, embedding: np.ndarray) -> np.ndarray:
        """Return the colours of one window, shape (64, 64, 3)."""
        ids = np.asarray(embedding).reshape(self.input_size, self.input_size)[4::8, 4::8]
        return np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=-1).astype(np.float32) / 255


@dataclass(frozen=True, slots=True)
class Measured:
    """A process that ended or was killed."""

    wall_s: float
    processor_s: float
    peak_mib: float
    quarters_mib: tuple[float, ...]
    was_killed: bool


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[2_000, 4_000], help="multiples of 1,000 pixels")
    parser.add_argument("--kills", type=int, default=2, help="how often the second run of the largest raster is killed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", choices=("tiny", "colours"), default="tiny")
    parser.add_argument("--everything", action="store_true", help="segment the objects of both dates")
    parser.add_argument("--folder", type=Path, help="where rasters are made; a temporary folder by default")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    if options.everything and options.model == "colours":
        parser.error("--everything needs --model tiny")
    pair = two_dates((TOWN, TOWN), seed=options.seed, light="other", season=0.8, haze=0.2)
    print("| side | windows | objects | kinds | wall s | processor s | peak MiB | medians of the quarters |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        for side in options.sides:
            images = [
                repeated(scene, folder / f"{name}-{side}.tif", side)
                for name, scene in (("before", pair.before), ("after", pair.after))
            ]
            layers = [] if options.everything else [footprints(scene, folder, side) for scene in (pair.before, pair.after)]
            command = command_of(options.model, images, layers, options.workers)
            output = folder / f"{side}.parquet"
            measured = run([*command, str(output)])
            result = gpd.read_parquet(output)
            kinds = Counter(result.kind)
            rows = math.ceil((side - WINDOW) / STRIDE) + 1
            counted = ", ".join(f"{kinds[kind]:,} {kind}" for kind in sorted(kinds))
            print(
                f"| {side:,} | {rows * rows} | {len(result):,} | {counted} | "
                f"{measured.wall_s:.0f} | {measured.processor_s:.0f} | {measured.peak_mib:.0f} | "
                f"{', '.join(f'{one:.0f}' for one in measured.quarters_mib)} |",
                flush=True,
            )
        if options.kills == 0:
            return
        parts = np.random.default_rng(options.seed).uniform(0.2, 0.8, options.kills)
        killed(command, output, folder / "killed.parquet", measured.wall_s, parts)


def command_of(model: str, images: list[Path], layers: list[Path], workers: int) -> list[str]:
    """Return the command that compares two images, without its output."""
    if model == "colours":
        here = str(Path(__file__).parent)
        return [sys.executable, "-c", WITH_COLOURS, here, *map(str, [*layers, workers, *images])]
    given = [part for layer in layers for part in ("--objects", str(layer))]
    return [sys.executable, "-m", "samgeo.cli", "change", "--quiet", "--workers", str(workers), *given, *map(str, images)]


def footprints(scene: Scene, folder: Path, side: int) -> Path:
    """Write the footprints of a scene that is repeated to the right and down."""
    path = Path(tempfile.mkstemp(suffix=".parquet", dir=folder)[1])
    width_m = TOWN * scene.geobox.resolution.x
    copies = range(side // TOWN)
    frames = [
        scene.footprints.set_geometry(scene.footprints.translate(column * width_m, -row * width_m))
        for row in copies
        for column in copies
    ]
    pd.concat(frames, ignore_index=True).to_parquet(path)
    return path


def repeated(scene: Scene, path: Path, side: int) -> Path:
    """Write a raster in which a scene is repeated to the right and down."""
    import rasterio
    from rasterio.windows import Window

    copies = side // TOWN
    profile = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1}
    profile |= {"count": 3, "dtype": "uint8", "width": side, "height": side, "interleave": "pixel"}
    profile |= {"crs": str(scene.geobox.crs), "transform": scene.geobox.affine}
    strip = np.tile(scene.image, (1, copies, 1)).transpose(2, 0, 1)
    with rasterio.open(path, "w", **profile) as file:
        for row in range(copies):
            file.write(strip, window=Window(0, row * TOWN, side, TOWN))
    return path


def run(command: list[str], *, kill_after_s: float | None = None) -> Measured:
    """Run a command in a process of its own, kill it after some seconds if asked, and measure it from outside."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
    samples: list[float] = []
    peak = processor = 0.0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        lines = dict(line.split(":", 1) for line in status.splitlines())
        if "VmRSS" in lines:
            samples.append(int(lines["VmRSS"].split()[0]) / 1024)
            peak = max(peak, int(lines["VmHWM"].split()[0]) / 1024)
            processor = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if kill_after_s is not None and time.perf_counter() - begun > kill_after_s:
            process.send_signal(signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    told = process.communicate()[1]
    was_killed = process.returncode == -signal.SIGKILL
    if process.returncode and not was_killed:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{told}")
    quarters = tuple(float(np.median(part)) for part in np.array_split(samples, 4))
    return Measured(time.perf_counter() - begun, processor, peak, quarters, was_killed)


def killed(command: list[str], whole: Path, output: Path, wall_s: float, parts: np.ndarray) -> None:
    """Kill a run after some parts of the time that is left, continue it to the end, and compare the bytes of both."""
    left = wall_s
    for part in parts.tolist():
        moment = left * part
        measured = run([*command, str(output)], kill_after_s=moment)
        rows = len(list((beside(output) / "rows").glob("*.json")))
        print(f"{'killed' if measured.was_killed else 'ended'} after {measured.wall_s:.0f} s, {rows} rows of windows finished")
        if not measured.was_killed:
            break
        left -= moment
    else:
        measured = run([*command, str(output)])
        print(f"continued to the end in {measured.wall_s:.0f} s, peak {measured.peak_mib:.0f} MiB")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (whole, output)]
    print(f"the bytes are {'equal' if digests[0] == digests[1] else 'DIFFERENT'}: {digests[0][:16]}, {digests[1][:16]}")


if __name__ == "__main__":
    main()

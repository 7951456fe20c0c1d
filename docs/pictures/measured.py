"""Plots of measurements. They are made only if they are named: they need data or minutes, and differ between machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image
from registry import SkippedError, folder, picture

ROOT = Path(__file__).parents[2]


@picture("calibration.png", by_name=True)
def calibration() -> Image.Image:
    """Draw predicted against true IoU of the bundled model, on the data sets of its training that were held back."""
    data = os.environ.get("SAMGEO_DATA")
    if not data or not Path(data).is_dir():
        raise SkippedError("SAMGEO_DATA names no folder with the data sets of the bundled model")
    return _made("-m", "samgeo.cli", "models", "evaluate", "tiny", "--data", data, "--no-regions", "--calibration")


@picture("raster.png", by_name=True)
def raster() -> Image.Image:
    """Draw wall time over the size of a raster, and the stages of the work."""
    return _made(str(ROOT / "benchmarks" / "bench_raster.py"), "--scaling", "--plot")


def _made(*command: str) -> Image.Image:
    """Run a program whose last option takes the name of a PNG, and return that."""
    path = folder() / "plot.png"
    subprocess.run([sys.executable, *command, str(path)], check=True, cwd=ROOT)  # noqa: S603 - programs of this repository
    return Image.open(path).convert("RGB")

"""Failures of windows: which errors count as one, how they are told, and how memory is released after one."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from samgeo.errors import SamgeoError
from samgeo.geo.levels import Levels

__all__ = ["ATTEMPTS", "FAULTS", "Failure", "describe_fault", "release_gpu_memory", "tell_failure"]

ATTEMPTS = 2

# Any error of a model or a driver is treated as a failure of its window, and does not end the run.
FAULTS = (Exception,)


@dataclass(frozen=True, slots=True)
class Failure:
    """A window that could not be segmented.

    Attributes
    ----------
    window : (int, int)
        Row and column in the lattice.
    reason : str
        Why the last attempt failed.
    """

    window: tuple[int, int]
    reason: str


def tell_failure(failure: Failure, name: str, levels: Levels) -> str:
    """Return a text that says which window of a raster failed, where it is, and why it failed."""
    rect = levels.rect(*failure.window)
    scale, _, row = levels.locate(failure.window[0])
    coarse = "" if scale == 1 else f" of scale {scale}"
    return (
        f"the window{coarse} at row {row}, column {failure.window[1]} of {name} (pixels x {rect.x0} to {rect.x1}, "
        f"y {rect.y0} to {rect.y1}) {failure.reason}"
    )


def describe_fault(error: Exception) -> str:
    """Return the text of an error. Kind and line are added unless the system, a driver or torch reported it."""
    if isinstance(error, SamgeoError | OSError | RuntimeError) and str(error):
        return str(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} (in {Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


def release_gpu_memory() -> None:
    """Release the GPU memory that torch keeps for reuse. It may be split into parts too small for the failed request."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()

"""Plots of the log of a training, and of the calibration of predicted IoU."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.storage.atomic import check_new, write_whole
from samgeo.training.assessment.scores import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_plot", "plot_log", "plot_reliability", "read_log"]

MEANS = {
    "click_best": "one click, best of three",
    "click": "one click, own pick",
    "box": "box",
    "corrected": "after corrections",
}
FINDER_LOSSES = {"heat": "centres", "box": "boxes", "share": "share and boundary"}
# Each point of a smooth line is the mean over this share of the run.
SMOOTH = 1 / 20
ALLOWED = 0.1


def check_plot(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check, before any work, that a plot can be drawn and written.

    Raises
    ------
    OptionError
        If matplotlib is not installed, or the file cannot be written or is no PNG.
    """
    _figure()
    return check_new(path, ".png", overwrite=overwrite)


def read_log(log: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Read a log of `samgeo.training.loop.train`: a dict for each line, in the order of steps.

    If a run was killed and continued, the steps that it repeated count once.

    Raises
    ------
    OptionError
        If it cannot be read.
    """
    try:
        lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines() if line.strip()]
        steps = {int(line["step"]): dict(line) for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{log} is not the log of a training ({error!r}); give the log in a run folder.") from None
    if not steps:
        raise OptionError(f"{log} has no lines yet; wait until the training has written the first one.")
    return [steps[step] for step in sorted(steps)]


@check_types
def plot_log(log: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Draw the log of a training: loss, mean IoU, and error of predicted IoU over the steps; for a finder, parts of its loss.

    Parameters
    ----------
    log : path
        ``log.jsonl`` of a run.
    output : path
        A PNG.
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Raises
    ------
    OptionError
        If the log cannot be read, the plot cannot be written, or matplotlib is not installed.

    Examples
    --------
    The log of the training of a finder has the parts of its loss:

    >>> import json
    >>> from pathlib import Path
    >>> from samgeo.training import plot_log
    >>> losses = [{"step": step, "heat": 2 / step, "box": 1 / step, "share": 0.5 / step} for step in range(20, 200, 20)]
    >>> with Path("log.jsonl").open("w") as log:
    ...     print(*map(json.dumps, losses), sep=chr(10), file=log)
    >>> plot_log("log.jsonl", "log.png")
    """
    path = check_plot(output, overwrite=overwrite)
    lines = read_log(log)
    figure = _figure()(figsize=(9, 8), layout="constrained")
    if FINDER_LOSSES.keys() <= lines[-1].keys():
        axes = figure.subplots()
        for number, (key, label) in enumerate(FINDER_LOSSES.items()):
            _curve(axes, lines, key, label, f"C{number}")
        axes.set(xlabel="step", ylabel="loss")
        axes.legend()
        axes.grid(alpha=0.3)
        _write(figure, path)
        return
    loss, means, error = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 1))
    _curve(loss, lines, "loss", "loss", "C7")
    for number, (key, label) in enumerate(MEANS.items()):
        _curve(means, lines, key, label, f"C{number}")
    _curve(error, lines, "iou_error", "error of predicted IoU", "C4")
    loss.set_ylabel("loss")
    means.set_ylabel("mean IoU of training examples")
    figure.legend(*means.get_legend_handles_labels(), loc="outside upper center", ncols=len(MEANS), fontsize="small")
    error.set_ylabel("mean error of\npredicted IoU")
    error.set_xlabel("step")
    for axes in (loss, means, error):
        axes.grid(alpha=0.3)
    _write(figure, path)


@check_types
def plot_reliability(scores: Mapping[str, Reliability], output: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Draw predicted against true IoU.

    Each set has a line. Each bin has a dot, whose size grows with the number of answers.

    Parameters
    ----------
    scores : mapping of str to Reliability
        The reliability of each set, by its name.
    output : path
        A PNG.
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Raises
    ------
    OptionError
        If the plot cannot be written, or matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.training import Reliability, plot_reliability
    >>> predicted = np.random.default_rng(0).uniform(size=1000)
    >>> plot_reliability({"towns": Reliability.of(predicted, predicted**1.2)}, "reliability.png")
    """
    path = check_plot(output, overwrite=overwrite)
    figure = _figure()(figsize=(6.5, 6.5), layout="constrained")
    axes = figure.subplots()
    ends = np.array([0.0, 1.0])
    axes.fill_between(ends, ends - ALLOWED, ends + ALLOWED, color="0.92", label=f"within {ALLOWED}")
    axes.plot(ends, ends, color="0.6", linewidth=1)
    for name, one in scores.items():
        (line,) = axes.plot(one.predicted, one.true, linewidth=1.5, label=f"{name}: error {one.error:.3f}")
        share = np.array(one.count) / max(sum(one.count), 1)
        axes.scatter(one.predicted, one.true, s=12 + 300 * share, color=line.get_color(), alpha=0.7, linewidths=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted IoU", ylabel="mean true IoU", aspect="equal")
    axes.legend(loc="upper left", fontsize="small")
    axes.grid(alpha=0.3)
    _write(figure, path)


def _curve(axes: Axes, lines: Sequence[Mapping[str, float]], key: str, label: str, color: str) -> None:
    points = np.array([(line["step"], line[key]) for line in lines if key in line], dtype=np.float64).reshape(-1, 2)
    axes.plot(points[:, 0], points[:, 1], color=color, alpha=0.25, linewidth=1)
    axes.plot(points[:, 0], _smooth(points[:, 1]), color=color, label=label, linewidth=1.8)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a moving average over neighbours on both sides; at the ends there are fewer neighbours."""
    reach = round(len(values) * SMOOTH / 2)
    if not len(values):
        return values
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return np.asarray((total[high] - total[low]) / (high - low))


def _figure() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError("plots need matplotlib, which is not installed; pip install 'samgeo[train]'.") from None
    return Figure


def _write(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_whole(path, buffer.getvalue())

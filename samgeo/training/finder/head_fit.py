"""Training of a finder's head on a bank of encoded crops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samgeo.errors import CheckpointError
from samgeo.finding.head import FinderHead, HeadConfig
from samgeo.training.finder.bank import Bank
from samgeo.training.finder.options import FinderTraining
from samgeo.training.finder.targets import Targets, head_loss
from samgeo.training.run_folder import LOG, FileState, append_log, trim_log

__all__ = ["finished_head", "fit_head"]

STATE = "head.pt"

WEIGHT_DECAY, BETAS = 0.02, (0.9, 0.98)
WARM_UP, LEAST_RATE = 40, 0.02
AVERAGE, MOST_NORM = 0.995, 1.0
LOG_STEPS, SAVE_S = 50, 60.0


def fit_head(
    bank: Bank,
    config: HeadConfig,
    options: FinderTraining,
    folder: Path,
    *,
    report: Callable[[str], None] | None = None,
) -> FinderHead:
    """Train a head, or go on where an earlier call with the same arguments was stopped; the result is the same.

    The optimiser is AdamW, the rate warms up and falls with a cosine, and the result is an exponential average of the weights.

    Parameters
    ----------
    bank : Bank
        The crops.
    config : HeadConfig
        The sizes of the head.
    options : FinderTraining
        Steps, crops of a step, rate and seed.
    folder : Path
        Where the state and the log are kept. The caller holds its lock.
    report : callable, optional
        Called with lines of text that tell the progress.

    Returns
    -------
    FinderHead

    Raises
    ------
    CheckpointError
        If the state in the folder is damaged or has other sizes.
    OptionError
        If the state cannot be written.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        head = FinderHead(config)
    optimizer = torch.optim.AdamW(head.parameters(), lr=options.rate, weight_decay=WEIGHT_DECAY, betas=BETAS)
    average = {name: value.clone() for name, value in head.state_dict().items()}
    store, log = FileState(folder / STATE), folder / LOG
    step, recent = _restored(store, head, optimizer, average)
    trim_log(log, step)
    saved = time.monotonic()
    head.train()
    while step < options.steps:
        rows = _rows(len(bank), options, step)
        maps, packed = bank.batch(rows)
        rate = options.rate * _share(step, options.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, parts = head_loss(head(maps), Targets.unpack(packed, config.classes))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), MOST_NORM)
        optimizer.step()
        step += 1
        keep = min(AVERAGE, (1 + step) / (10 + step))
        for name, value in head.state_dict().items():
            average[name].lerp_(value, 1 - keep)
        recent.append(parts)
        if step % LOG_STEPS == 0 or step == options.steps:
            means = {name: round(float(np.mean([one[name] for one in recent])), 4) for name in parts}
            append_log(log, {"step": step, "rate": round(rate, 8), **means})
            recent.clear()
            if report is not None:
                report(
                    f"step {step:,} of {options.steps:,}: " + ", ".join(f"{name} {value:.3f}" for name, value in means.items())
                )
        if time.monotonic() - saved > SAVE_S or step == options.steps:
            state = {"step": step, "head": head.state_dict(), "average": average, "recent": recent}
            store.write(state | {"optimizer": optimizer.state_dict()})
            saved = time.monotonic()
    head.load_state_dict(average)
    return head.eval()


def finished_head(config: HeadConfig, options: FinderTraining, folder: Path) -> FinderHead | None:
    """Return the head that `fit_head` with the same arguments has trained completely, or None.

    Raises
    ------
    CheckpointError
        If the state in the folder is damaged or has other sizes.
    """
    store = FileState(folder / STATE)
    state = store.read()
    if state is None or state.get("step") != options.steps:
        return None
    head = FinderHead(config)
    try:
        head.load_state_dict(state["average"])
    except (KeyError, RuntimeError) as error:
        raise _other(store.path, error) from None
    return head.eval()


def _rows(count: int, options: FinderTraining, step: int) -> list[int]:
    """Return the crops of a step: those of the whole bank in a random order, then in another order, and so on."""
    first = step * options.images
    rows = []
    for place in range(first, first + options.images):
        order = np.random.default_rng([options.seed, place // count]).permutation(count)
        rows.append(int(order[place % count]))
    return rows


def _share(step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the highest."""
    falling = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / WARM_UP) * falling


def _restored(
    store: FileState, head: FinderHead, optimizer: torch.optim.AdamW, average: dict[str, torch.Tensor]
) -> tuple[int, list[dict[str, float]]]:
    """Read the state of an earlier call, if there is one, and return its step and the losses since the last line of the log."""
    state: dict[str, Any] | None = store.read()
    if state is None:
        return 0, []
    try:
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        average.update(state["average"])
        return int(state["step"]), list(state["recent"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise _other(store.path, error) from None


def _other(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is the state of another head ({str(error).splitlines()[0]}); remove it, or give another folder."
    )

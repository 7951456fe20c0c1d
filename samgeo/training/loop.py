"""Training loop of a promptable network.

It takes the optimiser steps, averages the weights, saves states from which a run continues exactly, and writes the log.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.device import check_threads, computing_in
from samgeo.storage.run_folder import differences, listed
from samgeo.training.data.crop_cache import CropCache
from samgeo.training.data.device_crops import DevicePictures, draw_crops
from samgeo.training.data.examples import Source, asked_anew, draw
from samgeo.training.losses import LossWeights
from samgeo.training.run_folder import CROPS, LOG, STATE, FileState, StateStore, append_log, digest_of_values, locked, trim_log
from samgeo.training.step import Course, Progress, crops_loss, example_loss

__all__ = ["TrainOptions", "TrainResult", "train", "train_locked"]


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of a training run.

    Attributes
    ----------
    steps : int
        Number of optimiser steps. With ``minutes``, it is the largest number of steps.
    images : int, default 2
        Number of crops in a step.
    crops : tuple of (side, prompts, odds)
        Kinds of crops: the side in pixels, a multiple of 32; the number of objects that are prompted in each crop; and how
        often this kind is drawn, relative to the others.
    rate : float, default 6e-4
        Learning rate after the warm-up. It falls along a cosine.
    final_rate : float, default 0.03
        Learning rate at the end, as a share of ``rate``.
    warm_up : int, default 50
        Number of steps in which the learning rate rises.
    rates : mapping of str to float
        Factors of the learning rate by the beginning of a parameter's name. If several beginnings match, the longest one
        counts. Parameters with a factor of 0 are not trained.
    weight_decay, clip : float
        Weight decay of AdamW, and largest norm of the gradient.
    average : float, default 0.998
        Decay of the exponential moving average of the weights, which is the result. It is lower in the first steps.
    seed : int, default 0
    autocast : bool, default False
        Whether to encode images in bfloat16. This is faster on processors that support it.
    minutes : float, optional
        Length of the training. The learning rate then falls with the minutes spent in training, and training ends when they
        are over. A continued run takes the minutes that are left. Such a run is not repeatable.
    draw_on_device : bool, default False
        Whether to draw and augment crops on the training device, all crops of a step at once and with the same side. By
        default they are drawn one after the other on the CPU. ``images`` is then the number of crops of the largest side;
        a step with smaller crops has more of them, so that the number of pixels stays about the same. All pictures must fit
        into the memory of the device.
    tf32 : bool, default False
        Whether CUDA devices may compute float32 matrix products in TF32, which has a mantissa of 10 bits.
    compile : bool, default False
        Whether to compile the image encoder with ``torch.compile``. This takes about a minute for each side of crops.
    save_s : float, default 240
        Seconds between saved states.
    log_steps : int, default 20
        Steps between lines of the log.
    cached_crops : int, default 0
        If it is above 0, training uses this number of crops again and again, with other clicks and boxes each time, and encodes
        each of them once. Their embeddings are stored in half precision in the run folder, up to 2 GB, and removed at the end.
        This needs an image encoder that is not trained. With 0, each step draws and encodes new crops.
    losses : LossWeights
        Weights of the parts of the loss.
    course : Course
        Which prompts are asked.

    Examples
    --------
    >>> from samgeo.training import TrainOptions
    >>> options = TrainOptions(steps=1000, rate=2e-4, crops=((256, 14, 0.6), (512, 9, 0.4)))
    >>> options.images, options.final_rate
    (2, 0.03)
    """

    steps: int
    images: int = 2
    crops: tuple[tuple[int, int, float], ...] = ((256, 14, 0.30), (320, 12, 0.34), (384, 11, 0.22), (512, 9, 0.14))
    rate: float = 6e-4
    final_rate: float = 0.03
    warm_up: int = 50
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.998
    seed: int = 0
    autocast: bool = False
    minutes: float | None = None
    draw_on_device: bool = False
    tf32: bool = False
    compile: bool = False
    save_s: float = 240.0
    log_steps: int = 20
    cached_crops: int = 0
    losses: LossWeights = field(default_factory=LossWeights)
    course: Course = field(default_factory=Course)

    def __post_init__(self) -> None:
        if min(self.steps, self.images, self.log_steps) < 1:
            raise OptionError("steps, images or log_steps is below 1; give at least 1 for each.")
        if not self.crops or any(side % 32 or side < 32 or prompts < 1 or odds <= 0 for side, prompts, odds in self.crops):
            raise OptionError(
                f"crops are {self.crops}; give for each a side that is a multiple of 32, prompts, and odds above 0."
            )
        if self.rate <= 0 or not 0 <= self.average < 1:
            raise OptionError(f"rate is {self.rate} and average {self.average}; give a rate above 0 and an average in [0, 1).")
        if not 0 <= self.final_rate <= 1 or min(self.rates.values(), default=0) < 0 or self.clip <= 0:
            raise OptionError(
                "final_rate, rates or clip is wrong; give final_rate from 0 to 1, rates of 0 or more, clip above 0."
            )
        if min(self.warm_up, self.weight_decay, self.seed, self.save_s, self.cached_crops) < 0:
            raise OptionError("warm_up, weight_decay, seed, save_s or cached_crops is negative; give 0 or more for each.")
        if self.cached_crops and self.draw_on_device:
            raise OptionError("crops that are drawn on the device cannot be cached; leave cached_crops or draw_on_device out.")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise OptionError(f"minutes is {self.minutes}; give more than 0, or omit it to train for a number of steps.")

    def check_window(self, window_px: int) -> None:
        """Raise an `OptionError` if crops are larger than the window of the network."""
        largest = max(side for side, _, _ in self.crops)
        if largest > window_px:
            raise OptionError(
                f"crops of {largest} px are larger than the network's window of {window_px} px; give smaller crops."
            )


@check_types
def train(
    network: nn.Module,
    sources: Sequence[Source],
    folder: str | os.PathLike[str],
    options: TrainOptions,
    *,
    window_px: int = 512,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> dict[str, Tensor]:
    """Train a network, or continue where an earlier call with the same folder and options stopped.

    The seed and the number of the step determine every crop and prompt. A run that was stopped and continued therefore takes
    the same steps and writes the same log as an uninterrupted run. The state on disk contains a digest of all its values.

    Parameters
    ----------
    network : torch.nn.Module that is a `samgeo.models.protocols.Trainable`
        The network. Training starts from its present weights and changes them in place.
    sources : sequence of Source
    folder : path
        The run folder, made if it does not exist. It holds ``state.pt`` and ``log.jsonl``, which has one JSON object for every
        ``log_steps`` steps. Only one process at a time may train in it.
    options : TrainOptions
    window_px : int, default 512
        Side of the network's window in pixels.
    device : str or torch.device, default "cpu"
    threads : int, optional
        Number of threads that torch uses on a CPU. The last digits of the result depend on it. The default is torch's own
        number for a new run, and the number at the beginning for a continued run.
    report : callable, optional
        Called with each line of the log.

    Returns
    -------
    dict of str to tensor
        The averaged weights, on the CPU.

    Raises
    ------
    OptionError
        If there is no source or no parameter to train, if a crop is larger than the window, or if the state or the log cannot
        be written.
    CheckpointError
        If the state in the folder is damaged, or was made with other options, another network or another number of threads.
    RunError
        If another process trains in the folder.
    """
    check_threads(threads)
    if not sources:
        raise OptionError("there is nothing to train on; give at least one source.")
    options.check_window(window_px)
    home = Path(folder)
    with locked(home):
        return train_locked(
            network, sources, home, options, window_px=window_px, device=device, threads=threads, report=report
        ).weights


@dataclass(frozen=True, slots=True, eq=False)
class TrainResult:
    """Result of a training run.

    Attributes
    ----------
    weights : dict of str to tensor
        The averaged weights, on the CPU.
    steps : int
        Number of steps that were taken in all.
    """

    weights: dict[str, Tensor]
    steps: int


def train_locked(
    network: nn.Module,
    sources: Sequence[Source],
    home: Path,
    options: TrainOptions,
    *,
    window_px: int = 512,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
    store: StateStore | None = None,
    loaders: int = 1,
) -> TrainResult:
    """Train as `train` does, in a folder that the caller has locked.

    Parameters
    ----------
    network, sources, options, window_px, device, threads, report
        See `train`.
    home : Path
        The folder, which exists.
    store : StateStore, optional
        Where the state is kept; ``state.pt`` in the folder by default. A state may lack the state of the optimiser. The
        learning rate then warms up again.
    loaders : int, default 1
        Number of threads that prepare the pictures for ``draw_on_device``.

    Returns
    -------
    TrainResult
    """
    if not sources:
        raise OptionError("there is nothing to train on; give at least one source.")
    options.check_window(window_px)
    where = torch.device(device)
    network.to(where).train()
    states = store or FileState(home / STATE)
    run = _Run.start(network, options)
    run.restore(states, threads)
    trim_log(home / LOG, run.step)
    pictures = DevicePictures.of(sources, where, threads=loaders) if options.draw_on_device else None
    run.cache = CropCache(network, home / CROPS) if options.cached_crops else None
    if options.compile and isinstance(encoder := getattr(network, "encoder", None), nn.Module):
        encoder.compile()
    run.begun = saved = time.monotonic()
    with computing_in(run.threads), _products(tf32=options.tf32):
        while not run.ended():
            if pictures is None:
                run.recent.extend(run.advance(sources, window_px, where))
            else:
                run.recent.append(run.advance_on_device(pictures, window_px))
            if run.step % options.log_steps == 0 or run.ended():
                line = {"step": run.step, "rate": round(run.last_rate, 8), **run.spent(), **_means(run.recent)}
                append_log(home / LOG, line)
                run.recent.clear()
                if report is not None:
                    report(line)
            if time.monotonic() - saved > options.save_s:
                run.save(states)
                saved = time.monotonic()
    run.save(states)
    if run.cache is not None:
        run.cache.remove()
    network.eval()
    frozen = {name: part.detach().clone() for name, part in network.state_dict().items() if name not in run.average}
    weights = {name: run.average[name] if name in run.average else frozen[name] for name in network.state_dict()}
    return TrainResult({name: tensor.detach().cpu() for name, tensor in weights.items()}, run.step)


@contextmanager
def _products(*, tf32: bool) -> Iterator[None]:
    """Allow TF32 for float32 matrix products inside the context."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(slots=True, eq=False)
class _Run:
    """State of a run between two steps.

    This process began at the time ``begun``; ``before`` is the share of the schedule that earlier processes completed. The
    learning rate warms up from the step ``warm_from``. ``average`` has the parameters that are trained and the buffers, and
    ``frozen`` is a digest of all other parameters.
    """

    network: Any
    options: TrainOptions
    optimizer: torch.optim.AdamW
    average: dict[str, Tensor]
    threads: int
    step: int = 0
    recent: list[Progress] = field(default_factory=list)
    last_rate: float = 0.0
    crops: int = 0
    before: float = 0.0
    begun: float = 0.0
    warm_from: int = 0
    cache: CropCache | None = None
    frozen: str = ""

    @classmethod
    def start(cls, network: nn.Module, options: TrainOptions) -> _Run:
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            beginnings = [beginning for beginning in options.rates if name.startswith(beginning)]
            factor = options.rates[max(beginnings, key=len)] if beginnings else 1.0
            parameter.requires_grad_(factor > 0)
            if factor > 0:
                groups.setdefault(factor, []).append(parameter)
        if not groups:
            raise OptionError("every parameter has a rate of 0, so that nothing is trained; change rates.")
        sets = [{"params": parameters, "factor": factor} for factor, parameters in sorted(groups.items())]
        optimizer = torch.optim.AdamW(sets, lr=options.rate, betas=(0.9, 0.98), weight_decay=options.weight_decay)
        frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
        parts = {name: part.detach() for name, part in network.state_dict().items()}
        average = {name: part.clone() for name, part in parts.items() if name not in frozen}
        kept = digest_of_values({name: parts[name] for name in sorted(frozen)})
        return cls(network, options, optimizer, average, torch.get_num_threads(), frozen=kept)

    def progress(self) -> float:
        """Return the completed share of the schedule, from 0 to 1."""
        by_steps = self.step / self.options.steps
        if self.options.minutes is None:
            return by_steps
        by_clock = self.before + (time.monotonic() - self.begun) / (60 * self.options.minutes)
        return min(max(by_steps, by_clock), 1.0)

    def ended(self) -> bool:
        return self.progress() >= 1

    def spent(self) -> dict[str, float]:
        """Return additional values for the log: minutes of a timed run, and crops of a run that draws them on the device."""
        spent: dict[str, float] = {}
        if self.options.minutes is not None:
            spent["minutes"] = round(self.progress() * self.options.minutes, 3)
        if self.options.draw_on_device:
            spent["crops"] = self.crops
        return spent

    def rate(self) -> float:
        options = self.options
        warm = min(1.0, (self.step - self.warm_from + 1) / max(options.warm_up, 1))
        fall = 0.5 * (1 + math.cos(math.pi * self.progress()))
        return options.rate * warm * (options.final_rate + (1 - options.final_rate) * fall)

    def advance(self, sources: Sequence[Source], window_px: int, device: torch.device) -> list[Progress]:
        """Take one step; draw and process its crops one after the other."""
        options = self.options
        odds = np.array([odds for _, _, odds in options.crops])
        self.optimizer.zero_grad()
        progress = []
        for number in range(options.images):
            rng = np.random.default_rng([options.seed, self.step, number])
            again = None
            if self.cache is not None:
                again, rng = rng, np.random.default_rng([options.seed, 0, 0, int(rng.integers(options.cached_crops))])
            side, prompts, _ = options.crops[int(rng.choice(len(odds), p=odds / odds.sum()))]
            example = draw(sources, side, prompts, rng)
            if again is not None:
                example, rng = asked_anew(example, again), again
            loss, told = example_loss(
                self.network,
                example,
                window_px=window_px,
                rng=rng,
                weights=options.losses,
                course=options.course,
                device=device,
                autocast=options.autocast,
                cache=self.cache,
            )
            torch.autograd.backward(loss / options.images)
            progress.append(told)
        self._update(options.images)
        return progress

    def advance_on_device(self, pictures: DevicePictures, window_px: int) -> Progress:
        """Take one step; draw all its crops, which have one side, on the device and process them at once."""
        options = self.options
        rng = np.random.default_rng([options.seed, self.step])
        odds = np.array([odds for _, _, odds in options.crops])
        side, prompts, _ = options.crops[int(rng.choice(len(odds), p=odds / odds.sum()))]
        largest = max(side for side, _, _ in options.crops)
        count = max(round(options.images * (largest / side) ** 2), 1)
        generator = torch.Generator(pictures.device).manual_seed(int(rng.integers(2**62)))
        self.optimizer.zero_grad()
        crops = draw_crops(pictures, count, side, prompts, generator)
        loss, told = crops_loss(
            self.network,
            crops,
            window_px=window_px,
            rng=rng,
            weights=options.losses,
            course=options.course,
            autocast=options.autocast,
        )
        torch.autograd.backward(loss)
        self._update(count)
        return told

    def _update(self, crops: int) -> None:
        """Update the weights from their gradients, then the moving average from the weights."""
        options = self.options
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, options.clip)
        self.last_rate = self.rate()
        for group in self.optimizer.param_groups:
            group["lr"] = self.last_rate * group["factor"]
        # A single example whose loss overflows must not end the run, so its step is skipped.
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        self.crops += crops
        decay = min(options.average, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            now = self.network.state_dict()
            for name, average in self.average.items():
                average.lerp_(now[name], 1 - decay)

    def save(self, store: StateStore) -> None:
        now = self.network.state_dict()
        state = {
            "network": {name: now[name] for name in self.average}, "frozen": self.frozen,
            "optimizer": self.optimizer.state_dict(), "average": self.average,
            "step": self.step, "options": _identity(self.options), "threads": self.threads,
            "recent": [dataclasses.asdict(one) for one in self.recent], "crops": self.crops, "progress": self.progress(),
        }  # fmt: skip
        store.write(state)

    def restore(self, store: StateStore, threads: int | None) -> None:
        self.threads = threads or self.threads
        state, path = store.read(), store.path
        if state is None:
            return
        if threads not in {None, state["threads"]}:
            raise CheckpointError(
                f"{path} is the state of a run with {state['threads']} threads, and the result depends on their number; give "
                f"threads={state['threads']} or omit threads to continue, or give another folder."
            )
        self.threads = state["threads"]
        if state["options"] != (now := _identity(self.options)):
            changed = listed(differences(json.loads(state["options"]), json.loads(now)))
            raise CheckpointError(
                f"{path} is the state of a run with other options ({changed}); give another folder, or the same options."
            )
        if state.get("frozen", self.frozen) != self.frozen:
            raise CheckpointError(
                f"{path} is the state of another network (the weights that are not trained differ); give another folder."
            )
        try:
            self.network.load_state_dict({**self.network.state_dict(), **state["network"]})
            if "optimizer" in state:
                self.optimizer.load_state_dict(state["optimizer"])
            else:
                self.warm_from = state["step"]
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} is the state of another network ({error}); give another folder.") from None
        for name, tensor in state["average"].items():
            self.average[name].copy_(tensor)
        self.step, self.crops, self.before = state["step"], state["crops"], state["progress"]
        self.recent = [Progress(**one) for one in state["recent"]]


def _identity(options: TrainOptions) -> str:
    """Return the options that determine the steps of a run, as JSON."""
    free = {"save_s", "log_steps", "minutes"}
    return json.dumps({name: value for name, value in dataclasses.asdict(options).items() if name not in free}, default=dict)


def _means(progress: Iterable[Progress]) -> dict[str, float]:
    def means() -> Iterator[tuple[str, float]]:
        parts = [dataclasses.asdict(one) for one in progress]
        for name in parts[0]:
            values = [part[name] for part in parts if math.isfinite(part[name])]
            if values:
                yield name, round(float(np.mean(values)), 4)

    return dict(means())

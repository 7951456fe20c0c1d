"""Timers around the stages of a run, which show how its time is spent. They cost nothing unless profiling is switched on."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from samgeo.errors import OptionError
from samgeo.segmentation.execution.tasks import computes_here

if TYPE_CHECKING:
    import torch

__all__ = ["MODEL_STAGES", "Profile", "Stage", "profiling", "refuse_other_processes", "stage", "timed"]

Given = ParamSpec("Given")
Result = TypeVar("Result")

MODEL_STAGES = ("encode", "decode")
"""The stages in which the model computes."""

_OFF = nullcontext()


@dataclass(frozen=True, slots=True)
class Stage:
    """Time of one stage of a run.

    Attributes
    ----------
    name : str
        Name of the stage.
    calls : int
        How many times it ran.
    seconds : float
        Sum over all threads, without the time of stages inside it.
    """

    name: str
    calls: int
    seconds: float


class Profile:
    """Time of each stage, summed over all threads; made by `profiling`.

    On CUDA a stage ends when its work has been queued on the device. Work that ``encode`` queues is waited for in ``decode``,
    which reads results back. `device_idle` uses the clock of the device itself.

    Examples
    --------
    >>> with samgeo.segmentation.profiling() as profile:
    ...     with profile.stage("read"):
    ...         pass
    >>> profile.to_dict()["stages"][0]["calls"]
    1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = threading.local()
        self._calls: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._in_model, self._model_since, self._model_busy = 0, 0.0, 0.0
        self._on_device: deque[tuple[Any, Any]] = deque()
        self._device_busy: float | None = None

    @property
    def stages(self) -> list[Stage]:
        """The stages, in the order in which each was first finished."""
        with self._lock:
            return [Stage(name, self._calls[name], seconds) for name, seconds in self._seconds.items()]

    @property
    def wall(self) -> float:
        """Seconds from the start to the end, or to now if the profile has not ended."""
        return (self._ended or time.perf_counter()) - self._began

    @property
    def model_idle(self) -> float:
        """Share of the wall time in which no thread was in a stage of the model, from 0 to 1."""
        with self._lock:
            now = self._ended or time.perf_counter()
            busy = self._model_busy + (now - self._model_since if self._in_model else 0.0)
        return 1 - busy / self.wall

    @property
    def device_idle(self) -> float | None:
        """Share of the wall time in which a CUDA device had no work of the model, from 0 to 1; None if there was no device.

        The device counts as busy from the first to the last operation of a call of the model, measured with its own clock. Gaps
        within a call count as busy.
        """
        with self._lock:
            self._gather(wait=True)
            return None if self._device_busy is None else max(1 - self._device_busy / self.wall, 0.0)

    @property
    def outside_model(self) -> float:
        """Share of the time of all stages that is not spent in the model, from 0 to 1; 0 if nothing was timed."""
        seconds = {one.name: one.seconds for one in self.stages}
        total = sum(seconds.values())
        return 1 - sum(seconds.get(name, 0.0) for name in MODEL_STAGES) / total if total else 0.0

    def table(self) -> str:
        """Return a text table: the stages, the longest first, then the wall time and the idle shares.

        Examples
        --------
        >>> with samgeo.segmentation.profiling() as profile:
        ...     with profile.stage("read"):
        ...         pass
        >>> print(profile.table())
        stage          calls   seconds   share
        read               1      0.00  100.0%
        0.00 s in all; ...
        """
        stages = sorted(self.stages, key=lambda one: -one.seconds)
        total = sum(one.seconds for one in stages) or 1.0
        lines = [f"{'stage':<12}{'calls':>8}{'seconds':>10}{'share':>8}"]
        lines += [f"{one.name:<12}{one.calls:>8,}{one.seconds:>10.2f}{one.seconds / total:>8.1%}" for one in stages]
        device = "" if self.device_idle is None else f", the GPU for {self.device_idle:.1%}"
        lines.append(
            f"{self.wall:.2f} s in all; the model idle for {self.model_idle:.1%} of them{device}; "
            f"{self.outside_model:.1%} of the time of all stages is outside the model"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as a dict that can be written as JSON."""
        return {
            "stages": [asdict(one) for one in self.stages],
            "wall": self.wall,
            "model_idle": self.model_idle,
            "device_idle": self.device_idle,
            "outside_model": self.outside_model,
        }

    @contextmanager
    def stage(self, name: str, device: torch.device | None = None) -> Iterator[None]:
        """Time one stage, on a CUDA device also with its own clock. A stage inside another one interrupts it.

        No time is counted twice.
        """
        with self._measured(device) if device is not None and device.type == "cuda" else _OFF, self._timed(name):
            yield

    @contextmanager
    def _measured(self, device: torch.device) -> Iterator[None]:
        import torch

        event: Any = torch.cuda.Event
        start, end = event(enable_timing=True), event(enable_timing=True)
        start.record(torch.cuda.current_stream(device))
        try:
            yield
        finally:
            end.record(torch.cuda.current_stream(device))
            with self._lock:
                self._on_device.append((start, end))
                self._gather(wait=False)

    def _gather(self, *, wait: bool) -> None:
        """Add up the finished work of the device, so that only events of unfinished work are kept."""
        while self._on_device and (wait or self._on_device[0][1].query()):
            start, end = self._on_device.popleft()
            end.synchronize()
            self._device_busy = (self._device_busy or 0.0) + start.elapsed_time(end) / 1000

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        stack: list[float] = self._here.__dict__.setdefault("inner", [])
        stack.append(0.0)
        start = time.perf_counter()
        self._enter(name, start)
        try:
            yield
        finally:
            now = time.perf_counter()
            own = now - start - stack.pop()
            if stack:
                stack[-1] += now - start
            self._leave(name, now, own)

    def end(self) -> None:
        """Stop the clock."""
        self._ended = time.perf_counter()

    def _enter(self, name: str, now: float) -> None:
        if name in MODEL_STAGES:
            with self._lock:
                if not self._in_model:
                    self._model_since = now
                self._in_model += 1

    def _leave(self, name: str, now: float, own: float) -> None:
        with self._lock:
            self._calls[name] = self._calls.get(name, 0) + 1
            self._seconds[name] = self._seconds.get(name, 0.0) + own
            if name in MODEL_STAGES:
                self._in_model -= 1
                if not self._in_model:
                    self._model_busy += now - self._model_since


# The profile of the code that runs in this context; threads of a run work in copies of its context.
_ACTIVE: ContextVar[Profile | None] = ContextVar("samgeo_profile", default=None)


@contextmanager
def profiling() -> Iterator[Profile]:
    """Time the stages of all calls inside the ``with`` block, also in the threads that these calls start.

    A thread that the caller starts is timed if it runs in a copy of the caller's context (`contextvars.copy_context`). Other
    processes are not timed. Therefore `samgeo.segment` refuses ``scheduler="processes"`` and clusters inside the block.

    Yields
    ------
    Profile
        Its clock stops at the end of the block.

    Raises
    ------
    OptionError
        If the calls are being profiled already.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((64, 64), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> with samgeo.segmentation.profiling() as profile:
    ...     objects = samgeo.segment(encode_ids(labels), model=Oracle(64), progress=False)
    >>> "encode" in [stage.name for stage in profile.stages]
    True
    """
    if _ACTIVE.get() is not None:
        raise OptionError("this process is being profiled already; profile one run at a time.")
    profile = Profile()
    token = _ACTIVE.set(profile)
    try:
        yield profile
    finally:
        profile.end()
        _ACTIVE.reset(token)


def refuse_other_processes(scheduler: object) -> None:
    """Refuse a scheduler that uses other processes while the calls are being profiled.

    Raises
    ------
    OptionError
        If the scheduler computes in other processes, whose time would be missing in the profile.
    """
    if _ACTIVE.get() is not None and not computes_here(scheduler):
        raise OptionError(
            f"a profile covers only this process, but scheduler {scheduler!r} computes in other processes; "
            "use the scheduler threads or synchronous, or omit the profile."
        )


def stage(name: str, device: torch.device | None = None) -> AbstractContextManager[None]:
    """Time the code inside as a stage of the run, if profiling is on; on a CUDA device with its own clock too."""
    profile = _ACTIVE.get()
    return _OFF if profile is None else profile.stage(name, device)


def timed(name: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Decorate a function so that its calls are timed as a stage; see `stage`."""

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(function)
        def call(*given: Given.args, **named: Given.kwargs) -> Result:
            with stage(name):
                return function(*given, **named)

        return call

    return decorate

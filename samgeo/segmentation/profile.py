"""Where the time of a run goes: timers around the stages, which cost nothing while nobody asks."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from samgeo.errors import OptionError

if TYPE_CHECKING:
    import torch

__all__ = ["MODEL_STAGES", "Profile", "Stage", "profiling", "refuse_other_processes", "stage", "timed"]

Given = ParamSpec("Given")
Result = TypeVar("Result")

MODEL_STAGES = ("encode", "decode")
"""The stages in which the model works."""

_OFF = nullcontext()


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    name : str
        What was done.
    calls : int
        How often.
    seconds : float
        All threads together, without the stages inside it.
    """

    name: str
    calls: int
    seconds: float


class Profile:
    """Time by stage, over all threads of this process; see `profiling`.

    On CUDA a stage ends when its work is handed to the device: what ``encode`` leaves there is waited for in ``decode``, which
    reads its results back. `device_idle` goes by the device's own clock.
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
        """What was done, in the order in which it was first finished."""
        with self._lock:
            return [Stage(name, self._calls[name], seconds) for name, seconds in self._seconds.items()]

    @property
    def wall(self) -> float:
        """Seconds from the beginning to the end, or to now."""
        return (self._ended or time.perf_counter()) - self._began

    @property
    def model_idle(self) -> float:
        """Share of the wall time in which the model was at work in no thread, from 0 to 1."""
        with self._lock:
            now = self._ended or time.perf_counter()
            busy = self._model_busy + (now - self._model_since if self._in_model else 0.0)
        return 1 - busy / self.wall

    @property
    def device_idle(self) -> float | None:
        """Share of the wall time in which a CUDA device had no work of the model, from 0 to 1; None where there was no device.

        Busy is the time between the first and the last that a call of the model leaves on the device, by its own clock: gaps
        within a call count as busy.
        """
        with self._lock:
            self._gather(wait=True)
            return None if self._device_busy is None else max(1 - self._device_busy / self.wall, 0.0)

    @property
    def outside_model(self) -> float:
        """Share of the time of all stages that is not the model's, from 0 to 1; 0 where nothing was timed."""
        seconds = {one.name: one.seconds for one in self.stages}
        total = sum(seconds.values())
        return 1 - sum(seconds.get(name, 0.0) for name in MODEL_STAGES) / total if total else 0.0

    def table(self) -> str:
        """Return a table for people: each stage, the longest first, then the wall time and the idle shares."""
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
        """Return all of it, for JSON."""
        return {
            "stages": [asdict(one) for one in self.stages],
            "wall": self.wall,
            "model_idle": self.model_idle,
            "device_idle": self.device_idle,
            "outside_model": self.outside_model,
        }

    @contextmanager
    def stage(self, name: str, device: torch.device | None = None) -> Iterator[None]:
        """Time one stage, on a CUDA device by its own clock too. A stage inside another interrupts it: no time counts twice."""
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
        """Add up what the device has done, so that no more events are kept than are under way."""
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


_active: Profile | None = None
_switch = threading.Lock()


@contextmanager
def profiling() -> Iterator[Profile]:
    """Time the stages of what runs inside, in all threads of this process.

    Other processes are not seen: `samgeo.segment` refuses ``scheduler="processes"`` and clusters meanwhile.

    Yields
    ------
    Profile
        Its clock stops at the end.

    Raises
    ------
    OptionError
        If the process is being profiled already.
    """
    global _active  # noqa: PLW0603 - threads of Dask share nothing else with their caller
    profile = Profile()
    with _switch:
        if _active is not None:
            raise OptionError("this process is being profiled already; profile one run at a time.")
        _active = profile
    try:
        yield profile
    finally:
        profile.end()
        _active = None


def refuse_other_processes(scheduler: object) -> None:
    """Refuse a scheduler of other processes while this one is profiled.

    Raises
    ------
    OptionError
        If what it computes would be missing in the profile.
    """
    if _active is not None and scheduler not in (None, "threads", "synchronous"):
        raise OptionError(
            f"a profile sees this process only, and scheduler {scheduler!r} computes in others: "
            "use the scheduler threads or synchronous, or do without the profile."
        )


def stage(name: str, device: torch.device | None = None) -> AbstractContextManager[None]:
    """Time what runs inside as a stage of the run, if it is profiled; on a CUDA device by its own clock too."""
    profile = _active
    return _OFF if profile is None else profile.stage(name, device)


def timed(name: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Make a function a stage; see `stage`."""

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(function)
        def call(*given: Given.args, **named: Given.kwargs) -> Result:
            with stage(name):
                return function(*given, **named)

        return call

    return decorate

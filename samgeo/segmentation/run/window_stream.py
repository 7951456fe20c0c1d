"""The stream of windows of a run: it sends windows and continuation requests to workers, and returns results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from samgeo.errors import StoppedError, WindowError
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.merge.continuation import ContinuationRequest, try_to_continue
from samgeo.segmentation.windows.failures import Failure, tell_failure
from samgeo.segmentation.windows.worker import try_window, try_windows, windows_at_once

if TYPE_CHECKING:
    from samgeo.geo.levels import Levels
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.run.job import Job
    from samgeo.segmentation.windows.worker import ModelReference, Plan

__all__ = ["WindowStream", "describe_task"]

# Other windows are computed while continuation requests are answered. At most so many of their results are kept waiting.
MOST_WAITING = 32

Window = tuple[int, int]
Group = tuple[Window, ...]


class WindowStream:
    """Computes windows on the workers of a job, and sends continuation requests between them; must be closed after use.

    If the model encodes several windows at once, neighbouring windows form one task. In other processes each window is a task
    of its own, because a window that kills its process would lose its neighbours too.

    Parameters
    ----------
    job : Job
        The opened inputs and options.
    windows : iterable of (int, int)
        Row and column of each window, in the order in which `next_window` returns them.
    done : callable
        Called once for every finished window, in any order.
    stop : callable, optional
        See `samgeo.segmentation.execution.tasks.run_ordered`.
    """

    def __init__(
        self, job: Job, windows: Iterable[Window], *, done: Callable[[], object], stop: Callable[[], bool] | None = None
    ) -> None:
        places = windows_at_once(job.model) if job.execution.is_here else 1
        self._job, self._done = job, done
        self._groups = (tuple(group) for _, group in groupby(windows, key=lambda index: (index[0], index[1] // places)))
        self._sent: deque[Group | ContinuationRequest] = deque()
        self._requests: deque[ContinuationRequest] = deque()
        self._windows: deque[list[Piece] | Failure] = deque()
        self._answers: deque[list[Piece | None] | Failure] = deque()
        options: dict[str, Any] = {"scheduler": job.execution.scheduler, "workers": job.execution.workers, "stop": stop}
        callbacks: dict[str, Any] = {"done": self._tell, "lost": _lost, "describe": partial(describe_task, job.plan.levels)}
        self._results: Generator[Any] = run_ordered(_compute, job.shared, self._tasks(), **callbacks, **options)

    def close(self) -> None:
        """Start no more tasks."""
        self._results.close()

    def next_window(self) -> list[Piece] | Failure | None:
        """Return the pieces of the next window, or its failure; None if the run was asked to stop."""
        while not self._windows:
            if not self._pull():
                return None
        return self._windows.popleft()

    def ask(self, requests: Sequence[ContinuationRequest]) -> list[list[Piece | None]]:
        """Send continuation requests to windows, and wait for the answers.

        Raises
        ------
        StoppedError
            If the run was asked to stop.
        WindowError
            If a window fails now that was computed successfully before.
        """
        self._requests.extend(requests)
        while len(self._answers) < len(requests):
            if not self._pull():
                raise StoppedError("the run was asked to stop")
        answers = []
        for _ in requests:
            answer = self._answers.popleft()
            if isinstance(answer, Failure):
                raise WindowError(
                    f"{tell_failure(answer, self._job.raster.name, self._job.levels)} It was computed before, so the "
                    "raster or a worker has failed since then: run the same call or command again to continue."
                )
            answers.append(answer)
        return answers

    def _pull(self) -> bool:
        result = next(self._results, None)
        if result is None:
            return False
        task = self._sent.popleft()
        if isinstance(task, ContinuationRequest):
            self._answers.append(result)
        else:
            self._windows.extend(result)
        return True

    def _tasks(self) -> Generator[Group | ContinuationRequest | None]:
        """Give continuation requests first, then the next windows; None if the next task depends on results."""
        is_over = False
        while not is_over or self._requests or self._sent:
            task: Group | ContinuationRequest | None = None
            if self._requests:
                task = self._requests.popleft()
            elif len(self._windows) < MOST_WAITING:
                task = next(self._groups, None)
                is_over = task is None
            if task is not None:
                self._sent.append(task)
            yield task

    def _tell(self, task: Group | ContinuationRequest) -> None:
        for _ in () if isinstance(task, ContinuationRequest) else task:
            self._done()


def _compute(
    raster: Raster, model: Segmenter | ModelReference, plan: Plan, task: Group | ContinuationRequest
) -> list[list[Piece] | Failure] | list[Piece | None] | Failure:
    if isinstance(task, ContinuationRequest):
        return try_to_continue(raster, model, plan, task)
    if len(task) == 1:
        return [try_window(raster, model, plan, task[0])]
    return try_windows(raster, model, plan, task)


def describe_task(levels: Levels, task: Group | ContinuationRequest) -> str:
    """Return a text that names the windows of a task, for messages."""
    first, *others = [task.window] if isinstance(task, ContinuationRequest) else task
    scale, _, row = levels.locate(first[0])
    coarse = "" if scale == 1 else f" of scale {scale}"
    more = f" and {len(others)} more to the right of it" if others else ""
    return f"the window{coarse} at row {row}, column {first[1]}{more}"


def _lost(task: Group | ContinuationRequest, reason: str) -> list[list[Piece] | Failure] | Failure:
    return (
        Failure(task.window, reason) if isinstance(task, ContinuationRequest) else [Failure(window, reason) for window in task]
    )

"""Tasks on the threads or processes of this machine, a core each: results come in order, and workers do not wait for that."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, WindowError
from samgeo.models.allocator import keep_freed_memory
from samgeo.models.device import computing_in

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from multiprocessing.synchronize import Event

    from samgeo.segmentation.execution.tasks import Work

__all__ = ["Local", "default_workers", "on_one_core", "refuse_unguarded"]

_log = logging.getLogger(__name__)

TASKS_PER_WORKER = 4

# How often a task may be in work when a worker process dies before it is computed by itself.
DEATHS = 2

# What scripts need that ask for worker processes.
MAIN_GUARD = 'put its calls of samgeo below the line if __name__ == "__main__":'

# What a worker may take with the largest models.
WORKER_BYTES = 2 << 30


def default_workers() -> int:
    """Return how many workers to have: one for each core that this process may use, as far as memory goes."""
    from dask.system import CPU_COUNT

    if CPU_COUNT <= 2:
        return int(CPU_COUNT)
    from distributed.system import MEMORY_LIMIT

    return max(2, min(int(CPU_COUNT), int(MEMORY_LIMIT) // WORKER_BYTES))


def on_one_core(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function while torch, in this thread, computes on one core.

    Windows in as many threads as there are cores are faster than one window after the other on all cores. And the last bits of
    what a model says depend on how many cores compute it: this way they do not depend on the machine or the number of workers.
    """
    with computing_in(1):
        return function(*given)


class Local:
    """Workers of this machine; to be closed.

    Parameters
    ----------
    work : Work
        Its function, shared arguments and ``stop`` are picklable if the scheduler is "processes".
    scheduler : {"threads", "processes", "synchronous"}
    workers : int
        Threads or processes.
    """

    def __init__(self, work: Work, scheduler: str, workers: int) -> None:
        self._work, self._scheduler, self._workers = work, scheduler, workers
        self._pool: Executor | None = None
        self._telling = threading.Lock()
        self._started: Event | None = None
        self._call = partial(_unless, work.stop, work.function, work.shared)

    def run(self, tasks: Iterator[Any]) -> Iterator[Any]:
        """Give the results of tasks in their order.

        Tasks begin in their order and go on while results are used; a bounded number is under way or waits to be taken.

        Raises
        ------
        WindowError
            If a worker process died each time that a task was tried, and ``work`` does not say what then.
        """
        if self._scheduler == "synchronous":
            yield from self._run_here(tasks)
            return
        under_way: deque[_Submitted] = deque()
        for task in tasks:
            if task is not None:
                under_way.append(self._submit(task))
            if len(under_way) < (self._workers * TASKS_PER_WORKER if task is not None else 1):
                continue
            result = self._take(under_way)
            if isinstance(result, _Skipped):
                return
            yield result
        while under_way:
            result = self._take(under_way)
            if isinstance(result, _Skipped):
                return
            yield result

    def close(self, *, wait: bool = True) -> None:
        """Begin nothing more; wait for what is in work."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=True)
            self._pool = None

    def _run_here(self, tasks: Iterator[Any]) -> Iterator[Any]:
        for task in tasks:
            if task is None:
                continue
            result = self._call(task)
            if isinstance(result, _Skipped):
                return
            self._work.done(task)
            yield result

    def _submit(self, task: Any, deaths: int = 0) -> _Submitted:
        from concurrent.futures import BrokenExecutor

        if self._pool is None:
            self._pool = self._make_pool()
        try:
            future = self._pool.submit(_received if self._scheduler == "processes" else self._call, task)
        except BrokenExecutor as error:
            # It broke since the last result was taken: as if the task had been in it.
            future = Future()
            future.set_exception(error)
        future.add_done_callback(partial(self._tell, task))
        return _Submitted(task, future, deaths)

    def _tell(self, task: Any, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None and not isinstance(future.result(), _Skipped):
            with self._telling:
                self._work.done(task)

    def _make_pool(self) -> Executor:
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

        if self._scheduler == "threads":
            return ThreadPoolExecutor(self._workers, thread_name_prefix="samgeo")
        from multiprocessing import get_context

        from distributed.protocol.pickle import dumps

        # Forked children would share locks and handles with threads of this process.
        context = get_context("spawn")
        if self._started is None:
            self._started = context.Event()
        given = (dumps(self._call), self._started)
        return ProcessPoolExecutor(self._workers, context, initializer=_receive, initargs=given)

    def _take(self, under_way: deque[_Submitted]) -> Any:
        """Return the result of the first task, and take it away."""
        from concurrent.futures import BrokenExecutor

        while True:
            try:
                result = under_way[0].future.result()
            except BrokenExecutor:
                self._begin_again(under_way)
            else:
                under_way.popleft()
                return result

    def _begin_again(self, under_way: deque[_Submitted]) -> None:
        """Submit again what died with a worker; what did so twice, one by one, to find the task that kills it.

        Raises
        ------
        WindowError
            If no worker process has ever started: then none would do so the next time.
        """
        self.close()
        if self._started is not None and not self._started.is_set():
            raise WindowError(
                "the worker processes ended while they started, before any work; what they wrote above says why. A script that "
                f"asks for processes needs a main guard: {MAIN_GUARD}."
            )
        died = [(place, one) for place, one in enumerate(under_way) if one.has_died]
        _log.warning("A worker process died; %d tasks begin again.", len(died))
        for place, one in died:
            if one.deaths + 1 >= DEATHS:
                under_way[place] = self._compute_alone(one.task)
        for place, one in died:
            if one.deaths + 1 < DEATHS:
                under_way[place] = self._submit(one.task, one.deaths + 1)

    def _compute_alone(self, task: Any) -> _Submitted:
        from concurrent.futures import BrokenExecutor

        one = self._submit(task)
        error = one.future.exception()
        if not isinstance(error, BrokenExecutor):
            return one
        self.close()
        instead: Future[Any] = Future()
        instead.set_result(self._work.replace(task, "its worker process died, perhaps for want of memory"))
        return _Submitted(task, instead, 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Submitted:
    """A task, and how often it was in work when a worker process died."""

    task: Any
    future: Future[Any]
    deaths: int

    @property
    def has_died(self) -> bool:
        from concurrent.futures import BrokenExecutor

        return self.future.cancelled() or isinstance(self.future.exception(), BrokenExecutor)


class _Skipped:
    """In place of a result: the task was not begun."""


def _unless(stop: Callable[[], bool] | None, function: Callable[..., Any], shared: tuple[Any, ...], task: Any) -> Any:
    return _Skipped() if stop is not None and stop() else function(*shared, task)


def refuse_unguarded(scheduler: object) -> None:
    """Refuse worker processes that are asked for while a worker process itself runs the lines of its parent's script.

    Each worker process begins by running the script of its parent once more, without the lines below its main guard.

    Raises
    ------
    OptionError
        If that is so.
    """
    from multiprocessing import current_process

    # Python's own mark for that time, by which it refuses new processes (multiprocessing.spawn).
    if scheduler == "processes" and getattr(current_process(), "_inheriting", False):
        raise OptionError(
            'scheduler is "processes", whose worker processes run this script again from its first line, and so would ask for '
            f"workers themselves: {MAIN_GUARD}, or leave the scheduler away."
        )


_call: Callable[[Any], Any]


def _receive(call: bytes, started: Event) -> None:
    """Take what to do with tasks when a worker process starts; its parent made it."""
    from distributed.protocol.pickle import loads

    global _call  # noqa: PLW0603 - there is one parent, and it says this once
    _call = loads(call)
    keep_freed_memory()  # the process is ours: it does nothing but this work
    started.set()
    # The parent says when to stop, and a signal to the whole group must not take away the windows in work.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process when its parent is dead, however it died."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _received(task: Any) -> Any:
    return _call(task)

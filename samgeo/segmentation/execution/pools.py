"""Execution of tasks in threads or processes of this machine, each on one core.

Results are given in the order of the tasks, and workers go on with later tasks while an earlier one is not finished.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from multiprocessing import current_process, get_context, parent_process
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.errors import OptionError, WindowError
from samgeo.models.allocator import keep_freed_memory
from samgeo.models.device import computing_in

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from multiprocessing.synchronize import Event

    from samgeo.segmentation.execution.tasks import Work

__all__ = ["Local", "default_workers", "on_one_core", "refuse_unguarded"]

R = TypeVar("R")

_log = logging.getLogger(__name__)

TASKS_PER_WORKER = 4

# If a worker process dies so many times while a task is in work, the task is computed alone, to find the task that kills it.
DEATHS = 2

# Advice for scripts that use worker processes.
MAIN_GUARD = 'put the calls of samgeo below a line `if __name__ == "__main__":`'

# Memory that a worker may need with the largest models.
WORKER_BYTES = 2 << 30


def default_workers() -> int:
    """Return the default number of workers: one for each core that this process may use, if memory allows."""
    from dask.system import CPU_COUNT

    if CPU_COUNT <= 2:
        return int(CPU_COUNT)
    from distributed.system import MEMORY_LIMIT

    return max(2, min(int(CPU_COUNT), int(MEMORY_LIMIT) // WORKER_BYTES))


def on_one_core(function: Callable[..., R], *given: object) -> R:
    """Call a function while torch computes on one core in this thread.

    Computing one window per core in parallel is faster than computing each window on all cores. The last bits of a model's
    output depend on the number of cores. With one core they depend neither on the machine nor on the number of workers.
    """
    with computing_in(1):
        return function(*given)


class Local:
    """Threads or processes of this machine that compute tasks; must be closed after use.

    Parameters
    ----------
    work : Work
        The function and its arguments. Its function, shared arguments and ``stop`` must be picklable if the scheduler is
        "processes".
    scheduler : {"threads", "processes", "synchronous"}
        The kind of workers.
    workers : int
        Number of threads or processes.
    """

    def __init__(self, work: Work, scheduler: str, workers: int) -> None:
        self._work, self._scheduler, self._workers = work, scheduler, workers
        self._pool: Executor | None = None
        self._telling = threading.Lock()
        self._started: Event | None = None
        self._call = partial(_unless, work.stop, work.function, work.shared)

    def run(self, tasks: Iterator[Any]) -> Iterator[Any]:
        """Give the results of tasks in the order of the tasks.

        Tasks start in order, and workers go on while results are used. A bounded number of tasks is unfinished or not taken
        yet.

        Raises
        ------
        WindowError
            If a worker process died each time that a task was tried, and ``work`` has no function ``lost``.
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
        """Start no more tasks, and wait for those in work."""
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

    def _submit(self, task: object, deaths: int = 0) -> _Submitted:
        if self._pool is None:
            self._pool = self._make_pool()
        try:
            if self._scheduler == "processes":
                future = self._pool.submit(_received, task)
            else:
                # Each task has the context variables of the caller, such as the profile of the run.
                future = self._pool.submit(copy_context().run, self._call, task)
        except BrokenExecutor as error:
            # The pool broke after the last result was taken. The task is treated as if it had been in the pool.
            future = Future()
            future.set_exception(error)
        future.add_done_callback(partial(self._tell, task))
        return _Submitted(task, future, deaths)

    def _tell(self, task: object, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None and not isinstance(future.result(), _Skipped):
            with self._telling:
                self._work.done(task)

    def _make_pool(self) -> Executor:
        if self._scheduler == "threads":
            return ThreadPoolExecutor(self._workers, thread_name_prefix="samgeo")
        from distributed.protocol.pickle import dumps

        # Processes are spawned, because forked ones would share locks and handles with threads of this process.
        context = get_context("spawn")
        if self._started is None:
            self._started = context.Event()
        given = (dumps(self._call), self._started)
        return ProcessPoolExecutor(self._workers, context, initializer=_receive, initargs=given)

    def _take(self, under_way: deque[_Submitted]) -> object:
        """Return the result of the first task, and remove the task from the queue."""
        while True:
            try:
                result = under_way[0].future.result()
            except BrokenExecutor:
                self._begin_again(under_way)
            else:
                under_way.popleft()
                return result

    def _begin_again(self, under_way: deque[_Submitted]) -> None:
        """Submit the tasks again that died with a worker. Tasks that died `DEATHS` times are computed one by one.

        Raises
        ------
        WindowError
            If no worker process has ever started, because then the next ones would not start either.
        """
        self.close()
        if self._started is not None and not self._started.is_set():
            raise WindowError(
                "the worker processes ended while they started, before any work; their messages above give the reason. A "
                f"script that uses worker processes needs a main guard: {MAIN_GUARD}."
            )
        died = [(place, one) for place, one in enumerate(under_way) if one.has_died]
        _log.warning("A worker process died; %d tasks begin again.", len(died))
        for place, one in died:
            if one.deaths + 1 >= DEATHS:
                under_way[place] = self._compute_alone(one.task)
        for place, one in died:
            if one.deaths + 1 < DEATHS:
                under_way[place] = self._submit(one.task, one.deaths + 1)

    def _compute_alone(self, task: object) -> _Submitted:
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
    """A task, and how often a worker process died while it was in work."""

    task: Any
    future: Future[Any]
    deaths: int

    @property
    def has_died(self) -> bool:
        return self.future.cancelled() or isinstance(self.future.exception(), BrokenExecutor)


class _Skipped:
    """Result of a task that was not started because the run was asked to stop."""


def _unless(stop: Callable[[], bool] | None, function: Callable[..., Any], shared: tuple[Any, ...], task: object) -> object:
    return _Skipped() if stop is not None and stop() else function(*shared, task)


def refuse_unguarded(scheduler: object) -> None:
    """Raise an error if worker processes are requested while a worker process runs the script of its parent.

    Each worker process first runs its parent's script again, without the lines below the main guard.

    Raises
    ------
    OptionError
        If the scheduler is "processes" and this process is such a worker process.
    """
    # Python sets this attribute while a new process runs its parent's script (multiprocessing.spawn).
    if scheduler == "processes" and getattr(current_process(), "_inheriting", False):
        raise OptionError(
            'scheduler is "processes", but each worker process runs this script again from its first line, and would start '
            f"workers itself; {MAIN_GUARD}, or omit scheduler."
        )


_call: Callable[[Any], Any]


def _receive(call: bytes, started: Event) -> None:
    """Receive the function for tasks from the parent, when a worker process starts."""
    from distributed.protocol.pickle import loads

    global _call  # noqa: PLW0603 - set once, by the parent of this process
    _call = loads(call)
    keep_freed_memory()  # the process is ours: it does nothing but this work
    started.set()
    # The parent decides when to stop. A signal to the whole process group must not end windows that are in work.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process when its parent process dies."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _received(task: object) -> object:
    return _call(task)

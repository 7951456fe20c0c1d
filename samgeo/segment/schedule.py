"""Where windows are computed: Dask threads in this process by default, any Dask scheduler when asked."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.errors import OptionError, WindowError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    from distributed import Client

__all__ = ["LOCAL_SCHEDULERS", "run_ordered"]

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")

# One thread keeps the device busy while another reads, cuts masks and gates.
DEFAULT_WORKERS = 2
TASKS_PER_WORKER = 4


def run_ordered(
    function: Callable[..., Result],
    shared: tuple[Any, ...],
    tasks: Iterable[Task],
    *,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    done: Callable[[], object] = lambda: None,
    stop: Callable[[], bool] | None = None,
    lost: Callable[[Task, str], Result] | None = None,
) -> Generator[Result]:
    """Compute ``function(*shared, task)`` for every task with Dask; give the results in the order of the tasks.

    Only a bounded number of tasks is under way or waiting to be taken, so that memory does not grow with their count.

    Parameters
    ----------
    function : callable
        Picklable when the scheduler has other processes.
    shared : tuple
        Leading arguments of every call; sent once to each worker process.
    tasks : iterable
        The last argument of each call; taken as they are needed.
    scheduler : str or distributed.Client, optional
        ``"threads"`` (the default), ``"processes"`` or ``"synchronous"`` in this machine, the address of a running Dask
        scheduler (``"tcp://host:8786"``), or a client.
    workers : int, optional
        Threads or processes of a local scheduler; 2 by default. A cluster has its own.
    done : callable, optional
        Called whenever a task is finished, in whatever order that happens.
    stop : callable, optional
        When it returns true, no more tasks are begun, and the results end with those that were under way. It is asked in
        the workers: picklable when these are other processes of this machine.
    lost : callable, optional
        Gets a task whose worker process died each time it was tried, and why; returns the result to give in its place.
        Without it that is an error.

    Raises
    ------
    OptionError
        If the scheduler is not one that Dask knows or cannot be reached.
    WindowError
        If workers died, or the connection to the cluster broke.
    """
    work = _Work(function, shared, done, stop, lost)
    if scheduler is None or (isinstance(scheduler, str) and scheduler in LOCAL_SCHEDULERS):
        local = _Local(work, scheduler or "threads", workers or DEFAULT_WORKERS)
        try:
            yield from local.run(iter(tasks))
        finally:
            local.close()
        return
    with _client(scheduler) as client:
        yield from _run_cluster(work, iter(tasks), client)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """The arguments of `run_ordered`."""

    function: Callable[..., Any]
    shared: tuple[Any, ...]
    done: Callable[[], object]
    stop: Callable[[], bool] | None
    lost: Callable[[Any, str], Any] | None

    def is_stopped(self) -> bool:
        return self.stop is not None and self.stop()

    def replace(self, task: Any, reason: str, error: Exception) -> Any:
        if self.lost is None:
            raise WindowError(
                f"{task} could not be computed: {reason}; give workers more memory, or use fewer of them."
            ) from error
        return self.lost(task, reason)


class _Skipped:
    """In place of a result: the task was not begun."""


def _unless(stop: Callable[[], bool] | None, call: Callable[[Any], Any], task: Any) -> Any:
    return _Skipped() if stop is not None and stop() else call(task)


class _Local:
    """Tasks in batches through one of Dask's local schedulers, with the same worker processes for all of them."""

    def __init__(self, work: _Work, scheduler: str, workers: int) -> None:
        self._work, self._scheduler, self._workers = work, scheduler, workers
        self._in_processes = scheduler == "processes"
        call = partial(_with_shared, work.function) if self._in_processes else partial(work.function, *work.shared)
        self._call = partial(_unless, work.stop, call)
        self._pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Iterator[Any]) -> Iterator[Any]:
        while batch := list(islice(tasks, self._workers * TASKS_PER_WORKER)):
            for result in self._compute_all(batch):
                if isinstance(result, _Skipped):
                    return
                yield result
            if self._work.is_stopped():
                return

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _compute_all(self, batch: list[Any]) -> list[Any]:
        """Compute a batch; again when a worker dies, and then each task by itself to find the one that kills it."""
        from concurrent.futures.process import BrokenProcessPool

        for _ in range(2):
            try:
                return self._compute(batch)
            except BrokenProcessPool:
                self.close()
        results = []
        for task in batch:
            try:
                results.extend(self._compute([task]))
            except BrokenProcessPool as error:
                self.close()
                results.append(self._work.replace(task, "its worker process died, perhaps for want of memory", error))
        return results

    def _compute(self, batch: list[Any]) -> list[Any]:
        import dask
        from dask.callbacks import Callback

        call = dask.delayed(self._call, pure=False, traverse=False)
        # Dask begins with the last by name. In another order a stop loses some of a batch, no more.
        named = [call(task, dask_key_name=f"task-{len(batch) - number:08d}") for number, task in enumerate(batch)]
        pool = {"pool": self._process_pool(), "chunksize": 1} if self._in_processes else {}
        with Callback(posttask=lambda *_: self._work.done()):
            return list(
                dask.compute(*named, scheduler=self._scheduler, num_workers=self._workers, optimize_graph=False, **pool)
            )

    def _process_pool(self) -> ProcessPoolExecutor:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        from distributed.protocol.pickle import dumps

        if self._pool is None:
            # Forked children would share locks and handles with threads of this process.
            self._pool = ProcessPoolExecutor(
                self._workers, get_context("spawn"), initializer=_receive, initargs=(dumps(self._work.shared),)
            )
        return self._pool


_received: tuple[Any, ...] = ()


def _receive(shared: bytes) -> None:
    """Take the shared arguments when a worker process starts; its parent made them."""
    from distributed.protocol.pickle import loads

    global _received  # noqa: PLW0603 - there is one parent, and it says this once
    _received = loads(shared)
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


def _with_shared(function: Callable[..., Any], task: Any) -> Any:
    return function(*_received, task)


def _run_cluster(work: _Work, tasks: Iterator[Any], client: Client) -> Iterator[Any]:
    values = [client.scatter(value, broadcast=True, hash=False) for value in work.shared]
    threads = max(sum(client.nthreads().values()), 1)
    under_way: deque[tuple[Any, Any]] = deque()
    try:
        for task in tasks:
            future = client.submit(work.function, *values, task, pure=False)
            future.add_done_callback(lambda _: work.done())
            under_way.append((task, future))
            if work.is_stopped():
                # The workers begin with the first: the others have not begun.
                client.cancel([future for _, future in list(under_way)[threads:]])
                under_way = deque(islice(under_way, threads))
                break
            if len(under_way) >= threads * TASKS_PER_WORKER:
                yield _result(work, *under_way.popleft())
        while under_way:
            yield _result(work, *under_way.popleft())
    finally:
        client.cancel([future for _, future in under_way])


def _result(work: _Work, task: Any, future: Any) -> Any:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        return future.result()
    except KilledWorker as error:
        return work.replace(task, "the workers that tried it died, perhaps for want of memory", error)
    except (CancelledError, CommClosedError, TimeoutError) as error:
        raise WindowError(
            f"the Dask scheduler is gone, or has forgotten its work ({error}); start it again, and go on with the same command."
        ) from error


@contextmanager
def _client(scheduler: str | Client) -> Iterator[Client]:
    from distributed import Client

    if isinstance(scheduler, Client):
        yield scheduler
        return
    if not isinstance(scheduler, str) or "://" not in scheduler:
        raise OptionError(
            f"scheduler is {scheduler!r}; give one of {', '.join(LOCAL_SCHEDULERS)}, the address of a Dask scheduler "
            "such as tcp://host:8786, or a distributed.Client."
        )
    try:
        client = Client(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, or leave the option away."
        ) from error
    with client:
        yield client

"""Where windows are computed: Dask threads in this process by default, any Dask scheduler when asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.errors import OptionError

if TYPE_CHECKING:
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
    tasks: Sequence[Task],
    *,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    done: Callable[[], object] = lambda: None,
) -> Iterator[Result]:
    """Compute ``function(*shared, task)`` for every task with Dask; give the results in the order of the tasks.

    Only a bounded number of tasks is under way or waiting to be taken, so that memory does not grow with their count.

    Parameters
    ----------
    function : callable
        Picklable when the scheduler has other processes.
    shared : tuple
        Leading arguments of every call; sent once to each worker of a cluster.
    tasks : sequence
        The last argument of each call.
    scheduler : str or distributed.Client, optional
        ``"threads"`` (the default), ``"processes"`` or ``"synchronous"`` in this machine, the address of a running Dask
        scheduler (``"tcp://host:8786"``), or a client.
    workers : int, optional
        Threads or processes of a local scheduler; 2 by default. A cluster has its own.
    done : callable, optional
        Called whenever a task is finished, in whatever order that happens.

    Raises
    ------
    OptionError
        If the scheduler is not one that Dask knows or cannot be reached.
    """
    if scheduler is None or (isinstance(scheduler, str) and scheduler in LOCAL_SCHEDULERS):
        yield from _run_local(partial(function, *shared), tasks, scheduler or "threads", workers or DEFAULT_WORKERS, done)
        return
    with _client(scheduler) as client:
        yield from _run_cluster(function, shared, tasks, client, done)


def _run_local(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    scheduler: str,
    workers: int,
    done: Callable[[], object],
) -> Iterator[Result]:
    import dask
    from dask.callbacks import Callback

    call = dask.delayed(function, pure=False, traverse=False)
    size = workers * TASKS_PER_WORKER
    for start in range(0, len(tasks), size):
        batch = [call(task) for task in tasks[start : start + size]]
        with Callback(posttask=lambda *_: done()):
            results = dask.compute(*batch, scheduler=scheduler, num_workers=workers, optimize_graph=False)
        yield from results


def _run_cluster(
    function: Callable[..., Result],
    shared: tuple[Any, ...],
    tasks: Sequence[Task],
    client: Client,
    done: Callable[[], object],
) -> Iterator[Result]:
    values = [client.scatter(value, broadcast=True, hash=False) for value in shared]
    limit = max(sum(client.nthreads().values()), 1) * TASKS_PER_WORKER
    under_way: deque[Any] = deque()
    try:
        for task in tasks:
            future = client.submit(function, *values, task, pure=False)
            future.add_done_callback(lambda _: done())
            under_way.append(future)
            if len(under_way) >= limit:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        client.cancel(list(under_way))


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

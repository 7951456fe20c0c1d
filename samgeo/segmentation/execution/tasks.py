"""The function `run_ordered`, which computes tasks in threads, in processes or on a Dask cluster, and keeps their order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.errors import OptionError, WindowError
from samgeo.segmentation.execution.dask_cluster import Cluster
from samgeo.segmentation.execution.pools import Local, default_workers, on_one_core, refuse_unguarded

if TYPE_CHECKING:
    from distributed import Client


__all__ = ["LOCAL_SCHEDULERS", "Work", "check_scheduler", "computes_here", "run_ordered"]

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")


def computes_here(scheduler: object) -> bool:
    """Return whether a scheduler computes in this process, in its threads or without any."""
    return scheduler in (None, "threads", "synchronous")


def run_ordered(
    function: Callable[..., Result],
    shared: tuple[Any, ...],
    tasks: Iterable[Task | None],
    *,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    done: Callable[[Task], object] = lambda _: None,
    stop: Callable[[], bool] | None = None,
    lost: Callable[[Task, str], Result] | None = None,
    describe: Callable[[Task], str] = str,
) -> Generator[Result]:
    """Compute ``function(*shared, task)`` for every task, and give the results in the order of the tasks.

    Workers go on while results are used. Only a bounded number of tasks is unfinished or not taken yet, so that memory does not
    grow with the number of tasks. With every scheduler, torch computes a task on one core of a CPU.

    Parameters
    ----------
    function : callable
        Must be picklable if the scheduler uses other processes.
    shared : tuple
        Leading arguments of every call. They are sent once to each worker process.
    tasks : iterable
        The last argument of each call. Tasks are taken when they are needed. None in place of a task means that the next task
        depends on a result that is not taken yet; then the next result is given first.
    scheduler : str or distributed.Client, optional
        ``"threads"`` (the default), ``"processes"`` or ``"synchronous"`` on this machine, the address of a running Dask
        scheduler (``"tcp://host:8786"``), or a client.
    workers : int, optional
        Number of threads or processes of a local scheduler. By default one for each core, if memory allows. A cluster has its
        own number.
    done : callable, optional
        Called with each finished task, in any order.
    stop : callable, optional
        When it returns true, no more tasks are started, and the results end with those of unfinished tasks. It is called in the
        workers, so it must be picklable if these are other processes of this machine.
    lost : callable, optional
        Called with a task whose worker process died each time it was tried, and the reason. It returns the result of this task.
        Without it, such a task raises an error.
    describe : callable, optional
        Returns the name of a task for messages, such as "the window at row 3, column 5".

    Yields
    ------
    object
        The result of each task.

    Raises
    ------
    OptionError
        If the scheduler is unknown or cannot be reached.
    WindowError
        If workers died, or the cluster was gone for longer than a minute.

    Examples
    --------
    >>> from samgeo.segmentation.execution.tasks import run_ordered
    >>> list(run_ordered(pow, (2,), [1, 2, 3, 4], workers=2))
    [2, 4, 8, 16]
    """
    work = Work(partial(on_one_core, function), shared, done, stop, lost, describe)
    if scheduler is None or (isinstance(scheduler, str) and scheduler in LOCAL_SCHEDULERS):
        local = Local(work, scheduler or "threads", workers or default_workers())
        try:
            yield from local.run(iter(tasks))
        except KeyboardInterrupt:
            local.close(wait=False)
            raise
        finally:
            local.close()
        return
    with closing(_cluster(scheduler)) as cluster:
        yield from cluster.run(work, iter(tasks))


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """The arguments of `run_ordered`, as one value."""

    function: Callable[..., Any]
    shared: tuple[Any, ...]
    done: Callable[[Any], object]
    stop: Callable[[], bool] | None
    lost: Callable[[Any, str], Any] | None
    describe: Callable[[Any], str]

    def is_stopped(self) -> bool:
        """Whether no more tasks may be started."""
        return self.stop is not None and self.stop()

    def replace(self, task: object, reason: str) -> object:
        """Return the substitute for the result of a task whose worker died each time."""
        if self.lost is None:
            raise WindowError(
                f"{self.describe(task)} could not be computed: {reason}; give workers more memory, or use fewer workers."
            ) from None
        return self.lost(task, reason)


def check_scheduler(scheduler: object) -> None:
    """Check that a scheduler is valid and that this process may use it.

    Raises
    ------
    OptionError
        If `run_ordered` does not know the scheduler, or if it is "processes" in a worker process that runs its parent's script.
    """
    is_local = scheduler is None or (isinstance(scheduler, str) and (scheduler in LOCAL_SCHEDULERS or "://" in scheduler))
    distributed = sys.modules.get("distributed")  # a caller that has a client has imported distributed
    if not is_local and (distributed is None or not isinstance(scheduler, distributed.Client)):
        raise OptionError(
            f"scheduler is {scheduler!r}; give one of {', '.join(LOCAL_SCHEDULERS)}, the address of a Dask scheduler "
            "such as tcp://host:8786, or a distributed.Client."
        )
    refuse_unguarded(scheduler)


def _cluster(scheduler: str | Client) -> Cluster:
    check_scheduler(scheduler)
    return Cluster(scheduler)

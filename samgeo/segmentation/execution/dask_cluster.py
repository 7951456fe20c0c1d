"""Execution of tasks on a Dask cluster.

Workers may join and leave during the work, and the scheduler may be restarted.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, WindowError

if TYPE_CHECKING:
    from distributed import Client

    from samgeo.segmentation.execution.tasks import Work

__all__ = ["Cluster"]

_log = logging.getLogger(__name__)

TASKS_PER_THREAD = 4

# How often a task is sent if the cluster loses it, how long a scheduler may take to answer, and how long it may be gone or be
# without workers.
SENDINGS = 4
CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.2

# Workers may join during the work, so the threads are counted again after this time.
COUNT_SECONDS = 5.0


class Cluster:
    """A Dask cluster that computes tasks; must be closed after use.

    The shared arguments of all tasks are sent to each worker once. They are lost if the scheduler stops, or the last worker
    that holds them leaves. Then they are sent again, together with the unfinished tasks.

    Parameters
    ----------
    scheduler : str or distributed.Client
        The address of a scheduler, or a client. A client that is given stays open.

    Raises
    ------
    OptionError
        If no scheduler answers at the address.
    """

    def __init__(self, scheduler: str | Client) -> None:
        self._address = scheduler if isinstance(scheduler, str) else None
        self._client: Client = _connect(scheduler) if isinstance(scheduler, str) else scheduler
        self._values: list[Any] = []
        self._sending = 0
        self._threads, self._counted = 1, -math.inf

    def run(self, work: Work, tasks: Iterator[Any]) -> Iterator[Any]:
        """Give the results of tasks in the order of the tasks, with a bounded number of tasks submitted at a time.

        Raises
        ------
        WindowError
            If the cluster is gone and does not come back.
        """
        self._send(work)
        under_way: deque[_Submitted] = deque()
        try:
            for task in tasks:
                if task is None:
                    if under_way:
                        yield self._take(work, under_way)
                    continue
                under_way.append(self._submit(work, task))
                if work.is_stopped():
                    # Workers take tasks in order. Tasks beyond the number of threads have not begun and are cancelled.
                    self._cancel([one.future for one in islice(under_way, self._room, None)])
                    under_way = deque(islice(under_way, self._room))
                    break
                if len(under_way) >= self._room * TASKS_PER_THREAD:
                    yield self._take(work, under_way)
            while under_way:
                yield self._take(work, under_way)
        finally:
            self._cancel([one.future for one in under_way])

    def close(self) -> None:
        """Close the client if it was made here."""
        if self._address is not None:
            self._client.close()

    def _take(self, work: Work, under_way: deque[_Submitted]) -> object:
        """Return the result of the first submitted task, and remove the task from the queue."""
        from distributed import KilledWorker

        reason: Exception | None = None
        for _ in range(SENDINGS):
            one = under_way[0]
            try:
                result = one.future.result()
            except KilledWorker:
                result = work.replace(one.task, "the workers that tried it died, perhaps for want of memory")
            except CancelledError as error:
                reason = error
                _log.warning("The Dask cluster lost %s: %s", work.describe(one.task), error)
                if one.sending == self._sending:
                    self._send(work)
                for place, other in enumerate(under_way):
                    if other.future.cancelled():
                        under_way[place] = self._submit(work, other.task)
                continue
            under_way.popleft()
            return result
        raise WindowError(
            f"the Dask cluster has lost {work.describe(under_way[0].task)} {SENDINGS} times ({reason}); find out why its "
            "workers end, and continue with the same command."
        ) from None

    def _submit(self, work: Work, task: object) -> _Submitted:
        if self._client.status == "closed":
            self._send(work)
        future = self._client.submit(work.function, *self._values, task, pure=False)
        future.add_done_callback(lambda done: None if done.cancelled() else work.done(task))
        return _Submitted(task, future, self._sending)

    def _send(self, work: Work) -> None:
        """Send the shared arguments, and wait some time for a cluster that may be restarting."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                client = self._running_client()
                left = max(deadline - time.monotonic(), 1.0)
                self._values = [client.scatter(value, broadcast=True, hash=False, timeout=left) for value in work.shared]
            except (OSError, OptionError) as error:
                if time.monotonic() >= deadline:
                    raise WindowError(
                        f"the Dask cluster had no scheduler or no worker for {PATIENCE_SECONDS:.0f} seconds ({error}); start "
                        "them, and continue with the same command."
                    ) from None
                time.sleep(RETRY_SECONDS)
            else:
                self._sending += 1
                return

    def _running_client(self) -> Client:
        """Return the connected client. If our own client has given up, replace it by a new one."""
        if self._client.status == "closed":
            if self._address is None:
                raise WindowError(
                    "the Dask client is closed, or its scheduler did not come back; connect a new client, and continue with "
                    "the same call."
                )
            self._client = _connect(self._address)
        if self._client.status != "running":
            raise ConnectionError(f"{self._address or 'the scheduler'} does not answer")
        return self._client

    @property
    def _room(self) -> int:
        """Number of threads of all workers."""
        if time.monotonic() - self._counted > COUNT_SECONDS and self._client.status == "running":
            with suppress(OSError):
                self._threads = max(sum(self._client.nthreads().values()), 1)
                self._counted = time.monotonic()
        return self._threads

    def _cancel(self, futures: list[Any]) -> None:
        # Without a scheduler there is nothing to cancel.
        if futures and self._client.status == "running":
            with suppress(OSError):
                self._client.cancel(futures)


@dataclass(frozen=True, slots=True, eq=False)
class _Submitted:
    """A task on a cluster, and the number of the sending of shared arguments that it uses."""

    task: Any
    future: Any
    sending: int


def _connect(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`, or omit scheduler."
        ) from None

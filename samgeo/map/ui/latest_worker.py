"""A background worker for widget callbacks. Of the jobs that arrive while it is busy, it does only the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

__all__ = ["Latest"]

Job = TypeVar("Job")

_NOTHING = object()

# Each thread opens its own files. A thread that ended at once would open them again for every picture.
IDLE_S = 60.0


class Latest(Generic[Job]):
    """Does the latest job in a background thread. The thread ends after some time without a job.

    Parameters
    ----------
    do : callable
        Called with the job. Its exceptions go to `threading.excepthook`.
    settle_s : float
        Seconds to wait for a newer job before each job starts.
    """

    def __init__(self, do: Callable[[Job], None], settle_s: float = 0.0) -> None:
        self._do = do
        self._settle_s = settle_s
        self._lock = threading.Condition()
        self._next: Job | object = _NOTHING
        self._busy = False
        self._running = False
        self._closed = False

    def put(self, job: Job) -> None:
        """Add a job. It replaces a job that is still waiting. After `close` it does nothing."""
        with self._lock:
            if self._closed:
                return
            self._next = job
            self._busy = True
            self._start()
            self._lock.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until no job is left; return False if the timeout came first."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._busy, timeout_s)

    def close(self) -> None:
        """Drop a waiting job, accept no more jobs, and end the thread after the job in progress."""
        with self._lock:
            self._closed = True
            self._next = _NOTHING
            self._lock.notify_all()

    def _start(self) -> None:
        if not self._running:
            self._running = True
            threading.Thread(target=self._run, daemon=True, name="samgeo-map").start()

    def _run(self) -> None:
        while (job := self._take()) is not _NOTHING:
            ended = False
            try:
                self._do(cast("Job", job))
                ended = True
            finally:
                with self._lock:
                    if self._next is _NOTHING:
                        self._busy = False
                        self._lock.notify_all()
                    if not ended:
                        self._running = False
                        if self._busy:
                            self._start()

    def _take(self) -> Job | object:
        """Return the next job after the settling time, or a marker for none after a long time without a job."""
        while True:
            with self._lock:
                if not self._lock.wait_for(lambda: self._next is not _NOTHING or self._closed, IDLE_S) or self._closed:
                    self._running = self._busy = False
                    self._lock.notify_all()
                    return _NOTHING
                job = self._next
            time.sleep(self._settle_s)
            with self._lock:
                if self._next is job:
                    self._next = _NOTHING
                    return job

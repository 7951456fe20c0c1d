"""Asking a run to stop, from a signal handler, in a way that worker processes of this machine see."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

__all__ = ["StopFlag", "stop_on_sigterm"]


@dataclass(frozen=True, slots=True)
class StopFlag:
    """A file that is there once the run shall stop.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def set(self) -> None:
        """Ask to stop."""
        self.path.touch()

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.path.exists()


@contextmanager
def stop_on_sigterm() -> Iterator[StopFlag]:
    """Give a flag that the first SIGTERM sets; a second one ends the process as usual.

    Only the main thread may handle signals: in another one nothing sets it.
    """
    with tempfile.TemporaryDirectory(prefix="samgeo-") as folder:
        flag = StopFlag(Path(folder) / "stop")

        def stop(_number: int, _frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            flag.set()

        if threading.current_thread() is not threading.main_thread():
            yield flag
            return
        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield flag
        finally:
            signal.signal(signal.SIGTERM, before)

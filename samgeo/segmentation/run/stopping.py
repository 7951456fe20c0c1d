"""The flag that asks a run to stop. A signal handler sets it, and worker processes of this machine can see it."""

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
    """A flag that is set by creating a file.

    Attributes
    ----------
    path : Path
        The file, which exists when the run is asked to stop.
    """

    path: Path

    def set(self) -> None:
        """Ask the run to stop."""
        self.path.touch()

    def __call__(self) -> bool:
        """Whether the run is asked to stop."""
        return self.path.exists()


@contextmanager
def stop_on_sigterm() -> Iterator[StopFlag]:
    """Return, as a context manager, a flag that the first SIGTERM sets; a second SIGTERM ends the process as usual.

    Only the main thread can handle signals. In another thread nothing sets the flag.

    Examples
    --------
    >>> from samgeo.segmentation.run import stop_on_sigterm
    >>> with stop_on_sigterm() as stop:
    ...     before = stop()
    ...     stop.set()  # SIGTERM does the same
    ...     after = stop()
    >>> before, after
    (False, True)
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

"""Work of the map that takes longer than a click: it is done in threads of its own, and the map shows its progress."""

from __future__ import annotations

import threading
from collections.abc import Callable

from samgeo.errors import StoppedError
from samgeo.map.ui.latest_worker import Latest
from samgeo.map.ui.messages import Progress
from samgeo.map.ui.redraw import Drawing

__all__ = ["Background", "Work"]


Work = Callable[[Callable[[Progress], bool]], str | None]
"""Work in the background: it is called with a function that shows its progress and returns False when it has to stop, and
returns a message for the status line, or None if the session has one."""


class Background:
    """Does one kind of work in a background thread. A work that is started while another one is done waits for its end.

    Parameters
    ----------
    kind : str
        One of `samgeo.map.ui.messages.KINDS`.
    drawing : Drawing
        Shows the progress, the message at the end, and errors.
    """

    def __init__(self, kind: str, drawing: Drawing) -> None:
        self._kind, self._drawing = kind, drawing
        self._stop = threading.Event()
        self._latest: Latest[Work] = Latest(self._do)

    def start(self, work: Work) -> None:
        """Start a work, and return at once."""
        self._stop.clear()
        self._latest.put(work)

    def stop(self) -> None:
        """Ask the work to stop. It ends at its next report of progress, such as after the windows in progress."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the work is done; return False if the timeout came first."""
        return self._latest.wait(timeout_s)

    def close(self) -> None:
        """Stop the work, and end the thread as soon as it has stopped."""
        self.stop()
        self._latest.close()

    def _do(self, work: Work) -> None:
        said = None
        with self._drawing.errors_shown():
            try:
                said = work(self._progress)
            except StoppedError as stopped:
                said = str(stopped)
            finally:
                self._drawing.show_progress(self._kind, None)
            if said is not None:
                self._drawing.tell(said)

    def _progress(self, now: Progress) -> bool:
        if not self._stop.is_set():
            self._drawing.show_progress(self._kind, now)
        return not self._stop.is_set()

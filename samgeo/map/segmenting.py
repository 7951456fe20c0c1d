"""What is in view segmented beside all else, with its progress on the map and masks put up at the end."""

from __future__ import annotations

import threading

from samgeo.map.in_view import segment_area, without
from samgeo.map.ui.gestures import Hand
from samgeo.map.ui.latest_worker import Latest
from samgeo.map.ui.redraw import Drawing
from samgeo.map.view.viewport import View

__all__ = ["Segmenting"]


class Segmenting:
    """Segments what is in view, in a thread of its own.

    Parameters
    ----------
    hand : Hand
        The session, and where its raster lies.
    drawing : Drawing
        Shows the progress, and what goes wrong.
    """

    def __init__(self, hand: Hand, drawing: Drawing) -> None:
        self._hand, self._drawing = hand, drawing
        self._stop = threading.Event()
        self._latest = Latest(self._segment)

    def start(self, view: View) -> None:
        """Put a mask up for everything that is in view, and not accepted or up already; return at once."""
        self._stop.clear()
        self._latest.put(view)

    def stop(self) -> None:
        """End it after the windows that are in work; nothing is put up."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is left to do; return whether that came before the timeout."""
        return self._latest.wait(timeout_s)

    def _segment(self, view: View) -> None:
        session = self._hand.session
        with self._drawing.told():
            try:
                found = segment_area(session.predictor, self._hand.area_px(view), progress=self._progress)
            finally:
                self._drawing.show_progress(0, 0)
            if found is None:
                self._drawing.tell("ended before it was done: nothing is put up")
                return
            state = session.state
            new = without(found, [*(one.geometry for one in state.objects), *(one.geometry for one in state.proposals)])
            if len(new):
                session.propose(new)
            else:
                self._drawing.tell("nothing new is in view")

    def _progress(self, done: int, total: int) -> bool:
        self._drawing.show_progress(done, total)
        return not self._stop.is_set()

"""Segment the view of the map in a background thread. The map shows the progress; the masks become proposals at the end."""

from __future__ import annotations

import threading

from samgeo.map.in_view import segment_area
from samgeo.map.ui.gestures import Hand
from samgeo.map.ui.latest_worker import Latest
from samgeo.map.ui.redraw import Drawing
from samgeo.map.view.viewport import View
from samgeo.segmentation.tables import without

__all__ = ["Segmenting"]


class Segmenting:
    """Segments the view of the map in a background thread.

    Parameters
    ----------
    hand : Hand
        The session, and the position of its raster on the map.
    drawing : Drawing
        Shows the progress and errors.
    """

    def __init__(self, hand: Hand, drawing: Drawing) -> None:
        self._hand, self._drawing = hand, drawing
        self._stop = threading.Event()
        self._latest = Latest(self._segment)

    def start(self, view: View) -> None:
        """Segment a view and add the new masks as proposals. Return at once."""
        self._stop.clear()
        self._latest.put(view)

    def stop(self) -> None:
        """Stop after the windows in progress; no proposals are added."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the work is done; return False if the timeout came first."""
        return self._latest.wait(timeout_s)

    def _segment(self, view: View) -> None:
        session = self._hand.session
        with self._drawing.errors_shown():
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

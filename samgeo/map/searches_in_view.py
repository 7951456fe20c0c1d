"""The work of a map that is done in the background: searches in view, prompts from files, and training."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from samgeo.arguments import check_types
from samgeo.geo.coordinates.pixel_coordinates import PIXELS
from samgeo.map.background import Background, Work
from samgeo.map.in_view import propose_in_view
from samgeo.map.session import Session
from samgeo.map.state.actions import Propose
from samgeo.map.state.live_state import Snapshot
from samgeo.map.train_on_accepted import free_path, progress_of, verdict
from samgeo.map.ui.gestures import Hand
from samgeo.map.ui.messages import Progress
from samgeo.map.ui.pointer import Pointer
from samgeo.map.ui.redraw import Drawing
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.screen import in_view, view_of_raster
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import ipyleaflet

__all__ = ["MapSearches"]


class MapSearches(ABC):
    """The part of a map that works in the background. `samgeo.map.widget.Map` sets its attributes."""

    session: Session
    leaflet: ipyleaflet.Map
    drawing: Drawing
    _place: MapPlacement
    _hand: Hand
    _pointer: Pointer
    _background: dict[str, Background]

    def segment_view(self) -> None:
        """Segment everything in view, and add each new mask as a proposal.

        Masks of accepted objects and existing proposals are left out. The method returns at once; a background thread does
        the work, and the map shows the progress. Before the map is shown, the whole raster counts as in view.
        """
        area_px = self._area_in_view()
        self._search(lambda tell: propose_in_view(self.session, area_px, tell))

    @check_types
    def find_in_view(self, what: str = "building") -> None:
        """Find the objects of one kind in view, and add them as proposals; see `Session.find`.

        The method returns at once, as `segment_view` does.

        Parameters
        ----------
        what : str, default "building"
            The class of a bundled finder.
        """
        bounds = shapely.bounds(self._area_in_view()).tolist()

        def work(tell: Callable[[Progress], bool]) -> str | None:
            def progress(done: int, total: int) -> bool:
                return tell(Progress(f"finding each {what} in view", done, total))

            return _nothing_new(self.session.find(what, bounds, crs=PIXELS, progress=progress))

        self._search(work)

    def more_like_these(self) -> None:
        """Find more objects like the accepted ones in view, and add them as proposals; see `Session.find_similar`.

        The method returns at once, as `segment_view` does.
        """
        bounds = shapely.bounds(self._area_in_view()).tolist()

        def work(tell: Callable[[Progress], bool]) -> str | None:
            def progress(done: int, total: int) -> bool:
                return tell(Progress("searching the view", done, total))

            return _nothing_new(self.session.find_similar(bounds, crs=PIXELS, progress=progress))

        self._search(work)

    def prompt_with(self, features: FeaturesLike) -> None:
        """Ask the model for each point, box and polygon of a file, and add the masks as proposals; see `Session.prompt_with`.

        The method returns at once, as `segment_view` does.

        Parameters
        ----------
        features : path, GeoDataFrame or GeoSeries
        """

        def work(tell: Callable[[Progress], bool]) -> str | None:
            def progress(done: int, total: int) -> bool:
                return tell(Progress("asking for the prompts of the file", done, total, "prompts"))

            done = self.session.prompt_with(features, progress=progress)
            self.drawing.tell_of(done)
            return None

        self._search(work)

    @check_types
    def train_on_accepted(self, output: str | os.PathLike[str] | None = None, *, minutes: float = 5.0) -> None:
        """Train the model on the accepted objects, and use it for the next prompts if it is better on those held out.

        The method returns at once; a background thread does the work, and the map stays usable. The status line shows the
        progress, and at the end whether the new weights were accepted, and why. Undo returns to the weights that were used
        before. See `Session.train_on_accepted`, which has more options and waits for the end.

        Parameters
        ----------
        output : path, optional
            The file for the new weights, a ``.safetensors`` that does not exist yet. By default it is beside the autosaved
            file, or else beside the file of the panel to which objects are exported, and has its name with ``-trained-1``, or
            the next number that is free.
        minutes : float, default 5
            Length of the training.
        """
        exported = None if self.session.autosave else self._path.absolute()

        def work(tell: Callable[[Progress], bool]) -> str:
            place = free_path(output, self.session.autosave or exported)

            def progress(line: str) -> bool:
                return tell(Progress(f"training: {progress_of(line)}"))

            return verdict(self.session.train_on_accepted(place, minutes=minutes, progress=progress))

        self._background["training"].start(work)

    @property
    def _path(self) -> Path:
        """The file in the panel."""
        return Path(self.drawing.panel.path.value.strip()).expanduser()

    def _area_in_view(self) -> shapely.Geometry:
        return self._hand.area_px(in_view(self.leaflet) or view_of_raster(self._place))

    def _search(self, work: Work) -> None:
        """Search in the background. Where new masks wait at the end, and nothing else is begun, a click accepts one."""

        def then_select(tell: Callable[[Progress], bool]) -> str | None:
            before = self.session.state.proposals
            said = work(tell)
            state = self.session.state
            if len(state.proposals) > len(before) and not state.prompt and not self._pointer.is_drawing:
                self._set_mode("select")
            return said

        self._background["search"].start(then_select)

    @abstractmethod
    def _set_mode(self, mode: str) -> None:
        """Choose what a click does."""


def _nothing_new(done: Snapshot) -> str | None:
    """Return a message where a search proposed nothing; the session has one otherwise."""
    return None if isinstance(done.action, Propose) and done.action.proposals else "nothing new is in view"

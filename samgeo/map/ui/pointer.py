"""Turn the mouse events of a front end into gestures of the analyst."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MODES", "Box", "Choice", "Draft", "Gesture", "Outline", "Pick", "Point", "Pointer"]

MODES = ("foreground", "background", "box", "select", "add", "cut", "vertices", "split", "merge")
"""Modes of the pointer. The mode decides what a left click or a drag does."""

DRAGGED = frozenset({"box", "add", "cut", "split"})
CHOOSING = frozenset({"vertices", "merge"})

LatLng = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Point:
    """A click on an object (label 1) or beside it (label 0)."""

    at: LatLng
    label: int


@dataclass(frozen=True, slots=True)
class Pick:
    """A click on an existing object or proposal. ``other`` is True for the right button."""

    at: LatLng
    other: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A click on the object whose vertices are edited next ("vertices"), or which is merged with the selected one ("merge")."""

    at: LatLng
    kind: str


@dataclass(frozen=True, slots=True)
class Box:
    """A box between two corners."""

    corners: tuple[LatLng, LatLng]


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of an area that is added to an object ("add") or cut from it ("cut"), or a line that splits it ("split")."""

    track: tuple[LatLng, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A box or an outline that is being drawn. The track is empty if the drawing was cancelled."""

    track: tuple[LatLng, ...]
    kind: str


Gesture = Point | Pick | Choice | Box | Outline | Draft


@dataclass(slots=True)
class Pointer:
    """The mouse over a map.

    Front ends do not send the mouse button: a right click is a ``contextmenu`` event, and the ``mousedown`` before it is the
    same as for the left button. A ``click`` event follows the end of a drag; it is ignored in modes with dragging.

    Attributes
    ----------
    mode : str
        One of `MODES`.
    """

    mode: str = "foreground"
    _track: list[LatLng] = field(default_factory=list)

    @property
    def drags(self) -> bool:
        """Whether dragging draws in this mode, instead of moving the map."""
        return self.mode in DRAGGED

    @property
    def is_drawing(self) -> bool:
        """Whether a box or an outline is being drawn."""
        return bool(self._track)

    def give_up(self) -> Draft:
        """Cancel the current drawing."""
        self._track = []
        return Draft((), self.mode)

    def handle(self, event: str, at: LatLng) -> Gesture | None:
        """Return the gesture of an event of the front end, or None.

        Parameters
        ----------
        event : str
            "click", "contextmenu", "mousedown", "mousemove", "mouseup"; other events are ignored.
        at : (float, float)
            Latitude and longitude.
        """
        if event == "contextmenu":
            self._track = []
            if self.mode in CHOOSING:
                return None
            return Pick(at, True) if self.mode == "select" else Point(at, 0)
        if self.drags:
            return self._drag(event, at)
        if event == "click":
            if self.mode in CHOOSING:
                return Choice(at, self.mode)
            return Pick(at, False) if self.mode == "select" else Point(at, int(self.mode == "foreground"))
        return None

    def _drag(self, event: str, at: LatLng) -> Gesture | None:
        if event == "mousedown":
            self._track = [at]
            return None
        if not self._track or event not in {"mousemove", "mouseup"}:
            return None
        if at != self._track[-1]:
            self._track = [self._track[0], at] if self.mode == "box" else [*self._track, at]
        track = tuple(self._track)
        if event == "mousemove":
            return Draft(track, self.mode)
        self._track = []
        if self.mode == "box":
            (lat, lng), (other_lat, other_lng) = track[0], track[-1]
            return Box((track[0], track[-1])) if lat != other_lat and lng != other_lng else Draft((), self.mode)
        least = 2 if self.mode == "split" else 3
        return Outline(track, self.mode) if len(track) >= least else Draft((), self.mode)

"""What the mouse does on a map, as a front end tells it, to what the analyst means by it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MODES", "Box", "Draft", "Gesture", "Outline", "Pick", "Point", "Pointer"]

MODES = ("foreground", "background", "box", "select", "add", "cut")
"""What a left click or drag does."""

DRAGGED = frozenset({"box", "add", "cut"})

LatLng = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Point:
    """A click on an object (label 1) or beside it (label 0)."""

    at: LatLng
    label: int


@dataclass(frozen=True, slots=True)
class Pick:
    """A click on something that is there already; ``other`` with the right button."""

    at: LatLng
    other: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A box between two corners."""

    corners: tuple[LatLng, LatLng]


@dataclass(frozen=True, slots=True)
class Outline:
    """An area that was drawn around, to add ("add") or to cut away ("cut")."""

    track: tuple[LatLng, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A box or an outline in the making; nothing where it was given up."""

    track: tuple[LatLng, ...]
    kind: str


Gesture = Point | Pick | Box | Outline | Draft


@dataclass(slots=True)
class Pointer:
    """The mouse over a map.

    Front ends tell no button: a right click is a ``contextmenu``, and the ``mousedown`` before it looks like any other.
    Releasing the button after a drag is followed by a ``click``, which means nothing where dragging does.

    Attributes
    ----------
    mode : str
        One of `MODES`.
    """

    mode: str = "foreground"
    _track: list[LatLng] = field(default_factory=list)

    @property
    def drags(self) -> bool:
        """Whether dragging draws in this mode, and does not move the map."""
        return self.mode in DRAGGED

    def give_up(self) -> Draft:
        """Forget what is being drawn."""
        self._track = []
        return Draft((), self.mode)

    def handle(self, event: str, at: LatLng) -> Gesture | None:
        """Take an event of the front end; return what it means, if anything.

        Parameters
        ----------
        event : str
            "click", "contextmenu", "mousedown", "mousemove", "mouseup"; others mean nothing.
        at : (float, float)
            Latitude and longitude.
        """
        if event == "contextmenu":
            self._track = []
            return Pick(at, True) if self.mode == "select" else Point(at, 0)
        if self.drags:
            return self._drag(event, at)
        if event == "click":
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
        return Outline(track, self.mode) if len(track) > 2 else Draft((), self.mode)

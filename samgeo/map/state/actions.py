"""What an analyst does in a session, each as a value that a line of the log can hold."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

import shapely

from samgeo.errors import OptionError

__all__ = [
    "CHANGING",
    "Accept",
    "AcceptProposals",
    "Action",
    "AddPoint",
    "Change",
    "Choose",
    "ClearPrompts",
    "Delete",
    "Edit",
    "Merge",
    "Propose",
    "Proposed",
    "Redo",
    "RejectProposals",
    "Select",
    "SetBox",
    "SetClass",
    "Undo",
    "from_record",
    "to_record",
]


@dataclass(frozen=True, slots=True)
class AddPoint:
    """Click on the object (label 1) or beside it (label 0), in raster pixels."""

    x_px: float
    y_px: float
    label: int = 1


@dataclass(frozen=True, slots=True)
class SetBox:
    """Draw the box around the object, in raster pixels, instead of the one there was."""

    x0_px: float
    y0_px: float
    x1_px: float
    y1_px: float

    @property
    def xyxy_px(self) -> tuple[float, float, float, float]:
        """The box in raster pixels."""
        return self.x0_px, self.y0_px, self.x1_px, self.y1_px


@dataclass(frozen=True, slots=True)
class Choose:
    """Choose one of the live candidates, by its number from 0."""

    candidate: int


@dataclass(frozen=True, slots=True)
class ClearPrompts:
    """Take the clicks and the box away."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Make the chosen candidate an object of a class."""

    class_name: str


@dataclass(frozen=True, slots=True)
class Select:
    """Select an object by its id, or none."""

    id: int | None


@dataclass(frozen=True, slots=True)
class SetClass:
    """Give an object another class."""

    id: int
    class_name: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Give an object another geometry, in the raster's CRS."""

    id: int
    geometry: shapely.Geometry


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object."""

    id: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """A polygon to accept or reject, in the raster's CRS, with the scores and the class that it may have.

    It is complete unless the edge of a window cut it.
    """

    geometry: shapely.Geometry
    predicted_iou: float | None = None
    stability_score: float | None = None
    class_name: str | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Propose:
    """Put polygons up for accept or reject, beside those that are up already.

    Attributes
    ----------
    proposals : tuple of Proposed
    already : int
        How many others were left out because an object or a proposal is the same.
    outside : int
        How many others were left out because they lie outside the raster.
    """

    proposals: tuple[Proposed, ...]
    already: int = 0
    outside: int = 0


@dataclass(frozen=True, slots=True)
class AcceptProposals:
    """Make proposals objects: of their own class where they have one, else of the given one."""

    ids: tuple[int, ...]
    class_name: str


@dataclass(frozen=True, slots=True)
class RejectProposals:
    """Take proposals away."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Undo:
    """Take the last action back."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Do again what was last undone."""


@dataclass(frozen=True, slots=True)
class Change:
    """What another program did to one object of the saved file.

    Attributes
    ----------
    id : int
    kind : str
        "added", "changed", "removed", or "restored" for an object that is there again because the other program changed it.
    values : dict
        Attributes of the object by name: all of them, but those that did not change for "changed".
    wait : bool
        Whether an object that was removed becomes a proposal, so that it can be accepted again.
    """

    id: int
    kind: str
    values: dict[str, Any]
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Take over what other programs changed in the saved file.

    Attributes
    ----------
    changes : tuple of Change
    left : int
        Rows of the file that cannot be objects, and stay as they are.
    remade : bool
        Whether the file was gone, and was made anew.
    """

    changes: tuple[Change, ...]
    left: int = 0
    remade: bool = False


Action = (
    AddPoint
    | SetBox
    | Choose
    | ClearPrompts
    | Accept
    | Select
    | SetClass
    | Edit
    | Delete
    | Propose
    | AcceptProposals
    | RejectProposals
    | Undo
    | Redo
    | Merge
)

CHANGING = (Accept, AcceptProposals, Delete, Edit, SetClass, Undo, Redo)
"""The actions that may change accepted objects."""

_NAMES: dict[type[Action], str] = {
    AddPoint: "add_point",
    SetBox: "set_box",
    Choose: "choose",
    ClearPrompts: "clear_prompts",
    Accept: "accept",
    Select: "select",
    SetClass: "set_class",
    Edit: "edit",
    Delete: "delete",
    Propose: "propose",
    AcceptProposals: "accept_proposals",
    RejectProposals: "reject_proposals",
    Undo: "undo",
    Redo: "redo",
    Merge: "merge",
}
_TYPES = {name: kind for kind, name in _NAMES.items()}


def to_record(action: Action) -> dict[str, Any]:
    """Return an action as plain values for JSON; geometries are WKB in hexadecimal, which keeps every bit."""
    return {"action": _NAMES[type(action)], **_plain(action)}


def from_record(record: dict[str, Any]) -> Action:
    """Return the action that `to_record` wrote; members that are no part of it are left aside.

    Raises
    ------
    OptionError
        If it is no action, or lacks something.
    """
    name = record.get("action")
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise OptionError(f"{name!r} is not an action; known are {', '.join(_TYPES)}.")
    try:
        action: Action = _build(kind, record)
    except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise OptionError(f"the action {name} cannot be read ({type(error).__name__}: {error}); was it changed?") from None
    return action


def _plain(value: Any) -> dict[str, Any]:
    return {field.name: _value(getattr(value, field.name)) for field in fields(value)}


def _value(value: Any) -> Any:
    if isinstance(value, shapely.Geometry):
        return shapely.to_wkb(value, hex=True)
    if isinstance(value, tuple):
        return [_plain(one) if isinstance(one, Proposed | Change) else one for one in value]
    if isinstance(value, dict):
        return {name: _value(one) for name, one in value.items()}
    return value


def _build(kind: Any, record: dict[str, Any]) -> Any:
    given = {field.name: record[field.name] for field in fields(kind) if field.name in record or field.default is MISSING}
    if "geometry" in given:
        given["geometry"] = shapely.from_wkb(given["geometry"])
    if "values" in given:
        given["values"] = {name: shapely.from_wkb(one) if name == "geometry" else one for name, one in given["values"].items()}
    if "changes" in given:
        given["changes"] = tuple(_build(Change, one) for one in given["changes"])
    if "proposals" in given:
        given["proposals"] = tuple(_build(Proposed, one) for one in given["proposals"])
    if "ids" in given:
        given["ids"] = tuple(given["ids"])
    return kind(**given)

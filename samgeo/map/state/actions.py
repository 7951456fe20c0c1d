"""The actions of an annotation session. Each action is a value that can be written as one line of the log."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import shapely

from samgeo.errors import OptionError
from samgeo.map.state.clean_options import CleanOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "CHANGING",
    "PROMPTS",
    "Accept",
    "AcceptProposals",
    "Action",
    "AddClass",
    "AddPoint",
    "Change",
    "Choose",
    "ClearPrompts",
    "Delete",
    "Edit",
    "Merge",
    "MergeObjects",
    "Propose",
    "Proposed",
    "Redo",
    "RejectProposals",
    "RenameClass",
    "Select",
    "SetBox",
    "SetClass",
    "SetClean",
    "SetColor",
    "SetOverlap",
    "Split",
    "Undo",
    "UseModel",
    "from_record",
    "to_record",
]

PROMPTS = ("clicks", "box", "box and clicks", "search", "find", "examples", "file", "given", "drawn")
"""What an object was made from: clicks, a box or both; a search of the view, a finder, or accepted objects as examples; a
prompt of a file; an outline that was given; or an outline that was drawn by hand."""

Built = TypeVar("Built", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class AddPoint:
    """Click on the object (label 1) or beside it (label 0), in raster pixels."""

    x_px: float
    y_px: float
    label: int = 1


@dataclass(frozen=True, slots=True)
class SetBox:
    """Draw a box around the object, in raster pixels. It replaces an earlier box."""

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
    """Choose one of the candidates of the prompt by its number, counted from 0."""

    candidate: int


@dataclass(frozen=True, slots=True)
class ClearPrompts:
    """Remove the clicks and the box."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Make the chosen candidate an object of a class.

    ``at`` is the time, as in `Annotation.accepted_at`; None if it is unknown.
    """

    class_name: str
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """Select an object by its id; None selects no object."""

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
class Split:
    """Split an object into pieces, in the raster's CRS. The first piece keeps the id, and the others get new ones."""

    id: int
    pieces: tuple[shapely.Geometry, ...]


@dataclass(frozen=True, slots=True)
class MergeObjects:
    """Merge objects into one, with their union in the raster's CRS. The first one keeps its id and its class."""

    ids: tuple[int, ...]
    geometry: shapely.Geometry


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object."""

    id: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """A polygon to accept or reject, in the raster's CRS, with its scores and its class if it has them.

    ``complete`` is False if the edge of a window cut the polygon. ``model`` is the name and the digest of the model that drew
    it, if they are known. ``prompt`` is one of `PROMPTS`.
    """

    geometry: shapely.Geometry
    predicted_iou: float | None = None
    stability_score: float | None = None
    class_name: str | None = None
    complete: bool = True
    model: str | None = None
    prompt: str = "given"


@dataclass(frozen=True, slots=True)
class Propose:
    """Add polygons as proposals to accept or reject.

    Attributes
    ----------
    proposals : tuple of Proposed
    already : int
        Number of polygons that were left out because the same object or proposal exists.
    outside : int
        Number of polygons that were left out because they lie outside the raster.
    nothing : int
        Number of clicks, boxes and prompts of a file for which the model found nothing.
    """

    proposals: tuple[Proposed, ...]
    already: int = 0
    outside: int = 0
    nothing: int = 0


@dataclass(frozen=True, slots=True)
class AcceptProposals:
    """Accept proposals as objects. Each keeps its own class if it has one, and otherwise gets the given class.

    ``at`` is the time, as in `Annotation.accepted_at`; None if it is unknown.
    """

    ids: tuple[int, ...]
    class_name: str
    at: str | None = None


@dataclass(frozen=True, slots=True)
class RejectProposals:
    """Reject proposals: they are removed."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UseModel:
    """Answer the prompts that follow with other weights, such as those that were trained on accepted objects.

    Attributes
    ----------
    name, digest : str
        Name of the model, and digest of its weights.
    path : str
        The file with the weights.
    """

    name: str
    digest: str
    path: str


@dataclass(frozen=True, slots=True)
class SetClean:
    """Choose how the outlines of candidates and of waiting masks are cleaned from now on."""

    options: CleanOptions


@dataclass(frozen=True, slots=True)
class SetOverlap:
    """Choose what happens from now on where an outline that is accepted overlaps accepted objects: cut, keep or merge."""

    overlap: str


@dataclass(frozen=True, slots=True)
class AddClass:
    """Add a class, with a colour such as ``#ff8800`` or with the one of its place in the list."""

    class_name: str
    color: str | None = None


@dataclass(frozen=True, slots=True)
class RenameClass:
    """Give a class, and everything that has it, another name."""

    class_name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class SetColor:
    """Give a class another colour, such as ``#ff8800``."""

    class_name: str
    color: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo the last action."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Redo the action that was undone last."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that another program made to one object of the saved file.

    Attributes
    ----------
    id : int
    kind : str
        "added", "changed", "removed", or "restored". A restored object was removed here, and exists again because the other
        program changed it.
    values : dict
        Attributes of the object by name: only the changed ones for "changed", and all otherwise.
    wait : bool
        Whether a removed object becomes a proposal, so that the analyst can accept it again.
    """

    id: int
    kind: str
    values: dict[str, Any]
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Take over the changes of other programs in the saved file.

    Attributes
    ----------
    changes : tuple of Change
    left : int
        Number of rows of the file that cannot be read as objects. They stay unchanged in the file.
    remade : bool
        Whether the file was missing and was created again.
    classes : tuple of str
        Classes that others added.
    colors : tuple of (str, str)
        Classes to which others gave a colour, and this colour.
    """

    changes: tuple[Change, ...]
    left: int = 0
    remade: bool = False
    classes: tuple[str, ...] = ()
    colors: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether the state changes."""
        return bool(self.changes or self.classes or self.colors)


Action = (
    AddPoint
    | SetBox
    | Choose
    | ClearPrompts
    | Accept
    | Select
    | SetClass
    | Edit
    | Split
    | MergeObjects
    | Delete
    | Propose
    | AcceptProposals
    | RejectProposals
    | UseModel
    | SetClean
    | SetOverlap
    | AddClass
    | RenameClass
    | SetColor
    | Undo
    | Redo
    | Merge
)

CHANGING = (
    *(Accept, AcceptProposals, AddClass, Delete, Edit, MergeObjects, RenameClass, SetClass, SetColor, Split),
    *(Undo, Redo),
)
"""The actions that may change what is saved: accepted objects, classes and colours."""

_NAMES: dict[type[Action], str] = {
    AddPoint: "add_point",
    SetBox: "set_box",
    Choose: "choose",
    ClearPrompts: "clear_prompts",
    Accept: "accept",
    Select: "select",
    SetClass: "set_class",
    Edit: "edit",
    Split: "split",
    MergeObjects: "merge_objects",
    Delete: "delete",
    Propose: "propose",
    AcceptProposals: "accept_proposals",
    RejectProposals: "reject_proposals",
    UseModel: "use_model",
    SetClean: "set_clean",
    SetOverlap: "set_overlap",
    AddClass: "add_class",
    RenameClass: "rename_class",
    SetColor: "set_color",
    Undo: "undo",
    Redo: "redo",
    Merge: "merge",
}
_TYPES = {name: kind for kind, name in _NAMES.items()}


def to_record(action: Action) -> dict[str, Any]:
    """Return an action as plain values for JSON. Geometries become hexadecimal WKB, which keeps coordinates exactly."""
    return {"action": _NAMES[type(action)], **_plain(action)}


def from_record(record: dict[str, Any]) -> Action:
    """Return the action of a record that `to_record` wrote. Unknown members of the record are ignored.

    Raises
    ------
    OptionError
        If the record is not an action, or lacks a member.
    """
    name = record.get("action")
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise OptionError(f"{name!r} is not an action; the actions are {', '.join(_TYPES)}.")
    try:
        action: Action = _build(kind, record)
    except (KeyError, TypeError, ValueError, OptionError, shapely.errors.ShapelyError) as error:
        raise OptionError(
            f"the action {name} cannot be read ({type(error).__name__}: {error}); the log may have been changed."
        ) from None
    return action


def _plain(value: DataclassInstance) -> dict[str, Any]:
    return {field.name: _value(getattr(value, field.name)) for field in fields(value)}


def _value(value: object) -> object:
    if isinstance(value, shapely.Geometry):
        return shapely.to_wkb(value, hex=True)
    if isinstance(value, tuple):
        return [_plain(one) if isinstance(one, Proposed | Change) else _value(one) for one in value]
    if isinstance(value, CleanOptions):
        return _plain(value)
    if isinstance(value, dict):
        return {name: _value(one) for name, one in value.items()}
    return value


def _build(kind: type[Built], record: dict[str, Any]) -> Built:
    given = {field.name: record[field.name] for field in fields(kind) if field.name in record or field.default is MISSING}
    if "geometry" in given:
        given["geometry"] = shapely.from_wkb(given["geometry"])
    if "pieces" in given:
        given["pieces"] = tuple(map(shapely.from_wkb, given["pieces"]))
    if "values" in given:
        given["values"] = {name: shapely.from_wkb(one) if name == "geometry" else one for name, one in given["values"].items()}
    if "changes" in given:
        given["changes"] = tuple(_build(Change, one) for one in given["changes"])
    if "proposals" in given:
        given["proposals"] = tuple(_build(Proposed, one) for one in given["proposals"])
    if "options" in given:
        given["options"] = _build(CleanOptions, given["options"])
    for name in ("ids", "classes"):
        if name in given:
            given[name] = tuple(given[name])
    if "colors" in given:
        given["colors"] = tuple((name, color) for name, color in given["colors"])
    return kind(**given)

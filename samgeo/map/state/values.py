"""The values of which the state of an annotation session is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import shapely

from samgeo.errors import OptionError
from samgeo.map.state.actions import AddPoint, SetBox, UseModel
from samgeo.map.state.class_list import NO_CLASSES, ClassList
from samgeo.map.state.clean_options import AS_DRAWN, CleanOptions

__all__ = ["Annotation", "Offer", "Prompt", "Proposal", "Rules", "State", "Suggestion", "label_of"]

DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Prompt:
    """The clicks and boxes around one object, in the order in which they were made.

    Attributes
    ----------
    marks : tuple of AddPoint or SetBox
        Clicks and boxes in raster pixels. Of several boxes the last one is used.
    chosen : tuple of int
        For each mark, the candidate that was chosen when the mark was made. The mark corrects the logits of that candidate.
    """

    marks: tuple[AddPoint | SetBox, ...] = ()
    chosen: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.marks)

    @property
    def points(self) -> tuple[AddPoint, ...]:
        """The clicks."""
        return tuple(mark for mark in self.marks if isinstance(mark, AddPoint))

    @property
    def box(self) -> SetBox | None:
        """The box, if there is one."""
        return next((mark for mark in reversed(self.marks) if isinstance(mark, SetBox)), None)


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate that the model offers for the current prompt.

    Attributes
    ----------
    geometry : Polygon or MultiPolygon
        In the raster's CRS.
    predicted_iou, stability_score : float
        The model's own estimate, and how little the mask depends on the threshold.
    area : float
        Square metres; pixels where the raster has no CRS.
    complete : bool
        False where the edge of a window cut the outline.
    model : str or None
        Name of the model that drew the outline, and the first 16 digits of the digest of its weights.
    raw : Polygon or MultiPolygon or None
        The outline before it was cleaned; None if it is ``geometry``.
    """

    geometry: shapely.Geometry
    predicted_iou: float
    stability_score: float
    area: float
    complete: bool = True
    model: str | None = None
    raw: shapely.Geometry | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The answer of a model to a prompt: up to three candidates, the best first, or none and the reason."""

    offers: tuple[Offer, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A polygon that waits to be accepted or rejected. Its attributes mean the same as those of `Annotation`.

    ``raw`` is the outline before it was cleaned, or None if it is ``geometry``.
    """

    id: int
    geometry: shapely.Geometry
    predicted_iou: float | None
    stability_score: float | None
    area: float
    class_name: str | None = None
    complete: bool = True
    model: str | None = None
    prompt: str = "given"
    raw: shapely.Geometry | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """An accepted object.

    Attributes
    ----------
    id : int
        Counted from 1; unique in a session and in all sessions that continue it.
    geometry : Polygon or MultiPolygon
        In the raster's CRS.
    class_name : str
    predicted_iou, stability_score : float or None
        The scores of the model's mask; None if no model scored this geometry.
    area : float
        Square metres; pixels where the raster has no CRS.
    prompt : str
        What the object was made from, see `samgeo.map.state.actions.PROMPTS`; "unknown" if that is unknown.
    edited : bool
        Whether the geometry was replaced by hand.
    complete : bool
        False if the edge of a window cut the model's outline.
    model : str or None
        Name of the model that drew the first outline, and the first 16 digits of the digest of its weights; None if unknown.
    accepted_at : str or None
        When the object was accepted, in ISO 8601 and UTC, such as "2026-03-01T09:30:00.125Z"; None if that is unknown.
    """

    id: int
    geometry: shapely.Geometry
    class_name: str
    predicted_iou: float | None
    stability_score: float | None
    area: float
    prompt: str
    edited: bool = False
    complete: bool = True
    model: str | None = None
    accepted_at: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The part of a session that undo and redo change.

    Attributes
    ----------
    prompt : Prompt
        The clicks and the box for the next object.
    answer : Suggestion
        The candidates for the prompt.
    chosen : int
        The number of the chosen candidate, from 0.
    objects : tuple of Annotation
        The accepted objects, in the order of acceptance.
    proposals : tuple of Proposal
        The polygons that wait to be accepted or rejected.
    rejected : tuple of Proposal
        The polygons that were rejected, in the order of rejection.
    selected : int or None
        The id of the selected object.
    next_id : int
        The id of the next object or proposal.
    weights : UseModel or None
        The weights that answer prompts; None for those that the session was opened with.
    class_list : ClassList
        The classes and their colours.
    clean : CleanOptions
        How the outlines of candidates and of proposals are cleaned.
    overlap : str
        What happens at acceptance where an outline overlaps accepted objects: "cut", "keep" or "merge".
    """

    prompt: Prompt = Prompt()
    answer: Suggestion = Suggestion()
    chosen: int = 0
    objects: tuple[Annotation, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    rejected: tuple[Proposal, ...] = ()
    selected: int | None = None
    next_id: int = 1
    weights: UseModel | None = None
    class_list: ClassList = NO_CLASSES
    clean: CleanOptions = AS_DRAWN
    overlap: str = "keep"

    @property
    def candidate(self) -> Offer | None:
        """The chosen candidate, if there is one."""
        return self.answer.offers[self.chosen] if self.answer.offers else None

    def object(self, id: int) -> Annotation:  # noqa: A002 - the field's word, and the column's name
        """Return an object.

        Raises
        ------
        OptionError
            If no object has this id.
        """
        found = next((one for one in self.objects if one.id == id), None)
        if found is None:
            raise OptionError(
                f"there is no object {id!r} among the {len(self.objects)} accepted ones; it may have been deleted."
            )
        return found


@dataclass(frozen=True, slots=True)
class Rules:
    """The functions and the constants of a raster that `apply` needs in addition to the state.

    Attributes
    ----------
    ask : callable
        Returns the `Suggestion` of a model for a `Prompt`, given the prompt and the weights of the state.
    measure : callable
        Returns the areas of geometries in the raster's CRS.
    clean : callable
        Returns cleaned outlines, given outlines in the raster's CRS and the options of the state.
    pixel_area : float
        Area of a pixel in the units of the raster's CRS.
    min_part : float
        Parts of fewer pixels that remain of an outline at acceptance are dropped.
    """

    ask: Callable[[Prompt, UseModel | None], Suggestion]
    measure: Callable[[Sequence[shapely.Geometry]], list[float]]
    clean: Callable[[Sequence[shapely.Geometry], CleanOptions], list[shapely.Geometry]]
    pixel_area: float = 1.0
    min_part: float = 0.0


def label_of(name: str, digest: str) -> str:
    """Return the text that names the model of an object: its name, and the first 16 digits of the digest of its weights."""
    return f"{name} {digest[:DIGEST_DIGITS]}"

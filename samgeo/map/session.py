"""An annotation session: prompt the model, accept objects, undo, export. It has no widgets; a display subscribes to it."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import shapely

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points
from samgeo.geo.html_summary import html_summary
from samgeo.map.editing.session_editing import SessionEditing
from samgeo.map.files.autosave import Autosave
from samgeo.map.files.placing import place_geometry
from samgeo.map.session_parts.classes import Classing
from samgeo.map.session_parts.core import now
from samgeo.map.session_parts.exports import Exporting
from samgeo.map.session_parts.file_prompts import FilePrompting
from samgeo.map.session_parts.outlines import Outlining
from samgeo.map.session_parts.searches import Searching
from samgeo.map.state.actions import (
    Accept,
    AddPoint,
    Choose,
    ClearPrompts,
    Delete,
    Edit,
    Redo,
    Select,
    SetBox,
    SetClass,
    Undo,
)
from samgeo.map.state.clean_options import AS_DRAWN, CleanOptions, check_overlap
from samgeo.map.state.history import History, replay
from samgeo.map.state.live_state import Live, Snapshot
from samgeo.map.state.log import Log, check_same, describe
from samgeo.map.state.reducer import label_of
from samgeo.map.state.restore import check_classes, check_files, recorded_at, rules_of, start_from
from samgeo.map.suggestions import Answers
from samgeo.types import CRSLike

if TYPE_CHECKING:
    from samgeo.segmentation.predictor import Predictor

__all__ = ["Session", "Snapshot"]

DEFAULT_CLASSES: tuple[str, ...] = ("object",)


class Session(SessionEditing, Searching, FilePrompting, Outlining, Classing, Exporting):
    """The objects that an analyst makes in a raster by prompting a model, with the history of all actions.

    Every action is written to the log, and can be undone and redone. Coordinates are in the raster's CRS unless ``crs`` names
    another one: anything that pyproj takes, or "pixels". A session is thread-safe: actions are done one at a time, in the
    order of the log.

    Parameters
    ----------
    predictor : Predictor
        The raster and the model.
    classes : sequence of str, default ("object",)
        The palette; the first class is the default. Classes of the saved file are added to it.
    log : path, optional
        A file of JSON lines. Each action is appended to it before the action takes effect.
    autosave : path, optional
        A GeoPackage, written after each change of the objects. Only the rows that changed are written; other columns, rows,
        layers and styles stay. If the file exists, the session starts with its objects. If it does not exist, the session
        starts from the log. If the last session of the log ended before it could save, its unsaved changes are added from
        the log. Changes that other sessions or programs make in the file are taken over before the next change;
        ``snapshot.merge`` lists them.
    clean : CleanOptions, optional
        How the outlines of candidates and of waiting masks are cleaned; see `set_clean`. By default they stay as they are.
    on_overlap : {"cut", "keep", "merge"}, default "cut"
        What happens at acceptance where an outline overlaps accepted objects; see `set_on_overlap`.

    Raises
    ------
    SamgeoError
        If a file is of another raster, cannot be read, or cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.map import Session
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[40:80, 45:75] = 2
    >>> session = Session(samgeo.Predictor(encode_ids(labels), model=Oracle(64)), classes=("roof", "road"))
    >>> _ = session.add_point(60, 60)
    >>> _ = session.accept("roof")
    >>> session.to_frame()[["class", "area_px"]].values.tolist()
    [['roof', 1200.0]]
    >>> _ = session.undo()
    >>> len(session.to_frame())
    0
    """

    @check_types
    def __init__(
        self,
        predictor: Predictor,
        *,
        classes: tuple[str, ...] | list[str] = DEFAULT_CLASSES,
        log: str | os.PathLike[str] | None = None,
        autosave: str | os.PathLike[str] | None = None,
        clean: CleanOptions = AS_DRAWN,
        on_overlap: str = "cut",
    ) -> None:
        palette, geobox = check_classes(classes), predictor.raster.geobox
        check_overlap(on_overlap)
        check_files(log, autosave)
        self.id = uuid.uuid4().hex[:12]
        self._answers = answers = Answers(predictor)
        answers.clean.check(clean)
        store = None if autosave is None else Autosave(autosave, geobox, answers.measure, self._provenance)
        opening = replace(start_from(answers, palette, log, store), clean=clean, overlap=on_overlap)
        self.autosave = None if store is None else store.path
        self._run = opening.run
        self._rules = rules = rules_of(answers)
        # Save before the log records the start of this session: otherwise a crash in between would lose the unsaved changes
        # of an earlier session.
        self._live = Live(History(opening.state), rules, None, store)
        self._live.save()
        now = self._live.snapshot.state
        opening = replace(opening, class_list=now.class_list, objects=now.objects, next_id=now.next_id)
        start = replace(opening.state, proposals=now.proposals)
        self._live = Live(History(start), rules, None if log is None else Log(log, self.id, opening), store)

    @classmethod
    @check_types
    def replay(cls, log: str | os.PathLike[str], predictor: Predictor) -> Self:
        """Repeat the last session of a log; the state at the end is identical.

        Parameters
        ----------
        log : path
        predictor : Predictor
            A predictor with the same raster, model and windows.

        Returns
        -------
        Session
            A session with the same history, so that its actions can be undone. It has no log and no saved file.

        Raises
        ------
        OptionError
            If the log is of another raster, model or lattice of windows (the message names them), or if it is damaged.

        Warns
        -----
        SamgeoWarning
            If the last line is incomplete because the session ended while writing it. That action is left out.
        """
        recorded = recorded_at(log)
        check_same(str(log), recorded.opening.run, describe(predictor))
        session = cls(predictor, classes=recorded.opening.class_list.names)
        session._live = Live(replay(recorded, session._rules), session._rules, None, None, len(recorded.actions))
        return session

    def __repr__(self) -> str:
        return f"Session({self._answers.start.raster.name!r}, {', '.join(self._summary().values())})"

    def _repr_html_(self) -> str:
        return html_summary(f"Session on {self._answers.start.raster.name}", self._summary())

    def _summary(self) -> dict[str, str]:
        state = self.state
        counts = Counter(one.class_name for one in state.objects)
        classes = ", ".join(f"{counts[name]} {name}" for name in self.classes if counts[name])
        model = state.weights or self._answers.start.model
        return {
            "accepted": f"{len(state.objects)} accepted" + (f" ({classes})" if classes else ""),
            "waiting": f"{len(state.proposals)} waiting",
            "model": f"model {label_of(model.name, model.digest)}",
            "saved": "not saved" if self.autosave is None else f"saved to {self.autosave}",
        }

    @check_types
    def add_point(self, x: float, y: float, label: int = 1, *, crs: CRSLike = None) -> Snapshot:
        """Click on the object (label 1) or beside it (label 0).

        A click after other clicks corrects the chosen candidate. The candidates are in ``state.answer``.

        Raises
        ------
        OptionError
            If the label is not 0 or 1, or the point has no coordinates in the raster's CRS.
        """
        if label not in (0, 1):
            raise OptionError(f"label is {label!r}; give 1 (foreground) or 0 (background).")
        xy, _, _ = read_points([[x, y]], geobox=self.predictor.raster.geobox, crs=crs)
        x_px, y_px = _placed(xy[0, 0].tolist(), crs)
        return self._live.do(lambda _: AddPoint(x_px, y_px, int(label)))

    @check_types
    def set_box(self, x0: float, y0: float, x1: float, y1: float, *, crs: CRSLike = None) -> Snapshot:
        """Draw a box around the object between two corners, given in any order. It replaces an earlier box.

        Raises
        ------
        OptionError
            If a corner has no coordinates in the raster's CRS.
        """
        sides = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
        box, _ = read_boxes([sides], geobox=self.predictor.raster.geobox, crs=crs)
        placed = SetBox(*_placed(box[0].tolist(), crs))
        return self._live.do(lambda _: placed)

    @check_types
    def choose(self, candidate: int) -> Snapshot:
        """Choose a candidate of the current prompt by its number, counted from 0."""
        return self._live.do(lambda _: Choose(candidate))

    def clear_prompts(self) -> Snapshot:
        """Remove the clicks and the box."""
        return self._live.do(lambda _: ClearPrompts())

    @check_types
    def accept(self, class_name: str | None = None) -> Snapshot:
        """Make the chosen candidate an object, the last one of ``state.objects``, and remove the prompts.

        Where it overlaps accepted objects, the option ``on_overlap`` decides, see `set_on_overlap`. With "merge" the object
        with which it is joined keeps its place.

        Raises
        ------
        OptionError
            If there is no candidate, no such class, or accepted objects cover the candidate, so that a cut leaves nothing.
        """
        return self._live.do(lambda _: Accept(class_name or self.classes[0], now()))

    @check_types
    def select(self, id: int | None) -> Snapshot:  # noqa: A002 - the field's word, and the column's name
        """Select an object, or none."""
        return self._live.do(lambda _: Select(id))

    @check_types
    def set_class(self, id: int, class_name: str) -> Snapshot:  # noqa: A002
        """Give an object another class."""
        return self._live.do(lambda _: SetClass(id, class_name))

    @check_types
    def edit(self, id: int, geometry: shapely.Geometry, *, crs: CRSLike = None) -> Snapshot:  # noqa: A002
        """Give an object another geometry, and remove the model's scores, which belong to the old geometry.

        Raises
        ------
        OptionError
            If there is no such object.
        VectorError
            If the geometry is not a valid polygon or multipolygon.
        """
        placed = place_geometry(geometry, self.predictor.raster.geobox, crs)
        return self._live.do(lambda _: Edit(id, placed))

    @check_types
    def delete(self, id: int) -> Snapshot:  # noqa: A002
        """Delete an object."""
        return self._live.do(lambda _: Delete(id))

    def undo(self) -> Snapshot:
        """Undo the last action; do nothing where there is none."""
        return self._live.do(lambda _: Undo())

    def redo(self) -> Snapshot:
        """Redo the action that was undone last; do nothing where there is none."""
        return self._live.do(lambda _: Redo())

    @check_types
    def object_at(self, x: float, y: float, *, crs: CRSLike = None) -> int | None:
        """Return the id of the object at a point; the last accepted one of several; None where there is no object."""
        geobox = self.predictor.raster.geobox
        xy, _, _ = read_points([[x, y]], geobox=geobox, crs=crs)
        place = shapely.Point(geobox.affine * tuple(xy[0, 0].tolist()))
        return next((one.id for one in reversed(self.state.objects) if shapely.covers(one.geometry, place)), None)

    def subscribe(self, observer: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call an observer after each change, with the snapshot.

        Snapshots come in the order of the changes, one at a time, and outside the session's lock. The observer may itself act
        on the session; it then gets the snapshot of that action next.

        Returns
        -------
        callable
            Call it to end the subscription.
        """
        return self._live.subscribe(observer)


def _placed(coordinates: list[float], crs: CRSLike) -> list[float]:
    if any(one != one for one in coordinates):  # noqa: PLR0124 - NaN is what differs from itself
        raise OptionError(f"the coordinates cannot be transformed to the raster's CRS; check that they are in {crs}.")
    return coordinates

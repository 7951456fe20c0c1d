"""An annotation session: prompt the model, accept objects, undo, export. It has no widgets; a display subscribes to it."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely

from samgeo.arguments import check_types
from samgeo.errors import OptionError, StoppedError
from samgeo.finding.api import find
from samgeo.finding.similar import similar
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points
from samgeo.geo.html_summary import html_summary
from samgeo.geo.vector.axes import check_y_up, describe_axes
from samgeo.geo.vector.reading import check_output, write_vectors
from samgeo.map.editing.session_editing import SessionEditing
from samgeo.map.files.autosave import MEMBER, Autosave
from samgeo.map.files.export import to_coco, to_frame, write_json
from samgeo.map.files.placing import place_geometry, read_proposals, without_known
from samgeo.map.more_like_these import class_of_examples, examples_of, without_seen
from samgeo.map.other_weights import weights_of
from samgeo.map.state.actions import (
    Accept,
    AcceptProposals,
    AddPoint,
    Choose,
    ClearPrompts,
    Delete,
    Edit,
    Merge,
    Propose,
    Redo,
    RejectProposals,
    Select,
    SetBox,
    SetClass,
    Undo,
    UseModel,
)
from samgeo.map.state.history import History, replay
from samgeo.map.state.live_state import Live, Snapshot
from samgeo.map.state.log import Log, check_same, describe
from samgeo.map.state.merging import palette_of
from samgeo.map.state.reducer import Rules, State, label_of
from samgeo.map.state.restore import check_classes, check_files, recorded_at, start_from
from samgeo.map.suggestions import Answers
from samgeo.map.train_on_accepted import Course, Training, free_path
from samgeo.segmentation.masks.vectorize import georeference
from samgeo.storage.provenance import made_with
from samgeo.types import BoxesLike, CRSLike, FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.segmentation.predictor import Predictor
    from samgeo.training.finetuning.api import Finetuned

__all__ = ["Session", "Snapshot"]

DEFAULT_CLASSES: tuple[str, ...] = ("object",)


class Session(SessionEditing):
    """The objects that an analyst makes in a raster by prompting a model, with the history of all actions.

    Every action is written to the log, and can be undone and redone. Coordinates are in the raster's CRS unless ``crs`` names
    another one: anything that pyproj takes, or "pixels". A session is thread-safe: actions are done one at a time, in the
    order of the log.

    Parameters
    ----------
    predictor : Predictor
        The raster and the model.
    classes : sequence of str, default ("object",)
        The palette; the first class is the default. Classes of the objects in the saved file are added to it.
    log : path, optional
        A file of JSON lines. Each action is appended to it before the action takes effect.
    autosave : path, optional
        A GeoPackage, written after each change of the objects. Only the rows that changed are written; other columns, rows,
        layers and styles stay. If the file exists, the session starts with its objects. If it does not exist, the session
        starts from the log. If the last session of the log ended before it could save, its unsaved changes are added from
        the log. Changes that other sessions or programs make in the file are taken over before the next change;
        ``snapshot.merge`` lists them.

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
    ) -> None:
        palette, geobox = check_classes(classes), predictor.raster.geobox
        check_files(log, autosave)
        self.id = uuid.uuid4().hex[:12]
        self._answers = answers = Answers(predictor)
        store = None if autosave is None else Autosave(autosave, geobox, answers.measure, self._provenance)
        opening = start_from(answers, palette, log, store)
        self.autosave = None if store is None else store.path
        self._run = opening.run
        rules = Rules(opening.classes, answers.ask, answers.measure)
        start = State(objects=opening.objects, next_id=opening.next_id)
        # Save before the log records the start of this session: otherwise a crash in between would lose the unsaved changes
        # of an earlier session.
        self._live = Live(History(start), rules, None, store)
        self._live.save()
        now = self._live.snapshot.state
        start = State(objects=now.objects, proposals=now.proposals, next_id=now.next_id)
        self._rules = replace(rules, classes=self._live.classes)
        opening = replace(opening, classes=self._live.classes, objects=now.objects, next_id=now.next_id)
        self._live = Live(History(start), self._rules, None if log is None else Log(log, self.id, opening), store)

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
        UserWarning
            If the last line is incomplete because the session ended while writing it. That action is left out.
        """
        recorded = recorded_at(log)
        check_same(str(log), recorded.opening.run, describe(predictor))
        session = cls(predictor, classes=recorded.opening.classes)
        history = replay(recorded, session._rules)
        palette = session.classes
        for _, action in recorded.actions:
            if isinstance(action, Merge):
                palette = palette_of(palette, action.changes)
        session._live = Live(history, replace(session._rules, classes=palette), None, None, len(recorded.actions))
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

    @property
    def predictor(self) -> Predictor:
        """The raster, and the model that answers the next prompt: that of the start, or the one of `use_model`."""
        return self._answers.predictor(self.state.weights)

    @property
    def classes(self) -> tuple[str, ...]:
        """The palette: the given classes, the classes of saved objects, and classes that other programs added."""
        return self._live.classes

    @property
    def state(self) -> State:
        """The current state. Reading it does not wait for an action in progress."""
        return self._live.snapshot.state

    @property
    def snapshot(self) -> Snapshot:
        """The current state, and whether undo and redo are possible. Reading it does not wait for an action in progress."""
        return self._live.snapshot

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

        Raises
        ------
        OptionError
            If there is no candidate, or no such class.
        """
        return self._live.do(lambda _: Accept(class_name or self.classes[0]))

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

    def propose(self, features: FeaturesLike) -> Snapshot:
        """Add polygons as proposals, which the analyst accepts or rejects.

        A polygon is left out if an object or a proposal with the same outline and class exists, so that the same features
        can be given twice. Polygons outside the raster are left out too. The ``action`` of the snapshot counts both.

        Parameters
        ----------
        features : path, GeoDataFrame or GeoSeries
            Polygons in any CRS, for example from `samgeo.segment`. The columns ``predicted_iou``, ``stability_score`` and
            ``class`` are used where they exist.

        Raises
        ------
        SamgeoError
            If they cannot be read, have no CRS, are not valid polygons, all lie outside the raster, or a class is not in the
            palette.
        """
        given = read_proposals(features, self.predictor.raster.geobox)
        made: list[Propose] = []

        def make(state: State) -> Propose:
            made.append(without_known(given, state))
            return made[-1]

        done = self._live.do(make)
        # Where no polygon was new, there is no action in the history; the caller still gets the counts.
        return done if done.action is made[-1] else replace(done, action=made[-1], merge=None)

    @check_types
    def find(
        self,
        what: str = "building",
        bounds: BoxesLike = None,
        *,
        crs: CRSLike = None,
        class_name: str | None = None,
        min_score: float | None = None,
        progress: Callable[[int, int], bool] | None = None,
    ) -> Snapshot:
        """Find the objects of one kind, and add them as proposals; see `samgeo.find`.

        Parameters
        ----------
        what : str, default "building"
            The class of a bundled finder.
        bounds : sequence of 4 numbers, optional
            x0, y0, x1, y1 of the part of the raster in which objects are found, for example the view of a map. The whole
            raster by default.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of the bounds. That of the raster by default.
        class_name : str, optional
            Class of the proposals. By default it is ``what`` if the palette has this class, else it is given on acceptance.
        min_score : float, optional
            Objects with a lower score are left out; the default is that of the finder.
        progress : callable, optional
            Called with 0 and 0 before the search, and with 1 and 1 after it. It returns False to propose nothing.

        Returns
        -------
        Snapshot
            As `propose`.

        Raises
        ------
        SamgeoError
            If the bounds or the class cannot be used, or the model with which the session was opened is not that of the finder.
        StoppedError
            If ``progress`` returned False. Nothing is proposed.
        """
        raster = self.predictor.raster
        area = None
        if bounds is not None:
            corners, _ = read_boxes([bounds], geobox=raster.geobox, crs=crs)
            area = georeference(np.array([shapely.box(*corners[0])], dtype=object), raster.geobox.affine)[0]
        go_on = progress or (lambda _done, _total: True)
        if not go_on(0, 0):
            raise StoppedError("the search was stopped before it began; nothing is proposed.")
        # A finder belongs to the features of one model: that of the start.
        found = find(raster, what, model=self._answers.start.model, aoi=area, min_score=min_score, progress=False)
        if not go_on(1, 1):
            raise StoppedError("the search was stopped; nothing is proposed.")
        named = class_name or (what if what in self.classes else None)
        return self.propose(found.drop(columns="class") if named is None else found.assign(**{"class": named}))

    @check_types
    def find_similar(
        self,
        bounds: BoxesLike = None,
        *,
        rejected: bool = True,
        crs: CRSLike = None,
        class_name: str | None = None,
        min_score: float | None = None,
        progress: Callable[[int, int], bool] | None = None,
    ) -> Snapshot:
        """Find more objects like the accepted ones of a class, and add them as proposals; see `samgeo.finding.similar`.

        The examples are the 50 objects of the class that were accepted last, and as many rejected proposals. What is accepted,
        proposed or rejected already is not proposed again.

        Parameters
        ----------
        bounds : sequence of 4 numbers, optional
            x0, y0, x1, y1 of the part of the raster in which objects are searched, for example the view of a map. By default
            the windows with the examples, and their neighbours.
        rejected : bool, default True
            Whether proposals of the class, or without a class, that were rejected in this session show what is not wanted.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of the bounds. That of the raster by default.
        class_name : str, optional
            Class of the examples and of the proposals. By default that of the selected object, or if none is selected, that of
            the object that was accepted last.
        min_score : float, optional
            Objects with a lower score are left out, from 0 to 1; 0.2 by default.
        progress : callable, optional
            Called with the number of windows that are done and the number of all windows. It returns False to stop.

        Returns
        -------
        Snapshot
            As `propose`.

        Raises
        ------
        OptionError
            If no object of the class is accepted, or an option is invalid.
        StoppedError
            If ``progress`` returned False. Nothing is proposed.
        SamgeoError
            As `samgeo.finding.similar`.
        """
        state = self.state
        named = class_of_examples(state, self.classes, class_name)
        examples = examples_of(state, named, self.predictor.raster.geobox, rejected=rejected)
        found = similar(self.predictor, examples, named, bounds=bounds, crs=crs, min_score=min_score, progress=progress)
        return self.propose(without_seen(found, self.state))

    @check_types
    def use_model(self, path: str | os.PathLike[str]) -> Snapshot:
        """Answer the prompts that follow with the weights of a file. Undo returns to the weights that were used before.

        An open prompt is asked again. Objects have the model that drew them in the column ``model``.

        Parameters
        ----------
        path : path
            Weights of the same architecture, such as those of `train_on_accepted`. The log names this file, so that it must
            stay where it is as long as the log is replayed.

        Raises
        ------
        SamgeoError
            If the file cannot be read, or the model of the session is not of the architecture of the bundled one.
        """
        weights: UseModel = weights_of(path, self._answers.start)
        return self._live.do(lambda _: weights)

    @check_types
    def train_on_accepted(
        self,
        output: str | os.PathLike[str] | None = None,
        *,
        preset: str = "decoder",
        minutes: float | None = 5.0,
        steps: int | None = None,
        rate: float | None = None,
        check_shift: bool = True,
        seed: int = 0,
        progress: Callable[[str], bool] | None = None,
    ) -> Finetuned:
        """Train the model on the accepted objects with `samgeo.finetune`, and use it if it is better on those held out.

        Each training begins with the weights that the session was opened with, so that no held-out object was seen by them.
        Objects that were accepted exactly as the model drew them teach it little; those that were corrected do.

        Parameters
        ----------
        output : path, optional
            The file for the new weights, a ``.safetensors`` that does not exist yet. By default ``NAME-trained-1.safetensors``
            beside the autosaved file, or the next number that is free. The run folder with the report is beside it.
        preset, minutes, steps, rate, check_shift, seed : optional
            See `samgeo.finetune`.
        progress : callable, optional
            Called with lines of text. It returns False to stop.

        Returns
        -------
        Finetuned
            ``accepted`` and ``reason`` say what was decided. If the weights were accepted, the prompts that follow are answered
            by them, as after `use_model`; undo returns to the weights that were used before.

        Raises
        ------
        OptionError
            If fewer than 20 objects are accepted, there is no place for the weights, or the model cannot be trained.
        StoppedError
            If ``progress`` returned False. The model is the same as before, and no file is left.
        SamgeoError
            As `samgeo.finetune`.
        """
        course = Course(preset, minutes, steps, rate, check_shift, seed)
        training = Training.of(self._answers.start, self.state.objects, free_path(output, self.autosave), course)
        done = training.run(progress or (lambda _: True))
        if done.accepted:
            self.use_model(done.output)
        return done

    @check_types
    def accept_proposals(self, ids: list[int] | tuple[int, ...] | None = None, class_name: str | None = None) -> Snapshot:
        """Accept proposals, all by default: each becomes an object with its id, and its own class or else ``class_name``."""
        named = class_name or self.classes[0]
        return self._live.do(lambda state: AcceptProposals(_proposal_ids(state, ids), named))

    def reject_proposals(self, ids: list[int] | tuple[int, ...] | None = None) -> Snapshot:
        """Reject proposals, all by default: they are removed."""
        return self._live.do(lambda state: RejectProposals(_proposal_ids(state, ids)))

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

    def to_frame(self) -> gpd.GeoDataFrame:
        """Return the objects, with the columns of `samgeo.map.files.export.to_frame`."""
        now = self.snapshot
        frame = to_frame(now.state.objects, self.predictor.raster.geobox)
        frame.attrs["samgeo"] = self._provenance(now.state, now.revision)
        return frame

    @check_types
    def export(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, layer: str | None = None, y_up: bool = False
    ) -> None:
        """Write the objects to a vector file, in the format that its suffix names.

        Parameters
        ----------
        path : path
        overwrite : bool, default False
            Whether an existing file may be replaced. In a GeoPackage only the layer is replaced; other layers and styles stay.
        layer : str, optional
            Name of the layer in a GeoPackage; by default the file's name without its suffix.
        y_up : bool, default False
            Whether y points up in the file, for a raster without georeference; see `samgeo.segment`.

        Raises
        ------
        SamgeoError
            If the file cannot be written, or is the raster itself.
        """
        raster = self.predictor.raster
        check_y_up(raster.geobox, y_up, path)
        check_output(path, overwrite, crs=raster.geobox.crs, layer=layer, inputs=(raster,))
        frame = self.to_frame()
        provenance = frame.attrs["samgeo"] | describe_axes(raster.geobox, y_up=y_up)
        write_vectors(frame, path, overwrite=overwrite, layer=layer, provenance=provenance)

    @check_types
    def export_coco(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the objects as COCO, polygons in pixel coordinates, to a ``.json`` file.

        Raises
        ------
        VectorError
            If the file cannot be written, or is the raster itself.
        """
        raster = self.predictor.raster
        write_json(to_coco(self.state.objects, raster, self.classes), path, overwrite=overwrite, inputs=(raster,))

    def _provenance(self, state: State, actions: int) -> dict[str, Any]:
        raster = self._answers.start.raster
        return {
            **made_with(state.weights or self._answers.start.model, raster.provenance()),
            **describe_axes(raster.geobox),
            MEMBER: {
                "session": self.id,
                "actions": actions,
                "next_id": state.next_id,
                "classes": list(self.classes),
                "run": self._run,
            },
        }


def _placed(coordinates: list[float], crs: CRSLike) -> list[float]:
    if any(one != one for one in coordinates):  # noqa: PLR0124 - NaN is what differs from itself
        raise OptionError(f"the coordinates cannot be transformed to the raster's CRS; check that they are in {crs}.")
    return coordinates


def _proposal_ids(state: State, ids: list[int] | tuple[int, ...] | None) -> tuple[int, ...]:
    return tuple(one.id for one in state.proposals) if ids is None else tuple(ids)

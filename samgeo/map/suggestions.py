"""Candidates of a predictor for the clicks and boxes of a session; each click corrects the answer before it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from samgeo.geo.coordinates.area import area_m2
from samgeo.geo.coordinates.prompt_geometry import PIXELS
from samgeo.geo.grid import Rect
from samgeo.map.other_weights import predictor_with
from samgeo.map.outline_cleaning import Cleaner
from samgeo.map.state.actions import AddPoint, UseModel
from samgeo.map.state.reducer import Offer, Prompt, Suggestion, label_of
from samgeo.segmentation.masks.vectorize import georeference, polygons
from samgeo.segmentation.predictor import Candidate, Predictor
from samgeo.segmentation.prompts.assignment import SoftMask
from samgeo.segmentation.windows.cut_edges import EDGE_PX
from samgeo.segmentation.windows.embedding import NotEncodedError, only_encoded

__all__ = ["Answers"]

# The logits of this many prompts stay in memory, about 1 MB each. Logits of older prompts are computed again when needed.
REMEMBERED = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Answered:
    """An answer with the logits of each offer, from which the next click starts; None for an offer from several windows."""

    answer: Suggestion
    earlier: tuple[SoftMask | None, ...]


class Answers:
    """Answers to prompts. The same prompt always has the same answer; only one thread at a time may call `ask`.

    Parameters
    ----------
    predictor : Predictor
        With the weights that the session was opened with.

    Attributes
    ----------
    start : Predictor
        The same.
    clean : Cleaner
        Cleans outlines on its raster.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.start = predictor
        self.clean = Cleaner(predictor.raster)
        self._recent: OrderedDict[tuple[UseModel | None, Prompt], _Answered] = OrderedDict()
        self._lock = threading.Lock()
        # The mark whose preview is computed now or was computed last, and its answer. The lock is held meanwhile, so that a
        # click on the same place takes the answer and does not compute it a second time.
        self._previewing = threading.Lock()
        self._preview_of: tuple[UseModel | None, Prompt] | None = None
        self._preview: _Answered | None = None
        self._other: tuple[UseModel, _Asked] | None = None
        self._first = _Asked(predictor)

    def predictor(self, weights: UseModel | None) -> Predictor:
        """Return the predictor with some weights; with None, the one that the session was opened with.

        Those with other weights are made when they are first needed, and the last one is kept.

        Raises
        ------
        SamgeoError
            If the file of the weights is missing, or has changed.
        """
        return self._asked(weights).predictor

    def _asked(self, weights: UseModel | None) -> _Asked:
        if weights is None:
            return self._first
        with self._lock:
            if self._other is None or self._other[0] != weights:
                self._other = weights, _Asked(predictor_with(self.start, weights))
            return self._other[1]

    def ask(self, prompt: Prompt, weights: UseModel | None = None) -> Suggestion:
        """Return the candidates of the model for the clicks and boxes of a prompt.

        A click after other clicks starts from the logits of the candidate that was chosen before it, if the window of that
        candidate contains the box and the clicks on the object. A box starts without earlier logits. If an object may reach
        beyond the edge of its window, or the box is larger than a window, the object is followed into the other windows, as
        `Predictor.predict` does.

        Raises
        ------
        SamgeoError
            As `Predictor.candidates`, and if the weights cannot be read.
        """
        asked = self._asked(weights)
        parts = [Prompt(prompt.marks[:count], prompt.chosen[:count]) for count in range(1, len(prompt.marks) + 1)]
        known = max((number for number, part in enumerate(parts) if (weights, part) in self._recent), default=None)
        answered = None if known is None else self._recent[weights, parts[known]]
        if known is None and (previewed := self._previewed(weights, parts[0])) is not None:
            known, answered = 0, previewed
            self._recent[weights, parts[0]] = previewed
        # A loop, because an analyst may click on one object more often than the recursion limit of Python.
        for part in parts if known is None else parts[known + 1 :]:
            answered = self._recent[weights, part] = asked.compute(part, answered)
        if answered is None:
            raise AssertionError("a prompt that is asked has marks")
        self._recent.move_to_end((weights, prompt))
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return answered.answer

    def preview(self, prompt: Prompt, weights: UseModel | None = None) -> Suggestion | None:
        """Return what `ask` would return for a prompt of one mark, without encoding a window; any thread may call it.

        Returns
        -------
        Suggestion or None
            None if the answer needs a window that is not encoded yet.

        Raises
        ------
        SamgeoError
            As `ask`.
        """
        asked = self._asked(weights)
        with self._previewing:
            self._preview_of, self._preview = (weights, prompt), None
            try:
                with only_encoded():
                    self._preview = asked.compute(prompt, None)
            except NotEncodedError:
                return None
            return self._preview.answer

    def _previewed(self, weights: UseModel | None, prompt: Prompt) -> _Answered | None:
        """Return the answer of the last preview if it was for this prompt; wait for it where it is computed now."""
        if self._preview_of != (weights, prompt):
            return None
        with self._previewing:
            return self._preview if self._preview_of == (weights, prompt) else None

    def measure(self, geometries: Sequence[shapely.Geometry]) -> list[float]:
        """Return areas in square metres; in pixels where the raster has no CRS."""
        return _areas(geometries, self.start)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A predictor that is asked for one prompt after the other."""

    predictor: Predictor

    def compute(self, prompt: Prompt, before: _Answered | None) -> _Answered:
        """Return the answer to a prompt, given the answer to all of its marks but the last."""
        given = _arguments(prompt)
        earlier = self._earlier(prompt, before)
        if earlier is not None:
            given["masks"] = [earlier]
        found = self.predictor.candidates(**given)
        offers, logits = self._offers(found), tuple(one.earlier for one in found)
        if found and (earlier is not None or not self._goes_on(prompt, found[0])):
            return _Answered(Suggestion(offers), logits)
        row = self.predictor.predict(**given).iloc[0]
        if isinstance(row.reason, str):
            return _Answered(Suggestion(reason=row.reason), ())
        area = row[self._area_name]
        scores = float(row.predicted_iou), float(row.stability_score)
        whole = Offer(row.geometry, *scores, float(area), bool(row.complete), self._model)
        if prompt.box is not None:
            return _Answered(Suggestion((whole,)), (None,))
        if offers and shapely.equals_exact(whole.geometry, offers[0].geometry):
            return _Answered(Suggestion(offers), logits)
        return _Answered(Suggestion((whole, *offers[1:])), (None, *logits[1:]))

    @property
    def _model(self) -> str:
        return label_of(self.predictor.model.name, self.predictor.model.digest)

    @property
    def _area_name(self) -> str:
        return "area_px" if self.predictor.raster.geobox.crs is None else "area_m2"

    @property
    def _frame(self) -> Rect:
        height, width = self.predictor.lattice.shape
        return Rect(0, 0, width, height)

    def _earlier(self, prompt: Prompt, before: _Answered | None) -> SoftMask | None:
        if before is None or not before.earlier or not isinstance(prompt.marks[-1], AddPoint):
            return None
        earlier = before.earlier[prompt.chosen[-1]]
        return None if earlier is None or not self._sees(earlier, prompt) else earlier

    def _sees(self, earlier: SoftMask, prompt: Prompt) -> bool:
        """Whether the window of an earlier answer contains the box and the clicks on the object; others may be outside."""
        window = self.predictor.rect_of(earlier)
        at = [(point.x_px, point.y_px) for point in prompt.points if point.label == 1]
        if not all(window.x0 <= x < window.x1 and window.y0 <= y < window.y1 for x, y in at):
            return False
        return self._holds(window, prompt)

    def _holds(self, window: Rect, prompt: Prompt) -> bool:
        """Whether a window contains the part of the prompt's box that lies in the raster."""
        if prompt.box is None:
            return True
        x0, y0, x1, y1 = prompt.box.xyxy_px
        frame = self._frame
        return (
            window.x0 <= max(x0, frame.x0)
            and window.y0 <= max(y0, frame.y0)
            and window.x1 >= min(x1, frame.x1)
            and window.y1 >= min(y1, frame.y1)
        )

    def _goes_on(self, prompt: Prompt, found: Candidate) -> bool:
        """Whether an object may continue in other windows."""
        window, mask = self.predictor.rect_of(found.earlier), found.mask.rect
        if prompt.box is not None:
            return not self._holds(window, prompt)
        frame = self._frame
        return (
            (window.x0 > frame.x0 and mask.x0 < window.x0 + EDGE_PX)
            or (window.y0 > frame.y0 and mask.y0 < window.y0 + EDGE_PX)
            or (window.x1 < frame.x1 and mask.x1 > window.x1 - EDGE_PX)
            or (window.y1 < frame.y1 and mask.y1 > window.y1 - EDGE_PX)
        )

    def _offers(self, found: Sequence[Candidate]) -> tuple[Offer, ...]:
        model = self._model
        geometries = georeference(polygons([one.mask for one in found]), self.predictor.raster.geobox.affine)
        areas = [float(one.mask.area) for one in found]
        if self.predictor.raster.geobox.crs is not None:
            areas = _areas(geometries.tolist(), self.predictor)
        return tuple(
            Offer(geometry, one.predicted_iou, one.stability_score, area, one.complete, model)
            for geometry, one, area in zip(geometries, found, areas, strict=True)
        )


def _areas(geometries: Sequence[shapely.Geometry], predictor: Predictor) -> list[float]:
    geobox = predictor.raster.geobox
    if geobox.crs is not None:
        return [float(area) for area in area_m2(geometries, geobox.crs)]
    return [float(shapely.area(one)) / abs(geobox.affine.determinant) for one in geometries]


def _arguments(prompt: Prompt) -> dict[str, Any]:
    """Return the prompt as keyword arguments of `Predictor`."""
    given: dict[str, Any] = {"crs": PIXELS}
    if prompt.points:
        given["points"] = np.array([[(point.x_px, point.y_px) for point in prompt.points]])
        given["labels"] = np.array([[point.label for point in prompt.points]])
    if prompt.box is not None:
        given["boxes"] = np.array([prompt.box.xyxy_px])
    return given

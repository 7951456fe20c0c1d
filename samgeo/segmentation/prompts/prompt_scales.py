"""The scale of each prompt: an object that is larger than a window is found in coarser windows and drawn by finer ones.

The rule is as follows.

1. The prompt goes to the finest scale of which one window contains its box, outline, mask or clicks on the object.
2. A click does not tell how large its object is. If the edges of the window cut the answer, and no neighbouring window of scale 1
   shows the object whole, the click goes to the next coarser scale, until a window shows the object whole or the scales end.
3. If the model finds nothing at the coarser scale, or less than half of its mask remains without the outermost pixels, so that
   the object is too thin there, the prompt is answered at scale 1 as if there were no coarser scale.
4. A mask of a coarser scale is drawn again at each finer scale. The windows through whose cores its outline goes are prompted
   with it: its part in the window is a soft mask, its bounding box, and its innermost point. Where an answer agrees with the
   mask, it replaces the mask, except for the parts that it leaves out and that are too thick to be an uncertain edge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels, check_scales
from samgeo.segmentation.masks.cleaning import components
from samgeo.segmentation.masks.mask import Mask, intersection_area
from samgeo.segmentation.masks.outline_prompts import interior_points, soften_mask
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece, Segment
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.merge.scale_views import LEAST_SHARE
from samgeo.segmentation.merge.union import EDGE_PIXELS, to_segment
from samgeo.segmentation.prompts.answering import Answering
from samgeo.segmentation.prompts.assignment import Index, Prompts, WindowPrompt, windows_of
from samgeo.segmentation.prompts.decoding import Candidate, best_pieces, on_data
from samgeo.segmentation.prompts.seams import MAX_WINDOWS
from samgeo.segmentation.windows.cut_edges import dilated
from samgeo.segmentation.windows.embedding import Encoded, EncodedWindows
from samgeo.segmentation.windows.scales import is_thick, thick_part

__all__ = ["AUTO_SCALES", "ScaledAnswering", "levels_of"]

# The scales of "auto". Those at which one window would show more than the raster are left out.
AUTO_SCALES = (1, 2, 4, 8, 16)

# An outline that goes through more windows of a scale is not drawn again at this scale. Without this limit, a click on the
# background would wait until the outlines of everything on it are drawn.
MOST_WINDOWS = 128

_NOTHING = Mask(np.empty((0, 3), dtype=np.int32))


def levels_of(lattice: Lattice, scales: str | Sequence[int]) -> Levels:
    """Return the windows of all scales of a predictor.

    Parameters
    ----------
    lattice : Lattice
        The windows of scale 1.
    scales : "auto" or sequence of int
        As the user gives them.

    Raises
    ------
    OptionError
        If the scales are invalid.
    """
    if isinstance(scales, str) and scales != "auto":
        raise OptionError(f'scales are {scales!r}; give "auto" or whole numbers such as (1, 2, 4).')
    return Levels.of(lattice, AUTO_SCALES if isinstance(scales, str) else check_scales(scales))


@dataclass(slots=True, eq=False)
class _Drawing:
    """A mask of a coarser scale that finer windows draw.

    Attributes
    ----------
    prompt : int
        The prompt that the mask answers.
    level : int
        Index of the scale of the mask.
    coarse : Piece
        The mask.
    complete : bool
        Whether the windows of its scale show the whole object.
    offers : list of Candidate
        All masks that the window proposed with this one, which is the first, if it was found for clicks.
    finer : list of Piece
        The answers of finer windows.
    """

    prompt: int
    level: int
    coarse: Piece
    complete: bool
    offers: list[Candidate] = field(default_factory=list)
    finer: list[Piece] = field(default_factory=list)

    def drawn(self, levels: Levels) -> Segment:
        """Return the object that the mask and the answers so far make."""
        found = to_segment([self.coarse], levels, finer=self.finer, min_iou=MERGE_IOU)
        return replace(found, scale=levels.scales[self.level], complete=self.complete and found.complete)


@dataclass(frozen=True, slots=True, eq=False)
class ScaledAnswering:
    """Answers prompts in the windows of several scales.

    Attributes
    ----------
    levels : Levels
        The windows of all scales.
    answering : tuple of Answering
        The windows of each scale, as encoded; scale 1 comes first.
    """

    levels: Levels
    answering: tuple[Answering, ...]

    @property
    def windows(self) -> EncodedWindows:
        """The windows of scale 1."""
        return self.answering[0].windows

    @property
    def frame(self) -> Rect:
        """The raster."""
        return self.answering[0].frame

    def clean(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return objects without small parts and holes; see `samgeo.Predictor.clean`."""
        return self.answering[0].clean(segments)

    def answers(
        self, prompts: Prompts, numbers: Iterable[int], *, multimask: bool | str, refine: int
    ) -> dict[int, Segment | str]:
        """Return the object of some of the prompts, by number, or a text that says why nothing was found.

        Parameters
        ----------
        prompts : Prompts
            All prompts.
        numbers : iterable of int
            The prompts that are answered.
        multimask, refine
            As in `samgeo.Predictor.predict`.
        """
        numbers = list(numbers)
        answers, coarse = self._found(prompts, numbers, multimask=multimask, refine=refine)
        drawn = self._draw(prompts, coarse, refine=refine)
        answers |= dict(zip(drawn, self.clean(list(drawn.values())), strict=True))
        return {number: answers[number] for number in numbers}

    def candidates(self, prompts: Prompts, *, multimask: bool | str) -> list[Candidate]:
        """Return the masks that the model proposes for the first prompt; see `samgeo.Predictor.candidates`."""
        level = self._start(prompts, 0)
        found = self.answering[level].candidates(prompts, multimask=multimask)
        if level == 0 and (not found or found[0].complete or not prompts.only_points(0)):
            return found
        coarse = self._found(prompts, [0], multimask=multimask, refine=0)[1].get(0)
        if coarse is None:
            return found if level == 0 else self.answering[0].candidates(prompts, multimask=multimask)
        offers = coarse.offers or found
        drawings = {
            number: self._drawing(0, coarse.level, one.mask, one.predicted_iou, one.stability_score, one.complete)
            for number, one in enumerate(offers)
        }
        drawn = self._draw(prompts, drawings, refine=0)
        cleaned = self.clean([drawn[number] for number in range(len(offers))])
        return [replace(one, mask=clean.mask) for one, clean in zip(offers, cleaned, strict=True)]

    def _start(self, prompts: Prompts, number: int) -> int:
        """Return the index of the scale at which a prompt is asked first."""
        earlier = prompts.earlier[number]
        if earlier is not None:
            return next(level for level, one in enumerate(self.answering) if one.level == earlier.level)
        extent = prompts.extent(number, self.frame)
        if isinstance(extent, str):
            return 0
        fits = (level for level, lattice in enumerate(self.levels.lattices) if _holds(lattice, extent))
        return next(fits, len(self.answering) - 1)

    def _found(
        self, prompts: Prompts, numbers: Sequence[int], *, multimask: bool | str, refine: int
    ) -> tuple[dict[int, Segment | str], dict[int, _Drawing]]:
        """Return the answers of scale 1, and the masks of coarser scales, by the number of the prompt."""
        answers: dict[int, Segment | str] = {}
        coarse: dict[int, _Drawing | None] = {}
        starts: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            starts[self._start(prompts, number)].append(number)
        for level, some in sorted(starts.items()):
            answering = self.answering[level]
            asked = answering.ask(prompts, some, multimask=multimask, refine=refine)
            for number, reason in asked.reasons.items():
                found = asked.pieces.get(number, [])
                extent = asked.extents.get(number)
                if asked.may_go_on(prompts, number):
                    # Where a neighbouring window of scale 1 shows the whole object, nothing coarser is needed.
                    last = level + 1 == len(self.answering)
                    found = answering.follow(found[0], steps=MAX_WINDOWS if last else 1) if level == 0 or last else found
                    if found[-1].cut and not last:
                        coarse[number] = self._climb(prompts, number, level, found[0].mask, multimask, refine)
                        continue
                one = answering.joined(found, extent) if found and extent is not None else None
                if level == 0:
                    answers[number] = reason if one is None else one
                elif one is None:
                    coarse[number] = None
                else:
                    coarse[number] = self._drawing(
                        number, level, one.mask, one.predicted_iou, one.stability_score, one.complete
                    )
        thick = {
            number: one
            for number, one in coarse.items()
            if one is not None and is_thick(one.coarse.mask, self.levels.scales[one.level])
        }
        left = [number for number in coarse if number not in thick]
        answers |= self.answering[0].answers(prompts, left, multimask=multimask, refine=refine)
        return answers, thick

    def _climb(
        self, prompts: Prompts, number: int, level: int, mask: Mask, multimask: bool | str, refine: int
    ) -> _Drawing | None:
        """Ask coarser scales for the object of clicks, the mask of which the window of a scale cuts.

        Besides the clicks as they are, the innermost point of the mask is asked, because a click near an edge or on a detail of
        a large object means little at a coarser scale. Of the answers that contain at least half of the mask, the one with the
        highest predicted IoU is taken.

        Returns
        -------
        _Drawing or None
            The mask of the first scale that shows the object whole, or of the last scale; None if no answer contains the mask.
        """
        given = prompts.one(number)
        best: tuple[int, list[Candidate], Prompts] | None = None
        for coarser in range(level + 1, len(self.answering)):
            answering = self.answering[coarser]
            inner = given.moved_to(interior_points(polygons([mask]).tolist())[0])
            found: list[tuple[Candidate, list[Candidate], Prompts]] = []
            for asked in (given, inner):
                extent = asked.extent(0, self.frame)
                if isinstance(extent, str):
                    continue
                offers = answering.offers(asked, windows_of(answering.windows.lattice, extent)[0], multimask)
                holding = [one for one in offers if intersection_area(mask, one.mask) >= LEAST_SHARE * mask.area]
                found += [(one, [one, *(other for other in offers if other is not one)], asked) for one in holding]
            if not found:
                continue
            chosen, offers, asked = max(found, key=lambda one: one[0].predicted_iou)
            best, mask = (coarser, offers, asked), chosen.mask
            if chosen.complete:
                break
        if best is None:
            return None
        return self._climbed(number, *best, refine)

    def _climbed(self, number: int, level: int, offers: list[Candidate], asked: Prompts, refine: int) -> _Drawing:
        answering, chosen = self.answering[level], offers[0]
        extent = asked.extent(0, self.frame)
        piece = Piece(chosen.mask, chosen.predicted_iou, chosen.stability_score, chosen.earlier.window, 0, chosen.cut_at)
        if refine:
            again = replace(asked, earlier=(chosen.earlier,))
            piece = next(iter(answering.ask(again, [0], multimask=False, refine=refine - 1).pieces.get(0, [piece])))
        pieces = answering.follow(piece) if piece.cut else [piece]
        if isinstance(extent, str):
            raise AssertionError("a prompt that has an answer is in the raster")
        one = answering.joined(pieces, extent)
        drawing = self._drawing(number, level, one.mask, one.predicted_iou, one.stability_score, one.complete)
        drawing.offers = offers
        return drawing

    def _drawing(self, prompt: int, level: int, mask: Mask, predicted_iou: float, stability: float, complete: bool) -> _Drawing:
        row, column = self.answering[level].windows.lattice.owner(mask.rect.x0, mask.rect.y0)
        # Without cut pixels, the mask is compared with the answers of all finer windows that it reaches.
        piece = Piece(mask, predicted_iou, stability, (self.levels.number(level, row), column), 0, _NOTHING)
        return _Drawing(prompt, level, piece, complete)

    def _draw(self, prompts: Prompts, drawings: Mapping[int, _Drawing], *, refine: int) -> dict[int, Segment]:
        """Ask finer windows for the outlines of masks, one scale after the other, and return the objects."""
        finest = {key: one.level for key, one in drawings.items()}
        model = self.windows.model
        for level in range(max(finest.values(), default=0) - 1, -1, -1):
            encoded, lattice = self.answering[level].windows, self.levels.lattices[level]
            masks: dict[int, Mask] = {}
            by_window: dict[Index, list[int]] = defaultdict(list)
            for key, one in drawings.items():
                if finest[key] != level + 1:
                    continue
                mask = one.drawn(self.levels).mask
                windows = list(_crossed(mask, lattice, EDGE_PIXELS * self.levels.scales[level + 1]))
                if len(windows) > MOST_WINDOWS:
                    continue
                finest[key], masks[key] = level, mask
                for index in windows:
                    by_window[index].append(key)
            for index in sorted(by_window):
                window = encoded.get(index)
                if window.embedding is None:
                    continue
                asks = [self._prompt(prompts, key, drawings[key], masks[key], lattice, window) for key in by_window[index]]
                given = [ask for ask in asks if ask is not None]
                for key, piece in best_pieces(model, lattice, index, window, given, multimask=False, refine=refine):
                    place = self.levels.number(level, index[0]), index[1]
                    kept = _without_leaks(piece.mask, masks[key], self.levels.scales[level + 1])
                    if not kept.is_empty:
                        drawings[key].finer.append(replace(piece, mask=kept, cut_at=piece.cut_at & kept, window=place))
        return {key: one.drawn(self.levels) for key, one in drawings.items()}

    def _prompt(
        self, prompts: Prompts, key: int, drawing: _Drawing, mask: Mask, lattice: Lattice, window: Encoded
    ) -> WindowPrompt | None:
        """Return the part of a mask that a window shows, and the user's points in the window, as a prompt."""
        origin = window.rect.x0, window.rect.y0
        part = on_data(mask.clip(window.rect).shift(-origin[0], -origin[1]), lattice, window)
        if part.is_empty:
            return None
        model = self.windows.model
        side = int(getattr(model, "mask_size", model.input_size // 4))
        points, labels = prompts.points[drawing.prompt] - origin, prompts.labels[drawing.prompt]
        height, width = (size * window.scale for size in window.size)
        with np.errstate(invalid="ignore"):
            inside = (labels >= 0) & (points >= 0).all(axis=1) & (points < (width, height)).all(axis=1)
        rect = part.rect
        return WindowPrompt(
            key,
            np.concatenate([interior_points(polygons([part]).tolist()), points[inside]]),
            np.append(1, labels[inside]),
            np.array([rect.x0, rect.y0, rect.x1, rect.y1], dtype=np.float64),
            None,
            soften_mask(part, lattice.window, side),
        )


def _without_leaks(mask: Mask, coarse: Mask, scale: int) -> Mask:
    """Return a mask without the parts that a coarser mask lacks although they are thick enough for its scale.

    Parameters
    ----------
    mask : Mask
        The answer of a finer window.
    coarse : Mask
        The mask that the window was asked to draw.
    scale : int
        Scale of the coarser mask.
    """
    reach = EDGE_PIXELS * scale
    added = mask - coarse
    if thick_part(added, reach + 1).is_empty:
        return mask
    rect = mask.rect
    near = dilated(coarse.clip(Rect(rect.x0 - reach, rect.y0 - reach, rect.x1 + reach, rect.y1 + reach)), reach)
    for part in components(added - near):
        if not thick_part(part, reach + 1).is_empty:
            mask = mask - part
    return mask


def _holds(lattice: Lattice, extent: tuple[float, float, float, float]) -> bool:
    """Whether a window contains an extent within the raster."""
    windows = windows_of(lattice, extent)
    if len(windows) > 1:
        return False
    rect = lattice.rect(*windows[0])
    x0, y0, x1, y1 = extent
    return rect.x0 <= x0 and rect.y0 <= y0 and x1 <= rect.x1 and y1 <= rect.y1


def _crossed(mask: Mask, lattice: Lattice, reach: int) -> Iterator[Index]:
    """Yield the windows in whose cores, or ``reach`` pixels around them, the outline of a mask lies."""
    if mask.is_empty:
        return
    height, width = lattice.shape
    rect = mask.rect
    first = lattice.owner(max(rect.x0 - reach, 0), max(rect.y0 - reach, 0))
    last = lattice.owner(min(rect.x1 + reach, width) - 1, min(rect.y1 + reach, height) - 1)
    for row in range(first[0], last[0] + 1):
        strip = _grown(lattice.core(row, 0), reach, lattice)
        beside = mask.clip(Rect(0, strip.y0, width, strip.y1))
        for column in range(first[1], last[1] + 1):
            near = _grown(lattice.core(row, column), reach, lattice)
            if 0 < beside.clip(near).area < near.height * near.width:
                yield row, column


def _grown(core: Rect, reach: int, lattice: Lattice) -> Rect:
    height, width = lattice.shape
    return Rect(max(core.x0 - reach, 0), max(core.y0 - reach, 0), min(core.x1 + reach, width), min(core.y1 + reach, height))

"""The scale of each prompt: an object that is larger than a window is found in coarser windows and drawn by finer ones.

The rule is as follows.

1. The prompt goes to the finest scale of which one window contains its box, outline, mask or clicks on the object; a window of
   a coarser scale has to show a few pixels more on each side.
2. A click does not tell how large its object is. If the model finds nothing, or the edges of the window cut the answer and no
   neighbouring window of scale 1 shows the whole object, the click goes to the next coarser scale, until a window shows the
   whole object or the scales end. So does a click whose answer has a predicted IoU below `UNSURE_IOU`, as in a window that one
   object fills; its coarser answer is used if it is larger than a window and has a predicted IoU of `SURE_IOU` or more.
3. If the model finds nothing at the coarser scale, or less than half of its mask remains without the outermost pixels, so that
   the object is too thin for this scale, the prompt is answered at scale 1 as if there were no coarser scale.
4. A coarser scale is asked again with the logits of its answer, `COARSE_REFINE` times more than the user says.
5. A mask of a coarser scale is drawn by the windows of the finer scales; see `outline_drawing`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels, check_scales
from samgeo.segmentation.masks.mask import Mask, intersection_area, union
from samgeo.segmentation.masks.outline_prompts import interior_points
from samgeo.segmentation.masks.piece import Piece, Segment
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.merge.scale_views import LEAST_SHARE
from samgeo.segmentation.prompts.answering import NO_MASK, AnswerCount, Answering, counted
from samgeo.segmentation.prompts.assignment import Prompts, windows_of
from samgeo.segmentation.prompts.decoding import Candidate
from samgeo.segmentation.prompts.outline_drawing import CoarseMask, draw
from samgeo.segmentation.windows.cut_edges import EDGE_PX
from samgeo.segmentation.windows.embedding import EncodedWindows
from samgeo.segmentation.windows.scales import is_thick

__all__ = ["AUTO_SCALES", "ScaledAnswering", "levels_of", "scales_of"]

# The scales of "auto". Those at which one window would show more than the raster are left out.
AUTO_SCALES = (1, 2, 4, 8, 16)

# Predicted IoU below which an answer to a click may be a detail of something that is larger than the window, and predicted IoU
# from which the answer of a coarser scale is used in its place.
UNSURE_IOU, SURE_IOU = 0.3, 0.5

# The first answer of a coarse window is often uncertain, because one of its pixels shows many textures. A second request costs
# little, and finer windows draw what the coarse one answers. The measurement is in benchmarks/STUDIES.md.
COARSE_REFINE = 2

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
    return Levels.of(lattice, scales_of(scales))


def scales_of(scales: str | Sequence[int]) -> tuple[int, ...]:
    """Return the scales that a user gives, or those of "auto", in ascending order.

    Raises
    ------
    OptionError
        If the scales are invalid.
    """
    if isinstance(scales, str) and scales != "auto":
        raise OptionError(f'scales are {scales!r}; give "auto" or whole numbers such as (1, 2, 4).')
    return AUTO_SCALES if isinstance(scales, str) else check_scales(scales)


@dataclass(frozen=True, slots=True)
class _Decoding:
    """How prompts are decoded; see `samgeo.Predictor.predict`."""

    multimask: bool | str
    refine: int


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
        self,
        prompts: Prompts,
        numbers: Iterable[int],
        *,
        multimask: bool | str,
        refine: int,
        count: AnswerCount | None = None,
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
        count : AnswerCount, optional
            Counts the prompts while they are answered.
        """
        numbers = list(numbers)
        answers, coarse = self._found(prompts, numbers, _Decoding(multimask, refine), count)
        drawn = draw(self.answering, self.levels, prompts, coarse, refine=refine)
        for number, one in zip(drawn, self.clean(list(drawn.values())), strict=True):
            answers[number] = replace(one, scale=self.levels.scales[coarse[number].level])
        return {number: answers[number] for number in numbers}

    def candidates(self, prompts: Prompts, *, multimask: bool | str) -> list[Candidate]:
        """Return the masks that the model proposes for the first prompt; see `samgeo.Predictor.candidates`."""
        level = self._start(prompts, 0)
        found = self.answering[level].candidates(prompts, multimask=multimask)
        is_whole = bool(found) and found[0].complete and found[0].predicted_iou >= UNSURE_IOU
        if level == 0 and (is_whole or not prompts.only_points(0)):
            return found
        coarse = self._found(prompts, [0], _Decoding(multimask, 0))[1].get(0)
        if coarse is None:
            return found if level == 0 else self.answering[0].candidates(prompts, multimask=multimask)
        offers = coarse.offers
        if not offers:
            offers = (self._refined(coarse.level, prompts.one(0), found[0]), *found[1:]) if found else ()
        masks = {
            number: self._coarse(0, coarse.level, Segment(one.mask, one.predicted_iou, one.stability_score, one.complete))
            for number, one in enumerate(offers)
        }
        drawn = draw(self.answering, self.levels, prompts, masks, refine=0)
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
        for level, lattice in enumerate(self.levels.lattices):
            # At scale 1, nothing changes for what a window contains. A coarser window also has to show that nothing continues.
            if _holds(lattice, extent, EDGE_PX * self.levels.scales[level] if level else 0):
                return level
        return len(self.answering) - 1

    def _found(
        self, prompts: Prompts, numbers: Sequence[int], how: _Decoding, count: AnswerCount | None = None
    ) -> tuple[dict[int, Segment | str], dict[int, CoarseMask]]:
        """Return the answers of scale 1, and the masks of coarser scales, by the number of the prompt."""
        answers: dict[int, Segment | str] = {}
        coarse: dict[int, CoarseMask | None] = {}
        starts: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            starts[self._start(prompts, number)].append(number)
        for level, some in sorted(starts.items()):
            refine = how.refine + (COARSE_REFINE if level else 0)
            asked = self.answering[level].ask(prompts, some, multimask=how.multimask, refine=refine, count=count)
            for number, reason in counted(asked.reasons, count):
                found = asked.pieces.get(number, [])
                if asked.may_go_on(prompts, number):
                    found = self._continued(level, found[0])
                    climbs = found[-1].cut
                else:
                    climbs = reason == NO_MASK and not found and prompts.only_points(number)
                is_unsure = level == 0 and not climbs and prompts.only_points(number) and _is_unsure(found)
                if (climbs or is_unsure) and level + 1 < len(self.answering):
                    mask = found[0].mask if found else None
                    one = self._climb(prompts.one(number), number, level, mask, how)
                    coarse[number] = one if climbs or one is None or self._is_large_and_sure(one.coarse) else None
                    continue
                whole = self.answering[level].joined(found, asked.extents[number]) if found else None
                if level == 0:
                    answers[number] = reason if whole is None else whole
                else:
                    coarse[number] = None if whole is None else self._coarse(number, level, whole)
        thick = {
            number: one
            for number, one in coarse.items()
            if one is not None and is_thick(one.coarse.mask, self.levels.scales[one.level])
        }
        left = [number for number in coarse if number not in thick]
        answers |= self.answering[0].answers(prompts, left, multimask=how.multimask, refine=how.refine, count=count)
        return answers, thick

    def _continued(self, level: int, piece: Piece) -> list[Piece]:
        """Return the cut piece of a click, and its continuation as far as it is asked for before coarser scales.

        At scale 1, the neighbouring windows are asked, one of which may show the whole object. At the last scale, all windows
        are asked.
        """
        if level + 1 == len(self.answering):
            return self.answering[level].follow(piece)
        return self.answering[0].follow(piece, steps=1) if level == 0 else [piece]

    def _climb(self, given: Prompts, number: int, level: int, mask: Mask | None, how: _Decoding) -> CoarseMask | None:
        """Ask coarser scales for the object of clicks, of which the windows of a scale show a part or nothing.

        Besides the clicks as they are, the innermost point of the mask is asked, because a click near an edge or on a detail of
        a large object means little at a coarser scale. Of the answers that contain at least half of the mask, or of the clicks
        if there is no mask yet, the one with the highest predicted IoU is taken.

        Returns
        -------
        CoarseMask or None
            The mask of the first scale that shows the whole object, or of the last scale; None if there is no such answer.
        """
        best: CoarseMask | None = None
        for coarser in range(level + 1, len(self.answering)):
            answering = self.answering[coarser]
            found: list[tuple[list[Candidate], Prompts]] = []
            again = [] if mask is None else [given.moved_to(interior_points(polygons([mask]).tolist())[0])]
            shown = _clicked(given, self.frame) if mask is None else mask
            for asked in (given, *again):
                extent = asked.extent(0, self.frame)
                if not isinstance(extent, str):
                    offers = answering.offers(asked, windows_of(answering.windows.lattice, extent)[0], how.multimask)
                    holding = (one for one in offers if intersection_area(shown, one.mask) >= LEAST_SHARE * shown.area)
                    found += [([one, *(other for other in offers if other is not one)], asked) for one in holding]
            if found:
                offers, asked = max(found, key=lambda one: one[0][0].predicted_iou)
                refined = self._refined(coarser, asked, offers[0])
                if intersection_area(shown, refined.mask) >= LEAST_SHARE * shown.area:
                    offers[0] = refined
                best, mask = self._climbed(number, coarser, offers, asked, how), offers[0].mask
                if offers[0].complete:
                    break
        return best

    def _is_large_and_sure(self, piece: Piece) -> bool:
        """Whether a coarse mask has a high predicted IoU, and no window of scale 1 contains it."""
        rect = piece.mask.rect
        extent = float(rect.x0), float(rect.y0), float(rect.x1), float(rect.y1)
        return piece.predicted_iou >= SURE_IOU and not _holds(self.levels.lattices[0], extent, 0)

    def _refined(self, level: int, asked: Prompts, offer: Candidate) -> Candidate:
        """Ask a coarse window again with the logits of its answer to one prompt, and return the new answer if there is one."""
        for _ in range(COARSE_REFINE):
            again = replace(asked, earlier=(offer.earlier,))
            offer = next(iter(self.answering[level].offers(again, offer.earlier.window, False)), offer)
        return offer

    def _climbed(self, number: int, level: int, offers: list[Candidate], asked: Prompts, how: _Decoding) -> CoarseMask:
        """Return the first offer of a coarser window as the mask of a prompt."""
        answering, chosen = self.answering[level], offers[0]
        pieces = [Piece(chosen.mask, chosen.predicted_iou, chosen.stability_score, chosen.earlier.window, 0, chosen.cut_at)]
        if how.refine:
            again = replace(asked, earlier=(chosen.earlier,))
            pieces = answering.ask(again, [0], multimask=False, refine=how.refine - 1).pieces.get(0, pieces)
        if pieces[0].cut and level + 1 == len(self.answering):
            pieces = answering.follow(pieces[0])
        rect = chosen.mask.rect
        one = answering.joined(pieces, (rect.x0, rect.y0, rect.x1, rect.y1))
        return replace(self._coarse(number, level, one), offers=tuple(offers))

    def _coarse(self, prompt: int, level: int, one: Segment) -> CoarseMask:
        row, column = self.answering[level].windows.lattice.owner(one.mask.rect.x0, one.mask.rect.y0)
        window = self.levels.number(level, row), column
        piece = Piece(one.mask, one.predicted_iou, one.stability_score, window, 0, _NOTHING)
        return CoarseMask(prompt, level, piece, one.complete)


def _is_unsure(pieces: Sequence[Piece]) -> bool:
    """Whether an answer is one piece with a low predicted IoU."""
    return len(pieces) == 1 and pieces[0].predicted_iou < UNSURE_IOU


def _clicked(prompts: Prompts, frame: Rect) -> Mask:
    """Return the pixels of the foreground clicks of the first prompt that are in the raster."""
    clicks = prompts.points[0][prompts.labels[0] == 1]
    inside = (clicks >= (frame.x0, frame.y0)).all(axis=1) & (clicks < (frame.x1, frame.y1)).all(axis=1)
    pixels = clicks[inside].astype(np.int32).tolist()
    return union(Mask(np.array([[y, x, x + 1]], dtype=np.int32)) for x, y in pixels)


def _holds(lattice: Lattice, extent: tuple[float, float, float, float], margin: int) -> bool:
    """Whether a window contains an extent, and those of the ``margin`` pixels around it that are in the raster."""
    (height, width), (x0, y0, x1, y1) = lattice.shape, extent
    grown = max(x0 - margin, 0.0), max(y0 - margin, 0.0), min(x1 + margin, float(width)), min(y1 + margin, float(height))
    rect = lattice.rect(*windows_of(lattice, grown)[0])
    return rect.x0 <= grown[0] and rect.y0 <= grown[1] and grown[2] <= rect.x1 and grown[3] <= rect.y1

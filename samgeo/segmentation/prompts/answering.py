"""Answers to prompts in the windows of one lattice: each prompt goes to its windows, and their masks become one object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.cleaning import without_specks
from samgeo.segmentation.masks.piece import Piece, Segment
from samgeo.segmentation.prompts.assignment import Index, Prompts, WindowPrompt, ask, join, windows_of
from samgeo.segmentation.prompts.decoding import Candidate, best_pieces, candidates
from samgeo.segmentation.prompts.seams import MAX_WINDOWS, follow

if TYPE_CHECKING:
    import numpy as np

    from samgeo.segmentation.windows.embedding import Encoded, EncodedWindows

__all__ = ["NO_MASK", "AnswerCount", "Answering", "Asked", "counted"]

ON_NODATA, NO_MASK = "on nodata", "no mask"


class AnswerCount:
    """Counts prompts while they are answered, and reports how many are done.

    A prompt is asked in its windows, and then its object is made of their answers, for which other windows may be asked. Each
    of these two steps counts as half of a prompt, and counts once.

    Parameters
    ----------
    total : int
        Number of prompts.
    done : callable
        Called with the number of prompts that are done since the last call.
    """

    def __init__(self, total: int, done: Callable[[int], object]) -> None:
        self._total, self._done = total, done
        self._asked: set[int] = set()
        self._answered: set[int] = set()
        self._reported = 0

    def asked(self, numbers: Iterable[int]) -> None:
        """Count prompts that a window answered."""
        self._asked.update(numbers)
        self._report()

    def answered(self, numbers: Iterable[int]) -> None:
        """Count prompts whose objects are known."""
        self._answered.update(numbers)
        self._report()

    def finish(self) -> None:
        """Count all prompts, also those that no window was asked for."""
        everything = range(self._total)
        self._asked.update(everything)
        self.answered(everything)

    def _report(self) -> None:
        new = (len(self._asked) + len(self._answered)) // 2 - self._reported
        if new:
            self._reported += new
            self._done(new)


def counted(reasons: Mapping[int, str], count: AnswerCount | None) -> Iterator[tuple[int, str]]:
    """Yield the items of `Asked.reasons`, and count each prompt as answered when the next one is asked for."""
    for number, reason in reasons.items():
        yield number, reason
        if count is not None:
            count.answered([number])


@dataclass(frozen=True, slots=True)
class Asked:
    """What the windows of a lattice answered to some prompts.

    Attributes
    ----------
    reasons : dict of int to str
        For each prompt, in the order in which they were asked: why it has no answer, if it has no pieces.
    extents : dict of int to (float, float, float, float)
        Bounding boxes of the prompts within the raster.
    pieces : dict of int to list of Piece
        The pieces of each prompt that has an answer.
    """

    reasons: dict[int, str]
    extents: dict[int, tuple[float, float, float, float]]
    pieces: dict[int, list[Piece]]

    def may_go_on(self, prompts: Prompts, prompt: int) -> bool:
        """Whether the edge of the window may have cut the object of a prompt that consists only of points."""
        found = self.pieces.get(prompt, [])
        return len(found) == 1 and found[0].cut and prompts.only_points(prompt)


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """Answers prompts in the windows of one lattice.

    Attributes
    ----------
    windows : EncodedWindows
        The windows.
    min_part, min_hole : float
        Parts and holes of answers that are smaller are removed, in pixels of the model's input.
    level : int, default 0
        Number of the lattice among those of a predictor.
    """

    windows: EncodedWindows
    min_part: float
    min_hole: float
    level: int = 0

    @property
    def frame(self) -> Rect:
        """The raster."""
        height, width = self.windows.lattice.shape
        return Rect(0, 0, width, height)

    def clean(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return objects without small parts and holes; see `samgeo.Predictor.clean`."""
        lattice = self.windows.lattice
        return without_specks(segments, self.min_part, self.min_hole, lattice.window / self.windows.model.input_size)

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
        asked = self.ask(prompts, numbers, multimask=multimask, refine=refine, count=count)
        answers: dict[int, Segment | str] = {}
        for prompt, reason in counted(asked.reasons, count):
            found = asked.pieces.get(prompt)
            if not found:
                answers[prompt] = reason
                continue
            if asked.may_go_on(prompts, prompt):
                found = self.follow(found[0])
            answers[prompt] = self.joined(found, asked.extents[prompt])
        return answers

    def ask(
        self,
        prompts: Prompts,
        numbers: Iterable[int],
        *,
        multimask: bool | str,
        refine: int,
        count: AnswerCount | None = None,
    ) -> Asked:
        """Return the pieces that the windows of some of the prompts give; the parameters are those of `answers`."""
        lattice, model = self.windows.lattice, self.windows.model
        reasons: dict[int, str] = {}
        extents: dict[int, tuple[float, float, float, float]] = {}
        by_window: dict[Index, list[int]] = defaultdict(list)
        for prompt in numbers:
            extent = prompts.extent(prompt, self.frame)
            reasons[prompt] = extent if isinstance(extent, str) else ON_NODATA
            if isinstance(extent, str):
                continue
            extents[prompt] = extent
            for index in self._windows_of(prompts, prompt, extent):
                by_window[index].append(prompt)
        pieces: dict[int, list[Piece]] = defaultdict(list)
        # Sorted, because neighbouring windows share blocks of files and of the store.
        for index in sorted(by_window):
            window = self.windows.get(index)
            asks = [] if window.embedding is None else self._asks(prompts, by_window[index], index, window)
            reasons.update((one.prompt, NO_MASK) for one in asks)
            for prompt, piece in best_pieces(model, lattice, index, window, asks, multimask=multimask, refine=refine):
                pieces[prompt].append(piece)
            if count is not None:
                count.asked(by_window[index])
        return Asked(reasons, extents, dict(pieces))

    def follow(self, piece: Piece, *, steps: int = MAX_WINDOWS) -> list[Piece]:
        """Return a piece that the edge of its window cuts, and its continuation in other windows; see `seams.follow`."""
        return follow(piece, self.windows.lattice, self._offers_at, steps=steps)

    def joined(self, pieces: Sequence[Piece], extent: tuple[float, float, float, float]) -> Segment:
        """Return the object of the pieces of one prompt, without small parts and holes; see `assignment.join`."""
        return self.clean([join(pieces, self.windows.lattice, extent)])[0]

    def candidates(self, prompts: Prompts, *, multimask: bool | str) -> list[Candidate]:
        """Return the masks that the model proposes for the first prompt; see `samgeo.Predictor.candidates`."""
        extent = prompts.extent(0, self.frame)
        if isinstance(extent, str):
            return []
        windows = self._windows_of(prompts, 0, extent)
        offers = self.offers(prompts, windows[len(windows) // 2], multimask)
        cleaned = self.clean([Segment(one.mask, one.predicted_iou, one.stability_score, one.complete) for one in offers])
        return [replace(one, mask=clean.mask) for one, clean in zip(offers, cleaned, strict=True)]

    def _windows_of(self, prompts: Prompts, prompt: int, extent: tuple[float, float, float, float]) -> list[Index]:
        earlier = prompts.earlier[prompt]
        return windows_of(self.windows.lattice, extent) if earlier is None else [earlier.window]

    def offers(self, prompts: Prompts, index: Index, multimask: bool | str) -> list[Candidate]:
        """Return the masks that the model proposes for the first prompt in a window, as it draws them."""
        window = self.windows.get(index)
        asks = [] if window.embedding is None else self._asks(prompts, [0], index, window)
        if not asks:
            return []
        found = candidates(self.windows.model, self.windows.lattice, index, window, asks[0], multimask=multimask)
        return [replace(one, earlier=replace(one.earlier, level=self.level)) for one in found]

    def _offers_at(self, index: Index, point: NDArray[np.float64]) -> list[Candidate]:
        """Return the masks that the model proposes for one point, given in raster pixels, in a window."""
        return self.offers(Prompts.of_point(point), index, multimask=True)

    def _asks(self, prompts: Prompts, members: list[int], index: Index, window: Encoded) -> list[WindowPrompt]:
        asks = (ask(prompts, prompt, index, window.rect & self.frame, window.valid, scale=window.scale) for prompt in members)
        return [one for one in asks if one is not None]

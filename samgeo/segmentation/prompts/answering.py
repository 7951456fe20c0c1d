"""Answers to prompts in the windows of one lattice: each prompt goes to its windows, and their masks become one object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.cleaning import without_specks
from samgeo.segmentation.masks.piece import Piece, Segment
from samgeo.segmentation.prompts.assignment import Index, Prompts, WindowPrompt, ask, join, windows_of
from samgeo.segmentation.prompts.decoding import Candidate, best_pieces, candidates
from samgeo.segmentation.prompts.seams import follow

if TYPE_CHECKING:
    import numpy as np

    from samgeo.segmentation.windows.embedding import Encoded, EncodedWindows

__all__ = ["NO_MASK", "Answering"]

ON_NODATA, NO_MASK = "on nodata", "no mask"


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
        lattice, model = self.windows.lattice, self.windows.model
        answers: dict[int, Segment | str] = {}
        extents: dict[int, tuple[float, float, float, float]] = {}
        by_window: dict[Index, list[int]] = defaultdict(list)
        for prompt in numbers:
            answers[prompt] = NO_MASK
            extent = prompts.extent(prompt, self.frame)
            if isinstance(extent, str):
                answers[prompt] = extent
                continue
            extents[prompt] = extent
            for index in self._windows_of(prompts, prompt, extent):
                by_window[index].append(prompt)
        pieces: dict[int, list[Piece]] = defaultdict(list)
        asked: set[int] = set()
        # Sorted, because neighbouring windows share blocks of files and of the store.
        for index in sorted(by_window):
            window = self.windows.get(index)
            asks = [] if window.embedding is None else self._asks(prompts, by_window[index], index, window)
            asked.update(one.prompt for one in asks)
            for prompt, piece in best_pieces(model, lattice, index, window, asks, multimask=multimask, refine=refine):
                pieces[prompt].append(piece)
        for prompt, extent in extents.items():
            found = pieces[prompt]
            if len(found) == 1 and found[0].cut and prompts.only_points(prompt):
                found = follow(found[0], lattice, self._offers_at)
            if found:
                answers[prompt] = self.clean([join(found, lattice, extent)])[0]
            elif prompt not in asked:
                answers[prompt] = ON_NODATA
        return answers

    def candidates(self, prompts: Prompts, *, multimask: bool | str) -> list[Candidate]:
        """Return the masks that the model proposes for the first prompt; see `samgeo.Predictor.candidates`."""
        extent = prompts.extent(0, self.frame)
        if isinstance(extent, str):
            return []
        windows = self._windows_of(prompts, 0, extent)
        offers = self._offers(prompts, windows[len(windows) // 2], multimask)
        cleaned = self.clean([Segment(one.mask, one.predicted_iou, one.stability_score, one.complete) for one in offers])
        return [
            replace(one, mask=clean.mask, earlier=replace(one.earlier, level=self.level))
            for one, clean in zip(offers, cleaned, strict=True)
        ]

    def _windows_of(self, prompts: Prompts, prompt: int, extent: tuple[float, float, float, float]) -> list[Index]:
        earlier = prompts.earlier[prompt]
        return windows_of(self.windows.lattice, extent) if earlier is None else [earlier.window]

    def _offers(self, prompts: Prompts, index: Index, multimask: bool | str) -> list[Candidate]:
        """Return the masks that the model proposes for one prompt in a window."""
        window = self.windows.get(index)
        asked = None if window.embedding is None else ask(prompts, 0, index, window.rect & self.frame, window.valid)
        if asked is None:
            return []
        return candidates(self.windows.model, self.windows.lattice, index, window, asked, multimask=multimask)

    def _offers_at(self, index: Index, point: NDArray[np.float64]) -> list[Candidate]:
        """Return the masks that the model proposes for one point, given in raster pixels, in a window."""
        return self._offers(Prompts.of_point(point), index, multimask=True)

    def _asks(self, prompts: Prompts, members: list[int], index: Index, window: Encoded) -> list[WindowPrompt]:
        asks = (ask(prompts, prompt, index, window.rect & self.frame, window.valid) for prompt in members)
        return [one for one in asks if one is not None]

"""The protocol of prompt sources: what proposes objects in a window in place of the regular points of the automatic mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from samgeo.geo.coordinates.indexed_area import IndexedArea
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.asking import Answers
    from samgeo.types import Embedding

__all__ = ["Evidence", "PromptSource", "Proposals", "WindowView"]

#: What a source computes when it proposes, and needs again when it scores: for example the maps of a network.
Evidence: TypeAlias = Any


@dataclass(frozen=True, slots=True, eq=False)
class WindowView:
    """A window, as a prompt source gets it.

    Attributes
    ----------
    rect : Rect
        The window in raster pixels. It may reach beyond the raster.
    size : (int, int)
        Height and width of the part in the raster, which is at the top left, in raster pixels.
    valid : ndarray of bool, shape (W, W)
        Where the window has data; one value for ``scale`` x ``scale`` raster pixels.
    core : Rect
        The part of the window, in raster pixels, for which the window is responsible: no other window of the scale has it.
    scale : int
        Side of the squares of ``valid``, in raster pixels.
    zoom : float
        Number of pixels of the model's input for each raster pixel.
    aoi_px : IndexedArea or None
        Area of interest in raster pixels.
    image : ndarray of uint8, shape (W, W, 3), or None
        The pixels of the window; zero where there is no data.
    """

    rect: Rect
    size: tuple[int, int]
    valid: NDArray[np.bool_]
    core: Rect
    scale: int
    zoom: float
    aoi_px: IndexedArea | None = None
    image: NDArray[np.uint8] | None = None

    def to_raster(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert x and y in pixels of the model's input, shape (P, 2), to raster pixels."""
        return np.asarray(points, dtype=np.float64) / self.zoom + (self.rect.x0, self.rect.y0)

    def responsible(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points, in pixels of the model's input, are in the core, in the area of interest, and have data."""
        place = self.to_raster(points)
        x, y = place.T
        inside = (x >= self.core.x0) & (x < self.core.x1) & (y >= self.core.y0) & (y < self.core.y1)
        corner = np.array([self.rect.x0, self.rect.y0])
        column, row = np.clip(np.floor((place - corner) / self.scale).astype(np.int64), 0, len(self.valid) - 1).T
        inside &= self.valid[row, column]
        if self.aoi_px is not None:
            inside[inside] = self.aoi_px.contains_xy(place[inside])
        return np.asarray(inside)

    def to_input(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Convert x and y in raster pixels, shape (P, 2), to pixels of the model's input."""
        return ((np.asarray(points, dtype=np.float64) - (self.rect.x0, self.rect.y0)) * self.zoom).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Suggested objects of one window, the most likely first.

    Attributes
    ----------
    boxes : ndarray of float32, shape (P, 4)
        x0, y0, x1, y1 in pixels of the model's input; NaN for a proposal that is only a point.
    points : ndarray of float32, shape (P, 2)
        x and y of a pixel of the object, in pixels of the model's input.
    scores : ndarray of float32, shape (P,)
        How likely the source finds the object, from 0 to 1.
    classes : ndarray of int64, shape (P,)
        Number of the class.
    logits : ndarray of float32, shape (P, h, w), optional
        Logits of the masks over the whole input, at most as large as the input. A source that draws masks itself gives them;
        the model is not asked then.
    mask_prompts : ndarray of float32, shape (P, h, w), optional
        Logits that the model is asked with, beside the boxes and points, at the resolution of the model's masks. All
        proposals have boxes then.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.windows.proposals import Proposals
    >>> boxes = np.float32([[0, 0, 8, 8], [20, 20, 40, 30]])
    >>> both = Proposals(boxes, (boxes[:, :2] + boxes[:, 2:]) / 2, np.float32([0.9, 0.4]), np.array([0, 0]))
    >>> len(both), len(both[both.scores > 0.5])
    (2, 1)
    """

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    logits: NDArray[np.float32] | None = None
    mask_prompts: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Proposals:
        logits = None if self.logits is None else self.logits[rows]
        prompts = None if self.mask_prompts is None else self.mask_prompts[rows]
        return Proposals(self.boxes[rows], self.points[rows], self.scores[rows], self.classes[rows], logits, prompts)

    @classmethod
    def none(cls) -> Proposals:
        """Return no proposals."""
        return cls(np.empty((0, 4), np.float32), np.empty((0, 2), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


@runtime_checkable
class PromptSource(Protocol):
    """Something that proposes objects in a window. It must be possible to pickle it, because worker processes get a copy."""

    @property
    def name(self) -> str:
        """Name of the source, for provenance."""

    @property
    def digest(self) -> str:
        """A digest of everything that decides the proposals: a run is only continued with the same digest."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number."""

    def propose(self, model: Segmenter, embedding: Embedding, window: WindowView, /) -> tuple[Proposals, Evidence]:
        """Propose objects of one window.

        Parameters
        ----------
        model : Segmenter
            The model.
        embedding
            Embedding of the window.
        window : WindowView
            The window.

        Returns
        -------
        proposals : Proposals
            Those outside the window's core are left out by the caller.
        evidence : Evidence
            What `score` needs of this window, for example the maps of a network.
        """

    def score(
        self, model: Segmenter, embedding: Embedding, proposals: Proposals, answers: Answers, evidence: Evidence, /
    ) -> NDArray[np.float32]:
        """Return the probability of each answer, shape (P,), that its mask has an IoU above .5 with an object of its class."""

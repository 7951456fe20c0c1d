"""One object again from the pieces that windows saw, streaming down the rows of windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from samgeo.geo.grid import Lattice, Rect
from samgeo.segment.masks import Mask, intersection_area, union
from samgeo.segment.profile import timed

__all__ = ["MERGE_IOU", "Merger", "Piece", "Segment", "merge", "place"]

MERGE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """A mask as one window saw it.

    Attributes
    ----------
    mask : Mask
        In raster pixels.
    predicted_iou, stability_score : float
        The model's estimate and the mask's stability.
    window : (int, int)
        Row and column of the window in the lattice.
    rank : int
        Its place among the window's masks, best first.
    cut : bool
        Whether the window's edge may have cut it.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    window: tuple[int, int]
    rank: int
    cut: bool

    @property
    def order(self) -> tuple[float, tuple[int, int], int]:
        """Best first: predicted IoU, then window, then place in it. A total order."""
        return -self.predicted_iou, self.window, self.rank


@dataclass(frozen=True, slots=True)
class Segment:
    """One whole object of the raster.

    Attributes
    ----------
    mask : Mask
        In raster pixels.
    predicted_iou, stability_score : float
        Of the piece that stands for it, or the mean over its pieces weighted by their areas.
    complete : bool
        False where its outline runs along the edge of a window behind which no window went on with it.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    complete: bool


def merge(
    rows: Iterable[Mapping[int, Sequence[Piece]]], lattice: Lattice, *, min_iou: float = MERGE_IOU
) -> Iterator[list[Segment]]:
    """Join the pieces of one object, row of windows by row of windows.

    Two pieces from neighbouring windows are the same object when their IoU reaches ``min_iou`` over the pixels where both
    are known: a cut piece is known inside its own window alone, a complete one everywhere. Components of that relation are
    objects. If a component has complete members, the best one stands for it; if all are cut, their union does.

    A component is given out as soon as no unread window can touch it: memory holds the pieces along the last row alone.

    Parameters
    ----------
    rows : iterable of mapping
        For each row of windows, from the top, the pieces of each column.
    lattice : Lattice
        The windows.
    min_iou : float, default 0.5
        When two pieces are the same object.

    Yields
    ------
    list of Segment
        The objects that closed with this row, from top to bottom, then left to right.
    """
    merger = Merger(lattice, min_iou=min_iou)
    for pieces in rows:
        yield merger.add(pieces)
    if merger.components:
        yield merger.close()


class Merger:
    """What `merge` does, a row at a time, for those who have to stop between two rows and go on later.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    min_iou : float, default 0.5
        When two pieces are the same object.
    row : int, default 0
        The first row of windows that will be added.
    components : iterable of sequences of Piece
        `components` of another merger after the rows before.
    """

    def __init__(
        self,
        lattice: Lattice,
        *,
        min_iou: float = MERGE_IOU,
        row: int = 0,
        components: Iterable[Sequence[Piece]] = (),
    ) -> None:
        self._lattice, self._min_iou, self._row = lattice, min_iou, row
        self._components = [list(members) for members in components]

    @property
    def components(self) -> list[list[Piece]]:
        """The pieces that an unread window may still touch, by object."""
        return self._components

    @timed("merge")
    def add(self, pieces: Mapping[int, Sequence[Piece]]) -> list[Segment]:
        """Add the next row of windows, the pieces of each column; return the objects that close with it, in order."""
        above: dict[int, list[Piece]] = {}
        for members in self._components:
            for piece in members:
                if piece.window[0] == self._row - 1:
                    above.setdefault(piece.window[1], []).append(piece)
        groups = _Groups(self._components, pieces)
        for column in sorted(pieces):
            neighbours = [pieces.get(column - 1, ()), *(above.get(column + step, ()) for step in (-1, 0, 1))]
            for other in neighbours:
                groups.join(_same(pieces[column], other, self._lattice, self._min_iou))
        closed, self._components = groups.split(self._row, self._lattice)
        self._row += 1
        return _segments(closed, self._lattice)

    @timed("merge")
    def close(self) -> list[Segment]:
        """Return what is still open as objects, in order."""
        closed, self._components = self._components, []
        return _segments(closed, self._lattice)


class _Groups:
    """Union-find over the open components and one more row of pieces."""

    def __init__(self, components: list[list[Piece]], row: Mapping[int, Sequence[Piece]]) -> None:
        self._members: list[list[Piece]] = [*components, *([piece] for pieces in row.values() for piece in pieces)]
        self._parent = list(range(len(self._members)))
        self._of = {id(piece): index for index, members in enumerate(self._members) for piece in members}

    def join(self, pairs: Iterable[tuple[Piece, Piece]]) -> None:
        for one, other in pairs:
            low, high = sorted((self._root(self._of[id(one)]), self._root(self._of[id(other)])))
            self._parent[high] = low

    def split(self, row: int, lattice: Lattice) -> tuple[list[list[Piece]], list[list[Piece]]]:
        """Return the components that are closed after this row, and those that the next row may touch."""
        merged: dict[int, list[Piece]] = {}
        for index, members in enumerate(self._members):
            merged.setdefault(self._root(index), []).extend(members)
        next_top = lattice.rect(row + 1, 0).y0 if row + 1 < lattice.rows else None
        closed: list[list[Piece]] = []
        open_: list[list[Piece]] = []
        for members in merged.values():
            touched = next_top is not None and any(
                piece.window[0] == row and piece.mask.rect.y1 > next_top for piece in members
            )
            (open_ if touched else closed).append(members)
        return closed, open_

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = index = self._parent[self._parent[index]]
        return index


def _same(pieces: Sequence[Piece], others: Sequence[Piece], lattice: Lattice, min_iou: float) -> Iterator[tuple[Piece, Piece]]:
    """Return the pairs, one from each window, that are the same object."""
    if not pieces or not others:
        return
    here, there = lattice.rect(*pieces[0].window), lattice.rect(*others[0].window)
    boxes, other_boxes = _boxes(pieces), _boxes(others)
    low = np.maximum(boxes[:, None, :2], other_boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], other_boxes[None, :, 2:])
    for index, other_index in np.argwhere((low < high).all(axis=2)):
        one, other = pieces[index], others[other_index]
        if _known_iou(one, here, other, there) >= min_iou:
            yield one, other


def _known_iou(one: Piece, here: Rect, other: Piece, there: Rect) -> float:
    """IoU over the pixels where both pieces are known."""
    a = one.mask.clip(there) if other.cut else one.mask
    b = other.mask.clip(here) if one.cut else other.mask
    area_a, area_b = a.area, b.area
    if not area_a or not area_b:
        return 0.0
    shared = intersection_area(a, b)
    return shared / (area_a + area_b - shared)


def _boxes(pieces: Sequence[Piece]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    rects = (piece.mask.rect for piece in pieces)
    return np.array([(rect.x0, rect.y0, rect.x1, rect.y1) for rect in rects], dtype=np.int64)


def _segments(components: Iterable[list[Piece]], lattice: Lattice) -> list[Segment]:
    return sorted((_whole(members, lattice) for members in components), key=place)


def _whole(members: list[Piece], lattice: Lattice) -> Segment:
    members = sorted(members, key=lambda piece: piece.order)
    best = next((piece for piece in members if not piece.cut), None)
    if best is not None:
        return Segment(best.mask, best.predicted_iou, best.stability_score, complete=True)
    areas = [piece.mask.area for piece in members]
    mask = union([piece.mask for piece in members])
    return Segment(
        mask,
        float(np.average([piece.predicted_iou for piece in members], weights=areas)),
        float(np.average([piece.stability_score for piece in members], weights=areas)),
        complete=not any(_ends_at_window(piece, mask, lattice) for piece in members),
    )


def _ends_at_window(piece: Piece, whole: Mask, lattice: Lattice) -> bool:
    """Whether a piece reaches a side of its window, inside the raster, and the whole does not go on behind it."""
    rect, (height, width) = lattice.rect(*piece.window), lattice.shape
    sides = (
        (rect.x0 > 0, Rect(rect.x0, rect.y0, rect.x0 + 1, rect.y1), (-1, 0)),
        (rect.x1 < width, Rect(rect.x1 - 1, rect.y0, rect.x1, rect.y1), (1, 0)),
        (rect.y0 > 0, Rect(rect.x0, rect.y0, rect.x1, rect.y0 + 1), (0, -1)),
        (rect.y1 < height, Rect(rect.x0, rect.y1 - 1, rect.x1, rect.y1), (0, 1)),
    )
    for inside, line, step in sides:
        edge = piece.mask.clip(line)
        if inside and not edge.is_empty and intersection_area(edge.shift(*step), whole) == 0:
            return True
    return False


def place(segment: Segment) -> tuple[int, int, int, int, float, bytes]:
    """Sort key: where on the raster an object lies, from top to bottom, then left to right. A total order."""
    rect = segment.mask.rect
    return rect.y0, rect.x0, rect.y1, rect.x1, -segment.predicted_iou, blake2b(segment.mask.runs.tobytes()).digest()

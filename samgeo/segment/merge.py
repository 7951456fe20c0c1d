"""One object again from the pieces that windows saw, streaming down the rows of windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from samgeo.geo.levels import Levels
from samgeo.segment.pieces import Piece, Segment, place
from samgeo.segment.profile import timed
from samgeo.segment.same import same_across, same_beside
from samgeo.segment.views import objects

__all__ = ["MERGE_IOU", "Merger", "Piece", "Segment", "merge", "place"]

MERGE_IOU = 0.5


def merge(
    rows: Iterable[Mapping[int, Sequence[Piece]]], levels: Levels, *, min_iou: float = MERGE_IOU
) -> Iterator[list[Segment]]:
    """Join the pieces of one object, row of windows by row of windows.

    Two pieces from neighbouring windows are the same object when their IoU reaches ``min_iou`` over the pixels where both
    are known: a cut piece is known inside its own window alone, a complete one everywhere. Components of that relation are
    objects. If a component has complete members, the best one stands for it; if all are cut, their union does. Pieces of
    windows of several scales are compared in the same way, and become objects as `samgeo.segment.views.objects` says.

    A component is given out as soon as no unread window can touch it: memory holds the pieces along the last row of each
    scale alone.

    Parameters
    ----------
    rows : iterable of mapping
        For each row of windows, from the top, the pieces of each column.
    levels : Levels
        The windows.
    min_iou : float, default 0.5
        When two pieces are the same object.

    Yields
    ------
    list of Segment
        The objects that closed with this row, from top to bottom, then left to right.
    """
    merger = Merger(levels, min_iou=min_iou)
    for pieces in rows:
        yield merger.add(pieces)
    if merger.components:
        yield merger.close()


class Merger:
    """What `merge` does, a row at a time, for those who have to stop between two rows and go on later.

    Parameters
    ----------
    levels : Levels
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
        levels: Levels,
        *,
        min_iou: float = MERGE_IOU,
        row: int = 0,
        components: Iterable[Sequence[Piece]] = (),
    ) -> None:
        self._levels, self._min_iou, self._row = levels, min_iou, row
        self._components = [list(members) for members in components]

    @property
    def components(self) -> list[list[Piece]]:
        """The pieces that an unread window may still touch, by object."""
        return self._components

    @timed("merge")
    def add(self, pieces: Mapping[int, Sequence[Piece]]) -> list[Segment]:
        """Add the next row of windows, the pieces of each column; return the objects that close with it, in order."""
        levels, min_iou = self._levels, self._min_iou
        before: dict[tuple[int, int], list[Piece]] = defaultdict(list)
        for members in self._components:
            for piece in members:
                before[piece.window].append(piece)
        above = levels.row_above(self._row)
        groups = _Groups(self._components, pieces)
        for column, mine in pieces.items():
            here = levels.rect(self._row, column)
            groups.join(same_beside(mine, here, pieces.get(column - 1, ()), levels.rect(self._row, column - 1), min_iou))
            for window in [] if above is None else [(above, column + step) for step in (-1, 0, 1)]:
                groups.join(same_beside(mine, here, before.get(window, ()), levels.rect(*window), min_iou))
            for window in levels.across(self._row, column):
                if window in before:
                    strip = min(levels.overlap(self._row), levels.overlap(window[0]))
                    there = levels.rect(*window)
                    groups.join(same_across(mine, here, before[window], there, min_iou, least_strip=strip))
        closed, self._components = groups.split(levels.next_top(self._row), levels)
        self._row += 1
        return _segments(closed, levels, min_iou)

    @timed("merge")
    def close(self) -> list[Segment]:
        """Return what is still open as objects, in order."""
        closed, self._components = self._components, []
        return _segments(closed, self._levels, self._min_iou)


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

    def split(self, next_top: int | None, levels: Levels) -> tuple[list[list[Piece]], list[list[Piece]]]:
        """Return the components that are closed, and those that windows from the line ``next_top`` on may touch."""
        merged: dict[int, list[Piece]] = {}
        for index, members in enumerate(self._members):
            merged.setdefault(self._root(index), []).extend(members)
        reaching = set() if next_top is None else levels.rows_at(next_top)
        closed: list[list[Piece]] = []
        open_: list[list[Piece]] = []
        for members in merged.values():
            touched = next_top is not None and any(
                piece.window[0] in reaching and piece.mask.rect.y1 > next_top for piece in members
            )
            (open_ if touched else closed).append(members)
        return closed, open_

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = index = self._parent[self._parent[index]]
        return index


def _segments(components: Iterable[list[Piece]], levels: Levels, min_iou: float) -> list[Segment]:
    return sorted((one for members in components for one in objects(members, levels, min_iou)), key=place)

"""The merger: it joins pieces of neighbouring windows to whole objects, one row of windows at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece, Segment, place
from samgeo.segmentation.merge.matching import known_iou, same_across, same_beside
from samgeo.segmentation.merge.scale_views import objects
from samgeo.segmentation.profile import timed

__all__ = ["Merger", "Piece", "Segment", "merge"]


def merge(
    rows: Iterable[Mapping[int, Sequence[Piece]]], levels: Levels, *, min_iou: float = MERGE_IOU
) -> Iterator[list[Segment]]:
    """Merge the pieces of each object, one row of windows at a time.

    Two pieces from neighbouring windows are the same object if their IoU is at least ``min_iou`` over the pixels where both are
    known. A cut piece is known only inside its window, a complete piece everywhere. The connected components of this relation
    are the objects. If a component has complete pieces, the best of them is the object; if all pieces are cut, their union is.
    Pieces of windows of several scales are compared in the same way, and `scale_views.objects` makes objects of them.

    A component is given as soon as no unread window can touch it. Memory holds only the pieces along the last row of each
    scale.

    Parameters
    ----------
    rows : iterable of mapping
        For each row of windows, from the top, the pieces of each column.
    levels : Levels
        The windows of all scales.
    min_iou : float, default 0.5
        Smallest IoU of two pieces that are the same object.

    Yields
    ------
    list of Segment
        The objects that closed with this row, from top to bottom, then from left to right.

    Examples
    --------
    Two neighbouring windows of 8 x 8 pixels share 4 columns. Each sees one end of a bar and cuts it at its own edge.

    >>> import numpy as np
    >>> from samgeo.geo.grid import Lattice, Rect
    >>> from samgeo.geo.levels import Levels
    >>> from samgeo.segmentation.masks.mask import Mask
    >>> from samgeo.segmentation.merge.merger import merge
    >>> from samgeo.segmentation.masks.piece import Piece
    >>> lattice = Lattice((8, 12), window=8, overlap=4)
    >>> bar = Mask.from_array(np.ones((2, 10), dtype=bool), x0=1, y0=3)
    >>> left, right = bar.clip(lattice.rect(0, 0)), bar.clip(lattice.rect(0, 1))
    >>> pieces = {
    ...     0: [Piece(left, 0.9, 0.9, (0, 0), 0, cut_at=bar.clip(Rect(6, 0, 8, 8)))],
    ...     1: [Piece(right, 0.9, 0.9, (0, 1), 0, cut_at=bar.clip(Rect(4, 0, 6, 8)))],
    ... }
    >>> for objects in merge([pieces], Levels.of(lattice)):
    ...     print([(one.mask == bar, one.complete) for one in objects])
    [(True, True)]
    """
    merger = Merger(levels, min_iou=min_iou)
    for pieces in rows:
        yield merger.add(pieces)
    if merger.components:
        yield merger.close()


class Merger:
    """Merges rows of windows like `merge`, but one call for each row, so that merging can stop after a row and continue later.

    Call `add` for each row. Or use three steps, to insert further pieces of objects that the edges of windows cut: `begin` the
    row, `insert` further pieces of windows of this row or of earlier rows, and `finish` the row.

    Parameters
    ----------
    levels : Levels
        The windows of all scales.
    min_iou : float, default 0.5
        Smallest IoU of two pieces that are the same object.
    row : int, default 0
        The first row of windows that will be added.
    components : iterable of sequences of Piece
        The `components` of another merger after the previous row.
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
        self._groups = _Groups(self._components)

    @property
    def components(self) -> list[list[Piece]]:
        """The pieces of each open object, that is, each object that an unread window may still touch."""
        return self._components

    def add(self, pieces: Mapping[int, Sequence[Piece]]) -> list[Segment]:
        """Add the next row of windows, the pieces of each column; return the objects that close with it, in order."""
        self.begin(pieces)
        return self.finish()

    @timed("merge")
    def begin(self, pieces: Mapping[int, Sequence[Piece]]) -> None:
        """Begin the next row of windows with the pieces of each column."""
        self._groups = _Groups(self._components)
        for column in sorted(pieces):
            self._put((self._row, column), pieces[column])

    def insert(self, piece: Piece, same: Iterable[Piece]) -> None:
        """Insert a further piece of a window that was added before; a row must be begun.

        Parameters
        ----------
        piece : Piece
            The further piece.
        same : iterable of Piece
            Pieces of the same scale that are the same object. Those of other scales are found by comparison.
        """
        self._groups.add([piece])
        self._groups.join((piece, one) for one in same)
        self._join_across(piece.window, [piece])

    def beside(self, piece: Piece) -> list[tuple[float, Piece]]:
        """Return the pieces of neighbouring windows that are the same object, with their IoU, the most similar first."""
        levels, here = self._levels, self._levels.rect(*piece.window)
        found = []
        for window in levels.beside(*piece.window):
            there = levels.rect(*window)
            for _, other in same_beside([piece], here, self._groups.pieces_of(window), there, self._min_iou):
                found.append((known_iou(piece, here, other, there), other))
        return sorted(found, key=lambda pair: (-pair[0], pair[1].order))

    def component_of(self, piece: Piece) -> list[Piece]:
        """Return all pieces that are the same object as a piece; a row must be begun."""
        return self._groups.members_of(piece)

    def pieces_of(self, window: tuple[int, int]) -> Sequence[Piece]:
        """Return the pieces of a window that are open or belong to the row that was begun."""
        return self._groups.pieces_of(window)

    def pieces_of_row(self, row: int) -> list[Piece]:
        """Return the pieces of all windows of a row that are open or belong to the row that was begun, from left to right."""
        return [piece for column in range(self._levels.columns_of(row)) for piece in self._groups.pieces_of((row, column))]

    def join(self, one: Piece, other: Piece) -> None:
        """Mark two pieces as the same object."""
        self._groups.join([(one, other)])

    @timed("merge")
    def finish(self) -> list[Segment]:
        """Finish the row, and return the objects that close with it, in order."""
        closed, self._components = self._groups.split(self._levels.next_top(self._row), self._levels)
        self._row += 1
        return _segments(closed, self._levels, self._min_iou)

    @timed("merge")
    def close(self) -> list[Segment]:
        """Return all open objects, in order."""
        closed, self._components = self._components, []
        return _segments(closed, self._levels, self._min_iou)

    def _put(self, window: tuple[int, int], pieces: Sequence[Piece]) -> None:
        """Add the pieces of one window, and join them with the pieces of other windows that are the same objects."""
        levels, groups, min_iou = self._levels, self._groups, self._min_iou
        groups.add(pieces)
        if not pieces:
            return
        here = levels.rect(*window)
        for other in levels.beside(*window):
            groups.join(same_beside(pieces, here, groups.pieces_of(other), levels.rect(*other), min_iou))
        self._join_across(window, pieces)

    def _join_across(self, window: tuple[int, int], pieces: Sequence[Piece]) -> None:
        levels, groups, min_iou = self._levels, self._groups, self._min_iou
        here = levels.rect(*window)
        for other in levels.across(*window):
            others = groups.pieces_of(other)
            if others:
                strip = min(levels.overlap(window[0]), levels.overlap(other[0]))
                groups.join(same_across(pieces, here, others, levels.rect(*other), min_iou, least_strip=strip))


class _Groups:
    """Union-find structure over the pieces of open objects and of the row that was begun."""

    def __init__(self, components: Iterable[Sequence[Piece]] = ()) -> None:
        self._pieces: list[Piece] = []
        self._parent: list[int] = []
        self._members: dict[int, list[Piece]] = {}
        self._of: dict[int, int] = {}
        self._in_window: dict[tuple[int, int], list[Piece]] = defaultdict(list)
        for members in components:
            self.add(members)
            root = self._of[id(members[0])]
            for piece in members[1:]:
                self._parent[self._of[id(piece)]] = root
                self._members[root].extend(self._members.pop(self._of[id(piece)]))

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            index = len(self._pieces)
            self._pieces.append(piece)
            self._parent.append(index)
            self._members[index] = [piece]
            self._of[id(piece)] = index
            self._in_window[piece.window].append(piece)

    def pieces_of(self, window: tuple[int, int]) -> Sequence[Piece]:
        return self._in_window.get(window, ())

    def members_of(self, piece: Piece) -> list[Piece]:
        return self._members[self._root(self._of[id(piece)])]

    def join(self, pairs: Iterable[tuple[Piece, Piece]]) -> None:
        for one, other in pairs:
            low, high = sorted((self._root(self._of[id(one)]), self._root(self._of[id(other)])))
            if low != high:
                self._parent[high] = low
                self._members[low].extend(self._members.pop(high))

    def split(self, next_top: int | None, levels: Levels) -> tuple[list[list[Piece]], list[list[Piece]]]:
        """Return the closed components, and those that windows from the pixel row ``next_top`` on may still touch."""
        reaching = set() if next_top is None else levels.rows_at(next_top)
        closed: list[list[Piece]] = []
        open_: list[list[Piece]] = []
        for _, members in sorted(self._members.items()):
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

"""The merger: it joins pieces of neighbouring windows to whole objects, one row of windows at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from samgeo.geo.grid import Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece, Segment, place
from samgeo.segmentation.merge.matching import known_iou, same_across, same_beside
from samgeo.segmentation.merge.open_objects import NO_ROW, OpenObject, Step
from samgeo.segmentation.merge.scale_views import objects
from samgeo.segmentation.profile import timed
from samgeo.segmentation.windows.cut_edges import near

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
    if merger.has_open:
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
    open_objects : iterable of OpenObject
        The open objects of another merger after the previous row; see `samgeo.segmentation.merge.open_objects.replayed`.
    numbered : int, default 0
        How many pieces the other merger numbered.
    """

    def __init__(
        self,
        levels: Levels,
        *,
        min_iou: float = MERGE_IOU,
        row: int = 0,
        open_objects: Iterable[OpenObject] = (),
        numbered: int = 0,
    ) -> None:
        self._levels, self._min_iou, self._row = levels, min_iou, row
        self._groups = _Groups(open_objects, numbered)

    @property
    def has_open(self) -> bool:
        """Whether there is an open object, that is, an object that an unread window may still touch."""
        return self._groups.has_any

    def open_pieces_at(self, rects: Iterable[Rect]) -> tuple[list[Piece], list[int]]:
        """Return the pieces of open objects in the windows that share pixels with rectangles, and the least area of each.

        The least area is a lower bound of the area of the object that the piece will belong to; see `OpenObject`. A complete
        piece may be the whole object, so that its least area is its own.
        """
        windows = {window for rect in rects for window in self._levels.meeting(rect)}
        pieces = [piece for window in sorted(windows) for piece in self._groups.pieces_of(window)]
        return pieces, [max(piece.mask.area, self._groups.least_area(piece)) for piece in pieces]

    def add(self, pieces: Mapping[int, Sequence[Piece]]) -> list[Segment]:
        """Add the next row of windows, the pieces of each column; return the objects that close with it, in order."""
        self.begin(pieces)
        return self.finish()

    @timed("merge")
    def begin(self, pieces: Mapping[int, Sequence[Piece]]) -> None:
        """Begin the next row of windows with the pieces of each column."""
        self._groups.begin_row()
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

    def number_of(self, piece: Piece) -> int:
        """Return the number of the object that a piece belongs to: that of its first piece, which joining keeps."""
        return self._groups.root_of(piece)

    def is_whole(self, piece: Piece) -> bool:
        """Whether the object that a piece belongs to has a complete piece."""
        return self._groups.is_whole(piece)

    def newest_first(self, piece: Piece) -> Iterator[Piece]:
        """Yield all pieces of the object that a piece belongs to, the last ones first."""
        return reversed(self._groups.members_of(piece))

    def around(self, piece: Piece) -> list[Piece]:
        """Return the pieces of the same object in other windows that share pixels with the window of a piece."""
        groups = self._groups
        number = groups.root_of(piece)
        return [other for other in near(piece, groups.in_window, self._levels) if groups.root_of(other) == number]

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
        levels, groups, row = self._levels, self._groups, self._row
        closed = groups.close_all_but(self._reached(levels.next_top(row)))
        if len(levels.lattices) == 1:
            groups.count(self.pieces_of_row(row), row, apart=-(-levels.lattices[0].window // levels.lattices[0].stride))
        self._row += 1
        return _segments(closed, levels, self._min_iou)

    def step(self) -> Step:
        """Return what the row that was finished last has changed in the open objects."""
        return self._groups.step()

    def changed_objects(self) -> frozenset[int]:
        """Return the numbers of earlier open objects that the row has closed, made parts of others, or made larger.

        Those only count as larger whose least areas have changed; see `open_pieces_at`.
        """
        return frozenset(self._groups.changed)

    def changed_windows(self) -> set[tuple[int, int]]:
        """Return the windows to which the row that was finished last has added pieces."""
        return {piece.window for piece in self._groups.new}

    @timed("merge")
    def close(self) -> list[Segment]:
        """Return all open objects, in order."""
        return _segments(self._groups.close_all_but(()), self._levels, self._min_iou)

    def _reached(self, next_top: int | None) -> Iterator[Piece]:
        """Yield the pieces that windows from the pixel row ``next_top`` on may still touch."""
        if next_top is None:
            return
        for row in sorted(self._levels.rows_at(next_top)):
            yield from (piece for piece in self.pieces_of_row(row) if piece.mask.rect.y1 > next_top)

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
    """Union-find structure over the pieces of open objects and of the row that was begun.

    The number of a piece counts all pieces that were added before it. The root of an object is the number of its first piece.
    The work for a row depends on the pieces that it adds or closes, and not on those of objects that stay open.
    """

    def __init__(self, open_objects: Iterable[OpenObject], numbered: int) -> None:
        self.numbered = numbered
        # Of the row that was begun: its pieces, the number of the first one, and the roots that became parts of other objects.
        self.new: list[Piece] = []
        self.changed: set[int] = set()  # see `Merger.changed_objects`
        self._first = numbered
        self._joined: list[int] = []
        self._parent: dict[int, int] = {}
        self._members: dict[int, list[Piece]] = {}
        self._whole: dict[int, bool] = {}
        self._counted: dict[int, tuple[int, int]] = {}  # see `OpenObject.counted` and `OpenObject.least_area`
        self._of: dict[int, int] = {}  # the ``id`` of a piece to its number
        self.in_window: dict[tuple[int, int], list[Piece]] = {}
        placed: list[tuple[int, Piece]] = []
        for one in open_objects:
            root = one.number
            self._members[root] = list(one.pieces.values())
            self._whole[root] = any(not piece.cut for piece in one.pieces.values())
            self._counted[root] = one.counted, one.least_area
            self._parent.update(dict.fromkeys(one.pieces, root))
            placed.extend(one.pieces.items())
        # Pieces of a window are kept in the order in which they were added.
        for number, piece in sorted(placed, key=lambda pair: pair[0]):
            self._of[id(piece)] = number
            self.in_window.setdefault(piece.window, []).append(piece)

    @property
    def has_any(self) -> bool:
        return bool(self._members)

    def begin_row(self) -> None:
        self.new, self._first, self._joined, self.changed = [], self.numbered, [], set()

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self.new.append(piece)
            number = self.numbered
            self.numbered += 1
            self._parent[number] = number
            self._members[number] = [piece]
            self._whole[number] = not piece.cut
            self._counted[number] = NO_ROW, 0
            self._of[id(piece)] = number
            self.in_window.setdefault(piece.window, []).append(piece)

    def pieces_of(self, window: tuple[int, int]) -> Sequence[Piece]:
        return self.in_window.get(window, ())

    def members_of(self, piece: Piece) -> list[Piece]:
        return self._members[self.root_of(piece)]

    def is_whole(self, piece: Piece) -> bool:
        return self._whole[self.root_of(piece)]

    def root_of(self, piece: Piece) -> int:
        return self._root(self._of[id(piece)])

    def least_area(self, piece: Piece) -> int:
        return self._least_area(self.root_of(piece))

    def _least_area(self, root: int) -> int:
        return 0 if self._whole[root] else self._counted[root][1]

    def join(self, pairs: Iterable[tuple[Piece, Piece]]) -> None:
        for one, other in pairs:
            low, high = sorted((self.root_of(one), self.root_of(other)))
            if low != high:
                self._parent[high] = low
                before = self._least_area(low)
                self._members[low].extend(self._members.pop(high))
                self._whole[low] |= self._whole.pop(high)
                self._counted[low] = max(self._counted[low], self._counted.pop(high), key=lambda pair: (pair[1], pair[0]))
                self._joined.append(high)
                self.changed.add(high)
                if self._least_area(low) != before:
                    self.changed.add(low)

    def close_all_but(self, reached: Iterable[Piece]) -> list[list[Piece]]:
        """Remove the objects without any of the given pieces, and return the pieces of each, in order of their roots."""
        stay = {self.root_of(piece) for piece in reached}
        closed = [self._members.pop(root) for root in sorted(self._members.keys() - stay)]
        for members in closed:
            root = self.root_of(members[0])
            del self._whole[root], self._counted[root]
            self.changed.add(root)
        gone = [piece for members in closed for piece in members]
        for piece in gone:
            del self._parent[self._of.pop(id(piece))]
        for window in {piece.window for piece in gone}:
            left = [piece for piece in self.in_window.pop(window) if id(piece) in self._of]
            if left:
                self.in_window[window] = left
        return closed

    def count(self, pieces: Iterable[Piece], row: int, *, apart: int) -> None:
        """Add the largest piece in a row of windows to the least area of each object, if it is ``apart`` from the last row."""
        largest: dict[int, int] = defaultdict(int)
        for piece in pieces:
            root = self.root_of(piece)
            largest[root] = max(largest[root], piece.mask.area)
        for root, area in largest.items():
            before, total = self._counted[root]
            if before == NO_ROW or row - before >= apart:
                self._counted[root] = row, total + area
                if not self._whole[root]:
                    self.changed.add(root)

    def step(self) -> Step:
        """Return what the row that was begun last has changed."""
        added = {self._of[id(piece)]: (self.root_of(piece), piece) for piece in self.new if id(piece) in self._of}
        older = (root for root in self._joined if root < self._first and root in self._parent)
        return Step(
            added=added,
            joined=tuple((root, self._root(root)) for root in older),
            open=tuple((root, *self._counted[root]) for root in sorted(self._members)),
            numbered=self.numbered,
        )

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = number = self._parent[self._parent[number]]
        return number


def _segments(components: Iterable[list[Piece]], levels: Levels, min_iou: float) -> list[Segment]:
    return sorted((one for members in components for one in objects(members, levels, min_iou)), key=place)

"""Objects from pieces of several scales that are connected by matches.

The windows of one scale see an object once, as a complete piece or as several cut pieces that continue each other. This is
called a view. Matching views of different scales may be the same object, or an object and a part of it. Views that are
connected only through other views need not be the same object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask, intersection_area, union
from samgeo.segmentation.masks.piece import Piece, Segment
from samgeo.segmentation.merge.matching import iou_in_windows, same_across, same_beside
from samgeo.segmentation.merge.union import to_segment
from samgeo.segmentation.windows.cut_edges import by_window

__all__ = ["objects"]

# A cut view is explained by another view that contains at least this share of its area.
LEAST_SHARE = 0.5


def objects(members: Sequence[Piece], levels: Levels, min_iou: float) -> list[Segment]:
    """Make objects of connected pieces.

    Pieces of one scale are one object. Among several scales, the finest complete view replaces coarser views that agree with
    it. Cut pieces of finer scales are no object of their own if half of their area is in a coarser view; where they agree with
    it, they draw its edges.

    Parameters
    ----------
    members : sequence of Piece
        A connected component of the relation "the same object".
    levels : Levels
        The windows of all scales.
    min_iou : float
        Smallest IoU of two pieces that are the same object.
    """
    if len({levels.level(piece.window[0]) for piece in members}) == 1:
        return [_with_scale(to_segment(members, levels), levels, members[0])]
    views = _views(members, levels, min_iou)
    coarser = _agreements(views, levels, min_iou)
    views = _without_coarser_doubles(views, coarser, levels, min_iou)
    _explain(views, coarser, levels)
    return [
        _with_scale(to_segment(view.pieces, levels, finer=view.finer, min_iou=min_iou), levels, view.pieces[0])
        for view in views
        if view.explained_by is None
    ]


def _with_scale(one: Segment, levels: Levels, piece: Piece) -> Segment:
    return replace(one, scale=levels.locate(piece.window[0])[0])


@dataclass(slots=True, eq=False)
class _View:
    """An object as the windows of one scale show it.

    Attributes
    ----------
    level : int
        Index of the scale.
    pieces : list of Piece
        The best complete piece, or all pieces if all are cut.
    explained_by : _View or None
        The view that contains this view, so that this view is no object of its own.
    best : dict of window to (float, Piece)
        For each finer window, the cut piece that agrees most, and its agreement. These pieces draw the edges.
    beside : list of Piece
        Cut pieces of finer scales that belong to the object where this view shows nothing.
    """

    level: int
    pieces: list[Piece]
    explained_by: _View | None = None
    best: dict[tuple[int, int], tuple[float, Piece]] = field(default_factory=dict)
    beside: list[Piece] = field(default_factory=list)
    _mask: Mask | None = None

    @property
    def is_complete(self) -> bool:
        return not self.pieces[0].cut

    @property
    def root(self) -> _View:
        return self if self.explained_by is None else self.explained_by.root

    @property
    def finer(self) -> list[Piece]:
        return [*(piece for _, piece in self.best.values()), *self.beside]

    def offer(self, piece: Piece, agreement: float) -> None:
        """Keep a finer piece for its window, unless another piece there agrees more, or agrees equally and is better."""
        before = self.best.get(piece.window)
        if before is None or (-agreement, piece.order) < (-before[0], before[1].order):
            self.best[piece.window] = agreement, piece

    @property
    def area(self) -> int:
        return sum(piece.mask.area for piece in self.pieces)

    @property
    def mask(self) -> Mask:
        """The union of the pieces, which is computed once."""
        if self._mask is None:
            self._mask = self.pieces[0].mask if len(self.pieces) == 1 else union(piece.mask for piece in self.pieces)
        return self._mask


class _Around:
    """Views by the windows of their pieces, so that only those that may share pixels are compared.

    An object as tall as the raster may have very many views.
    """

    def __init__(self, views: Sequence[_View], levels: Levels) -> None:
        self._views, self._levels = views, levels
        self._at: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, view in enumerate(views):
            for window in {piece.window for piece in view.pieces}:
                self._at[window].append(number)

    def explaining(self, view: _View, may: Callable[[_View], bool]) -> _View | None:
        """Return the view of another scale, of those that may explain this view, that contains the largest part of its area.

        Of equal ones it is the last. None if no view contains `LEAST_SHARE` of it.
        """
        shared: dict[int, int] = defaultdict(int)
        for piece in view.pieces:
            for number in {one for window in self._levels.across(*piece.window) for one in self._at.get(window, ())}:
                if may(self._views[number]):
                    shared[number] += intersection_area(piece.mask, self._views[number].mask.clip(piece.mask.rect))
        best = max(shared, key=lambda number: (shared[number], number), default=None)
        return None if best is None or shared[best] / view.area < LEAST_SHARE else self._views[best]


# Maps the ``id`` of a piece to the pieces of coarser scales that agree with it.
_Coarser = dict[int, list[Piece]]


def _views(members: Sequence[Piece], levels: Levels, min_iou: float) -> list[_View]:
    """Group pieces into views, ordered by scale and then by the order of their best pieces."""
    members = sorted(members, key=lambda piece: piece.order)
    windows = by_window(members)
    group = {id(piece): [piece] for piece in members}
    for (row, column), pieces in windows.items():
        above = levels.row_above(row)
        beside = [(row, column - 1), *([] if above is None else [(above, column + step) for step in (-1, 0, 1)])]
        for window in beside:
            there = levels.rect(*window)
            for one, other in same_beside(pieces, levels.rect(row, column), windows.get(window, ()), there, min_iou):
                mine, others = group[id(one)], group[id(other)]
                if mine is not others:
                    more, fewer = (mine, others) if len(mine) >= len(others) else (others, mine)
                    more.extend(fewer)
                    group.update((id(piece), more) for piece in fewer)
    views = []
    for pieces in {id(pieces): pieces for pieces in group.values()}.values():
        pieces.sort(key=lambda piece: piece.order)
        complete = [piece for piece in pieces if not piece.cut]
        views.append(_View(levels.level(pieces[0].window[0]), complete[:1] or pieces))
    return sorted(views, key=lambda view: (view.level, view.pieces[0].order))


def _agreements(views: Sequence[_View], levels: Levels, min_iou: float) -> _Coarser:
    windows = by_window([piece for view in views for piece in view.pieces])
    found: _Coarser = defaultdict(list)
    for window, pieces in windows.items():
        for other in levels.across(*window):
            if other in windows and levels.level(other[0]) > levels.level(window[0]):
                here, there, strip = levels.rect(*window), levels.rect(*other), levels.overlap(window[0])
                for one, wide in same_across(pieces, here, windows[other], there, min_iou, least_strip=strip):
                    found[id(one)].append(wide)
    return found


def _without_coarser_doubles(views: Sequence[_View], coarser: _Coarser, levels: Levels, min_iou: float) -> list[_View]:
    """Return the views without those that a finer complete view, or a better one of the same scale, replaces."""
    kept: dict[tuple[int, int], list[Piece]] = defaultdict(list)  # by window, which contains the whole of a complete piece
    doubles: set[int] = set()
    left = []
    for view in views:
        piece = view.pieces[0]
        if view.is_complete:
            beside = (one for window in (piece.window, *levels.beside(*piece.window)) for one in kept.get(window, ()))
            if id(piece) in doubles or any(iou_in_windows(piece, one, levels) >= min_iou for one in beside):
                continue
            kept[piece.window].append(piece)
            doubles.update(id(wide) for wide in coarser.get(id(piece), ()))
        elif sum(one.mask.area for one in view.pieces if id(one) in doubles) >= LEAST_SHARE * view.area:
            continue
        left.append(view)
    return left


def _explain(views: Sequence[_View], coarser: _Coarser, levels: Levels) -> None:
    """Decide, from the coarsest scale to the finest, which views are parts of others, and which pieces draw edges."""
    view_of = {id(piece): view for view in views for piece in view.pieces}
    around = _Around(views, levels)
    roots: dict[int, _View] = {}
    for view in reversed(views):
        roots[id(view)] = view
        if view.is_complete or view.level == views[-1].level:
            continue
        alone = []
        for piece in view.pieces:
            wide = [one for one in coarser.get(id(piece), ()) if id(one) in view_of]
            for one in wide:
                view_of[id(one)].root.offer(piece, iou_in_windows(piece, one, levels))
            if not wide:
                alone.append(piece)
        root = around.explaining(view, partial(_is_wider, view, roots))
        if root is not None:
            view.explained_by = root
            # A complete view shows the whole object. A cut view may miss parts at its edges, which the finer pieces add.
            root.beside.extend([] if root.is_complete else alone)
            del roots[id(view)]
    _explain_fragments(roots, around)


def _is_wider(view: _View, roots: Mapping[int, _View], other: _View) -> bool:
    return id(other) in roots and other.level > view.level


def _is_finer(view: _View, roots: Mapping[int, _View], other: _View) -> bool:
    return id(other) in roots and other.level < view.level and other.explained_by is None


def _explain_fragments(roots: Mapping[int, _View], around: _Around) -> None:
    """Find cut views that are fragments of finer views.

    Thin parts of an object are left to the finer scale, so that a coarse view of a large object may be only a fragment of the
    finer view, and contain less than half of it.
    """
    for view in roots.values():
        if not view.is_complete:
            view.explained_by = around.explaining(view, partial(_is_finer, view, roots))

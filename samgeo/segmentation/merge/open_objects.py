"""The objects that later rows of windows may still change, and how one row of windows changes them.

An open object may have pieces in all rows of windows, as a river has that flows through the whole raster. Therefore the state
of merging is kept as what each row added to it, and not written as a whole after each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from samgeo.segmentation.masks.piece import Piece

__all__ = ["NO_ROW", "OpenObject", "Step", "replayed"]

NO_ROW = -1
"""The value of `OpenObject.counted` before any row was counted."""


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object that later rows of windows may still change.

    Attributes
    ----------
    pieces : dict of int to Piece
        Its pieces, by rising number. Pieces are numbered in the order in which a merger takes them. The first number
        identifies the object.
    counted : int
        The last row of windows whose pieces are counted in ``least_area``.
    least_area : int
        Number of pixels that the union of the pieces has at least: the sum of the largest pieces in rows of windows that do not
        overlap. It is only counted if there is one scale.
    """

    pieces: Mapping[int, Piece]
    counted: int = NO_ROW
    least_area: int = 0

    @property
    def number(self) -> int:
        """The number of the first piece."""
        return next(iter(self.pieces))


@dataclass(frozen=True, slots=True)
class Step:
    """What one row of windows changes in the open objects.

    Attributes
    ----------
    added : dict of int to (int, Piece)
        The new pieces of open objects, by number, with the number of their object.
    joined : tuple of (int, int)
        Objects that were open before and are parts of another object now: their number, and the number of the other object.
    open : tuple of (int, int, int)
        All open objects after the row: ``number``, ``counted`` and ``least_area`` of each; see `OpenObject`.
    numbered : int
        How many pieces were numbered so far.
    """

    added: Mapping[int, tuple[int, Piece]] = field(default_factory=dict)
    joined: tuple[tuple[int, int], ...] = ()
    open: tuple[tuple[int, int, int], ...] = ()
    numbered: int = 0


def replayed(steps: Iterable[Step]) -> tuple[tuple[OpenObject, ...], int]:
    """Return the open objects after some steps, and how many pieces were numbered.

    Raises
    ------
    LookupError
        If the steps do not follow from each other.
    """
    pieces: dict[int, dict[int, Piece]] = {}
    last = Step()
    for last in steps:
        for number, other in last.joined:
            pieces[other].update(pieces.pop(number))
        for number, (one, piece) in last.added.items():
            pieces.setdefault(one, {})[number] = piece
        pieces = {number: pieces[number] for number, _, _ in last.open}
    return (
        tuple(OpenObject(dict(sorted(pieces[number].items())), counted, area) for number, counted, area in last.open),
        last.numbered,
    )

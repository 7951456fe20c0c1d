"""Regions of a window to which drawing is limited.

The decoder predicts which cells a candidate covers before the candidate is drawn; the other cells are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BACKGROUND", "CellRegions", "regions_of"]

# Logit of pixels that are not drawn.
BACKGROUND = -12.0

# A stride-16 cell is drawn if the predicted share that is covered reaches this value. With a smaller value, more cells are
# drawn than needed. With a larger value, more candidates extend past their region and must be drawn again.
LEAST_SHARE = 0.03

# Number of cells around those that are drawn too. A pixel depends on less than one and a half cells on each side, so the outer
# INEXACT_PX pixels at stride 4 of a region differ from those of the whole window.
HALO = 2
INEXACT_PX = 6

# A candidate extends past its region if it has a higher logit on the border of the region.
LEAST_LOGIT = -1.5

# Sides of regions in cells. Regions of the same side are drawn together.
SIDES = (7, 8, 10, 12, 16, 20, 24)


@dataclass(frozen=True, slots=True, eq=False)
class CellRegions:
    """Squares of one size in a window, one for each of ``R`` prompts.

    Attributes
    ----------
    rows : tensor of int64, shape (R,)
        Numbers of the prompts.
    top, left : tensor of int64, shape (R,)
        Upper left corner of each square, in cells of stride 16.
    side, cells : int
        Number of cells along a side of a square, and of the window.
    """

    rows: Tensor
    top: Tensor
    left: Tensor
    side: int
    cells: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> CellRegions:
        return CellRegions(self.rows[part], self.top[part], self.left[part], self.side, self.cells)

    @classmethod
    def of_windows(cls, rows: Tensor, cells: int) -> CellRegions:
        """Return squares that are the whole window."""
        return cls(rows, torch.zeros_like(rows), torch.zeros_like(rows), cells, cells)

    @property
    def whole(self) -> bool:
        """Whether the squares are the whole window."""
        return self.side == self.cells

    def indices(self) -> Tensor:
        """Return the cells of each square, numbered by rows of the window: shape (R, side * side)."""
        along = torch.arange(self.side, device=self.top.device)
        y, x = self.top[:, None, None] + along[:, None], self.left[:, None, None] + along
        return (y * self.cells + x).flatten(1)

    def place(self, drawn: Tensor, onto: Tensor) -> Tensor:
        """Copy logits of the squares into arrays of the whole window.

        Parameters
        ----------
        drawn : tensor, shape (R, M, 4 side, 4 side)
            Logits of the squares.
        onto : tensor, shape (R, M, 4 cells, 4 cells)
            Filled with the background value; the logits are written to it.

        Returns
        -------
        tensor of bool, shape (R, M)
            True for candidates that extend past their square.
        """
        exact, border = self._exact()
        drawn = drawn.masked_fill(~exact[:, None], BACKGROUND)
        size = 4 * self.side
        for whole, top, left, square in zip(onto, (4 * self.top).tolist(), (4 * self.left).tolist(), drawn, strict=True):
            whole[:, top : top + size, left : left + size] = square
        return ((drawn > LEAST_LOGIT) & border[:, None]).flatten(2).any(2)

    def _exact(self) -> tuple[Tensor, Tensor]:
        """Return the pixels that equal those of the whole window, and the outermost of these on sides within the window."""
        at = torch.arange(4 * self.side, device=self.top.device)
        inside, border = [], []
        for first in (self.top, self.left):
            low = torch.where(first > 0, INEXACT_PX, 0)[:, None]
            high = torch.where(first + self.side < self.cells, at[-1] - INEXACT_PX, at[-1])[:, None]
            inside.append((at >= low) & (at <= high))
            border.append(((at == low) & (low > 0)) | ((at == high) & (high < at[-1])))
        exact = inside[0][:, :, None] & inside[1][:, None, :]
        return exact, exact & (border[0][:, :, None] | border[1][:, None, :])


def regions_of(coverage: Tensor, wanted: Tensor) -> Iterator[CellRegions]:
    """Find the regions in which the candidates of some prompts are expected.

    Parameters
    ----------
    coverage : tensor, shape (R, M, cells * cells)
        Logits of the predicted share of each cell that each candidate covers.
    wanted : tensor of bool, shape (R, M)
        Which candidates are drawn: at least one of each prompt.

    Yields
    ------
    CellRegions
        Regions of one size. Each row of ``coverage`` is in exactly one of them.
    """
    cells = round(coverage.shape[-1] ** 0.5)
    highest = coverage.masked_fill(~wanted[..., None], -torch.inf).amax(1)
    least = torch.logit(highest.new_tensor(LEAST_SHARE))
    covered = (highest >= highest.amax(1, keepdim=True).clamp(max=least)).view(-1, cells, cells)
    (top, height), (left, width) = _extent(covered.any(2)), _extent(covered.any(1))
    sides = torch.tensor([*(side for side in SIDES if side < cells), cells], device=coverage.device)
    chosen = torch.searchsorted(sides, (torch.maximum(height, width) + 2 * HALO).clamp(max=cells))
    for number, side in enumerate(sides.tolist()):
        rows = (chosen == number).nonzero()[:, 0]
        if len(rows):
            y, x = (_around(first[rows], length[rows], side, cells) for first, length in ((top, height), (left, width)))
            yield CellRegions(rows, y, x, side, cells)


def _extent(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row of (R, cells) the index of the first true value, and the length up to the last."""
    first = seen.int().argmax(1)
    return first, seen.shape[1] - seen.flip(1).int().argmax(1) - first


def _around(first: Tensor, length: Tensor, side: int, cells: int) -> Tensor:
    """Return the starts of squares that have these extents in their middle, moved into the window."""
    return (first - (side - length) // 2).clamp(min=0, max=cells - side)

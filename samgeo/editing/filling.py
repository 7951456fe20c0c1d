"""Filling of holes in a raster of any size, one part at a time, with results that do not depend on the parts.

Holes that are narrower than `SMALL_SIDE` lie within the margin of each part that has a pixel of them, and are filled there. A
larger one is first filled at a lower resolution, at which it fits into memory: the coarse result is kept in a file. Each part
then goes from this resolution to its own, as `samgeo.editing.biharmonic` describes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.editing.biharmonic import double, fill, halve, near_known, solve
from samgeo.editing.objects_px import Holes
from samgeo.errors import RasterError
from samgeo.geo.grid import Rect

__all__ = ["APART_PX", "MARGIN", "Filler", "Part"]

# Groups of holes are at least twice this number of pixels apart, so that no hole has an influence on another group.
APART_PX = 2.5

# Groups of holes that are wider or higher are filled in an image of their own, which is coarser if they are large.
SMALL_SIDE = 32

# Margin of a part in pixels, above SMALL_SIDE, and the number of times that a part is halved. The margin of the smallest image
# is 16 pixels, four times the width of a rim, so that the edge of a part has no influence on its inner pixels.
MARGIN, HALVINGS = 128, 3

# Longest side in pixels of a group in its own image, and the margin of the image on each side.
COARSE_SIDE, COARSE_MARGIN = 256, 16

# Number of values that are read at a time for a coarse image.
VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A rectangle of a raster with holes, as it is before they are filled from neighbours.

    Attributes
    ----------
    values : ndarray of float64, shape (C, h, w)
        The bands with values; of other dates where these have a hole covered.
    known : ndarray of bool, shape (h, w)
        Pixels whose values may be used.
    holes : ndarray of int32, shape (h, w)
        The number of the group, from 1, of each pixel that must be filled; 0 elsewhere.
    """

    values: NDArray[np.float64]
    known: NDArray[np.bool_]
    holes: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Filler:
    """Fills holes from the pixels around them.

    Attributes
    ----------
    read : callable
        Takes a rectangle, which may reach past the raster, and returns its `Part`. Outside, nothing is known and no hole.
    holes : Holes
        The holes, in groups that are at least twice `APART_PX` apart.
    frame : Rect
        The raster.
    folder : Path
        Folder for the coarse images of large groups.
    name : str
        Name of the raster, for messages.
    """

    read: Callable[[Rect], Part]
    holes: Holes
    frame: Rect
    folder: Path
    name: str
    _levels: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        sides = (self.holes.bounds[:, 2:] - self.holes.bounds[:, :2]).max(axis=1, initial=0)
        # The number of times that a group is halved; -1 for a small one. The first number is that of no group.
        halvings = np.where(sides > SMALL_SIDE, np.ceil(np.log2(np.maximum(sides / COARSE_SIDE, 1))), -1)
        object.__setattr__(self, "_levels", np.concatenate([[-1], halvings]).astype(np.int64))

    def filled(self, core: Rect) -> Part:
        """Return a rectangle with its holes filled.

        Parameters
        ----------
        core : Rect
            Its corner is at multiples of `MARGIN`.

        Raises
        ------
        RasterError
            If no pixel near a hole has a value.
        """
        edge = [-(-side // MARGIN) * MARGIN for side in (core.width, core.height)]
        rect = Rect(core.x0 - MARGIN, core.y0 - MARGIN, core.x0 + edge[0] + MARGIN, core.y0 + edge[1] + MARGIN)
        part = self.read(rect)
        inside = core.slices_in(rect)
        levels = self._levels[part.holes]
        is_small, is_large = (part.holes > 0) & (levels < 0), levels >= 0
        if is_small[inside].any():
            if not part.known.any():
                raise self._nothing(core)
            solve(part.values, is_small, part.known, part.known | is_small)
        if is_large[inside].any():
            self._descend(part, rect)
        return Part(part.values[(slice(None), *inside)], part.known[inside], part.holes[inside])

    def _descend(self, part: Part, rect: Rect) -> None:
        """Fill the large groups of a part, from coarse to fine."""
        groups = np.where(self._levels[part.holes] >= 0, part.holes, 0)
        pyramid = [(part.values, part.known, groups)]
        for _ in range(HALVINGS):
            values, known, labels = pyramid[-1]
            coarse, coarse_known, _ = halve(values, known, known)
            pyramid.append((coarse, coarse_known, _halved(labels)))
        first = np.minimum(self._levels, HALVINGS)
        before: tuple[NDArray[np.float64], NDArray[np.bool_]] | None = None
        for level in range(HALVINGS, -1, -1):
            values, known, labels = pyramid[level]
            # At coarser levels than that of its coarse image, a group does not exist, so that it has no influence on others.
            active = ~known & (labels > 0) & (first[labels] >= level)
            starts = active & (first[labels] == level)
            if before is not None:
                values[:, active] = double(*before, known.shape)[:, active]
            for number in np.unique(labels[starts]).tolist():
                pixels = starts & (labels == number)
                values[:, pixels] = self._coarse_values(number, level, rect, pixels)
            is_same = active & (self._levels[labels] == level)
            rim = active & ~is_same & near_known(known)
            solve(values, rim, (known | active) & ~rim, known | active, is_rim=True)
            before = values, known | active

    def _coarse_values(self, number: int, level: int, rect: Rect, pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of the coarse image of a group, for pixels of a part at a level, shape (C, P)."""
        place, image = self._coarse(number)
        y, x = np.nonzero(pixels)
        side, own = 2**level, 2 ** int(self._levels[number])
        rows = (rect.y0 + (y + 0.5) * side - place.y0) / own - 0.5
        columns = (rect.x0 + (x + 0.5) * side - place.x0) / own - 0.5
        return np.stack([ndimage.map_coordinates(band, (rows, columns), order=1, mode="nearest") for band in image])

    def _coarse(self, number: int) -> tuple[Rect, NDArray[np.float64]]:
        """Return the rectangle of the coarse image of a group, and the image, which is made when it is first asked for."""
        side = 2 ** int(self._levels[number])
        x0, y0, x1, y1 = self.holes.bounds[number - 1].tolist()
        around = side * COARSE_MARGIN
        grid = [int(np.floor((edge - around) / side)) * side for edge in (x0, y0)]
        grid += [int(np.ceil((edge + around) / side)) * side for edge in (x1, y1)]
        # The grid of the coarse pixels begins in the corner of the raster, so that it is the same for all parts.
        height, width = (-(-length // side) * side for length in self.frame.shape)
        place = Rect(*grid) & Rect(0, 0, width, height)
        path = self.folder / f"group-{number}.npy"
        if path.exists():
            return place, np.load(path, allow_pickle=False)
        image = self._make_coarse(place, side)
        if image is None:
            raise self._nothing(place & self.frame)
        np.save(path, image, allow_pickle=False)
        return place, image

    def _make_coarse(self, place: Rect, side: int) -> NDArray[np.float64] | None:
        height, width = place.height // side, place.width // side
        image: NDArray[np.float64] | None = None
        known, domain = np.zeros((height, width), dtype=bool), np.zeros((height, width), dtype=bool)
        bands, top = 1, 0
        while top < height:
            rows = min(max(VALUES_AT_ONCE // (bands * place.width * side), 1), height - top)
            part = self.read(Rect(place.x0, place.y0 + top * side, place.x1, place.y0 + (top + rows) * side))
            if image is None:
                bands = len(part.values)
                image = np.zeros((bands, height, width))
            image[:, top : top + rows], known[top : top + rows] = _means(part.values, part.known, side)
            there = (part.known | (part.holes > 0)).reshape(rows, side, width, side)
            domain[top : top + rows] = there.any(axis=(1, 3))
            top += rows
        if image is None or not fill(image, known, domain):
            return None
        if not domain.all():
            # Interpolation of the coarse image must not mix in squares without data.
            rows, columns = ndimage.distance_transform_edt(~domain, return_distances=False, return_indices=True)
            image = image[:, rows, columns]
        return image

    def _nothing(self, place: Rect) -> RasterError:
        return RasterError(
            f"the objects at pixels {place.x0}:{place.x1}, {place.y0}:{place.y1} of {self.name} cover everything that has data "
            "near them, so that there is nothing to fill them from; give rasters of other dates, or leave these objects away."
        )


def _means(values: NDArray[np.float64], known: NDArray[np.bool_], side: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the means of the known pixels of squares, and which squares have one."""
    bands, height, width = values.shape
    shape = (height // side, side, width // side, side)
    count = known.reshape(shape).sum(axis=(1, 3))
    sums = np.where(known, values, 0.0).reshape(bands, *shape).sum(axis=(2, 4))
    return sums / np.maximum(count, 1), count > 0


def _halved(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    height, width = labels.shape
    halved: NDArray[np.int32] = labels.reshape(height // 2, 2, width // 2, 2).max(axis=(1, 3))
    return halved

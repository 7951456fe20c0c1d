"""Overviews of a raster file as means of its pixels: where their pixels lie, and which overviews can be used.

An overview that GDAL makes with a factor f of a raster of w pixels has ceil(w / f) pixels, which together cover the raster.
Each is w / ceil(w / f) pixels wide, which is f only if f divides w. Positions are computed with this true scale, in whole
numbers. Means of squares are taken from an overview only if the edges of squares are edges of its pixels. Otherwise a pixel of
the overview would mix both sides of an edge, with other shares in each square, and objects would end at other places than
without overviews.

An overview may be made by any method. ``nearest``, GDAL's default, takes the pixel in the upper left corner of each square, and
so shifts the image by up to half an overview pixel. Other overviews are older than the pixels, or come from programs with
another rule for their size. Therefore the method in the metadata of an overview is checked, and then the overview is compared
with the pixels at places all over the raster. An overview that is not the mean of the pixels, or is shifted, is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect

__all__ = ["Overview", "Squares", "is_mean_of_pixels", "lines_up"]

Floats = NDArray[np.float64]

# Number of places along each axis at which an overview is compared with the pixels, and their side in overview pixels.
SAMPLES, SAMPLE_SIDE = 3, 24

# An overview is accepted if it differs from the means of the pixels by at most the sum of the rounding, a share of the contrast
# of the raster (the loss of lossy compression), and a share of the contrast within squares. A single pixel of each square would
# differ by about the whole contrast within squares.
ROUNDING, SHARE_OF_CONTRAST, SHARE_WITHIN = 0.6, 0.02, 0.5

# It must also be shifted by at most this part of an overview pixel. The method "nearest" shifts by (f - 1) / 2f.
MOST_SHIFT = 0.1

_OTHER_METHODS = ("NEAREST", "NEAR", "MODE")


@dataclass(frozen=True, slots=True)
class Overview:
    """An overview of a raster.

    Attributes
    ----------
    level : int
        Its number in GDAL, from 0.
    shape : (int, int)
        Its height and width in its own pixels.
    method : str
        The resampling method in its metadata, in capitals; empty if there is none.
    """

    level: int
    shape: tuple[int, int]
    method: str = ""

    @property
    def says_mean(self) -> bool:
        """Whether the method in the metadata allows that the overview holds means."""
        return self.method not in _OTHER_METHODS


@dataclass(frozen=True, slots=True)
class Squares:
    """Cells of equal width along one axis, over pixels of another width, both from the same corner of the same raster.

    The edge before cell ``j`` lies at ``(start + j * numerator) / denominator`` pixels.

    Attributes
    ----------
    start, numerator, denominator : int
        See the formula.
    length : int
        Number of pixels; the last cell may reach past them.
    """

    start: int
    numerator: int
    denominator: int
    length: int

    @classmethod
    def in_overview(cls, origin: int, factor: int, raster_length: int, overview_length: int) -> Squares:
        """Return squares of ``factor`` raster pixels that start at raster pixel ``origin``, over the pixels of an overview."""
        return cls(origin * overview_length, factor * overview_length, raster_length, overview_length)

    @property
    def are_whole(self) -> bool:
        """Whether every cell consists of whole pixels."""
        return self.start % self.denominator == 0 and self.numerator % self.denominator == 0

    def span(self, count: int) -> tuple[int, int]:
        """Return the range of pixels that the first ``count`` cells touch: the first pixel, and the pixel after the last."""
        stop = -(-(self.start + count * self.numerator) // self.denominator)
        return self.start // self.denominator, min(stop, self.length)

    def weights(self, count: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the shares of pixels in each cell.

        Returns
        -------
        first : ndarray of int64, shape (count,)
            The first pixel that each cell touches.
        shares : ndarray of float64, shape (count, taps)
            Shares of that pixel and of the following pixels; the shares of a cell sum to 1.
        """
        edges = self.start + np.arange(count + 1, dtype=np.int64) * self.numerator
        low, high = edges[:-1], np.minimum(edges[1:], self.length * self.denominator)
        first = low // self.denominator
        taps = int((-(-high // self.denominator) - first).max(initial=1))
        pixel_low = (first[:, None] + np.arange(taps)) * self.denominator
        covered = np.minimum(pixel_low + self.denominator, high[:, None]) - np.maximum(pixel_low, low[:, None])
        return first, np.maximum(covered, 0) / (high - low)[:, None]

    def means(self, values: NDArray[Any], count: int, axis: int) -> Floats:
        """Return the mean of each of the first ``count`` cells, along an axis of an array with the pixels of their `span`.

        The terms of each sum are added in the same order, so that a mean does not depend on the other cells of the call.
        """
        first, shares = self.weights(count)
        begin, stop = self.span(count)
        shape = [1] * values.ndim
        shape[axis] = count
        total = np.zeros((*values.shape[:axis], count, *values.shape[axis + 1 :]))
        for tap, share in enumerate(shares.T):
            index = np.minimum(first - begin + tap, stop - begin - 1)
            total += values.take(index, axis=axis) * share.reshape(shape)
        return total


def lines_up(overview: Overview, shape: tuple[int, int], origin: tuple[int, int], factor: int) -> bool:
    """Return whether the edges of squares are edges of the pixels of an overview.

    Parameters
    ----------
    overview : Overview
        The overview.
    shape : (int, int)
        Height and width of the raster.
    origin : (int, int)
        Row and column of the raster at which some square begins.
    factor : int
        Side of a square in raster pixels.
    """
    axes = [
        Squares.in_overview(start, factor, length, own)
        for start, length, own in zip(origin, shape, overview.shape, strict=True)
    ]
    return all(axis.are_whole for axis in axes)


def is_mean_of_pixels(
    overview: Overview,
    shape: tuple[int, int],
    read_overview: Callable[[Rect], NDArray[Any]],
    read_pixels: Callable[[Rect], NDArray[Any] | None],
) -> bool:
    """Return whether an overview holds the means of the pixels, from a comparison at places all over the raster.

    Parameters
    ----------
    overview : Overview
        The overview.
    shape : (int, int)
        Height and width of the raster.
    read_overview, read_pixels : callable
        Take a rectangle, in pixels of the overview or of the raster, and return an array of shape (n, h, w). ``read_pixels``
        returns None if some pixels are not valid; such places are not compared.

    Returns
    -------
    bool
        Whether the pixels of the overview are the means of the raster pixels that they cover. False if nothing could be
        compared.
    """
    found, wanted, variances = [], [], []
    for rows in _sample_spans(overview.shape[0]):
        for columns in _sample_spans(overview.shape[1]):
            rect = Rect(columns[0], rows[0], columns[1], rows[1])
            axes = [
                Squares(start * length, length, own, length)
                for start, length, own in zip((rect.y0, rect.x0), shape, overview.shape, strict=True)
            ]
            (top, bottom), (left, right) = (axis.span(count) for axis, count in zip(axes, rect.shape, strict=True))
            given = read_pixels(Rect(left, top, right, bottom))
            if given is None:
                continue
            pixels = given.astype(np.float64)
            means, squares = (
                axes[1].means(axes[0].means(values, rect.height, 1), rect.width, 2) for values in (pixels, pixels * pixels)
            )
            found.append(read_overview(rect).astype(np.float64))
            wanted.append(means)
            variances.append(np.maximum(squares - means * means, 0).mean())
    return bool(found) and _agree(found, wanted, float(np.sqrt(np.mean(variances))))


def _sample_spans(length: int) -> list[tuple[int, int]]:
    starts = np.linspace(0, max(length - SAMPLE_SIDE, 0), SAMPLES).astype(int).tolist()
    return [(start, min(start + SAMPLE_SIDE, length)) for start in sorted(set(starts))]


def _agree(found: Sequence[Floats], wanted: Sequence[Floats], within: float) -> bool:
    differences = [one - np.floor(other + 0.5) for one, other in zip(found, wanted, strict=True)]
    off = float(np.sqrt(np.mean([np.mean(one * one) for one in differences])))
    contrast = float(np.std(np.concatenate([one.ravel() for one in wanted])))
    if off > ROUNDING + SHARE_OF_CONTRAST * contrast + SHARE_WITHIN * within:
        return False
    # The shift of the overview is the least-squares solution that explains the differences by the slopes of the image.
    slopes = [np.stack([_slope(one, 1).ravel(), _slope(one, 2).ravel()]) for one in wanted]
    normal = np.sum([slope @ slope.T for slope in slopes], axis=0)
    right = np.sum([slope @ one.ravel() for slope, one in zip(slopes, differences, strict=True)], axis=0)
    shift = np.linalg.lstsq(normal, right, rcond=1e-6)[0]
    return bool(np.abs(shift).max() <= MOST_SHIFT)


def _slope(values: Floats, axis: int) -> Floats:
    return np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)

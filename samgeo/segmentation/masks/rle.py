"""Masks in COCO's run-length encoding (`Rle`), and other things that writers of COCO files need.

A `Mask` has runs along rows and no image size. COCO's runs go down the columns of the whole image, background first, as
pycocotools writes them. To convert between the two, a mask is drawn in strips of its own bounding rectangle, never as a whole
image. The module also converts polygons to rings without holes, and writes JSON files completely or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError
from samgeo.geo.grid import Rect
from samgeo.geo.vector.outputs import atomic_output, check_output
from samgeo.segmentation.masks.mask import Mask, union

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["HEAD", "Rle", "to_rings", "without_holes", "write_json"]


Ints = NDArray[np.int64]

MOST_PIXELS = 1 << 31
STRIP_PIXELS = 1 << 24

_ZERO = 48
_MORE = 32
_BITS = 5
# Seven groups of five bits can hold every count in an image of up to MOST_PIXELS, and every difference of two counts.
_MOST_GROUPS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Rle:
    """A mask in the frame of its image, in COCO's run-length encoding.

    Two are equal if they hold the same pixels of an image of the same size.

    Attributes
    ----------
    counts : ndarray of int64, shape (N,)
        Lengths of runs down the columns, from left to right: background, foreground, background and so on. Only the first may
        be 0.
    shape : tuple of int
        Height and width of the image, in pixels.

    Raises
    ------
    OptionError
        If the shape is empty or larger than 2**31 pixels, a count is negative, or their sum is not the number of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks import Rle
    >>> from samgeo.segmentation.masks.mask import Mask
    >>> mask = Mask.from_array(np.ones((2, 3), dtype=bool), x0=1, y0=1)
    >>> rle = Rle.from_mask(mask, (4, 6))
    >>> rle.counts.tolist(), rle.area
    ([5, 2, 2, 2, 2, 2, 9], 6)
    >>> rle.to_mask() == mask
    True
    """

    counts: Ints
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = self.shape
        if height < 1 or width < 1 or height * width > MOST_PIXELS:
            raise OptionError(f"a mask has a frame of {height} x {width} pixels; give from 1 to 2**31 pixels.")
        counts = self.counts
        if counts.dtype != np.int64 or counts.ndim != 1:
            raise OptionError(f"counts are {counts.dtype} of shape {counts.shape}; give int64 of shape (N,).")
        if len(counts) and (counts.min() < 0 or counts.max() > height * width):
            raise OptionError(
                f"a count of a mask is negative, or larger than its frame of {height} x {width} pixels; check it."
            )
        total = int(counts.sum())
        if total != height * width:
            raise OptionError(
                f"the sum of the counts of a mask is {total}, but its frame has {height} x {width} pixels, which are "
                f"{height * width}; check both."
            )
        if (counts[1:] == 0).any():
            object.__setattr__(self, "counts", _without_empty_runs(counts))

    @classmethod
    def from_mask(cls, mask: Mask, shape: tuple[int, int]) -> Rle:
        """Encode a mask.

        Parameters
        ----------
        mask : Mask
            In pixels of the image.
        shape : tuple of int
            Height and width of the image.

        Raises
        ------
        OptionError
            If the mask reaches beyond the image.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.segmentation.masks import Rle
        >>> from samgeo.segmentation.masks.mask import Mask
        >>> Rle.from_mask(Mask.from_array(np.ones((2, 2), dtype=bool)), (3, 4)).counts.tolist()
        [0, 2, 1, 2, 7]
        """
        height, width = shape
        rect = mask.rect
        if rect.x0 < 0 or rect.y0 < 0 or rect.x1 > width or rect.y1 > height:
            raise OptionError(f"a mask at {rect} extends beyond its image of {height} x {width} pixels; clip it first.")
        step = max(STRIP_PIXELS // max(rect.y1 - rect.y0, 1), 1)
        strips = [Rect(x, rect.y0, min(x + step, rect.x1), rect.y1) for x in range(rect.x0, rect.x1, step)]
        places = np.concatenate([[0], *(_down_columns(mask, strip, height) for strip in strips), [height * width]])
        # A run that ends at the bottom of a column is joined with one at the top of the next. The ends of the image are kept.
        inner = places[1:-1]
        joined = inner[1:-1:2] == inner[2::2]
        keep = np.ones(len(inner), dtype=np.bool_)
        keep[1:-1:2] &= ~joined
        keep[2::2] &= ~joined
        ends = np.concatenate([places[:1], inner[keep], places[-1:]])
        counts = np.diff(ends)
        return cls(counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts, (height, width))

    @classmethod
    def from_coco(cls, segmentation: Mapping[str, Any]) -> Rle:
        """Read a segmentation of COCO: ``{"size": [height, width], "counts": ...}``, with counts as a list or compressed.

        Raises
        ------
        OptionError
            If it is not a valid segmentation.

        Examples
        --------
        >>> from samgeo.segmentation.masks import Rle
        >>> Rle.from_coco({"size": [3, 4], "counts": [0, 2, 1, 2, 7]}).area
        4
        """
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not (isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int for side in size)):
            raise OptionError(f"the size of a mask is {str(size)[:60]}; give [height, width].")
        if isinstance(counts, str | bytes):
            numbers = _decompress(counts.encode("utf-8") if isinstance(counts, str) else counts)
        elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= MOST_PIXELS for count in counts):
            numbers = np.array(counts, dtype=np.int64)
        else:
            raise OptionError("the counts of a mask must be a list of whole numbers or a string; give one of the two.")
        return cls(numbers, (size[0], size[1]))

    @check_types
    def to_coco(self, *, compressed: bool = True) -> dict[str, Any]:
        """Return the segmentation as in a COCO file, with compressed counts as text or plain counts as a list.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.segmentation.masks import Rle
        >>> rle = Rle(np.array([0, 2, 1, 2, 7]), (3, 4))
        >>> rle.to_coco(compressed=False)
        {'size': [3, 4], 'counts': [0, 2, 1, 2, 7]}
        >>> Rle.from_coco(rle.to_coco()) == rle
        True
        """
        counts = _compress(self.counts).decode("ascii") if compressed else self.counts.tolist()
        return {"size": [*self.shape], "counts": counts}

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(self.counts[1::2].sum())

    @property
    def rect(self) -> Rect:
        """The smallest rectangle that contains the mask; ``Rect(0, 0, 0, 0)`` if the mask is empty."""
        start, stop = self._runs()
        if len(start) == 0:
            return Rect(0, 0, 0, 0)
        height = self.shape[0]
        (x0, top), (x1, bottom) = np.divmod(start, height), np.divmod(stop - 1, height)
        several = bool((x0 != x1).any())
        y0, y1 = (0, height) if several else (int(top.min()), int(bottom.max()) + 1)
        return Rect(int(x0[0]), y0, int(x1[-1]) + 1, y1)

    def to_mask(self) -> Mask:
        """Return the mask in pixels of the image. Time and memory are proportional to the pixels of its rectangle.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.segmentation.masks import Rle
        >>> Rle(np.array([0, 2, 1, 2, 7]), (3, 4)).to_mask().runs.tolist()
        [[0, 0, 2], [1, 0, 2]]
        """
        rect = self.rect
        height = rect.y1 - rect.y0
        start, stop = self._runs()
        step = max(STRIP_PIXELS // max(height, 1), 1)
        strips = []
        for x in range(rect.x0, rect.x1, step):
            x_stop = min(x + step, rect.x1)
            # Only the rows of the rectangle are drawn, because the rows above and below it are empty.
            low, high = x * self.shape[0], x_stop * self.shape[0]
            first, last = np.searchsorted(stop, low, side="right"), np.searchsorted(start, high, side="left")
            ends = np.stack([np.maximum(start[first:last], low), np.minimum(stop[first:last], high)], axis=1)
            column, row = np.divmod(ends, self.shape[0])
            places = ((column - x) * height + np.clip(row - rect.y0, 0, height)).ravel()
            lengths = np.diff(places, prepend=0, append=(x_stop - x) * height)
            values = np.zeros(len(lengths), dtype=np.bool_)
            values[1::2] = True
            strips.append(Mask.from_array(np.repeat(values, lengths).reshape(x_stop - x, height).T, x, rect.y0))
        return union(strips)

    def _runs(self) -> tuple[Ints, Ints]:
        ends = np.cumsum(self.counts)
        stop = ends[1::2]
        return stop - self.counts[1::2], stop

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rle):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        return hash((self.shape, self.counts.tobytes()))


def _down_columns(mask: Mask, rect: Rect, height: int) -> Ints:
    """Return the starts and stops of runs, in turn, down the columns of an image of this height."""
    columns = Mask.from_array(np.ascontiguousarray(mask.to_array(rect).T)).runs.astype(np.int64)
    return ((columns[:, :1] + rect.x0) * height + columns[:, 1:] + rect.y0).ravel()


def _without_empty_runs(counts: Ints) -> Ints:
    """Join the two runs beside each run of length 0."""
    is_foreground = np.arange(len(counts)) % 2 == 1
    kept = counts > 0
    values, lengths = is_foreground[kept], counts[kept]
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    joined = np.add.reduceat(lengths, first)
    return np.concatenate([[0], joined]) if values[0] else joined


def _compress(counts: Ints) -> bytes:
    """Return counts as the string of pycocotools: differences to the count before the previous one, in groups of five bits.

    The lowest group is first.
    """
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    groups = np.empty((len(numbers), _MOST_GROUPS), dtype=np.uint8)
    used = np.zeros(groups.shape, dtype=np.bool_)
    going = np.ones(len(numbers), dtype=np.bool_)
    for number in range(_MOST_GROUPS):
        used[:, number] = going
        bits = numbers & 31
        numbers >>= _BITS
        # The highest bit of the last group is the sign. Another group follows as long as the sign would be read wrongly.
        more = np.where(bits & 16, numbers != -1, numbers != 0)
        groups[:, number] = bits + _MORE * more + _ZERO
        going &= more
    return bytes(groups[used].tobytes())


def _decompress(text: bytes) -> Ints:
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - _ZERO
    if len(codes) == 0:
        return codes
    last = (codes & _MORE) == 0
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not last[-1]:
        raise OptionError("the compressed counts of a mask are not in COCO's encoding, or are incomplete; check the file.")
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > _MOST_GROUPS:
        raise OptionError("a compressed count of a mask is larger than any image; check the file.")
    shift = _BITS * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & (_MORE - 1)) << shift, starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (_BITS * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


HEAD: dict[str, Any] = {"info": {"description": "", "version": "1.0"}, "licenses": []}
"""The parts of a COCO file that do not describe objects. `COCO.loadRes` of pycocotools 2.0.9 and later requires ``info``."""


def to_rings(geometry: shapely.Geometry) -> list[list[float]]:
    """Return polygons as rings of a COCO file: x and y in turn, closed, without holes.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        In pixels. Polygons with holes are cut into parts without holes that together cover the same area.
    """
    return [shapely.get_coordinates(part.exterior).ravel().tolist() for part in without_holes(geometry)]


def without_holes(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    """Cut polygons vertically through their first hole, until no part has a hole, and give the parts."""
    parts = [part for part in shapely.get_parts(geometry) if isinstance(part, shapely.Polygon)]
    while parts:
        part = parts.pop(0)
        if not part.interiors:
            yield part
            continue
        x0, y0, x1, y1 = part.bounds
        left, _, right, _ = part.interiors[0].bounds
        middle = (left + right) / 2
        for half in (shapely.box(x0, y0, middle, y1), shapely.box(middle, y0, x1, y1)):
            parts += [one for one in shapely.get_parts(shapely.intersection(part, half)) if isinstance(one, shapely.Polygon)]


def write_json(value: Json, path: str | os.PathLike[str], *, overwrite: bool = False, inputs: Iterable[object] = ()) -> None:
    """Write a JSON file completely or not at all.

    Parameters
    ----------
    value
        The content, which must be convertible to JSON.
    path : path
        Must end in ``.json``.
    overwrite : bool, default False
        Whether an existing file may be replaced.
    inputs : iterable
        The inputs of the work, which are never replaced.

    Raises
    ------
    VectorError
        If the file cannot be written. An existing file is then unchanged.
    """
    path = check_output(Path(path), overwrite, inputs=inputs)
    if path.suffix.lower() != ".json":
        raise VectorError(f"{path} cannot be written as COCO: its suffix is {path.suffix!r}; give a name that ends in .json.")
    with atomic_output(path) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, allow_nan=False)
            written = file.tell()
        if temporary.stat().st_size != written:
            raise VectorError(f"{path} has {temporary.stat().st_size} of {written} bytes after writing; check the free space.")

"""Mosaics: many rasters on one grid as one raster. A window is read from the files that it intersects; no others are opened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import Band, choose_bands
from samgeo.geo.raster.nodata import as_dtype, has_value
from samgeo.geo.raster.sources.base import OverviewSource
from samgeo.geo.raster.sources.file_source import MAX_PIXELS, FileSource

if TYPE_CHECKING:
    from samgeo.geo.raster.sources.base import Source
    from samgeo.types import BandsLike

__all__ = ["MosaicSource", "offset_px"]

# Tolerance in pixels for the corners of a tile on the grid of the others, because georeferences are rounded.
TOLERANCE_PX = 0.01

# If a rectangle intersects more rasters than this, it is not split, because the parts would be too small.
MOST_SPLIT = 64


@dataclass(frozen=True, slots=True, eq=False)
class MosaicSource:
    """Rasters that lie on the pixels of one grid, side by side or overlapping, as one raster.

    Each pixel is taken from the first raster that has data there. Pixels that no raster covers have no data.

    Attributes
    ----------
    tiles : tuple of Source
        The rasters; the first one is on top.
    rects : ndarray of int64, shape (N, 4)
        Rectangle of each raster: x0, y0, x1, y1 in pixels of the mosaic.
    empty : tuple of float or None, optional
        The nodata value of each band for all rasters, instead of the rasters' own values.
    name, geobox, bands, palette, decimation, block
        See `Source`.
    """

    name: str
    tiles: tuple[Source, ...]
    rects: NDArray[np.int64]
    geobox: GeoBox
    bands: tuple[Band, ...]
    palette: NDArray[np.uint8] | None
    decimation: float
    block: tuple[int, int]
    empty: tuple[float | None, ...] | None = None

    @classmethod
    def of(cls, tiles: Sequence[Source]) -> MosaicSource:
        """Combine rasters on the grid that they share.

        Parameters
        ----------
        tiles : sequence of Source
            At least two. Where they overlap, the earlier one is on top.

        Raises
        ------
        RasterError
            If they differ in CRS, resolution, number or type of bands, or colour table, or do not lie on one grid. The message
            names the difference.
        """
        first = tiles[0]
        for other in tiles[1:]:
            _check_alike(first, other)
        places = np.array([offset_px(first, tile) for tile in tiles], dtype=np.int64)
        sizes = np.array([tile.geobox.shape for tile in tiles], dtype=np.int64)[:, ::-1]
        corner = places.min(axis=0)
        rects = np.concatenate([places - corner, places - corner + sizes], axis=1)
        width, height = map(int, rects[:, 2:].max(axis=0))
        name = f"{first.name} and {len(tiles) - 1} more"
        if width * height > MAX_PIXELS:
            raise RasterError(
                f"{name} would be a raster of {width} x {height} pixels, more than {MAX_PIXELS:.0e}; give fewer files."
            )
        blocks = [tile.block for tile in tiles]
        return cls(
            name=name,
            # The tiles share one CRS and one list of bands, because thousands of tiles may be sent to workers.
            tiles=tuple(_sharing(tile, first) for tile in tiles),
            rects=rects,
            geobox=GeoBox((height, width), _affine(tiles, rects, corner), first.geobox.crs),
            bands=tuple(_shared_band(bands) for bands in zip(*(tile.bands for tile in tiles), strict=True)),
            palette=first.palette,
            decimation=min(tile.decimation for tile in tiles),
            block=max(blocks, key=lambda block: block[1]),
        )

    @property
    def files(self) -> tuple[FileSource, ...]:
        """See `Source`."""
        return tuple(file for tile in self.tiles for file in tile.files)

    def seen_as(self, bands: BandsLike, chosen: tuple[int, ...], nodata: tuple[float | None, ...] | None) -> MosaicSource:
        """Set the nodata values, and check that the chosen bands have the same numbers in all rasters.

        Pixels with a nodata value show the raster below.

        Parameters
        ----------
        bands : optional
            The bands as the user gave them.
        chosen : tuple of int
            Their numbers in the first raster.
        nodata : tuple of float or None, optional
            The nodata value of each, instead of the rasters' own values.

        Raises
        ------
        RasterError
            If the bands have other numbers in another raster.
        """
        seen: set[tuple[Band, ...]] = set()
        for tile in self.tiles:
            own = tuple(tile.bands)
            if own not in seen and choose_bands(own, bands, tile.name) != chosen:
                raise RasterError(
                    f"the bands of {tile.name} are in another order than those of {self.tiles[0].name}; give bands by number "
                    "if bands with the same number have the same meaning, or give files with the same bands."
                )
            seen.add(own)
        if nodata is None:
            return replace(self, empty=None)
        values = dict(zip(chosen, nodata, strict=True))
        return replace(self, empty=tuple(values.get(number) for number in range(1, len(self.bands) + 1)))

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster; see `Source.read`.

        Unlike that of other sources, the mask is also False for the nodata values of each raster.
        """
        shape = rect.shape if out_shape is None else out_shape
        values = self._nothing(numbers, shape)
        valid, covered = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for number in self._touched(rect):
            place = Rect(*map(int, self.rects[number]))
            part, where = _part(place & rect, rect, shape)
            if part.is_empty or valid[where].all():
                continue
            tile = self.tiles[number]
            inside = Rect(part.x0 - place.x0, part.y0 - place.y0, part.x1 - place.x0, part.y1 - place.y0)
            own, mask = tile.read(numbers, inside, None if out_shape is None else valid[where].shape)
            empty = self.empty or tuple(band.nodata for band in tile.bands)
            mask = mask & has_value(own, [empty[number - 1] for number in numbers]).any(axis=0)
            shown = ~valid[where] & (mask | ~covered[where])
            values[:, where[0], where[1]][:, shown] = own[:, shown]
            valid[where] |= mask
            covered[where] = True
        return values, valid

    def split(self, rect: Rect, factor: int) -> list[Rect]:
        """Split a rectangle of squares into parts, many of which lie in only one raster that no other raster overlaps.

        Parameters
        ----------
        rect : Rect
            In pixels. It consists of squares, and lies in the mosaic except for its last row and column of squares.
        factor : int
            Side of a square in pixels.
        """
        touched = self._touched(rect)
        if not 1 < len(touched) <= MOST_SPLIT:
            return [rect]
        columns, rows = {rect.x0, rect.x1}, {rect.y0, rect.y1}
        for x0, y0, x1, y1 in self.rects[touched].tolist():
            columns |= {-(-x0 // factor) * factor, x1 // factor * factor}
            rows |= {-(-y0 // factor) * factor, y1 // factor * factor}
        x, y = (
            sorted({min(max(edge, low), high) for edge in edges})
            for edges, low, high in ((columns, rect.x0, rect.x1), (rows, rect.y0, rect.y1))
        )
        return [Rect(left, top, right, bottom) for top, bottom in pairwise(y) for left, right in pairwise(x)]

    def read_squares(self, numbers: Sequence[int], rect: Rect, factor: int) -> NDArray[np.float64] | None:
        """Read as `FileSource.read_squares` if the topmost raster there covers the rectangle; return None otherwise."""
        touched = self._touched(rect)
        if not touched or (self.empty is not None and any(self.empty[number - 1] is not None for number in numbers)):
            return None
        place = Rect(*map(int, self.rects[touched[0]]))
        tile = self.tiles[touched[0]]
        if rect not in place or not isinstance(tile, OverviewSource):
            return None
        inside = Rect(rect.x0 - place.x0, rect.y0 - place.y0, rect.x1 - place.x0, rect.y1 - place.y0)
        return tile.read_squares(numbers, inside, factor)

    def _touched(self, rect: Rect) -> list[int]:
        x0, y0, x1, y1 = self.rects.T
        found: list[int] = np.flatnonzero((x0 < rect.x1) & (x1 > rect.x0) & (y0 < rect.y1) & (y1 > rect.y0)).tolist()
        return found

    def _nothing(self, numbers: Sequence[int], shape: tuple[int, int]) -> NDArray[Any]:
        dtype = np.result_type(*(self.bands[number - 1].dtype for number in numbers))
        values = np.zeros((len(numbers), *shape), dtype=dtype)
        for layer, number in zip(values, numbers, strict=True):
            nodata = self.bands[number - 1].nodata
            if nodata is not None:
                value = as_dtype(nodata, dtype)
                layer[...] = value if dtype.kind == "f" or value == value else 0  # noqa: PLR0124 - NaN
        return values


def _check_alike(first: Source, other: Source) -> None:
    ours, theirs = first.geobox.crs, other.geobox.crs
    remedy = f"give rasters that agree in this, or merge them into one (gdalwarp {first.name} {other.name} mosaic.tif)."
    if ours != theirs:
        told = ["no CRS" if crs is None else crs.proj.to_string() for crs in (ours, theirs)]
        raise RasterError(f"{first.name} is in {told[0]} and {other.name} in {told[1]}; {remedy}")
    if len(first.bands) != len(other.bands):
        raise RasterError(f"{first.name} has {len(first.bands)} bands and {other.name} {len(other.bands)}; {remedy}")
    for number, (one, its) in enumerate(zip(first.bands, other.bands, strict=True), start=1):
        if one.dtype != its.dtype:
            raise RasterError(f"band {number} is {one.dtype} in {first.name} and {its.dtype} in {other.name}; {remedy}")
    a, b = first.palette, other.palette
    if (a is None) != (b is None) or (a is not None and b is not None and not np.array_equal(a, b)):
        raise RasterError(f"{first.name} and {other.name} have different colour tables; convert both to RGB first.")


def offset_px(first: Source, tile: Source) -> tuple[int, int]:
    """Return x and y of the upper left corner of a raster in pixels of the first raster.

    Raises
    ------
    RasterError
        If the pixels of the two do not lie on one grid.
    """
    own, other = first.geobox.affine, tile.geobox.affine
    if own.is_identity and first.geobox.crs is None:
        raise RasterError(
            f"{first.name} has no georeference, so that it cannot be placed beside {tile.name}; georeference both."
        )
    height, width = tile.geobox.shape
    to_first = ~own * other
    corners = np.array([to_first * corner for corner in ((0, 0), (width, 0), (0, height))])
    sides = corners - corners[0]
    if np.abs(sides - [(0, 0), (width, 0), (0, height)]).max() > TOLERANCE_PX:
        raise RasterError(
            f"the pixel size of {tile.name} is {_pixel(other)} and that of {first.name} is {_pixel(own)}, in units of the CRS; "
            "resample them to one grid first, for example with gdalbuildvrt mosaic.vrt ... ."
        )
    off = corners[0] - np.round(corners[0])
    if np.abs(off).max() > TOLERANCE_PX:
        raise RasterError(
            f"{tile.name} is not on the grid of {first.name}: it is shifted by {off[0]:.3f} pixels in x and {off[1]:.3f} in y; "
            "resample them to one grid first, for example with gdalbuildvrt mosaic.vrt ... ."
        )
    x, y = np.round(corners[0]).astype(np.int64).tolist()
    return x, y


def _pixel(affine: Affine) -> str:
    a, b, _, d, e, _ = affine[:6]
    return f"{a:.9g} x {-e:.9g}" + (f" (rotated: {b:.9g}, {d:.9g})" if b or d else "")


def _affine(tiles: Sequence[Source], rects: NDArray[np.int64], corner: NDArray[np.int64]) -> Affine:
    """Return the affine of the mosaic; if a raster lies in the upper left corner, it is exactly the affine of that raster."""
    in_corner = np.flatnonzero((rects[:, :2] == 0).all(axis=1)).tolist()
    if in_corner:
        return tiles[in_corner[0]].geobox.affine
    return tiles[0].geobox.affine * Affine.translation(*corner.tolist())


def _shared_band(bands: Iterable[Band]) -> Band:
    """Return the common properties of a band of all rasters; without a nodata value if the rasters have different ones."""

    def both(one: Band, other: Band) -> Band:
        same = one.nodata == other.nodata or (one.nodata != one.nodata and other.nodata != other.nodata)
        return one if same else replace(one, nodata=None)

    return reduce(both, bands)


def _sharing(tile: Source, first: Source) -> Source:
    if not isinstance(tile, FileSource) or tile is first:
        return tile
    same_bands = tile.bands == first.bands
    geobox = GeoBox(tile.geobox.shape, tile.geobox.affine, first.geobox.crs)
    bands = tuple(first.bands) if same_bands else tile.bands
    palette = first.palette if tile.palette is not None else None
    return replace(tile, geobox=geobox, bands=bands, palette=palette)


def _part(inside: Rect, rect: Rect, shape: tuple[int, int]) -> tuple[Rect, tuple[slice, slice]]:
    """Return the pixels of a raster to read, and the pixels of a rectangle, at the resolution of ``shape``, that they fill."""
    if shape == rect.shape:
        return inside, inside.slices_in(rect)
    spans = []
    for low, high, start, length, count in (
        (inside.y0, inside.y1, rect.y0, rect.height, shape[0]),
        (inside.x0, inside.x1, rect.x0, rect.width, shape[1]),
    ):
        step = length / count
        # Select the result pixels whose centres lie inside, and the pixels of the raster that they cover.
        begin, end = (math.ceil((edge - start) / step - 0.5) for edge in (low, high))
        first = min(max(low, start + round(begin * step)), high - 1)
        spans.append((slice(begin, end), first, max(min(high, start + round(end * step)), first + 1)))
    (rows, top, bottom), (columns, left, right) = spans
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return Rect(0, 0, 0, 0), (slice(0, 0), slice(0, 0))
    return Rect(left, top, right, bottom), (rows, columns)

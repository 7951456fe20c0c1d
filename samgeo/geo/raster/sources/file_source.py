"""Raster files and URLs, read with rasterio."""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from samgeo.errors import RasterError
from samgeo.geo.drivers import open_overview, open_raster
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import NOTES, Band
from samgeo.geo.raster.georeference import geobox_of
from samgeo.geo.raster.overviews import Overview, Squares, is_mean_of_pixels, lines_up
from samgeo.geo.raster.sources.remote import is_remote, patient, without_secrets
from samgeo.geo.raster.versions import FileVersion, Stamp, find_others, local_stamp, stamp_of
from samgeo.storage.atomic import check_name

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["FileSource"]

# Number of handles that a thread keeps open. A run reads one raster; a notebook reads a few.
HANDLES_PER_THREAD = 8

# Limits for the sizes that a file claims. A block is decoded whole, however small the window, and a malicious file of a few
# bytes may claim a block of any size.
MAX_BLOCK_BYTES = 1 << 28
MAX_BANDS = 4096
MAX_PIXELS = 10**15

# A decimated read uses the next finer overview. If overviews differ by more than this factor, it is as slow as without them.
OVERVIEW_STEP = 16

# GDAL's handles must not be shared between threads, nor with a forked child process, because they hold file positions.
_local = threading.local()


class _WithoutWarning:
    """A context in which the warning that a raster has no georeference is not given, in any number of threads.

    Warning filters belong to the process, and other code replaces them, too. Each thread that enters puts the filter in front,
    and the last that leaves takes out this filter alone. No list of filters is restored.
    """

    _FILTER = ("ignore", None, NotGeoreferencedWarning, None, 0)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._is_others = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._is_others = self._FILTER in warnings.filters
            self._inside += 1
            warnings.simplefilter("ignore", NotGeoreferencedWarning)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            filters: Any = warnings.filters
            if not self._inside and not self._is_others and self._FILTER in filters:
                filters.remove(self._FILTER)


_opening = _WithoutWarning()


@dataclass(frozen=True, slots=True, eq=False)
class FileSource:
    """A raster that rasterio can open. Each thread and process that reads opens its own handle.

    Attributes
    ----------
    name : str
        The path as it was given; a web address without its query, which may hold a key.
    path : str
        The path that rasterio opens; absolute for a local file.
    version : tuple
        Modification time and size of a local file, or what a server reports (see `versions`), so that a changed file is opened
        again. Empty if nothing is known.
    geobox, bands, palette, decimation, block
        See `Source`.
    has_mask : bool
        Whether a mask other than alpha, in the file or beside it, applies to the whole raster.
    overviews : tuple of int
        Decimation of each overview: pixels along a side that become one.
    others : tuple of FileVersion
        The other files that the raster is read from: files of a mosaic, overviews, masks, georeferences and metadata.
    notes : tuple of (str, str)
        The tags of the file that samgeo wrote about its pixels (`samgeo.geo.raster.bands.NOTES`), with their values.
    """

    name: str
    path: str
    version: Stamp
    geobox: GeoBox
    bands: tuple[Band, ...]
    palette: NDArray[np.uint8] | None
    decimation: float
    block: tuple[int, int]
    has_mask: bool
    overviews: tuple[int, ...] = ()
    others: tuple[FileVersion, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def open(cls, source: str | os.PathLike[str]) -> FileSource:
        """Open a path or a URL with rasterio, with a driver that its name allows (`samgeo.geo.drivers`).

        Raises
        ------
        RasterError
            If there is no such raster, it has no bands of real numbers, or it cannot be read in windows.
        """
        given = os.fspath(source)
        path, version = _locate(given)
        name = without_secrets(given)
        dataset = _open(path, name, fresh=True)
        with dataset, _read_errors(f"what {name} says of itself"):
            _check_bands(dataset, name)
            _check_sizes(dataset, name)
            block = _largest_block(dataset, name)
            interpretations = [interpretation.name for interpretation in dataset.colorinterp]
            bands = tuple(
                Band(str(dtype), None if nodata is None else float(nodata), description or "", color)
                for dtype, nodata, description, color in zip(
                    dataset.dtypes, _nodata(dataset), dataset.descriptions, interpretations, strict=True
                )
            )
            image = [number for number, band in enumerate(bands, start=1) if not (band.is_alpha or band.is_marker)]
            paletted = len(image) == 1 and dataset.colorinterp[image[0] - 1] == ColorInterp.palette
            overviews = dataset.overviews(image[0]) if image else []
            flags = dataset.mask_flag_enums[image[0] - 1] if image else []
            return cls(
                name=name,
                path=path,
                version=version,
                geobox=geobox_of(dataset, name, path),
                bands=bands,
                palette=_palette(dataset.colormap(image[0])) if paletted else None,
                decimation=_reach(overviews),
                block=block,
                has_mask=MaskFlags.per_dataset in flags and not {MaskFlags.nodata, MaskFlags.alpha} & set(flags),
                overviews=tuple(overviews),
                others=find_others(path, dataset.files),
                notes=tuple((name, str(value)) for name, value in dataset.tags().items() if name in NOTES),
            )

    @property
    def files(self) -> tuple[FileSource, ...]:
        """See `Source`."""
        return (self,)

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster; see `Source.read`."""
        shape = rect.shape if out_shape is None else out_shape
        options = {"window": Window(rect.x0, rect.y0, rect.width, rect.height), "out_shape": shape}
        dtype = np.result_type(*(self.bands[number - 1].dtype for number in numbers))
        mask = np.ones(shape, dtype=bool)
        what = f"pixels {rect.x0}:{rect.x1}, {rect.y0}:{rect.y1} of {self.name}"
        with self._handle() as dataset, _read_errors(what), patient(self.path):
            values = dataset.read(list(numbers), **{**options, "out_shape": (len(numbers), *shape)}, out_dtype=dtype.name)
            if self.has_mask:
                mask &= dataset.read_masks(numbers[0], **options) > 0
            for number, band in enumerate(self.bands, start=1):
                if band.hides:
                    mask &= band.shown(dataset.read(number, **options))
        return values, mask

    def overview_for(self, numbers: Sequence[int], origin: tuple[int, int], factor: int) -> Overview | None:
        """Return the coarsest overview from which means of squares can be taken, or None.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the bands, from 1.
        origin : (int, int)
            Row and column at which some square begins.
        factor : int
            Side of a square in pixels.

        Raises
        ------
        RasterError
            If a remote raster cannot be read where its overviews are compared with it.
        """
        file, shape = _ByFile(self), (int(self.geobox.shape[0]), int(self.geobox.shape[1]))
        for level in sorted(range(len(self.overviews)), key=lambda level: -self.overviews[level]):
            if not 1 < self.overviews[level] <= factor:
                continue
            overview = _find_overview(file, numbers[0], level)
            fits = overview is not None and lines_up(overview, shape, origin, factor)
            if overview is not None and fits and _holds_means(file, tuple(numbers), overview):
                return overview
        return None

    def read_squares(self, numbers: Sequence[int], rect: Rect, factor: int) -> NDArray[np.float64] | None:
        """Read the means of squares of pixels from an overview, if every pixel is valid whatever its value.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the bands, from 1.
        rect : Rect
            In pixels. It consists of such squares, begins in the raster, and may reach past its right and its bottom by less
            than a square.
        factor : int
            Side of a square in pixels.

        Returns
        -------
        ndarray of float64, shape (n, h, w), or None
            Not rounded. None if the pixels must be read, because they may have no data or there is no such overview.

        Raises
        ------
        RasterError
            If the overview cannot be read.
        """
        if not self._has_data_everywhere(numbers):
            return None
        overview = self.overview_for(numbers, (rect.y0, rect.x0), factor)
        if overview is None:
            return None
        if self.has_mask and not self._is_shown(rect):
            return None
        axes = [
            Squares.in_overview(start, factor, length, own)
            for start, length, own in zip((rect.y0, rect.x0), self.geobox.shape, overview.shape, strict=True)
        ]
        height, width = rect.height // factor, rect.width // factor
        (top, bottom), (left, right) = axes[0].span(height), axes[1].span(width)
        values = self.read_overview(numbers, overview.level, Rect(left, top, right, bottom))
        return axes[1].means(axes[0].means(values, height, 1), width, 2)

    def read_shown(self, numbers: Sequence[int], rect: Rect) -> NDArray[Any] | None:
        """Read a rectangle as `read` does; return None if a part of it is hidden."""
        values, shown = self.read(numbers, rect)
        return values if shown.all() else None

    def _has_data_everywhere(self, numbers: Sequence[int]) -> bool:
        """Return whether no value of these bands, no alpha and no mark of invented pixels can mean nodata; a mask still may."""
        chosen = [self.bands[number - 1] for number in numbers]
        return (
            self.palette is None
            and not any(band.hides for band in self.bands)
            and all(np.dtype(band.dtype).kind in "iu" and band.nodata is None for band in chosen)
        )

    def _is_shown(self, rect: Rect) -> bool:
        """Return whether the mask of the whole raster hides nothing of a rectangle."""
        height, width = self.geobox.shape
        inside = rect & Rect(0, 0, width, height)
        what = f"the mask of pixels {inside.x0}:{inside.x1}, {inside.y0}:{inside.y1} of {self.name}"
        with self._handle() as dataset, _read_errors(what), patient(self.path):
            window = Window(inside.x0, inside.y0, inside.width, inside.height)
            return bool((dataset.read_masks(1, window=window) > 0).all())

    def read_overview(self, numbers: Sequence[int], level: int, rect: Rect) -> NDArray[Any]:
        """Read a rectangle of an overview, in its own pixels."""
        dtype = np.result_type(*(self.bands[number - 1].dtype for number in numbers))
        what = f"pixels {rect.x0}:{rect.x1}, {rect.y0}:{rect.y1} of the overview {level} of {self.name}"
        with self._handle(level) as dataset, _read_errors(what), patient(self.path):
            window = Window(rect.x0, rect.y0, rect.width, rect.height)
            values: NDArray[Any] = dataset.read(list(numbers), window=window, out_dtype=dtype.name)
        return values

    def find_overview(self, number: int, level: int) -> Overview | None:
        """Return the overview of a level, from 0, with its method for a band, from 1.

        Return None if the overview of a local file cannot be opened or read in windows.
        """
        try:
            with self._handle(level) as dataset, _read_errors(f"the overview {level} of {self.name}"):
                _largest_block(dataset, self.name)
                method = dataset.tags(number).get("RESAMPLING", "")
                return Overview(level, tuple(dataset.shape), str(method).upper())
        except RasterError:
            if is_remote(self.path):
                raise
            return None

    @contextmanager
    def _handle(self, overview: int | None = None) -> Iterator[Any]:
        """Give this thread's own handle of the raster or of an overview; a handle that failed is not used again."""
        handles: OrderedDict[tuple[Any, ...], Any] = _local.__dict__.setdefault("handles", OrderedDict())
        failed: set[str] = _local.__dict__.setdefault("failed", set())
        version = (self.version, self.others)
        key = (os.getpid(), self.path, version, overview)
        if key not in handles:
            # GDAL shares the files of a mosaic between handles, so handles of an earlier version would give old blocks.
            for old in [one for one in handles if one[:2] == key[:2] and one[2] != version]:
                handles.pop(old).close()
            handles[key] = self._reopen(overview, fresh=self.path in failed)
            failed.discard(self.path)
            while len(handles) > HANDLES_PER_THREAD:
                handles.popitem(last=False)[1].close()
        handles.move_to_end(key)
        try:
            yield handles[key]
        except RasterError:
            handles.pop(key).close()
            failed.add(self.path)
            raise

    def _reopen(self, overview: int | None, *, fresh: bool) -> rasterio.DatasetReader:
        dataset = _open(self.path, self.name, overview, fresh=fresh)
        is_other = overview is None and dataset.shape != tuple(self.geobox.shape)
        if is_other or dataset.dtypes != tuple(band.dtype for band in self.bands):
            dataset.close()
            raise RasterError(f"{self.name} has changed since it was opened; open it again.")
        return dataset


@dataclass(frozen=True, slots=True, eq=False)
class _ByFile:
    """A file as a cache key: equal for sources that read the same content."""

    source: FileSource

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByFile) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.source.path, self.source.version, self.source.others


# The results are cached, so that each process examines an overview once.
@lru_cache(maxsize=4096)
def _find_overview(file: _ByFile, number: int, level: int) -> Overview | None:
    return file.source.find_overview(number, level)


@lru_cache(maxsize=4096)
def _holds_means(file: _ByFile, numbers: tuple[int, ...], overview: Overview) -> bool:
    """Return whether a sample shows that an overview holds the means of the pixels of a file."""
    source = file.source
    if not overview.says_mean:
        return False
    read_overview = partial(source.read_overview, numbers, overview.level)
    try:
        shape = int(source.geobox.shape[0]), int(source.geobox.shape[1])
        return is_mean_of_pixels(overview, shape, read_overview, partial(source.read_shown, numbers))
    except RasterError:
        # A part of a local file that cannot be read now cannot be read later, so the pixels are used instead of the overview.
        if is_remote(source.path):
            raise
        return False


def _locate(given: str) -> tuple[str, Stamp]:
    """Return the path that GDAL opens, and its version."""
    if is_remote(given):
        return given, stamp_of(given) or ()
    stamp = local_stamp(given)
    return (str(Path(given).absolute()), stamp) if stamp else (given, ())


def _open(path: str, name: str, overview: int | None = None, *, fresh: bool = False) -> rasterio.DatasetReader:
    """Open a raster or an overview of it; ``fresh``, and a failure, drop GDAL's cache for a remote file."""
    try:
        with _opening, patient(path, fresh=fresh):
            return open_raster(path, name) if overview is None else open_overview(path, name, overview)
    except (rasterio.errors.RasterioError, CPLE_BaseError, OSError, ValueError, TypeError) as error:
        if is_remote(path) and not fresh:
            return _open(path, name, overview, fresh=True)
        raise RasterError(_why_not(path, name, error)) from None


def _why_not(path: str, name: str, error: Exception) -> str:
    local = Path(path)
    if is_remote(path):
        return f"{name} cannot be opened ({error}); check the address and the connection."
    check_name(local, RasterError, "check the path")
    if local.is_dir():
        return f"{name} is a folder, not a raster; give a file in it."
    if local.is_file():
        if local.stat().st_size == 0:
            return f"{name} is an empty file; make or download it again."
        if not os.access(local, os.R_OK):
            return f"{name} cannot be read: you have no permission to read it; change its permissions."
        return (
            f"{name} is not a raster that GDAL can read ({error}). It may be incomplete or not a raster; download it again, or "
            "convert it to GeoTIFF."
        )
    return f"{name} does not exist (looked from {Path.cwd()}); check the path."


def _check_bands(dataset: rasterio.DatasetReader, name: str) -> None:
    if dataset.count == 0:
        inner = dataset.subdatasets
        if inner:
            shown = ", ".join(inner[:8]) + (f" and {len(inner) - 8} more" if len(inner) > 8 else "")
            raise RasterError(f"{name} holds several rasters; open one of them: {shown}.")
        raise RasterError(f"{name} has no bands; give a raster with at least one band.")
    for number, dtype in enumerate(dataset.dtypes, start=1):
        if dtype.startswith("complex"):
            raise RasterError(
                f"band {number} of {name} holds complex numbers ({dtype}); write its magnitude to a raster first "
                "(gdal_translate or numpy.abs)."
            )


def _check_sizes(dataset: rasterio.DatasetReader, name: str) -> None:
    height, width = dataset.shape
    if height * width > MAX_PIXELS:
        raise RasterError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS:.0e}; check it, or write a part of it.")
    if dataset.count > MAX_BANDS:
        raise RasterError(f"{name} has {dataset.count} bands, more than {MAX_BANDS}; write the bands that you need to a file.")


def _largest_block(dataset: rasterio.DatasetReader, name: str) -> tuple[int, int]:
    together = dataset.count if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    sizes = (
        (rows * columns, rows * columns * np.dtype(dtype).itemsize * together, rows, columns)
        for (rows, columns), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True)
    )
    pixels, size, rows, columns = max(sizes, key=lambda block: block[1])
    if size > MAX_BLOCK_BYTES:
        raise RasterError(
            f"{name} cannot be read in windows, because each of its blocks has {columns} x {rows} pixels, {size / 1e6:.0f} MB; "
            "write it in tiles first (gdal_translate -co TILED=YES -co COMPRESS=DEFLATE)."
        )
    return pixels, size


def _reach(overviews: Sequence[int]) -> float:
    """Return the coarsest decimation that can be reached through overviews whose steps are not too large."""
    reached = 1
    for factor in sorted(overviews):
        if factor > reached * OVERVIEW_STEP:
            break
        reached = max(factor, reached)
    return reached


def _nodata(dataset: rasterio.DatasetReader) -> tuple[float | None, ...]:
    """Return the nodata value of each band; a transparent colour, as in PNG, has one value for each band."""
    together = dataset.tags().get("NODATA_VALUES", "").split()
    if len(together) != dataset.count:
        return tuple(dataset.nodatavals)
    try:
        return tuple(float(value) for value in together)
    except ValueError:
        return tuple(dataset.nodatavals)


def _palette(colors: dict[int, tuple[int, int, int, int]]) -> NDArray[np.uint8]:
    table = np.zeros((max(colors) + 1, 4), dtype=np.uint8)
    table[list(colors)] = list(colors.values())
    return table


@contextmanager
def _read_errors(what: str) -> Iterator[None]:
    try:
        yield
    # Reading a damaged file may fail anywhere between GDAL and the array, and the file may claim more memory than there is.
    except (
        rasterio.errors.RasterioError,
        CPLE_BaseError,
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        TypeError,
        ValueError,
    ) as error:
        reason = error.__cause__ or error
        raise RasterError(
            f"{what} cannot be read ({reason}). The file may be damaged or incomplete, or the connection broken; check both."
        ) from None

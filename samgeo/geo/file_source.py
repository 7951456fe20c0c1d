"""Raster files and URLs through rasterio."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import RasterError
from samgeo.geo.bands import Band
from samgeo.geo.drivers import open_raster
from samgeo.geo.files import check_name
from samgeo.geo.grid import Rect
from samgeo.geo.remote import is_remote, patient, without_secrets

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["FileSource"]

# Handles that a thread keeps open. A run reads one raster; a notebook a few.
HANDLES_PER_THREAD = 8

# What a file may claim. A block is decoded whole, however small the window; a bomb of a few bytes may claim one of any size.
MAX_BLOCK_BYTES = 1 << 28
MAX_BANDS = 4096
MAX_PIXELS = 10**15

# A decimated read goes from the next finer overview; farther apart than this, reading costs as if there were none.
OVERVIEW_STEP = 16

# GDAL's handles must not be shared between threads, nor, as they hold file positions, with a forked child.
_local = threading.local()

# Warning filters belong to the process: two threads that swap them at once could leave the wrong ones behind.
_opening = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class FileSource:
    """A raster that rasterio can open; each thread and process that reads opens its own handle.

    Attributes
    ----------
    name : str
        As it was given; a web address without its query, which may hold a key.
    path : str
        What rasterio opens; absolute where it is a local file.
    version : tuple of int
        Modification time and size of a local file, so that a file written anew is opened anew; empty otherwise.
    geobox, bands, palette, decimation, block
        See `Source`.
    has_mask : bool
        Whether a mask other than alpha, in the file or beside it, holds for the whole raster.
    overviews : tuple of int
        How many pixels, along a side, are one in each overview.
    """

    name: str
    path: str
    version: tuple[int, ...]
    geobox: GeoBox
    bands: tuple[Band, ...]
    palette: NDArray[np.uint8] | None
    decimation: float
    block: tuple[int, int]
    has_mask: bool
    overviews: tuple[int, ...] = ()

    @classmethod
    def open(cls, source: str | os.PathLike[str]) -> FileSource:
        """Open a path or a URL, as rasterio takes it, with a driver that its name allows (`samgeo.geo.drivers`).

        Raises
        ------
        RasterError
            If there is no such raster, none with bands of real numbers, or one that cannot be read in windows.
        """
        from rasterio.enums import ColorInterp, MaskFlags

        given = os.fspath(source)
        path, version = _locate(given)
        name = without_secrets(given)
        dataset = _open(path, name)
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
            image = [number for number, band in enumerate(bands, start=1) if not band.is_alpha]
            paletted = len(image) == 1 and dataset.colorinterp[image[0] - 1] == ColorInterp.palette
            overviews = dataset.overviews(image[0]) if image else []
            flags = dataset.mask_flag_enums[image[0] - 1] if image else []
            return cls(
                name=name,
                path=path,
                version=version,
                geobox=_geobox(dataset, name),
                bands=bands,
                palette=_palette(dataset.colormap(image[0])) if paletted else None,
                decimation=_reach(overviews),
                block=block,
                has_mask=MaskFlags.per_dataset in flags and not {MaskFlags.nodata, MaskFlags.alpha} & set(flags),
                overviews=tuple(overviews),
            )

    @property
    def files(self) -> tuple[FileSource, ...]:
        """See `Source`."""
        return (self,)

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster; see `Source.read`."""
        from rasterio.windows import Window

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
                if band.is_alpha:
                    mask &= dataset.read(number, **options) > 0
        return values, mask

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        """Lend this thread's own handle; one that failed is not lent again."""
        handles: OrderedDict[tuple[Any, ...], Any] = _local.__dict__.setdefault("handles", OrderedDict())
        key = (os.getpid(), self.path, self.version)
        if key not in handles:
            handles[key] = self._reopen()
            while len(handles) > HANDLES_PER_THREAD:
                handles.popitem(last=False)[1].close()
        handles.move_to_end(key)
        try:
            yield handles[key]
        except RasterError:
            handles.pop(key).close()
            raise

    def _reopen(self) -> Any:
        dataset = _open(self.path, self.name)
        if dataset.shape != tuple(self.geobox.shape) or dataset.dtypes != tuple(band.dtype for band in self.bands):
            dataset.close()
            raise RasterError(f"{self.name} is another raster than when it was opened; open it again.")
        return dataset


def _locate(given: str) -> tuple[str, tuple[int, ...]]:
    path = Path(given)
    try:
        status = path.stat()
    except (OSError, ValueError):
        return given, ()
    return str(path.absolute()), (status.st_mtime_ns, status.st_size)


def _open(path: str, name: str) -> Any:
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning

    try:
        with _opening, warnings.catch_warnings(), patient(path):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return open_raster(path, name)
    except (rasterio.errors.RasterioError, CPLE_BaseError, OSError, ValueError, TypeError) as error:
        raise RasterError(_why_not(path, name, error)) from error


def _why_not(path: str, name: str, error: Exception) -> str:
    local = Path(path)
    if is_remote(path):
        return f"{name} cannot be opened ({error}); check the address and that it can be reached from here."
    check_name(local, RasterError, "check the path")
    if local.is_dir():
        return f"{name} is a folder, not a raster; give a file in it."
    if local.is_file():
        if local.stat().st_size == 0:
            return f"{name} is an empty file; make or download it again."
        if not os.access(local, os.R_OK):
            return f"{name} cannot be read: this user lacks the permission."
        return (
            f"{name} is not a raster that GDAL can read ({error}); it may be cut short or another kind of file: "
            "download it again, or convert it to GeoTIFF."
        )
    return f"{name} does not exist (looked from {Path.cwd()}); check the path."


def _check_bands(dataset: Any, name: str) -> None:
    if dataset.count == 0:
        inner = dataset.subdatasets
        if inner:
            shown = ", ".join(inner[:8]) + (f" and {len(inner) - 8} more" if len(inner) > 8 else "")
            raise RasterError(f"{name} holds several rasters; open one of them: {shown}.")
        raise RasterError(f"{name} has no bands.")
    for number, dtype in enumerate(dataset.dtypes, start=1):
        if dtype.startswith("complex"):
            raise RasterError(
                f"band {number} of {name} holds complex numbers ({dtype}); write its magnitude to a raster first "
                "(gdal_translate or numpy.abs)."
            )


def _check_sizes(dataset: Any, name: str) -> None:
    height, width = dataset.shape
    if height * width > MAX_PIXELS:
        raise RasterError(f"{name} claims {width} x {height} pixels, more than {MAX_PIXELS:.0e}; check it, or cut out a part.")
    if dataset.count > MAX_BANDS:
        raise RasterError(f"{name} claims {dataset.count} bands, more than {MAX_BANDS}; write those that are needed to a file.")


def _largest_block(dataset: Any, name: str) -> tuple[int, int]:
    together = dataset.count if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    sizes = (
        (rows * columns, rows * columns * np.dtype(dtype).itemsize * together, rows, columns)
        for (rows, columns), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True)
    )
    pixels, size, rows, columns = max(sizes, key=lambda block: block[1])
    if size > MAX_BLOCK_BYTES:
        raise RasterError(
            f"{name} cannot be read in windows: a block of it is {columns} x {rows} pixels, {size / 1e6:.0f} MB, and is "
            "decoded whole; write it in tiles first (gdal_translate -co TILED=YES -co COMPRESS=DEFLATE)."
        )
    return pixels, size


def _reach(overviews: Sequence[int]) -> float:
    """Return the coarsest decimation that overviews give in steps that can be read."""
    reached = 1
    for factor in sorted(overviews):
        if factor > reached * OVERVIEW_STEP:
            break
        reached = max(factor, reached)
    return reached


def _geobox(dataset: Any, name: str) -> GeoBox:
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from pyproj.exceptions import CRSError

    affine = dataset.transform
    if affine == Affine.identity():
        # GDAL's way to say that there is no georeference: pixels are no coordinates in any CRS.
        return GeoBox(dataset.shape, affine, None)
    if not all(map(math.isfinite, (*affine[:6], affine.determinant))) or affine.determinant == 0:
        raise RasterError(f"{name} has the transform {tuple(affine[:6])}, in which pixels have no area; repair it first.")
    try:
        return GeoBox(dataset.shape, affine, dataset.crs)
    except CRSError as error:
        raise RasterError(f"{name} has a CRS that is not understood ({error}); assign one (gdal_edit -a_srs).") from error


def _nodata(dataset: Any) -> tuple[float | None, ...]:
    """Give the nodata value of each band, or those of a colour that stands for no data, as PNG's transparent colour does."""
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
    import rasterio
    from rasterio._err import CPLE_BaseError

    try:
        yield
    # A damaged file fails anywhere between GDAL and the array, and may claim more than there is memory.
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
            f"{what} cannot be read ({reason}); the file may be damaged or cut short, or the connection broken."
        ) from error

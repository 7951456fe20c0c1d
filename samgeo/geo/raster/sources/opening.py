"""Opening of a raster source: a file, many files, a list of files, STAC Items or an array."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError
from samgeo.geo.drivers import suffix_of
from samgeo.geo.raster.sources.array_source import ArraySource
from samgeo.geo.raster.sources.band_stack import StackSource
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.geo.raster.sources.mosaic import MosaicSource
from samgeo.geo.raster.sources.stac import as_items, choose_assets, names_items, read_items
from samgeo.storage.atomic import check_name
from samgeo.types import RasterLike

if TYPE_CHECKING:
    from samgeo.geo.raster.sources.base import Source
    from samgeo.geo.raster.sources.stac import Item

__all__ = ["open_source"]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

# Number of rasters that are opened at the same time. Each is closed before the next one of its thread is opened.
AT_ONCE = 16

LIST_SUFFIX = ".txt"
MOST_LIST_BYTES = 1 << 26


@check_types
def open_source(given: RasterLike, assets: str | Sequence[str] | None = None) -> Source:
    """Open a raster as a source of pixels, before bands, stretch and nodata are chosen.

    Parameters
    ----------
    given : path, URL, STAC Item, xarray.DataArray, ndarray, a sequence of paths, URLs and Items, or a Source
        See `samgeo.Raster.open`.
    assets : str or sequence of str, optional
        Keys of the assets of STAC Items.

    Returns
    -------
    Source
        A mosaic, if several rasters are given.

    Raises
    ------
    RasterError
        If the raster cannot be opened, or several files do not lie on one grid.
    OptionError
        If assets are chosen for something that is not a STAC Item, or an Item does not have them.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.geo.raster.sources import open_source
    >>> source = open_source(np.zeros((30, 40, 3), np.uint8))
    >>> tuple(source.geobox.shape), len(source.bands), source.bands[0].dtype
    ((30, 40), 3, 'uint8')
    """
    wanted = [assets] if isinstance(assets, str) else None if assets is None else list(assets)
    if wanted is not None and (not wanted or not all(isinstance(key, str) for key in wanted)):
        raise OptionError(f"assets are {assets!r}; give one or more keys of a STAC Item's assets.")
    is_array = isinstance(given, np.ndarray) or hasattr(given, "dims")
    parts = [given] if is_array or not isinstance(given, list | tuple) else given
    openings = [one for some in _together(partial(_openings, wanted=wanted, alone=parts is not given), parts) for one in some]
    tiles = _together(_opened, openings)
    if not tiles:
        raise RasterError("no raster was given: the list is empty; give at least one file.")
    if len(tiles) == 1:
        return tiles[0]
    return MosaicSource.of(tiles)


def _together(work: Callable[[_Given], _Made], parts: Sequence[_Given]) -> list[_Made]:
    """Do work on each part, on several of them at once, because most of the time is spent waiting for disks and servers.

    The first part that fails, in their order, decides the error; work that has not begun is then left out.
    """
    if len(parts) == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="samgeo-open") as threads:
        waiting = [threads.submit(work, part) for part in parts]
        try:
            return [one.result() for one in waiting]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _openings(given: object, *, wanted: Sequence[str] | None, alone: bool) -> list[Callable[[], Source]]:
    """Return functions that open the rasters of what was given: one raster, or those of a list or of STAC Items."""
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        if alone and _is_list(path):
            lines = _together(partial(_openings, wanted=wanted, alone=False), _lines(Path(path)))
            return [one for some in lines for one in some]
        if names_items(path):
            return [partial(_of_item, item, wanted) for item in read_items(path)]
    elif not hasattr(given, "dims") and (isinstance(given, Mapping) or hasattr(given, "to_dict")):
        return [partial(_of_item, item, wanted) for item in as_items(given)]
    if wanted is not None:
        name = given if isinstance(given, str) else type(given).__name__
        raise OptionError(f"assets choose files of a STAC Item, but {name} is not a STAC Item; omit assets.")
    return [partial(_open, given, alone=alone)]


def _opened(opening: Callable[[], Source]) -> Source:
    return opening()


def _open(given: object, *, alone: bool) -> Source:
    if isinstance(given, str | os.PathLike):
        return FileSource.open(given)
    if isinstance(given, FileSource | StackSource) or (alone and isinstance(given, MosaicSource)):
        return given
    remedy = "a path, a URL, a STAC Item, an xarray.DataArray or a numpy array"
    if alone:
        import xarray as xr

        if isinstance(given, ArraySource):
            return given
        if isinstance(given, np.ndarray):
            return ArraySource.from_numpy(given)
        if isinstance(given, xr.DataArray):
            return ArraySource.from_xarray(given)
        if isinstance(given, xr.Dataset):
            remedy = "one of its variables, or .to_dataarray() to use its variables as bands"
    else:
        remedy = "paths, URLs or STAC Items, and combine arrays with xarray or numpy first"
    raise RasterError(f"a raster cannot be opened from a {type(given).__name__}; give {remedy}.")


def _of_item(item: Item, wanted: Sequence[str] | None) -> Source:
    layers = {}
    for key, path in choose_assets(item, wanted).items():
        try:
            layers[key] = FileSource.open(path)
        except RasterError as error:
            raise RasterError(f"the asset {key} of {item.name}: {error}") from None
    return next(iter(layers.values())) if len(layers) == 1 else StackSource.of(item.name, layers)


def _is_list(path: str) -> bool:
    """Return whether a path is a list of rasters by its name, and the file is not an ASCII grid."""
    if suffix_of(path) != LIST_SUFFIX or "://" in path or path.startswith("/vsi"):
        return False
    check_name(path, RasterError, "check the path")
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(5).lower() != b"ncols"


def _lines(path: Path) -> list[str]:
    """Return the paths and addresses in a list; relative paths start from the folder of the list."""
    try:
        if path.stat().st_size > MOST_LIST_BYTES:
            raise RasterError(
                f"{path} is too large for a list of rasters, with more than {MOST_LIST_BYTES >> 20} MiB; check it."
            )
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise RasterError(f"{path} cannot be read as a list of rasters with one path per line ({error}); check it.") from None
    named = [line if "://" in line or line.startswith("/vsi") else str(path.parent / line) for line in lines if line]
    if not named:
        raise RasterError(f"{path} is an empty list of rasters; write one path or address per line.")
    return named

"""Drawing of features into a label raster, some features and one square of the raster at a time."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize as drawn
from rasterio.windows import Window

from samgeo.errors import OptionError, VectorError
from samgeo.geo.grid import Rect
from samgeo.geo.label_outputs import LABEL_SUFFIXES, LABELS, check_result
from samgeo.geo.vector.reading import atomic_output, provenance_note
from samgeo.storage.locations import RemotePlace

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["Classes", "classes_of", "write_label_raster"]

CLASSES = "samgeo_classes"
MOST_CLASSES = 255
MOST_IDS = 2**32 - 1

# Side of the tiles of the file, and side of the largest square that is held in memory at a time, in pixels.
TILE = 512
CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of objects and their values in a label raster.

    Attributes
    ----------
    column : str
        Column of the features that holds the class.
    values : dict of str or int to int
        Value of each class in the raster, from 1 to 255.
    """

    column: str
    values: dict[Any, int]

    def of(self, frame: pd.DataFrame) -> NDArray[np.uint8]:
        """Return the raster value of each feature, shape (N,)."""
        return np.array([self.values[value] for value in frame[self.column]], dtype=np.uint8)


def classes_of(values: Iterable[Any], column: str) -> Classes:
    """Assign a raster value to each class of features.

    Parameters
    ----------
    values : iterable
        The class of each feature: whole numbers from 1 to 255, which stay unchanged, or text.
    column : str
        Name of the column that holds them.

    Raises
    ------
    OptionError
        If a class is missing, the classes are neither numbers nor text, or there are more than 255.
    """
    found = pd.unique(pd.Series(list(values), dtype=object)).tolist()
    if any(pd.isna(value) for value in found):
        raise OptionError(f"the column {column} has no class for some features; give each a class, or omit class_column.")
    if all(isinstance(value, str) for value in found):
        if len(found) > MOST_CLASSES:
            raise OptionError(
                f"the column {column} has {len(found)} classes; give at most {MOST_CLASSES}, which uint8 can hold."
            )
        return Classes(column, {name: number for number, name in enumerate(sorted(found), start=1)})
    is_whole = all(not isinstance(value, bool | str) and float(value).is_integer() for value in found)
    if not is_whole or not all(1 <= value <= MOST_CLASSES for value in found):
        raise OptionError(
            f"the column {column} has values that are not classes; give text or whole numbers from 1 to {MOST_CLASSES}."
        )
    return Classes(column, {value: int(value) for value in sorted(found)})


def write_label_raster(
    frames: Iterable[gpd.GeoDataFrame],
    geobox: GeoBox,
    path: str | os.PathLike[str] | RemotePlace,
    *,
    classes: Classes | None = None,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
    staging: Path | None = None,
    about_to_place: Callable[[Path], None] = lambda _: None,
    done: Callable[[int], object] = lambda _: None,
) -> int:
    """Draw features as `rasterize` does, one table at a time; memory holds one number for each feature.

    Parameters
    ----------
    frames : iterable of GeoDataFrame
        The features in their order, in the CRS of the grid.
    geobox : GeoBox
        The grid.
    path, overwrite
        See `rasterize`.
    classes : Classes, optional
        The classes to draw instead of the numbers of the features.
    provenance, staging, about_to_place
        See `samgeo.geo.vector.joining.join_vectors`.
    done : callable, optional
        Called from time to time with the number of features that are drawn since the last call.

    Returns
    -------
    int
        Number of features.

    Raises
    ------
    VectorError
        If the raster cannot be written. An existing file is then unchanged, and no other file is left.
    """
    import rasterio.shutil

    path = check_result(path, overwrite=overwrite, suffixes=LABEL_SUFFIXES)
    tags = {LABELS: "numbers" if classes is None else "classes", **provenance_note(provenance)}
    if classes is not None:
        tags[CLASSES] = json.dumps({str(number): str(name) for name, number in classes.values.items()})
    with atomic_output(path, staging, about_to_place) as temporary, warnings.catch_warnings():
        # Without a CRS the grid is that of the pixels, and rasterio would warn of it.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        drawn = temporary.with_name(f"{temporary.name}.ids")
        with _create(drawn, geobox, "uint32", {} if classes else tags) as file:
            value_of = _draw(file, frames, geobox, classes, done)
        if classes is not None:
            by_instance, drawn = drawn, temporary.with_name(f"{temporary.name}.classes")
            with rasterio.open(by_instance) as ids, _create(drawn, geobox, "uint8", tags) as file:
                for _, window in file.block_windows(1):
                    file.write(value_of[ids.read(1, window=window)], 1, window=window)
        rasterio.shutil.copy(
            drawn,
            temporary,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            BLOCKSIZE=TILE,
            OVERVIEW_RESAMPLING="NEAREST",
            BIGTIFF="IF_SAFER",
        )
    return len(value_of) - 1


def _create(path: Path, geobox: GeoBox, dtype: str, tags: dict[str, str]) -> rasterio.io.DatasetWriter:
    """Create a GeoTIFF that takes windows in any order, and takes no space where nothing is written."""
    height, width = geobox.shape
    file = rasterio.open(
        path,
        "w+",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=dtype,
        nodata=0,
        crs=None if geobox.crs is None else geobox.crs.proj,
        transform=geobox.affine,
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        SPARSE_OK=True,
        BIGTIFF="YES",
    )
    file.update_tags(**tags)
    return file


def _draw(
    file: rasterio.io.DatasetWriter,
    frames: Iterable[gpd.GeoDataFrame],
    geobox: GeoBox,
    classes: Classes | None,
    done: Callable[[int], object],
) -> NDArray[np.uint8]:
    """Draw features by their numbers; return the class of each number, or 0 without classes."""
    sizes, value_of = np.zeros(1), np.zeros(1, dtype=np.uint8)
    for frame in frames:
        outlines = _in_pixels(frame.geometry.to_numpy(), geobox)
        first = len(sizes)
        sizes = np.concatenate([sizes, _pixels(outlines)])
        value_of = np.concatenate([value_of, np.zeros(len(frame), np.uint8) if classes is None else classes.of(frame)])
        if len(sizes) - 1 > MOST_IDS:
            raise VectorError(f"there are more than {MOST_IDS:,} features, too many for numbers of uint32; draw fewer.")
        drawn_now = 0
        for below in _draw_part(file, outlines, first, sizes):
            done(below - drawn_now)
            drawn_now = below
        done(len(frame) - drawn_now)
    return value_of


def _pixels(outlines: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the area of each outline rounded to whole pixels; for the outline of a mask this is its number of pixels."""
    return np.round(shapely.area(outlines))


def _draw_part(
    file: rasterio.io.DatasetWriter, outlines: NDArray[np.object_], first: int, sizes: NDArray[np.float64]
) -> Iterator[int]:
    """Draw some features over the features that are already drawn, one square of the raster at a time.

    Parameters
    ----------
    file : DatasetWriter
        The raster with the numbers of all earlier features.
    outlines : ndarray of shapely geometries, shape (N,)
        Outlines in pixels.
    first : int
        Number of the first outline.
    sizes : ndarray, shape (first + N,)
        Area in pixels of all features so far, by number.

    Yields
    ------
    int
        Number of these features that are whole, after each row of squares.
    """
    there = np.flatnonzero(~(shapely.is_missing(outlines) | shapely.is_empty(outlines)))
    # rasterio gives a pixel to the shape that is drawn last, which is the smallest one, and of equally large ones the first.
    there = there[np.lexsort([-there, -sizes[first + there]])]
    bounds = shapely.bounds(outlines[there])
    low, high = np.floor(bounds[:, :2]), np.ceil(bounds[:, 2:])
    low, high = np.maximum(low, 0).astype(np.int64), np.minimum(high, (file.width, file.height)).astype(np.int64)
    inside = (low < high).all(axis=1)
    there, low, high = there[inside], low[inside], high[inside]
    if not len(there):
        return
    (left, top), (right, bottom) = low.min(axis=0).tolist(), high.max(axis=0).tolist()
    for y in range(top, bottom, CHUNK):
        row = np.flatnonzero((low[:, 1] < y + CHUNK) & (high[:, 1] > y))
        for x in range(left, right, CHUNK):
            here = row[(low[row, 0] < x + CHUNK) & (high[row, 0] > x)]
            if not len(here):
                continue
            x0, y0 = low[here].min(axis=0).tolist()
            x1, y1 = high[here].max(axis=0).tolist()
            chunk = Rect(x, y, x + CHUNK, y + CHUNK) & Rect(x0, y0, x1, y1)
            shapes = [(outlines[index], first + index) for index in there[here].tolist()]
            corner = Affine.translation(chunk.x0, chunk.y0)
            numbers = drawn(shapes, out_shape=chunk.shape, transform=corner, dtype="uint32")
            window = Window(chunk.x0, chunk.y0, chunk.width, chunk.height)
            ids = file.read(1, window=window)
            takes = (numbers > 0) & ((ids == 0) | (sizes[ids] > sizes[numbers]))
            if takes.any():
                file.write(np.where(takes, numbers, ids), 1, window=window)
        yield int((high[:, 1] <= y + CHUNK).sum())


def _in_pixels(geometry: NDArray[np.object_], geobox: GeoBox) -> NDArray[np.object_]:
    inverse = ~geobox.affine

    def apply(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f], axis=1)

    return np.asarray(shapely.transform(geometry, apply), dtype=np.object_)

"""The objects of one date that are compared with the other date: given by the user, or found in the raster.

They are kept in a file, in groups of rows, so that only the outlines of a few rows of windows are in memory. The boxes of all
objects are in memory, which takes 40 bytes for each object.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.finding.api import find_to_file
from samgeo.geo.coordinates.indexed_area import IndexedArea
from samgeo.geo.coordinates.overlay import in_pixels, read_onto, repaired_polygons
from samgeo.geo.coordinates.pixel_coordinates import crs_of
from samgeo.geo.coordinates.prompt_geometry import to_pixels
from samgeo.geo.vector.outputs import atomic_output
from samgeo.segmentation.api import segment_to_file
from samgeo.segmentation.tables import areas
from samgeo.types import AoiLike, FeaturesLike

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.geo.raster.raster import Raster

__all__ = ["Candidates", "Layer", "find_objects", "given_layers", "keep", "read_layer"]

GROUP_ROWS = 1024
# Groups of rows that are kept in memory after use: neighbouring rows of windows need the same ones.
MOST_GROUPS = 24
CLASS = "class"


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The objects of one date.

    Attributes
    ----------
    path : Path
        The file with the outlines.
    geobox : GeoBox
        The grid.
    ids : ndarray of int64, shape (N,)
        Number of each object in the layer that it comes from.
    bounds_px : ndarray, shape (N, 4)
        x0, y0, x1, y1 in pixels of the grid.
    classes : ndarray of str, shape (N,), or None
        Class of each object, if the layer has classes.
    """

    path: Path
    geobox: GeoBox
    ids: NDArray[np.int64]
    bounds_px: NDArray[np.float64]
    classes: NDArray[np.object_] | None
    _groups: OrderedDict[int, NDArray[np.object_]] = field(default_factory=OrderedDict, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def geometries(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the outlines of some objects, in the CRS of the grid."""
        result = np.empty(len(rows), dtype=object)
        for number in np.unique(rows // GROUP_ROWS).tolist():
            mine = rows // GROUP_ROWS == number
            result[mine] = self._group(number)[rows[mine] % GROUP_ROWS]
        return result

    def near(self, bounds_px: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows of the objects whose boxes touch one of some boxes, in ascending order."""
        if not len(bounds_px) or not len(self):
            return np.empty(0, dtype=np.int64)
        low, high = bounds_px[:, 1].min(), bounds_px[:, 3].max()
        rows = np.flatnonzero((self.bounds_px[:, 3] >= low) & (self.bounds_px[:, 1] <= high))
        tree = shapely.STRtree(np.asarray(shapely.box(*self.bounds_px[rows].T), dtype=object))
        _, found = tree.query(shapely.box(*bounds_px.T), predicate="intersects")
        return np.asarray(rows[np.unique(found)], dtype=np.int64)

    def _group(self, number: int) -> NDArray[np.object_]:
        import pyarrow.parquet as pq

        if number not in self._groups:
            with pq.ParquetFile(self.path) as file:
                table = file.read_row_group(number, columns=["geometry"])
            self._groups[number] = np.asarray(shapely.from_wkb(table.column("geometry").to_numpy()), dtype=object)
            while len(self._groups) > MOST_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(number)
        return self._groups[number]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Given objects, ready to be compared.

    Attributes
    ----------
    ids : ndarray of int64, shape (N,)
        Positions in the layer of the user.
    geometry : ndarray of shapely polygons, shape (N,)
        Valid, in the CRS of the grid.
    count : int
        Number of features of the layer, with those that are left out.
    digest : str
        Digest of the outlines.
    """

    ids: NDArray[np.int64]
    geometry: NDArray[np.object_]
    count: int
    digest: str


def given_layers(objects: FeaturesLike | Sequence[FeaturesLike]) -> tuple[FeaturesLike, ...]:
    """Return the layers that a user gave as ``objects``: one for both dates, or two, of before and after.

    Two are a list or a tuple of two paths, tables or sequences; of two geometries it is one layer.
    """
    if isinstance(objects, list | tuple) and len(objects) == 2:
        first, second = objects
        if not any(isinstance(one, shapely.Geometry) for one in (first, second)):
            return first, second
    return (objects,)


def read_layer(
    objects: FeaturesLike,
    raster: Raster,
    what: str,
    *,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: AoiLike = None,
) -> Layer:
    """Read given objects, and leave out those outside the raster, the limits of the area or the area of interest.

    Raises
    ------
    VectorError
        If the objects cannot be read, are not polygons, or cannot be placed on the raster.
    OptionError
        If no object is left.
    """
    geobox = raster.geobox
    if isinstance(objects, shapely.Geometry):
        objects = [objects]
    if isinstance(objects, list | tuple | np.ndarray):
        # Bare geometries are in the CRS of the raster.
        geometries = np.array(objects, dtype=object)
        if not (shapely.is_geometry(geometries) | shapely.is_missing(geometries)).all():
            raise OptionError(f"{what} is a sequence of other values than geometries; give a path, a table or geometries.")
        objects = gpd.GeoDataFrame(geometry=geometries, crs=crs_of(geobox))
    frame = read_onto(objects, geobox, what=what, raster=raster.name)
    geometry = repaired_polygons(frame.geometry.to_numpy(), what)
    placed, _ = in_pixels(geometry, geobox)
    height, width = raster.shape
    bounds = shapely.bounds(placed)
    with np.errstate(invalid="ignore"):
        kept = (bounds[:, 0] < width) & (bounds[:, 1] < height) & (bounds[:, 2] > 0) & (bounds[:, 3] > 0)
    area = areas(placed, geometry, geobox)
    kept &= (area > 0) & (area >= min_area) & (area <= max_area)
    if aoi is not None:
        kept &= IndexedArea(to_pixels(aoi, geobox, name=raster.name)).intersects(placed)
    if not kept.any():
        raise OptionError(
            f"none of the {len(frame):,} features of {what} lies in {raster.name} and within the limits; check the CRS of the "
            "layer, aoi, min_area and max_area."
        )
    rows = np.flatnonzero(kept)
    # In the order of their place, so that a row of windows needs few groups of the file.
    rows = rows[np.lexsort((bounds[rows, 0], bounds[rows, 1]))]
    digest = blake2b(digest_size=16)
    for row in rows.tolist():
        digest.update(f"{row}".encode() + shapely.to_wkb(geometry[row]))
    return Layer(rows.astype(np.int64), geometry[rows], len(frame), digest.hexdigest())


def find_objects(raster: Raster, output: Path, arguments: dict[str, Any], stop: Callable[[], bool] | None) -> tuple[str, ...]:
    """Find the objects of a raster in a run of its own, which is continued if it was begun.

    Parameters
    ----------
    raster : Raster
        The raster of one date.
    output : Path
        GeoParquet file for the objects.
    arguments : dict
        Options of `samgeo.find` if there is a key ``finder``, else of `samgeo.segment`.
    stop : callable, optional
        See `samgeo.segmentation.segment_to_file`.

    Returns
    -------
    tuple of str
        The windows that failed: which, where, and why.
    """
    options = {"run_dir": output.with_suffix(".run"), "overwrite": True, **arguments}
    if "finder" in arguments:
        return find_to_file({"image": raster, "output": output, **options}, stop=stop)
    return segment_to_file(raster, output, stop=stop, **options).failures


def keep(source: Layer | Path, path: Path, raster: Raster) -> Candidates:
    """Write objects to a file from which the outlines of some of them can be read, and return them.

    Parameters
    ----------
    source : Layer or Path
        Given objects, or the file that `find_objects` wrote.
    path : Path
        The file.
    raster : Raster
        The raster of the grid.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("geometry", pa.binary())])
    bounds: list[NDArray[np.float64]] = []
    classes: list[NDArray[np.object_]] = []
    count = 0
    ids = source.ids if isinstance(source, Layer) else None
    with (
        atomic_output(path, follow_links=False) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for wkb, kinds in _batches(source):
            geometry = shapely.from_wkb(wkb)
            placed, _ = in_pixels(np.asarray(geometry, dtype=object), raster.geobox)
            bounds.append(shapely.bounds(placed))
            if kinds is not None:
                classes.append(kinds)
            count += len(wkb)
            writer.write_table(pa.table({"geometry": pa.array(wkb, type=pa.binary())}), row_group_size=GROUP_ROWS)
    return Candidates(
        path=path,
        geobox=raster.geobox,
        ids=np.arange(count, dtype=np.int64) if ids is None else ids,
        bounds_px=np.concatenate(bounds) if bounds else np.empty((0, 4)),
        classes=np.concatenate(classes) if classes else None,
    )


def _batches(source: Layer | Path) -> Iterator[tuple[NDArray[np.object_], NDArray[np.object_] | None]]:
    """Yield the outlines as WKB, and the classes, of groups of 1,024 objects."""
    import pyarrow.parquet as pq

    if isinstance(source, Layer):
        for start in range(0, len(source.geometry), GROUP_ROWS):
            yield np.asarray(shapely.to_wkb(source.geometry[start : start + GROUP_ROWS]), dtype=object), None
        return
    with pq.ParquetFile(source) as file:
        names = [name for name in ("geometry", CLASS) if name in file.schema_arrow.names]
        waiting = None
        for batch in file.iter_batches(batch_size=GROUP_ROWS, columns=names):
            # Batches end where the groups of the file end, so that they may be shorter.
            more = batch.to_pandas()
            waiting = more if waiting is None else pd.concat([waiting, more], ignore_index=True)
            while len(waiting) >= GROUP_ROWS:
                yield _columns(waiting.iloc[:GROUP_ROWS])
                waiting = waiting.iloc[GROUP_ROWS:]
        if waiting is not None and len(waiting):
            yield _columns(waiting)


def _columns(table: pd.DataFrame) -> tuple[NDArray[np.object_], NDArray[np.object_] | None]:
    return (
        table["geometry"].to_numpy(dtype=object),
        table[CLASS].to_numpy(dtype=object) if CLASS in table else None,
    )

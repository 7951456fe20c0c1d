"""Label rasters: objects drawn on the grid of their image, with a number for each object or for each class."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.sources.opening import open_source
from samgeo.geo.vector.formats import file_errors
from samgeo.geo.vector.reading import (
    SUFFIXES,
    atomic_output,
    check_output,
    provenance_note,
    read_provenance,
    read_vectors,
)
from samgeo.progress import progress_bar
from samgeo.storage.atomic import refuse_inputs, refuse_unwritable
from samgeo.storage.locations import Place, RemotePlace, as_place, is_there
from samgeo.types import CRSLike, FeaturesLike, RasterLike

if TYPE_CHECKING:
    import pyarrow as pa
    from odc.geo.geobox import GeoBox


__all__ = [
    "LABEL_SUFFIXES",
    "Classes",
    "check_result",
    "classes_of",
    "is_label_raster",
    "rasterize",
    "stored_frames",
    "write_label_raster",
]

LABEL_SUFFIXES = (".tif", ".tiff")
LABELS, CLASSES = "samgeo_labels", "samgeo_classes"
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


@check_types
def rasterize(
    result: FeaturesLike,
    image: RasterLike,
    output: str | os.PathLike[str],
    *,
    class_column: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> int:
    """Draw objects as a label raster on the grid of an image.

    The file is a cloud-optimized GeoTIFF with the CRS, the transform and the shape of the image, and with 0 as its nodata
    value. Without ``class_column`` its type is uint32, and the pixels of the feature in row ``i`` of the result, counted from
    0, have the value ``i + 1``. A pixel belongs to a feature when its centre lies inside; the pixels of a mask are exactly
    those of its polygon. Where features overlap, the smaller one gets the pixel, so that an object inside another one stays
    visible; of equally large features, the earlier row gets it.

    Parameters
    ----------
    result : path, GeoDataFrame or GeoSeries
        Polygons, such as `samgeo.segment` and `samgeo.Predictor.predict` return. Features without geometry draw nothing.
        GeoParquet files are read in parts.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`; only its grid is used.
    output : path or address
        Ends in ``.tif`` or ``.tiff``. The file is written whole or not at all. While it is written, an uncompressed copy lies
        beside it, which takes four bytes for each pixel where there are objects.
    class_column : str, optional
        A column with the class of each feature; the type of the raster is then uint8. Whole numbers from 1 to 255 are used
        unchanged. Names are numbered from 1 in alphabetical order, and the tag ``samgeo_classes`` of the file holds the numbers
        and names as JSON.
    overwrite : bool, default False
        Whether an existing label raster from samgeo may be replaced. Any other raster is never replaced.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    int
        Number of features in the result.

    Raises
    ------
    SamgeoError
        If an input cannot be read or placed, a class is missing or there are more than 255, or the output cannot be written.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> import rasterio
    >>> import samgeo
    >>> from samgeo.testing import write_raster
    >>> from shapely.geometry import box
    >>> image = write_raster("city.tif", np.zeros((20, 30, 3), np.uint8), crs="EPSG:32633")  # pixels of 0.5 m
    >>> x, y = 500_000, 5_400_000  # the upper left corner
    >>> houses = gpd.GeoDataFrame({"kind": ["house", "barn"]}, crs="EPSG:32633",
    ...                           geometry=[box(x, y - 2, x + 2, y), box(x + 4, y - 4, x + 8, y)])
    >>> samgeo.rasterize(houses, image, "labels.tif", progress=False)
    2
    >>> with rasterio.open("labels.tif") as file:
    ...     np.unique(file.read(1), return_counts=True)
    (array([0, 1, 2], dtype=uint32), array([520,  16,  64]))
    >>> samgeo.rasterize(houses, image, "classes.tif", class_column="kind", progress=False)
    2
    """
    path = check_result(output, overwrite=overwrite, suffixes=LABEL_SUFFIXES)
    # A Raster is already open; anything else is opened here.
    source = getattr(image, "source", None) or open_source(image)
    refuse_inputs(path, [result, *(file.path for file in source.files)], VectorError)
    geobox = source.geobox
    if isinstance(result, str | os.PathLike) and _is_stored(result):
        stored, made = Path(result), read_provenance(result)
        total = _stored_count(stored)
        classes = None if class_column is None else classes_of(_stored_column(stored, class_column), class_column)
        frames: Iterable[gpd.GeoDataFrame] = (_placed_on(frame, geobox) for frame in stored_frames([stored]))
    else:
        frame = _placed_on(read_vectors(result), geobox)
        classes = None if class_column is None else classes_of(_column(frame, class_column), class_column)
        made = frame.attrs.get("samgeo")
        if made is None and isinstance(result, str | os.PathLike) and Path(result).suffix.lower() in SUFFIXES:
            made = read_provenance(result)
        total, frames = len(frame), [frame]
    how: dict[str, Any] = {"classes": classes, "overwrite": overwrite, "provenance": made}
    with progress_bar(total, "object", "drawing", progress=progress) as bar:
        return write_label_raster(frames, geobox, path, **how, done=bar.update)


def _is_stored(result: object) -> bool:
    """Return whether the result is a local GeoParquet file, which is read in parts."""
    return (
        isinstance(result, str | os.PathLike)
        and SUFFIXES.get(Path(result).suffix.lower()) == "GeoParquet"
        and Path(result).is_file()
    )


def check_result(
    path: str | os.PathLike[str] | RemotePlace,
    *,
    overwrite: bool = False,
    crs: CRSLike = None,
    suffixes: Sequence[str] = (*SUFFIXES, *LABEL_SUFFIXES),
    layer: str | None = None,
    inputs: Iterable[object] = (),
) -> Place:
    """Check, before any work, that objects can be written to a path, as features or as labels.

    Parameters
    ----------
    path : path or address
        The output.
    overwrite, crs
        See `samgeo.geo.vector.reading.check_output`.
    suffixes : sequence of str
        Suffixes that the output may have.
    layer, inputs
        See `samgeo.geo.vector.outputs.check_output`.

    Returns
    -------
    Path or RemotePlace
        The checked location.

    Raises
    ------
    VectorError, StorageError
        If the output cannot be written. The message says what to do.
    """
    path = as_place(path)
    if path.suffix.lower() not in suffixes:
        raise VectorError(
            f"{path} cannot be written: the suffix {path.suffix!r} is not one of {', '.join(suffixes)}"
            + ("; .tif and .tiff are rasters of labels." if len(suffixes) > len(LABEL_SUFFIXES) else ".")
        )
    if not is_label_raster(path):
        return check_output(path, overwrite, crs=crs, layer=layer, inputs=inputs)
    if isinstance(path, Path):
        refuse_unwritable(path, VectorError)
        refuse_inputs(path, inputs, VectorError)
        # A user who forgets the output on the command line gives the last image in its place, which must not be replaced.
        if path.exists() and not _is_ours(path):
            raise VectorError(f"{path} exists and is not a label raster of samgeo, so it is not replaced; choose another name.")
    if not overwrite and (path.exists() if isinstance(path, Path) else is_there(path)):
        raise VectorError(f"{path} exists; choose another name, or allow overwrite.")
    if isinstance(path, RemotePlace):
        path.check_writable()
    return path


def check_labels_options(*, layer: str | None, y_up: bool) -> None:
    """Refuse options of vector files where the output is a label raster.

    Raises
    ------
    OptionError
        If ``layer`` or ``y_up`` is given.
    """
    if layer is not None:
        raise OptionError("layer is the name of a layer in a GeoPackage, but the output is a raster of labels; omit layer.")
    if y_up:
        raise OptionError(
            "y_up applies to vector files, but the output is a raster of labels on the grid of the image; omit y_up."
        )


def _is_ours(path: Path) -> bool:
    """Return whether a file is a label raster that samgeo wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path, driver="GTiff") as file:
                return LABELS in file.tags()
        except rasterio.errors.RasterioError:
            return False


def is_label_raster(path: Place) -> bool:
    """Return whether the suffix of a location is one of a label raster."""
    return path.suffix.lower() in LABEL_SUFFIXES


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


def _placed_on(frame: gpd.GeoDataFrame, geobox: GeoBox) -> gpd.GeoDataFrame:
    """Transform features to the CRS of a grid."""
    crs = None if geobox.crs is None else geobox.crs.proj
    if (frame.crs is None) != (crs is None):
        has, lacks = ("result", "image") if crs is None else ("image", "result")
        raise VectorError(
            f"the {has} has a CRS and the {lacks} has none, so that one cannot be placed on the other; set the CRS of the "
            f"{lacks}."
        )
    return frame if crs is None or frame.crs == crs else frame.to_crs(crs)


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame:
        known = ", ".join(str(column) for column in frame.columns if column != "geometry")
        raise OptionError(f"there is no column {name!r}; the columns are {known}.")
    return frame[name]


def stored_frames(paths: Iterable[Path]) -> Iterator[gpd.GeoDataFrame]:
    """Give the features of GeoParquet files in their order, in parts.

    Raises
    ------
    VectorError
        If a file cannot be read.
    """
    import pyarrow.parquet as pq

    from samgeo.geo.vector.writing import GROUP_ROWS

    for path in paths:
        with file_errors(f"{path} cannot be read", "check that it is whole"), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=GROUP_ROWS):
                yield gpd.GeoDataFrame.from_arrow(_with_geo(batch, file.schema_arrow))


def _stored_column(path: Path, name: str) -> list[Any]:
    import pyarrow.parquet as pq

    with file_errors(f"{path} cannot be read", "check that it is whole"):
        names = pq.read_schema(path).names
        if name not in names:
            raise OptionError(f"there is no column {name!r} in {path}; the columns are {', '.join(names)}.")
        return list(pq.read_table(path, columns=[name]).column(0).to_pylist())


def _stored_count(path: Path) -> int:
    import pyarrow.parquet as pq

    with file_errors(f"{path} cannot be read", "check that it is whole"):
        return int(pq.read_metadata(path).num_rows)


def _with_geo(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return rows of GeoParquet with their geometry as a GeoArrow type, which holds the CRS."""
    import pyarrow as pa

    geo = json.loads(schema.metadata[b"geo"])
    name = geo["primary_column"]
    crs = geo["columns"][name].get("crs", "OGC:CRS84")
    note = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps({} if crs is None else {"crs": crs})}
    fields = [field.with_metadata(note) if field.name == name else field for field in batch.schema]
    return pa.Table.from_batches([pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))])

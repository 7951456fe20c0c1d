"""The public function `rasterize`: it draws objects on the grid of their image, by a number for each object or each class."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError
from samgeo.geo.label_drawing import classes_of, write_label_raster
from samgeo.geo.label_outputs import LABEL_SUFFIXES, check_result
from samgeo.geo.raster.sources.opening import open_source
from samgeo.geo.vector.formats import file_errors
from samgeo.geo.vector.reading import SUFFIXES, read_provenance, read_vectors
from samgeo.progress import progress_bar
from samgeo.storage.atomic import refuse_inputs
from samgeo.types import FeaturesLike, RasterLike

if TYPE_CHECKING:
    import pyarrow as pa
    from odc.geo.geobox import GeoBox

__all__ = ["rasterize", "stored_frames"]


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

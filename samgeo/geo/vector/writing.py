"""Writing of vector files: columns and geometries are fitted to the format, and the file is read back."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import VectorError
from samgeo.geo.vector.axes import is_y_up, mirrored
from samgeo.geo.vector.columns import attributes_to_arrow, fitted
from samgeo.geo.vector.formats import PROVENANCE, SUFFIXES, file_errors
from samgeo.geo.vector.geojson import write_geojson_parts
from samgeo.geo.vector.geopackage_layers import check_layer, check_written_layer, is_sqlite
from samgeo.geo.vector.geoparquet import write_geoparquet
from samgeo.geo.vector.outputs import atomic_output, check_output, layer_name
from samgeo.geo.vector.verification import check_flatgeobuf, check_geojson, check_parquet
from samgeo.storage.locations import Place, RemotePlace
from samgeo.storage.staging import staging_folder

if TYPE_CHECKING:
    import os

    import pyarrow as pa

__all__ = [
    "GROUP_ROWS",
    "SAMPLE_ROWS",
    "Chunk",
    "Description",
    "check_fit",
    "declared_type",
    "output_layer",
    "provenance_note",
    "stored_layer",
    "with_type",
    "write_chunks",
    "write_vectors",
]

GROUP_ROWS = 16_384
"""Largest number of rows in a row group of a GeoParquet file, and number of features that are converted at a time."""

SAMPLE_ROWS = 256
"""Number of rows that are written as a test before the work."""

Chunk = tuple["pa.Table", NDArray[np.object_]]
"""The columns of some rows as an Arrow table, and the geometries of the same rows."""

_MULTI = {"Point": "MultiPoint", "LineString": "MultiLineString", "Polygon": "MultiPolygon"}


@dataclass(frozen=True, slots=True)
class Description:
    """Properties of a vector file that is written.

    Attributes
    ----------
    written_as : str
        A value of `samgeo.geo.vector.formats.SUFFIXES`.
    layer : str
        Name of the layer.
    kind : str
        The declared type of geometry, such as "MultiPolygon" or "MultiPolygon Z"; "Unknown" for several types.
    crs : pyproj.CRS or None
        CRS of the geometries.
    geometry : str
        Name of the geometry column.
    bounds : tuple of float or None
        Least x, least y, greatest x, greatest y; None where there is no geometry.
    has_gaps : bool
        Whether a feature has no geometry.
    note : dict of str to str
        Further metadata.
    """

    written_as: str
    layer: str
    kind: str
    crs: Any
    geometry: str
    bounds: tuple[float, float, float, float] | None
    has_gaps: bool
    note: dict[str, str]


@check_types
def write_vectors(
    frame: gpd.GeoDataFrame,
    path: str | os.PathLike[str] | RemotePlace,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
    layer: str | None = None,
) -> None:
    """Write features to a vector file, whole or not at all, in the format that the suffix names.

    Coordinates keep every bit. The index is not written. Polygons are written as multipolygons, and the file declares this
    type even if it has no feature. Empty geometries are written as missing. Columns are converted as
    `samgeo.geo.vector.columns.fitted` describes.

    - GeoParquet has the bounds of each feature in the column ``bbox`` as its "covering", and groups of at most 16,384 rows.
    - FlatGeobuf has a spatial index, unless a feature has no geometry; the features are then in the order of the index. The
      other formats keep the order.
    - GeoJSON names the CRS as its edition of 2008 did, which GDAL reads. If there is no CRS, readers other than `read_vectors`
      take the coordinates for longitude and latitude.

    Parameters
    ----------
    frame : GeoDataFrame
        With one geometry column. Where there is no CRS, y runs down; see ``provenance``.
    path : path or address
        Ends in ``.parquet``, ``.geoparquet``, ``.gpkg``, ``.fgb``, ``.geojson`` or ``.json``. An address of object storage,
        such as ``s3://bucket/city.parquet``, is written to a local file, which is uploaded when it is whole.
    overwrite : bool, default False
        Whether an existing file may be replaced. In a GeoPackage only the layer is replaced: other layers, tables, views,
        triggers and styles stay.
    provenance : dict, optional
        How the features were made, JSON-serializable. It is stored in the file for `read_provenance`. Where it has
        ``"y_up": True``, y is written with the opposite sign; `read_vectors` restores it.
    layer : str, optional
        Name of the layer in a GeoPackage. By default the name of the file without its suffix. A layer with a new name is added
        to an existing file without ``overwrite``.

    Raises
    ------
    VectorError
        If the file cannot be written. An existing file is then unchanged, and no other file is left.
    StorageError
        If the object storage cannot be reached or written to.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from samgeo.geo.vector import read_vectors, write_vectors
    >>> from shapely.geometry import box
    >>> roofs = gpd.GeoDataFrame({"height_m": [4.5]}, geometry=[box(500_000, 5_400_000, 500_010, 5_400_020)], crs="EPSG:32633")
    >>> write_vectors(roofs, "roofs.parquet", provenance={"model": "tiny"})
    >>> read_vectors("roofs.parquet").height_m.tolist()
    [4.5]
    """
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise VectorError(f"{type(frame).__name__} cannot be written as features; give a GeoDataFrame with a geometry column.")
    place = check_output(path, overwrite, crs=frame.crs, layer=layer)
    with atomic_output(place, layer=output_layer(place, layer)) as temporary:
        _write(frame, temporary, stored_layer(place, layer), provenance)


def check_fit(
    frame: gpd.GeoDataFrame, path: Place, *, layer: str | None = None, provenance: dict[str, Any] | None = None
) -> None:
    """Write a sample of features in the format and the folder of an output, and remove it, to find errors before the work.

    Parameters
    ----------
    frame : GeoDataFrame
        With the columns that the result will have, and the values that are known in advance.
    path : Path or RemotePlace
        The output, from `check_output`.
    layer, provenance
        As in `write_vectors`.

    Raises
    ------
    VectorError
        If the format cannot hold a column, a value, the CRS or the metadata, or no file can be written to the folder.
    """
    written_as = SUFFIXES[path.suffix.lower()]
    folder = Path(path).resolve().parent if isinstance(path, Path) else None
    with (
        file_errors(f"{path} cannot be written", "check the free space, and that the format can hold every column"),
        staging_folder(folder) as staging,
    ):
        whole = fitted(frame, written_as)
        attributes_to_arrow(whole, written_as)
        _write(whole.head(SAMPLE_ROWS), staging / f"output{path.suffix.lower()}", layer_name(path, layer), provenance)


def provenance_note(provenance: dict[str, Any] | None) -> dict[str, str]:
    """Return the provenance as entries of a file's metadata: text by name."""
    return {} if provenance is None else {PROVENANCE: _to_json(provenance)}


def output_layer(place: Place, layer: str | None) -> str | None:
    """Return the name of the layer in a GeoPackage, or None for another format."""
    return layer_name(place, layer) if SUFFIXES[place.suffix.lower()] == "GPKG" else None


def stored_layer(place: Place, layer: str | None) -> str:
    """Return the name of the layer, in the upper and lower case of an existing GeoPackage."""
    name = layer_name(place, layer)
    has_layers = output_layer(place, layer) is not None and isinstance(place, Path) and is_sqlite(place)
    return check_layer(Path(str(place)), name) if has_layers else name


def _write(frame: gpd.GeoDataFrame, path: Path, layer: str, provenance: dict[str, Any] | None) -> None:
    """Write features to a new file, or as a layer into an existing GeoPackage."""
    written_as = SUFFIXES[path.suffix.lower()]
    note = provenance_note(provenance)
    plain = fitted(frame, written_as)
    if is_y_up(provenance):
        plain = mirrored(plain)
    geometries = np.asarray(plain.geometry.array, dtype=object)
    there = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    types = {str(one) for one in plain.geometry[there].geom_type.unique()}
    kind = declared_type(types, has_z=bool(shapely.has_z(geometries[there]).any()))
    bounds = tuple(shapely.total_bounds(geometries[there]).tolist()) if there.any() else None
    about = Description(written_as, layer, kind, plain.crs, str(plain.geometry.name), bounds, not there.all(), note)
    if written_as == "GeoJSON":
        starts = range(0, max(len(plain), 1), GROUP_ROWS)
        frames = (with_type(plain.iloc[start : start + GROUP_ROWS], kind) for start in starts)
        write_geojson_parts(frames, path, {name: json.loads(text) for name, text in note.items()})
        check_geojson(path)
        return
    table = attributes_to_arrow(plain, written_as)
    write_chunks(table.schema, _chunks(table, geometries), path, about)


def _chunks(table: pa.Table, geometries: NDArray[np.object_]) -> Iterator[Chunk]:
    for start in range(0, len(geometries), GROUP_ROWS):
        # The rows are counted by geometries, because a table without columns has no rows.
        yield table.slice(start, GROUP_ROWS), geometries[start : start + GROUP_ROWS]


def declared_type(types: Iterable[str], *, has_z: bool = False) -> str:
    """Return the geometry type that a file declares for features of some types.

    Polygons are always declared as multipolygons, so that the declared type does not depend on which objects were found.
    """
    found = set(types) or {"Polygon"}
    multi = {_MULTI.get(one, one) for one in found}
    if len(multi) > 1:
        return "Unknown"
    kind = multi.pop() if len(found) > 1 or "Polygon" in found else found.pop()
    return f"{kind} Z" if has_z else kind


def with_type(frame: gpd.GeoDataFrame, kind: str) -> gpd.GeoDataFrame:
    """Return features with geometries of a declared type; empty geometries become None."""
    geometries = promoted(np.asarray(frame.geometry.array, dtype=object), kind)
    return frame.set_geometry(gpd.GeoSeries(geometries, index=frame.index, crs=frame.crs, name=frame.geometry.name))


def promoted(geometries: NDArray[np.object_], kind: str) -> NDArray[np.object_]:
    """Return geometries converted to a declared type: single parts become multiparts, and empty geometries become None."""
    result = np.array(geometries, dtype=object)
    result[shapely.is_empty(result)] = None
    declared = kind.removesuffix(" Z")
    makers: dict[str, tuple[int, Any]] = {
        "MultiPoint": (0, shapely.multipoints),
        "MultiLineString": (1, shapely.multilinestrings),
    }
    type_id, make = makers.get(declared, (3, shapely.multipolygons))
    single = shapely.get_type_id(result) == type_id
    if declared.startswith("Multi") and single.any():
        result[single] = make(result[single], indices=np.arange(int(single.sum())))
    return shapely.force_3d(result) if kind.endswith(" Z") else result


def write_chunks(schema: pa.Schema, chunks: Iterable[Chunk], path: Path, about: Description) -> int:
    """Write features that come in groups to GeoParquet, GeoPackage or FlatGeobuf, and read the file back.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of the columns other than the geometry.
    chunks : iterable of Chunk
        The groups; one at a time is in memory.
    path : Path
        A new file; or a GeoPackage, in which a layer of the same name is replaced.
    about : Description
        Properties of the file.

    Returns
    -------
    int
        Number of features.

    Raises
    ------
    VectorError
        If the file is not whole.
    """
    counted = _Counted(chunks, about.kind)
    if about.written_as == "GeoParquet":
        write_geoparquet(schema, iter(counted), path, about)
        check_parquet(path, counted.features)
        return counted.features
    _write_gdal(schema, counted, path, about)
    if about.written_as == "GPKG":
        check_written_layer(path, about.layer, counted.features, counted.with_geometry)
    else:
        check_flatgeobuf(path, counted.features, indexed=not about.has_gaps)
    return counted.features


class _Counted:
    """An iterable of groups of features in their declared type, which counts the features."""

    def __init__(self, chunks: Iterable[Chunk], kind: str) -> None:
        self._chunks, self._kind = chunks, kind
        self.features = self.with_geometry = 0

    def __iter__(self) -> Iterator[Chunk]:
        for attributes, geometries in self._chunks:
            ready = promoted(geometries, self._kind)
            self.features += len(ready)
            self.with_geometry += int((~shapely.is_missing(ready)).sum())
            yield attributes, ready


def _write_gdal(schema: pa.Schema, chunks: Iterable[Chunk], path: Path, about: Description) -> None:
    import pyarrow as pa

    # pyogrio would look for the CRS in the metadata of the fields, so that is removed.
    whole = pa.schema([*(field.remove_metadata() for field in schema), pa.field(about.geometry, pa.binary())])

    failures: list[VectorError] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for attributes, geometries in chunks:
                columns = [attributes.column(name).combine_chunks() for name in schema.names]
                wkb = pa.array(shapely.to_wkb(geometries, include_srid=False), type=pa.binary())
                table = pa.Table.from_arrays([*columns, wkb], schema=whole)
                yield from table.to_batches()
        except VectorError as error:
            failures.append(error)
            raise

    with _first_of(failures), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(whole, batches()),
            path,
            layer=about.layer,
            driver=about.written_as,
            geometry_name=about.geometry,
            geometry_type=about.kind,
            crs=None if about.crs is None else about.crs.to_wkt(),
            layer_metadata=about.note or None,
            **_creation_options(schema.names, about),
        )


@contextmanager
def _first_of(failures: Sequence[VectorError]) -> Iterator[None]:
    """Raise the first of some errors instead of what GDAL raises when the features that it asks for cannot be read."""
    try:
        yield
    except Exception:
        if failures:
            raise failures[0] from None
        raise
    if failures:
        raise failures[0]


def _creation_options(names: list[str], about: Description) -> dict[str, str]:
    if about.written_as == "FlatGeobuf":
        # FlatGeobuf cannot index features without geometry.
        return {"SPATIAL_INDEX": "NO"} if about.has_gaps else {}
    taken = {name.lower() for name in names}
    key = next(name for name in ("fid", "samgeo_fid", *(f"samgeo_fid_{n}" for n in range(len(taken) + 1))) if name not in taken)
    shape = next(name for name in ("geom", "shape", *(f"geom_{n}" for n in range(len(taken) + 1))) if name not in taken)
    return {"FID": key, "GEOMETRY_NAME": shape}


def _to_json(provenance: dict[str, Any]) -> str:
    try:
        return json.dumps(provenance, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise VectorError(
            f"the provenance cannot be written as JSON ({error}); give plain strings, numbers and lists."
        ) from None

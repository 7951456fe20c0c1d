"""Vector files in and out: whole or not at all, with their CRS, every bit of their coordinates, and their provenance."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from samgeo.errors import VectorError
from samgeo.geo.drivers import check_no_view, check_vector_driver, check_vector_head
from samgeo.geo.files import refuse_unwritable
from samgeo.geo.geojson import SCHEMA_MEMBER, crs_name, read_head, write_geojson
from samgeo.geo.places import Place, RemotePlace, as_place

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "PROVENANCE",
    "SUFFIXES",
    "check_output",
    "placed",
    "provenance_note",
    "read_provenance",
    "read_vectors",
    "write_vectors",
]

SUFFIXES = {
    ".parquet": "GeoParquet",
    ".geoparquet": "GeoParquet",
    ".gpkg": "GPKG",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
}
"""What can be written: suffix to format."""

PROVENANCE = "samgeo"


def read_vectors(source: Any, *, crs: Any = None, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read features.

    Parameters
    ----------
    source : path, URL, GeoDataFrame or GeoSeries
        Any format that GDAL reads, or GeoParquet. What is not the format that its suffix says, or leads to other files without
        the suffix ``.vrt``, is refused.
    crs : anything that pyproj takes, optional
        Reproject to this CRS. As it is by default.
    layer : str, optional
        Of a file with several.

    Returns
    -------
    GeoDataFrame
        In the file's order.

    Raises
    ------
    VectorError
        If it cannot be read, has no geometry, has several layers and none is chosen, or has no CRS where one is needed.
    """
    import geopandas as gpd

    if isinstance(source, gpd.GeoDataFrame):
        name, frame = "the GeoDataFrame", source
    elif isinstance(source, gpd.GeoSeries):
        name, frame = "the GeoSeries", gpd.GeoDataFrame(geometry=source)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        with _file_errors(f"{name} cannot be read", "check that it is a vector file and whole"):
            frame = _read(name, layer)
    else:
        raise VectorError(
            f"features cannot be read from a {type(source).__name__}; give a path, a GeoDataFrame or a GeoSeries."
        )
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise VectorError(f"{name} has no geometry; give features with points, lines or polygons.")
    if crs is None:
        return frame
    if frame.crs is None:
        raise VectorError(f"{name} has no CRS, so that it cannot be placed; give it one with .set_crs(...) first.")
    with _file_errors(f"{name} cannot be brought to the CRS {crs}", "check both CRSs"):
        return frame.to_crs(crs)


@overload
def check_output(path: Path, overwrite: bool = False, *, crs: Any = None) -> Path: ...


@overload
def check_output(path: str | os.PathLike[str] | RemotePlace, overwrite: bool = False, *, crs: Any = None) -> Place: ...


def check_output(path: str | os.PathLike[str] | RemotePlace, overwrite: bool = False, *, crs: Any = None) -> Place:
    """Check, before any work, that features can be written to a path.

    Parameters
    ----------
    path : path
        See `write_vectors`.
    overwrite : bool, default False
        Whether an existing file may be replaced.
    crs : anything that pyproj takes, optional
        The CRS that the features will have, if known: GeoJSON cannot hold every one.

    Returns
    -------
    Path or RemotePlace
        The same.

    Raises
    ------
    VectorError
        If the suffix is unknown, the folder or the bucket is missing or not writable, the file exists, or the format cannot
        hold the CRS.
    """
    path = as_place(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        reason = (
            " (a shapefile cuts names to 10 characters and cannot be replaced whole: write .gpkg)" if suffix == ".shp" else ""
        )
        if suffix in (".tif", ".tiff"):
            reason = " (samgeo rasterize makes a raster of labels of a vector file)"
        raise VectorError(f"{path} cannot be written: the suffix {suffix!r} is not one of {known}{reason}.")
    if isinstance(path, Path):
        refuse_unwritable(path, VectorError)
    if not overwrite and (path.exists() if isinstance(path, Path) else path.size() is not None):
        raise VectorError(f"{path} exists; choose another name, or allow overwrite.")
    if isinstance(path, RemotePlace):
        path.check_writable()
    if SUFFIXES[suffix] == "GeoJSON":
        crs_name(crs)
    return path


def write_vectors(
    frame: gpd.GeoDataFrame,
    path: str | os.PathLike[str] | RemotePlace,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write features whole or not at all, in the format that the suffix names.

    Coordinates keep every bit. The index is not written. FlatGeobuf has a spatial index, and with it the features' order is
    that of the index; the other formats keep the order. GeoJSON names the CRS as its edition of 2008 did, which GDAL reads;
    where there is none, other readers than `read_vectors` take longitude and latitude.

    Parameters
    ----------
    frame : GeoDataFrame
        With one geometry column.
    path : path or address
        Ends in ``.parquet``, ``.geoparquet``, ``.gpkg``, ``.fgb``, ``.geojson`` or ``.json``. An address of object storage,
        such as ``s3://bucket/city.parquet``, is written as a file of this machine, and put there when it is whole.
    overwrite : bool, default False
        Whether an existing file may be replaced.
    provenance : dict, optional
        What made the features, for JSON: travels in the file for `read_provenance`.

    Raises
    ------
    VectorError
        If it cannot be written; an existing file is then as it was, and no other file is left.
    """
    path = check_output(path, overwrite, crs=frame.crs)
    written_as = SUFFIXES[path.suffix.lower()]
    note = provenance_note(provenance)
    plain = frame.copy(deep=False)
    plain.attrs = {}
    with placed(path) as temporary:
        if written_as == "GeoParquet":
            _write_parquet(plain, temporary, note)
        elif written_as == "GeoJSON":
            write_geojson(plain, temporary, {name: json.loads(text) for name, text in note.items()})
        else:
            _write_gdal(plain, temporary, note, driver=written_as, layer=path.stem)


@contextmanager
def placed(path: Place, staging: Path | None = None, about_to_place: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """Give the name of a temporary file, and move it to its place when it is whole.

    Parameters
    ----------
    path : Path or RemotePlace
        Its place.
    staging : Path, optional
        A folder on the same file system, where it is meanwhile; beside its place by default, or where this machine keeps what
        is temporary.
    about_to_place : callable, optional
        Gets the whole file just before it is moved.

    Raises
    ------
    VectorError
        If it cannot be written or moved.
    """
    with (
        _file_errors(f"{path} cannot be written", "check the free space, and that the format can hold every column"),
        # A folder of its own also takes away whatever a driver leaves beside its file.
        tempfile.TemporaryDirectory(dir=staging or getattr(path, "parent", None), prefix=f".{path.stem}-") as folder,
    ):
        temporary = Path(folder) / f"{path.stem}{path.suffix.lower()}"
        yield temporary
        _sync(temporary)
        about_to_place(temporary)
        if isinstance(path, RemotePlace):
            path.put(temporary)
        else:
            temporary.replace(path)


def provenance_note(provenance: dict[str, Any] | None) -> dict[str, str]:
    """Return what a file keeps of the features' making: text by name."""
    return {} if provenance is None else {PROVENANCE: _to_json(provenance)}


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what `write_vectors` was told of the features' making, or None if the file says nothing.

    Raises
    ------
    VectorError
        If the file cannot be read.
    """
    import pyarrow.parquet as pq
    import pyogrio

    path = Path(path)
    with _file_errors(f"{path} cannot be read", "check that it is a vector file and whole"):
        _check_exists(path)
        check_vector_head(path)
        written_as = SUFFIXES.get(path.suffix.lower())
        if written_as == "GeoJSON":
            found = read_head(path).get(PROVENANCE)
            return found if isinstance(found, dict) else None
        if written_as == "GeoParquet":
            text = (pq.read_schema(path).metadata or {}).get(PROVENANCE.encode())
        else:
            text = (pyogrio.read_info(path, layer=0)["layer_metadata"] or {}).get(PROVENANCE)
        return None if text is None else dict(json.loads(text))


def _read(name: str, layer: str | None) -> Any:
    import geopandas as gpd
    import pyogrio

    path = Path(name)
    is_local = "://" not in name and not name.startswith("/vsi")
    if is_local:
        _check_exists(path)
        check_vector_head(path)
    written_as = SUFFIXES.get(path.suffix.lower())
    if written_as == "GeoParquet":
        return gpd.read_parquet(name)
    if not is_local or path.suffix.lower() == ".zip":
        check_vector_driver(str(pyogrio.read_info(name, layer=layer)["driver"]), name)
    if layer is None and written_as != "GeoJSON":
        layers = [str(found) for found in pyogrio.list_layers(name)[:, 0]]
        if len(layers) > 1:
            raise VectorError(f"{name} has several layers; choose one of {', '.join(layers)}.")
        layer = layers[0] if layers else None
    if is_local and layer is not None and path.is_file():
        check_no_view(path, layer)
    frame = gpd.read_file(name, engine="pyogrio", layer=layer)
    return _with_schema(frame, path) if written_as == "GeoJSON" and path.is_file() else frame


def _with_schema(frame: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """Give back to features read from our own GeoJSON what the format cannot say."""
    import pandas as pd

    with path.open("rb") as file:
        if SCHEMA_MEMBER.encode() not in file.read(2**20):
            return frame
    schema = read_head(path)[SCHEMA_MEMBER]
    if schema["crs"] is None:
        frame = frame.set_crs(None, allow_override=True)
    if frame.empty:
        for number, (column, dtype) in enumerate(schema["columns"].items()):
            frame.insert(number, column, pd.Series(dtype=dtype))
    return frame


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise VectorError(f"{path} does not exist (looked from {Path.cwd()}); check the path.")


def _to_json(provenance: dict[str, Any]) -> str:
    try:
        return json.dumps(provenance, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise VectorError(
            f"the provenance cannot be written as JSON ({error}); give plain strings, numbers and lists."
        ) from error


def _write_parquet(frame: gpd.GeoDataFrame, path: Path, note: dict[str, str]) -> None:
    import io

    import pyarrow.parquet as pq

    # GeoPandas offers no way to add to the schema's metadata, so that its table passes through memory.
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression=None)
    buffer.seek(0)
    table = pq.read_table(buffer)
    table = table.replace_schema_metadata({**table.schema.metadata, **note})
    pq.write_table(table, path, compression="zstd")


def _write_gdal(frame: gpd.GeoDataFrame, path: Path, note: dict[str, str], *, driver: str, layer: str) -> None:
    import pyogrio

    missing = frame.geometry.isna() | frame.geometry.is_empty
    # An index over features that are nowhere cannot be made.
    options = {"SPATIAL_INDEX": "NO"} if driver == "FlatGeobuf" and missing.any() else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_dataframe(
            frame, path, layer=layer, driver=driver, promote_to_multi=False, layer_metadata=note or None, **options
        )
    # GDAL may lose the error of a last write when it closes a file.
    count = pyogrio.read_info(path, force_feature_count=True)["features"]
    if count != len(frame):
        raise VectorError(f"{path} has {count} of {len(frame)} features after writing; check the free space.")


def _sync(path: Path) -> None:
    """Have the content on the disk before the name points to it."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _file_errors(what: str, remedy: str) -> Iterator[None]:
    import pyarrow as pa
    import shapely

    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, pa.ArrowException) as error:
        raise VectorError(f"{what} ({error}); {remedy}.") from error
    # What a reader makes of a broken file fails anywhere between it and the table.
    except (ArithmeticError, AttributeError, LookupError, MemoryError, shapely.errors.ShapelyError) as error:
        raise VectorError(f"{what} ({error!r}); {remedy}.") from error

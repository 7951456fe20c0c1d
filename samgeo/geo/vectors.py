"""Vector files in and out: whole or not at all, with their CRS, every bit of their coordinates, and their provenance.

Reading is here; `samgeo.geo.vector_writing` and `samgeo.geo.outputs` write, and their functions are names of this module too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import VectorError
from samgeo.geo.axes import Y_UP, is_y_up, mirrored
from samgeo.geo.drivers import check_no_view, check_vector_driver, check_vector_head
from samgeo.geo.files import check_name
from samgeo.geo.geojson import SCHEMA_MEMBER, read_head
from samgeo.geo.outputs import check_asked, check_output, placed
from samgeo.geo.vector_formats import PROVENANCE, SUFFIXES
from samgeo.geo.vector_formats import file_errors as _file_errors
from samgeo.geo.vector_writing import check_fit, provenance_note, write_vectors

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "PROVENANCE",
    "SUFFIXES",
    "check_asked",
    "check_fit",
    "check_output",
    "placed",
    "provenance_note",
    "read_provenance",
    "read_vectors",
    "write_vectors",
]


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


def read_provenance(path: str | os.PathLike[str], *, layer: str | None = None) -> dict[str, Any] | None:
    """Return what `write_vectors` was told of the features' making, or None if the file says nothing.

    Parameters
    ----------
    path : path
    layer : str, optional
        Of a file with several; by default the one with the file's name, or else the first.

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
            text = (pyogrio.read_info(path, layer=_layer_of(path, layer))["layer_metadata"] or {}).get(PROVENANCE)
        return None if text is None else dict(json.loads(text))


def _layer_of(path: Path, layer: str | None) -> str | int:
    """Return the layer that is meant: the one asked, the one with the file's name, or the first."""
    import pyogrio

    if layer is not None:
        return layer
    names = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    return next((name for name in names if name.lower() == path.stem.lower()), 0)


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
        found = gpd.read_parquet(name)
        return _y_down(found, path, None) if is_local else found
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
    if written_as == "GeoJSON" and path.is_file():
        frame = _with_schema(frame, path)
    return _y_down(frame, path, layer) if is_local else frame


def _y_down(frame: gpd.GeoDataFrame, path: Path, layer: str | None) -> gpd.GeoDataFrame:
    """Turn the sign of y where a file says that y runs up: in tables it runs down, as in the raster."""
    if getattr(frame, "active_geometry_name", None) is None or SUFFIXES.get(path.suffix.lower()) is None or not path.is_file():
        return frame
    # A file without a CRS is the only one that may say so; GeoJSON of other programs is not read a second time for it.
    if frame.crs is not None or not is_y_up(read_provenance(path, layer=layer)):
        return frame
    turned = mirrored(frame)
    turned.attrs[PROVENANCE] = {Y_UP: True}
    return turned


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
    check_name(path, VectorError)
    if not path.exists():
        raise VectorError(f"{path} does not exist (looked from {Path.cwd()}); check the path.")

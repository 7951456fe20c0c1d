"""Reading of vector files, and of the provenance that they hold.

The functions of `writing` and `outputs`, which write vector files, are names of this module too. A layer of a file is named
``file.gpkg:layer`` wherever a vector file can be given.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import pandas as pd
import pyogrio

from samgeo.arguments import check_types
from samgeo.errors import VectorError
from samgeo.geo.coordinates.reprojection import reproject_frame
from samgeo.geo.drivers import check_no_view, check_vector_driver, check_vector_head
from samgeo.geo.vector.axes import Y_UP, is_y_up, mirrored
from samgeo.geo.vector.formats import PROVENANCE, SUFFIXES
from samgeo.geo.vector.formats import file_errors as _file_errors
from samgeo.geo.vector.geojson import SCHEMA_MEMBER, read_head
from samgeo.geo.vector.outputs import atomic_output, check_asked, check_output
from samgeo.geo.vector.writing import check_fit, provenance_note, write_vectors
from samgeo.storage.atomic import check_name
from samgeo.types import CRSLike, FeaturesLike

__all__ = [
    "PROVENANCE",
    "SUFFIXES",
    "atomic_output",
    "check_asked",
    "check_fit",
    "check_output",
    "choose_layer",
    "provenance_note",
    "read_provenance",
    "read_vectors",
    "split_layer",
    "write_vectors",
]


@check_types
def read_vectors(
    source: FeaturesLike, *, crs: CRSLike = None, layer: str | None = None, on_invalid: Literal["raise", "ignore"] = "raise"
) -> gpd.GeoDataFrame:
    """Read features from a vector file or a data frame.

    Parameters
    ----------
    source : path, URL, GeoDataFrame or GeoSeries
        Any format that GDAL reads, or GeoParquet. A file is refused if its content is not of the format that its suffix names,
        or if it leads to other files and does not have the suffix ``.vrt``. ``city.gpkg:districts`` is the layer ``districts``
        of ``city.gpkg``; an existing file whose own name has a colon is read as a file.
    crs : anything that pyproj takes, optional
        Reproject to this CRS. Corners are added where an edge would otherwise be off by more than a millimetre.
    layer : str, optional
        The layer to read, if it is not given in the path. By default the only layer with geometry.
    on_invalid : {"raise", "ignore"}, default "raise"
        What to do with a feature whose coordinates make no geometry, such as a ring of two points: "raise" refuses the file,
        "ignore" returns the feature without geometry.

    Returns
    -------
    GeoDataFrame
        In the order of the file.

    Raises
    ------
    VectorError
        If the file cannot be read, has no geometry, has several layers and none is chosen, has no such layer, has no CRS where
        one is needed, or a feature has a part that cannot be represented in the CRS.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from samgeo.geo.vector import read_vectors, write_vectors
    >>> from shapely.geometry import box
    >>> roofs = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[box(13.0, 48.0, 13.1, 48.1), box(13.2, 48.0, 13.3, 48.1)],
    ...                          crs="EPSG:4326")
    >>> write_vectors(roofs, "city.gpkg", layer="roofs")
    >>> read_vectors("city.gpkg:roofs", crs="EPSG:32633").crs.to_string()
    'EPSG:32633'
    """
    if isinstance(source, gpd.GeoDataFrame):
        name, frame = "the GeoDataFrame", source
    elif isinstance(source, gpd.GeoSeries):
        name, frame = "the GeoSeries", gpd.GeoDataFrame(geometry=source)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        with _file_errors(f"{name} cannot be read", "check that it is a complete vector file"):
            path, named = (name, None) if layer is not None else split_layer(name)
            frame = _read(path, layer or named, on_invalid)
    else:
        raise VectorError(
            f"features cannot be read from a {type(source).__name__}; give a path, a GeoDataFrame or a GeoSeries."
        )
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise VectorError(f"{name} has no geometry; give features with points, lines or polygons.")
    if crs is None:
        return frame
    if frame.crs is None:
        raise VectorError(f"{name} has no CRS, so that it cannot be located; set its CRS with .set_crs(...) first.")
    with _file_errors(f"{name} cannot be transformed to the CRS {crs}", "check both CRSs"):
        return reproject_frame(frame, crs, name=name)


def read_provenance(path: str | os.PathLike[str], *, layer: str | None = None) -> dict[str, Any] | None:
    """Return the provenance that `write_vectors` stored in a file, or None if the file has none.

    Parameters
    ----------
    path : path
        The file.
    layer : str, optional
        Layer of a file with several. By default the layer with the name of the file, else the first layer.

    Raises
    ------
    VectorError
        If the file cannot be read.
    """
    import pyarrow.parquet as pq

    path = Path(path)
    with _file_errors(f"{path} cannot be read", "check that it is a complete vector file"):
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
    """Return the given layer, or the layer with the name of the file, or the first layer."""
    if layer is not None:
        return layer
    names = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    return next((name for name in names if name.lower() == path.stem.lower()), 0)


def _read(name: str, layer: str | None, on_invalid: str = "raise") -> gpd.GeoDataFrame:
    path = Path(name)
    is_local = "://" not in name and not name.startswith("/vsi")
    if is_local:
        _check_exists(path)
        check_vector_head(path)
    written_as = SUFFIXES.get(path.suffix.lower())
    if written_as == "GeoParquet":
        if layer is not None:
            raise VectorError(f"{name} is GeoParquet, which has no layers; omit the layer {layer!r}.")
        found = gpd.read_parquet(name)
        return _y_down(found, path, None) if is_local else found
    if not is_local or path.suffix.lower() == ".zip":
        check_vector_driver(str(pyogrio.read_info(name, layer=0)["driver"]), name)
    if layer is not None or written_as != "GeoJSON":
        found = [(str(one), kind) for one, kind in pyogrio.list_layers(name)]
        # Tables without geometry, such as the styles that QGIS stores in a GeoPackage, count only if one is chosen by name.
        drawn = [one for one, kind in found if kind is not None]
        layer = choose_layer(name, drawn if drawn and layer is None else [one for one, _ in found], layer)
    if is_local and layer is not None and path.is_file():
        check_no_view(path, layer)
    frame = gpd.read_file(name, engine="pyogrio", layer=layer, on_invalid=on_invalid)
    if written_as == "GeoJSON" and path.is_file():
        frame = _with_schema(frame, path)
    return _y_down(frame, path, layer) if is_local else frame


def _y_down(frame: gpd.GeoDataFrame, path: Path, layer: str | None) -> gpd.GeoDataFrame:
    """Negate y where a file says that y runs up; in tables y runs down, as in the raster."""
    if getattr(frame, "active_geometry_name", None) is None or SUFFIXES.get(path.suffix.lower()) is None or not path.is_file():
        return frame
    # Only a file without a CRS may have y running up. GeoJSON of other programs has a CRS and is not read a second time.
    if frame.crs is not None or not is_y_up(read_provenance(path, layer=layer)):
        return frame
    turned = mirrored(frame)
    turned.attrs[PROVENANCE] = {Y_UP: True}
    return turned


def _with_schema(frame: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """Restore the CRS and the column types that GeoJSON cannot hold, from a file that samgeo wrote."""
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
        hint = "; a layer is named after a colon, as in city.gpkg:districts" if "|layername=" in str(path) else ""
        raise VectorError(f"{path} does not exist (looked from {Path.cwd()}); check the path{hint}.")


# Whether an address exists is not known before it is opened, so the part before the colon must have a suffix of a vector file.
_REMOTE_FILE = re.compile(
    r"\.(fgb|gdb|geojson|geoparquet|gml|gpkg|json|kml|kmz|mdb|parquet|shp|sqlite|db|tab|vrt|xlsx|zip)$", re.I
)


def split_layer(source: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Split a path or an address into the file and the layer that is chosen in it.

    Parameters
    ----------
    source : path or address
        ``city.gpkg:districts`` is the layer ``districts`` of ``city.gpkg``. The longest part that is the name of an existing
        file is the file, so that names of files may have colons. Drive letters, ports and schemes of addresses are not layers.

    Returns
    -------
    path : str
        The file.
    layer : str or None
        The layer, or None if none is chosen.

    Examples
    --------
    >>> from samgeo.geo.vector.reading import split_layer
    >>> split_layer("https://example.com:8080/city.gpkg:districts")
    ('https://example.com:8080/city.gpkg', 'districts')
    >>> split_layer("s3://bucket/city.gpkg")
    ('s3://bucket/city.gpkg', None)
    """
    name = os.fspath(source)
    is_remote = "://" in name or name.startswith("/vsi")
    if not is_remote and Path(name).exists():
        return name, None
    position = len(name)
    while (position := name.rfind(":", 0, position)) > 0:
        head, layer = name[:position], name[position + 1 :]
        if not layer:
            continue
        if _REMOTE_FILE.search(head) if is_remote else Path(head).exists():
            return head, layer
    if not is_remote and (found := re.match(r"(.+\.[A-Za-z]\w*):([^/\\]+)$", name)) is not None:
        # The error about a missing file should show the name of the file without the layer.
        return found[1], found[2]
    return name, None


def choose_layer(name: str, layers: list[str], wanted: str | None) -> str | None:
    """Return the layer to read.

    Parameters
    ----------
    name : str
        The file, for messages.
    layers : list of str
        The layers of the file.
    wanted : str, optional
        The layer that was chosen.

    Raises
    ------
    VectorError
        If there are several layers and none was chosen, or there is no such layer.
    """
    if wanted is None:
        if len(layers) > 1:
            raise VectorError(f"{name} has several layers ({_listed(layers)}); choose one, after a colon: {name}:{layers[0]}.")
        return layers[0] if layers else None
    if wanted not in layers:
        raise VectorError(f"{name} has no layer {wanted!r}; choose one of {_listed(layers)}.")
    return wanted


def _listed(layers: list[Any], most: int = 30) -> str:
    more = f" and {len(layers) - most} more" if len(layers) > most else ""
    return ", ".join(map(str, layers[:most])) + more if layers else "none"

"""Restriction of the GDAL drivers with which a file may be opened.

GDAL chooses the driver by the content of a file, and some drivers read other files, the network or memory. Here a file is
opened with the drivers that its name allows, or with drivers of formats that hold their own pixels or features. GDAL follows
the names of other files in a file only if the name of the file allows it, such as ``mosaic.vrt``
(docs/decisions/0010-what-a-file-may-open.md).
"""

from __future__ import annotations

import os
import re
import sqlite3
import warnings
from contextlib import closing
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from samgeo.errors import RasterError, VectorError

__all__ = [
    "check_no_view",
    "check_vector_driver",
    "check_vector_head",
    "leads_elsewhere",
    "list_files",
    "open_overview",
    "open_raster",
    "suffix_of",
]

# Drivers of formats with the pixels in the file, or in files beside it with the same stem. They are tried in this order, with
# the most common ones first.
# fmt: off
_OWN_PIXELS = (
    "GTiff", "PNG", "JPEG", "JP2OpenJPEG", "WEBP", "GIF", "BMP", "HFA", "GPKG", "MBTiles", "JP2KAK", "JP2ECW", "ECW",
    "MrSID", "GRIB", "NITF", "AAIGrid", "GRASSASCIIGrid", "ENVI", "EHdr", "DTED", "SRTMHGT", "USGSDEM", "XYZ", "SAGA",
    "RST", "GSAG", "GSBG", "GS7BG", "PNM", "SGI", "TGA", "BT", "GTX", "HF2", "RMF", "Terragen",
)
# fmt: on

# Drivers of formats that may refer to other files, by suffix. A user who gives a file with this suffix accepts that.
_LEADING = {
    ".bag": ("BAG",),
    ".dim": ("DIMAP",),
    ".ers": ("ERS",),
    ".h5": ("netCDF", "HDF5", "HDF5Image"),
    ".hdf": ("netCDF", "HDF5", "HDF5Image", "HDF4", "HDF4Image"),
    ".hdf5": ("netCDF", "HDF5", "HDF5Image"),
    ".he5": ("netCDF", "HDF5", "HDF5Image"),
    ".mrf": ("MRF",),
    ".nc": ("netCDF", "HDF5", "HDF5Image"),
    ".nc4": ("netCDF", "HDF5", "HDF5Image"),
    ".pix": ("PCIDSK",),
    ".til": ("TIL",),
    ".vrt": ("VRT",),
    ".xml": ("DIMAP",),
    ".zarr": ("Zarr",),
}

# Prefixes of GDAL's names for one raster of a file that holds several (prefix, file, raster), and their drivers.
_PARTS = {
    "BAG": "BAG",
    "GPKG": "GPKG",
    "GTIFF_DIR": "GTiff",
    "HDF4_SDS": "HDF4Image",
    "HDF5": "HDF5Image",
    "NETCDF": "netCDF",
    "NITF_IM": "NITF",
    "ZARR": "Zarr",
}

_NOT_IT = "not recognized as being in a supported file format"
_TIFF_OR_ERDAS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"EHFA_HEADER_TAG")

_HEAD_BYTES = 1 << 16
_SQLITE = b"SQLite format 3\0"
_VECTOR_HEADS = {
    ".fgb": b"fgb",
    ".geojson": b"{",
    ".geoparquet": b"PAR1",
    ".gpkg": _SQLITE,
    ".json": b"{",
    ".parquet": b"PAR1",
    ".shp": b"\0\0\x27\x0a",
}
_VECTORS_LEADING_OUT = (
    b"<ogrvrtdatasource",
    b"<ogrwfsdatasource",
    b"<ogrwfs3datasource",
    b"<ogroapifdatasource",
    b"<ogrcswdatasource",
    b"gdal_streamed_alg",
    b"<!doctype",
    b"<!entity",
)
_READDIR = "GDAL_DISABLE_READDIR_ON_OPEN"

_VECTOR_DRIVERS_LEADING_OUT = {"CSW", "GDALG", "HTTP", "OAPIF", "OGCAPI", "OGR_VRT", "WFS"}


def suffix_of(path: str) -> str:
    """Return the suffix, in lower case, of a path or of an address without its query."""
    if path.startswith("/vsi"):
        path = path.partition("?")[0]
    elif "://" in path:
        path = urlsplit(path).path
    return PurePosixPath(path).suffix.lower()


def leads_elsewhere(path: str) -> bool:
    """Return whether the suffix of a path or an address is that of a format that may refer to other files."""
    return suffix_of(path) in _LEADING


def open_raster(path: str, name: str) -> rasterio.DatasetReader:
    """Open a raster with a driver that its name allows.

    Parameters
    ----------
    path : str
        A path, an address, or one of GDAL's names for a part of a file.
    name : str
        Name of the raster, for messages.

    Returns
    -------
    rasterio.DatasetReader

    Raises
    ------
    RasterError
        If the name asks for a format that refers to other files without the suffix of that format, or the file names another
        file for its overviews.
    rasterio.errors.RasterioError
        If none of the drivers can read it.
    """
    drivers = _raster_drivers(path, name)
    _check_beside(path)
    first: Exception | None = None
    for driver in drivers:
        if driver not in _known_drivers():
            continue
        try:
            with rasterio.Env(**_beside_by_name(path)):
                dataset = rasterio.open(path, driver=driver, sharing=False)
        except RasterioIOError as error:
            first = first or error
            if _NOT_IT not in str(error):
                raise
            continue
        # GDAL would open the file that is named there with any driver and from any location.
        if dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE") is not None:
            dataset.close()
            raise RasterError(
                f"{name} refers to another file for its overviews, which samgeo does not open; copy the raster without this "
                "reference first (gdal_translate -nomd)."
            )
        return dataset
    raise first or RasterioIOError(f"GDAL is built without {' and '.join(drivers)}")


@lru_cache
def _known_drivers() -> frozenset[str]:
    """Return the drivers of this build of GDAL."""
    with rasterio.Env() as env:
        return frozenset(env.drivers())


def _beside_by_name(path: str) -> dict[str, str]:
    """Return options with which GDAL looks for the files beside a local file by their names.

    By default it lists the folder. For many files of one folder the work would grow with the square of their number.
    """
    is_local = "://" not in path and not path.startswith("/vsi")
    return {_READDIR: "TRUE"} if is_local and _READDIR not in os.environ else {}


def list_files(path: str) -> list[str]:
    """Return the files from which GDAL reads a raster; an empty list if the raster cannot be opened."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_raster(path, path) as dataset:
                return list(dataset.files)
    except (RasterError, RasterioError):
        return []


def open_overview(path: str, name: str, level: int) -> rasterio.DatasetReader:
    """Open an overview of a raster, counted from 0, as a raster, by the rules of `open_raster`."""
    with open_raster(path, name) as dataset:
        driver = dataset.driver
    return rasterio.open(path, driver=driver, sharing=False, overview_level=level)


def check_vector_head(path: Path) -> None:
    """Refuse a vector file whose content does not agree with its suffix, or that refers to other files.

    A ``.vrt`` is allowed to refer to any file.

    Raises
    ------
    VectorError
        If the file is refused or cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".vrt" or path.is_dir():
        return
    if not path.is_file():
        raise VectorError(f"{path} is not a regular file; give a file.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise VectorError(f"{path} cannot be read ({error}); check its permissions.") from None
    wanted = _VECTOR_HEADS.get(suffix)
    if wanted is not None and not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(wanted):
        raise VectorError(
            f"{path} cannot be read: its first bytes are not those of a {suffix} file; check that it is complete."
        )
    # XML may be encoded in UTF-16, so zero bytes are removed before the search.
    if any(word in head.replace(b"\0", b"").lower() for word in _VECTORS_LEADING_OUT):
        raise VectorError(
            f"{path} is not read, because it refers to other files or has entities. Give the file that holds the features; if "
            "this is an OGR VRT whose files may all be read, give it the suffix .vrt."
        )


def check_vector_driver(driver: str, path: str) -> None:
    """Refuse a driver that refers to other files, for sources whose first bytes cannot be checked.

    Raises
    ------
    VectorError
        If it is such a driver, and the suffix is not that of its format.
    """
    if driver in _VECTOR_DRIVERS_LEADING_OUT and not (driver == "OGR_VRT" and suffix_of(path) == ".vrt"):
        raise VectorError(
            f"{path} is not read: it is {driver}, which refers to other files; give the file that holds the features."
        )


def check_no_view(path: Path, layer: str) -> None:
    """Refuse a layer of an SQLite file that is a view, because a view may need any amount of work and GDAL cannot be stopped.

    Raises
    ------
    VectorError
        If the layer is a view, or the file is broken.
    """
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise VectorError(f"{path} cannot be read ({error}); check that it is a complete vector file.") from None
    if any(str(name).lower() == layer.lower() for (name,) in names):
        raise VectorError(
            f"the layer {layer} of {path} is a view, which may take unlimited time to compute; write it to its own file "
            f"(ogr2ogr out.gpkg {path.name} {layer})."
        )


def _raster_drivers(path: str, name: str) -> tuple[str, ...]:
    if path.startswith("/vsi") or Path(path).is_absolute():
        return _by_suffix(path)
    if path.startswith("vrt://"):
        return ("VRT",)
    part = re.match(r"([A-Za-z][A-Za-z0-9_]+):(?!//)", path)
    if part is not None:
        driver = _PARTS.get(part[1].upper())
        if driver is None:
            known = ", ".join(sorted(_PARTS))
            raise RasterError(
                f"{name} refers to {part[1]}, which samgeo does not open; give a file, or a part of one ({known})."
            )
        return (driver,)
    if path.lstrip().startswith(("<", "{")):
        raise RasterError("a raster cannot be opened from a description in a text; write the text to a .vrt file.")
    return _by_suffix(path)


def _by_suffix(path: str) -> tuple[str, ...]:
    return _LEADING.get(suffix_of(path)) or _OWN_PIXELS


def _check_beside(path: str) -> None:
    """Refuse overviews and masks beside a file that are not TIFF or Erdas files.

    GDAL would open them with any driver.
    """
    local = Path(path)
    if not local.is_file():
        return
    for stem in {local.name, local.stem}:
        for ending in (".ovr", ".OVR", ".msk", ".MSK"):
            beside = local.with_name(stem + ending)
            if beside.is_file() and not _head(beside).startswith(_TIFF_OR_ERDAS):
                raise RasterError(f"{beside}, beside {local.name}, is not a TIFF; remove it, or make it again (gdaladdo -ro).")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise RasterError(f"{os.fspath(path)} cannot be read ({error}); check its permissions.") from None

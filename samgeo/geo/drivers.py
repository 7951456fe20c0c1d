"""What a file may open: GDAL goes by content alone, and some of its formats read other files, the network or memory.

A file is read as what its name says, or as a format that holds its own pixels or features. Only a name that says so, such as
``mosaic.vrt``, makes GDAL follow what the file names (docs/decisions/0010-what-a-file-may-open.md).
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

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

# Pixels are in the file, and in files beside it with the same stem. The usual ones come first: they are tried in this order.
# fmt: off
_OWN_PIXELS = (
    "GTiff", "PNG", "JPEG", "JP2OpenJPEG", "WEBP", "GIF", "BMP", "HFA", "GPKG", "MBTiles", "JP2KAK", "JP2ECW", "ECW",
    "MrSID", "GRIB", "NITF", "AAIGrid", "GRASSASCIIGrid", "ENVI", "EHdr", "DTED", "SRTMHGT", "USGSDEM", "XYZ", "SAGA",
    "RST", "GSAG", "GSBG", "GS7BG", "PNM", "SGI", "TGA", "BT", "GTX", "HF2", "RMF", "Terragen",
)
# fmt: on

# Formats that may name other files, by the suffix that says so to whoever gives it.
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

# One raster of a file that holds several, as GDAL names it: what it is, the file, the raster.
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
_VECTOR_DRIVERS_LEADING_OUT = {"CSW", "GDALG", "HTTP", "OAPIF", "OGCAPI", "OGR_VRT", "WFS"}


def suffix_of(path: str) -> str:
    """Return the suffix, in small letters, of a path or of an address without its query."""
    if path.startswith("/vsi"):
        path = path.partition("?")[0]
    elif "://" in path:
        path = urlsplit(path).path
    return PurePosixPath(path).suffix.lower()


def leads_elsewhere(path: str) -> bool:
    """Whether a path or an address says that what it names may lead to other files."""
    return suffix_of(path) in _LEADING


def open_raster(path: str, name: str) -> Any:
    """Open a raster with a driver that its name allows.

    Parameters
    ----------
    path : str
        A path, an address, or one of GDAL's names for a part of a file.
    name : str
        For messages.

    Returns
    -------
    rasterio.DatasetReader

    Raises
    ------
    RasterError
        If the name asks for a format that leads elsewhere without saying so in its suffix, or the file names another for its
        overviews.
    rasterio.errors.RasterioError
        If no such driver knows it.
    """
    import rasterio
    from rasterio.errors import RasterioIOError

    drivers = _raster_drivers(path, name)
    _check_beside(path)
    with rasterio.Env() as env:
        known = env.drivers()
    first: Exception | None = None
    for driver in drivers:
        if driver not in known:
            continue
        try:
            dataset = rasterio.open(path, driver=driver, sharing=False)
        except RasterioIOError as error:
            first = first or error
            if _NOT_IT not in str(error):
                raise
            continue
        # Whatever is named there is opened by any driver, from anywhere.
        if dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE") is not None:
            dataset.close()
            raise RasterError(
                f"{name} names another file for its overviews, which is not opened; copy it with gdal_translate -nomd first."
            )
        return dataset
    raise first or RasterioIOError(f"GDAL is built without {' and '.join(drivers)}")


def list_files(path: str) -> list[str]:
    """Return the files that GDAL says a raster is read from; nothing where it cannot be opened."""
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_raster(path, path) as dataset:
                return list(dataset.files)
    except (RasterError, RasterioError):
        return []


def open_overview(path: str, name: str, level: int) -> Any:
    """Open an overview of a raster, counted from 0, as a raster of its own, under the rules of `open_raster`."""
    import rasterio

    with open_raster(path, name) as dataset:
        driver = dataset.driver
    return rasterio.open(path, driver=driver, sharing=False, overview_level=level)


def check_vector_head(path: Path) -> None:
    """Refuse a vector file that is not what its suffix says, or that leads to other files.

    A ``.vrt`` is what it says, and leads where it likes.

    Raises
    ------
    VectorError
        If it is, or cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".vrt" or path.is_dir():
        return
    if not path.is_file():
        raise VectorError(f"{path} is no regular file; give a file.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise VectorError(f"{path} cannot be read ({error}); check its permissions.") from None
    wanted = _VECTOR_HEADS.get(suffix)
    if wanted is not None and not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(wanted):
        raise VectorError(f"{path} cannot be read: it does not begin as a {suffix} file does; check that it is whole.")
    # Without the zeros of UTF-16, which XML may be in.
    if any(word in head.replace(b"\0", b"").lower() for word in _VECTORS_LEADING_OUT):
        raise VectorError(
            f"{path} is not read: it leads to other files, or has entities; give the features themselves, or, if all that it "
            "leads to may be read, call an OGR VRT .vrt."
        )


def check_vector_driver(driver: str, path: str) -> None:
    """Refuse features that a driver which leads to other files has found where no head can be looked at.

    Raises
    ------
    VectorError
        If it is such a driver, and the name does not say so.
    """
    if driver in _VECTOR_DRIVERS_LEADING_OUT and not (driver == "OGR_VRT" and suffix_of(path) == ".vrt"):
        raise VectorError(f"{path} is not read: it is {driver}, which leads elsewhere; give the features themselves.")


def check_no_view(path: Path, layer: str) -> None:
    """Refuse a layer of an SQLite file that is computed: it may name any amount of work, and GDAL cannot be stopped.

    Raises
    ------
    VectorError
        If it is a view, or the file is broken.
    """
    import sqlite3
    from urllib.parse import quote

    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise VectorError(f"{path} cannot be read ({error}); check that it is a vector file and whole.") from None
    if any(str(name).lower() == layer.lower() for (name,) in names):
        raise VectorError(
            f"the layer {layer} of {path} is a view, which may take any time to compute; write it to a file of its own "
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
                f"{name} asks for {part[1]}, which samgeo does not open; give a file, or a part of one ({known})."
            )
        return (driver,)
    if path.lstrip().startswith(("<", "{")):
        raise RasterError("a raster cannot be opened from a text that describes it; write the text to a .vrt file.")
    return _by_suffix(path)


def _by_suffix(path: str) -> tuple[str, ...]:
    return _LEADING.get(suffix_of(path)) or _OWN_PIXELS


def _check_beside(path: str) -> None:
    """Refuse overviews and masks beside a file that are no TIFF or Erdas file: GDAL would open them with any driver."""
    local = Path(path)
    if not local.is_file():
        return
    for stem in {local.name, local.stem}:
        for ending in (".ovr", ".OVR", ".msk", ".MSK"):
            beside = local.with_name(stem + ending)
            if beside.is_file() and not _head(beside).startswith(_TIFF_OR_ERDAS):
                raise RasterError(f"{beside}, beside {local.name}, is no TIFF; remove it or make it anew (gdaladdo -ro).")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise RasterError(f"{os.fspath(path)} cannot be read ({error}); check its permissions.") from None

"""Georeference of a raster file: its affine and CRS, or an error that says why there is none."""

from __future__ import annotations

import math
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from samgeo.errors import RasterError

if TYPE_CHECKING:
    import rasterio
    from rasterio.crs import CRS

__all__ = ["geobox_of"]

# With at least so many ground control points a spline through all of them is suggested, otherwise a polynomial.
SPLINE_POINTS = 11

IN_PIXELS = "or, if the result may be in pixels, give the pixels as an array: rasterio.open(path).read().transpose(1, 2, 0)"


def geobox_of(dataset: rasterio.DatasetReader, name: str, path: str) -> GeoBox:
    """Return the grid (shape, affine and CRS) of a raster file.

    The affine is the identity, and the CRS None, if the file has no georeference at all.

    Parameters
    ----------
    dataset : rasterio.DatasetReader
        The open file.
    name : str
        Name of the raster, for messages.
    path : str
        The path that GDAL opens.

    Raises
    ------
    RasterError
        If the file has a georeference without an affine: only ground control points, rational polynomials (RPCs) or arrays of
        coordinates, or only a CRS. The message has the command that warps the raster. Also if pixels have no area, or the CRS
        is not understood.
    """
    affine = dataset.transform
    if affine == Affine.identity():
        # GDAL returns the identity if there is no affine.
        _check_no_place(dataset, name, path)
        return GeoBox(dataset.shape, affine, None)
    if not all(map(math.isfinite, (*affine[:6], affine.determinant))) or affine.determinant == 0:
        raise RasterError(f"{name} has the transform {tuple(affine[:6])}, in which pixels have no area; repair it first.")
    try:
        return GeoBox(dataset.shape, affine, dataset.crs)
    except CRSError as error:
        raise RasterError(f"{name} has a CRS that cannot be read ({error}); assign one (gdal_edit.py -a_srs).") from None


def _check_no_place(dataset: rasterio.DatasetReader, name: str, path: str) -> None:
    points, crs = dataset.gcps
    arrays = dataset.tags(ns="GEOLOCATION")
    if points:
        how = ["-tps"] if len(points) >= SPLINE_POINTS else []
        how += [] if crs else ["-s_srs", "EPSG:..."]
        unknown = "" if crs else " (replace EPSG:... by the CRS of the points, which the file does not name)"
        raise RasterError(_refusal(name, path, f"{len(points)} ground control points (GCPs)", how, unknown))
    if dataset.rpcs is not None:
        raise RasterError(
            _refusal(
                name,
                path,
                "rational polynomials (RPCs)",
                ["-rpc"],
                " (for a better result, add -to RPC_DEM=heights.tif after -rpc)",
            )
        )
    if "X_DATASET" in arrays or "Y_DATASET" in arrays:
        raise RasterError(_refusal(name, path, "arrays of coordinates (GEOLOCATION)", ["-geoloc"], ""))
    if dataset.crs:
        raise RasterError(
            f"{name} has a CRS ({_short(dataset.crs)}), but no transform that locates its pixels. Assign the coordinates of "
            f"its corners: gdal_edit.py -a_ullr ULX ULY LRX LRY {_quoted(name, path)}; {IN_PIXELS}."
        )


def _refusal(name: str, path: str, what: str, how: list[str], more: str) -> str:
    target = f"{PurePosixPath(name.rstrip('/')).stem or 'raster'}_warped.tif"
    command = " ".join(["gdalwarp", *how, "-dstalpha", "-co", "TILED=YES", _quoted(name, path), shlex.quote(target)])
    return (
        f"{name} is georeferenced only by {what} and has no affine transform, which results need. Warp it first{more}: "
        f"{command}; {IN_PIXELS}."
    )


def _quoted(name: str, path: str) -> str:
    """Return the name of a raster for the command line of GDAL's programs, without the keys of its address."""
    return shlex.quote(f"/vsicurl/{name}" if path.startswith(("http://", "https://")) else name)


def _short(crs: CRS) -> str:
    code = crs.to_epsg()
    return "without EPSG code" if code is None else f"EPSG:{code}"

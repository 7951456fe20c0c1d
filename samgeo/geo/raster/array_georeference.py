"""Georeference of an xarray.DataArray: its affine, checked against all coordinates of the array.

odc-geo derives an affine from the first and the last coordinate, or from an attribute that may describe a larger array, of
which this one is a part. Here the affine must agree with every coordinate. An array that has coordinates without an affine, or
a CRS that would be lost, is refused.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from affine import Affine, AffineError
from numpy.typing import NDArray
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from samgeo.errors import RasterError
from samgeo.geo.raster.sources.file_source import FileSource

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["odc_warnings_off", "place_of"]

Floats = NDArray[np.float64]

# TOLERANCE_PX is how far a coordinate may lie from the centre of its pixel, in pixels, in addition to the rounding error of its
# type. MOST_ROUNDING_PX is the greatest rounding error that is accepted.
TOLERANCE_PX, MOST_ROUNDING_PX = 0.05, 0.5

# Names of two-dimensional coordinates, x first: those of rioxarray for rotated rasters, of CF, and of common models.
_PAIRS = (
    ("xc", "yc"), ("lon", "lat"), ("longitude", "latitude"), ("nav_lon", "nav_lat"), ("XLONG", "XLAT"), ("TLONG", "TLAT"),
    ("x", "y"),
)  # fmt: skip
_DIMENSIONS = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"))
_STANDARD_NAMES = (("projection_x_coordinate", "projection_y_coordinate"), ("longitude", "latitude"))
_CRS_ATTRIBUTES = ("spatial_ref", "crs_wkt", "grid_mapping_name")
_METRES = {"km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0}
_ANGLES = {"rad", "radian", "radians"}

IN_PIXELS = "or drop its coordinates to work in pixels: array.drop_vars([...])"


def place_of(array: xr.DataArray, name: str) -> tuple[GeoBox, tuple[str, str]]:
    """Return the grid (shape, affine and CRS) of an array, and the names of its dimensions y and x.

    Parameters
    ----------
    array : xarray.DataArray
        The array.
    name : str
        Name of the array, for messages.

    Raises
    ------
    RasterError
        If no dimensions are those of a raster; if its coordinates are unevenly spaced, curvilinear, not numbers, in other units
        than its CRS, or too coarse to locate pixels; if it has a single row or column, whose coordinates do not give the size
        of a pixel; or if it has a CRS and no affine, or a CRS that cannot be read.
    """
    found, dims, given = _odc_place(array, name)
    shape = array.sizes[dims[0]], array.sizes[dims[1]]
    crs = found.crs if isinstance(found, GeoBox) else given
    _check_crs_kept(array, crs, name)
    if found is not None and not isinstance(found, GeoBox):
        raise RasterError(
            f"{name} is georeferenced only by ground control points; warp it first: array.rio.reproject(...), {IN_PIXELS}."
        )
    pair = _pair(array, dims)
    lines = [array.coords[dim] for dim in dims if dim in array.coords]
    if pair is not None and not any(_places(line) for line in lines):
        return GeoBox(shape, _fitted(array, pair, found, crs, name), crs), dims
    if found is None:
        if crs is None and not any(_places(line) for line in lines):
            return GeoBox(shape, Affine.identity(), None), dims
        _refuse_without_affine(array, dims, crs, name)
    if not lines:
        _check_uncut(array, shape, name)
    elif crs is not None and not any(_places(line) for line in lines):
        _refuse_without_affine(array, dims, crs, name)
    affine = found.affine
    for line in lines:
        affine = _checked(line, line.name == dims[1], affine, crs, name)
    return (found if affine == found.affine else GeoBox(shape, affine, crs)), dims


@contextmanager
def odc_warnings_off() -> Iterator[None]:
    """Silence warnings of odc-geo about its own code with affine 3.1, and about CRSs, which `place_of` checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", "grid_mapping=|Multiple CRS coordinates|Failed to parse CRS", UserWarning)
        yield


def _odc_place(array: xr.DataArray, name: str) -> tuple[Any, tuple[str, str], Any]:
    """Return the geobox, the dimensions and the CRS of an array, as odc-geo finds them."""
    import odc.geo.xr  # noqa: F401  gives DataArray its .odc, and is slow to load

    with odc_warnings_off():
        try:
            dims, geobox, crs = array.odc.spatial_dims, array.odc.geobox, array.odc.crs
        except (ValueError, ZeroDivisionError, AffineError) as error:
            raise RasterError(f"the coordinates of {name} are not those of a raster ({error}); check them.") from None
    if dims is None:
        dims = next((pair for pair in _DIMENSIONS if set(pair) <= set(array.dims)), None)
    if dims is None:
        for x, y in _PAIRS:
            if x in array.coords and y in array.coords and array.coords[x].ndim == 2:
                _refuse_curvilinear(name, f"{x} and {y}")
        raise RasterError(
            f"{name} has dimensions {tuple(array.dims)}; name those of rows and columns y and x: .rename({{old: new}})."
        )
    return geobox, dims, crs


def _check_crs_kept(array: xr.DataArray, crs: CRS | None, name: str) -> None:
    """Refuse an array with a CRS in a form that would be lost."""
    chosen = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
    known = {
        str(one.attrs.get("crs_wkt") or one.attrs.get("spatial_ref") or "") for one in array.coords.values() if not one.ndim
    }
    if len(known - {""}) > 1 and (chosen not in array.coords or crs is None or crs != _own_crs(array.coords[chosen])):
        raise RasterError(f"{name} has several coordinates with a CRS; drop all but its grid_mapping: array.drop_vars([...]).")
    if crs is not None:
        return
    remedy = 'assign the CRS with array.odc.assign_crs("EPSG:...") or array.rio.write_crs("EPSG:...")'
    for key, coordinate in array.coords.items():
        if coordinate.ndim == 0 and any(coordinate.attrs.get(attribute) for attribute in _CRS_ATTRIBUTES):
            raise RasterError(f"the CRS of {name}, in its coordinate {key}, cannot be read; {remedy}.")
    if array.attrs.get("crs"):
        raise RasterError(f"the CRS of {name}, in its attribute crs, cannot be read ({array.attrs['crs']}); {remedy}.")
    # If rioxarray was never imported, it cannot know a CRS that the array itself does not have.
    if "rioxarray" in sys.modules and array.rio.crs is not None:
        raise RasterError(f"rioxarray knows a CRS of {name} that the array itself does not have; {remedy}.")


def _own_crs(coordinate: xr.DataArray) -> CRS | None:
    try:
        return CRS(coordinate.attrs.get("crs_wkt") or coordinate.attrs.get("spatial_ref") or "")
    except (CRSError, ValueError):
        return None


def _pair(array: xr.DataArray, dims: tuple[str, str]) -> tuple[Hashable, Hashable] | None:
    """Return the two-dimensional coordinates x and y of every pixel, if the array has them."""
    planes = {key: one for key, one in array.coords.items() if set(one.dims) == set(dims)}
    for x, y in _PAIRS:
        if x in planes and y in planes:
            return x, y
    for names in _STANDARD_NAMES:
        named = {one.attrs.get("standard_name"): key for key, one in planes.items()}
        if names[0] in named and names[1] in named:
            return named[names[0]], named[names[1]]
    return None


def _places(line: xr.DataArray) -> bool:
    """Return whether the coordinate of a dimension locates pixels, rather than only counting them."""
    values = line.to_numpy()
    return not (values.dtype.kind in "ui" and np.array_equal(values, np.arange(len(values))))


def _fitted(array: xr.DataArray, pair: tuple[Hashable, Hashable], found: GeoBox | None, crs: CRS | None, name: str) -> Affine:
    """Return the affine that gives the coordinates of every pixel.

    If the array was cut out of a larger raster, whose affine is in the attribute, it is that affine moved by whole pixels.
    """
    what = " and ".join(map(str, pair))
    if crs is None or (crs.projected and pair[0] not in ("xc", "x") and not _is_projected(array, pair)):
        raise RasterError(
            f"{name} gives the position of each pixel in its coordinates {what}, but no CRS with an affine that agrees with "
            f"them; resample it to a regular grid with a CRS first (with pyresample or xESMF), {IN_PIXELS}."
        )
    dims = array.dims
    planes = [array.coords[key].transpose(*(dim for dim in dims if dim in array.coords[key].dims)).to_numpy() for key in pair]
    x, y = (np.asarray(plane, dtype=np.float64) for plane in planes)
    height, width = x.shape
    if min(height, width) < 2 and found is None:
        _refuse_single(name, "row" if height < 2 else "column")
    rows, columns = np.mgrid[:height, :width] + 0.5
    if found is not None:
        linear = found.affine
        start = ~linear * (x[0, 0], y[0, 0])
        moved: Affine = linear * Affine.translation(*(round(value - 0.5) for value in start))
        if _misfit(moved, columns, rows, x, y) <= TOLERANCE_PX:
            return moved
    if min(height, width) < 2:
        raise RasterError(f"the coordinates {what} of {name} do not agree with its GeoTransform; correct the GeoTransform.")
    terms = np.stack([columns.ravel(), rows.ravel(), np.ones(x.size)], axis=1)
    (a, b, c), (d, e, f) = (np.linalg.lstsq(terms, plane.ravel(), rcond=None)[0] for plane in (x, y))
    affine = Affine(*map(float, (a, b, c, d, e, f)))
    if not np.isfinite([x, y]).all() or affine.determinant == 0 or _misfit(affine, columns, rows, x, y) > TOLERANCE_PX:
        _refuse_curvilinear(name, what)
    return affine


def _refuse_curvilinear(name: str, what: str) -> NoReturn:
    raise RasterError(
        f"{name} is curvilinear: no affine gives its coordinates {what}; resample it to a regular grid first (with pyresample "
        f"or xESMF), {IN_PIXELS}."
    )


def _is_projected(array: xr.DataArray, pair: tuple[Hashable, Hashable]) -> bool:
    return bool(array.coords[pair[0]].attrs.get("standard_name") == _STANDARD_NAMES[0][0])


def _misfit(affine: Affine, columns: Floats, rows: Floats, x: Floats, y: Floats) -> float:
    """Return the greatest distance between pixels and their coordinates, in pixels."""
    own_columns, own_rows = ~affine * (x, y)
    return float(max(np.abs(own_columns - columns).max(), np.abs(own_rows - rows).max()))


def _refuse_without_affine(array: xr.DataArray, dims: tuple[str, str], crs: CRS | None, name: str) -> NoReturn:
    for dim, what in zip(dims, ("row", "column"), strict=True):
        if array.sizes[dim] < 2:
            _refuse_single(name, what)
    has = "coordinates" if crs is None else f"a CRS ({_short(crs)})"
    raise RasterError(
        f"{name} has {has} but no affine that locates its pixels; add coordinates {dims[0]} and {dims[1]} with "
        f"array.assign_coords(...), or a GeoTransform with array.rio.write_transform(...), {IN_PIXELS}."
    )


def _refuse_single(name: str, what: str) -> NoReturn:
    raise RasterError(
        f"{name} has a single {what}, from whose coordinates the size of a pixel is unknown; add a GeoTransform "
        f"(array.rio.write_transform(...) of rioxarray), keep two {what}s or more, {IN_PIXELS}."
    )


def _checked(line: xr.DataArray, is_x: bool, affine: Affine, crs: CRS | None, name: str) -> Affine:
    """Return an affine that gives the coordinates of a dimension; refuse coordinates that are not the centres of pixels."""
    what = f"the coordinates {line.name} of {name}"
    if line.dtype.kind not in "iuf" or not np.isfinite(line.to_numpy()).all():
        raise RasterError(f"{what} are not all finite numbers; give the centres of pixels, {IN_PIXELS}.")
    _check_units(line, crs, what)
    values = line.to_numpy().astype(np.float64)
    is_rotated = bool(affine.b or affine.d)
    if len(values) < 2 and is_rotated:
        return affine
    size, start = (affine.a, affine.c) if is_x else (affine.e, affine.f)
    if len(values) > 1:
        step = (values[-1] - values[0]) / (len(values) - 1)
        fitted = step, values[0] - step / 2
    else:
        fitted = size, start
    rounding = np.spacing(np.abs(line.to_numpy()).max()) / abs(fitted[0]) if line.dtype.kind == "f" and fitted[0] else 0.0
    if rounding > MOST_ROUNDING_PX:
        raise RasterError(
            f"{what} are {line.dtype}, which is not precise enough for pixels of {abs(fitted[0]):g}; give them as float64."
        )
    # For a rotated raster, odc-geo uses pixel numbers as coordinates and combines them with the affine, so only the spacing is
    # checked.
    places = [fitted] if is_rotated else [(size, start), fitted]
    for size, start in places:
        off = _off_px(values, size, start)
        if off.max() <= TOLERANCE_PX + 2 * rounding:
            if is_rotated:
                return affine
            a, b, c, d, e, f = affine[:6]
            return Affine(size, b, start, d, e, f) if is_x else Affine(a, b, c, d, size, start)
    at = int(off.argmax())
    raise RasterError(
        f"{what} are unevenly spaced: number {at} is {values[at]:.9g}, which is {off.max():.3g} pixels away from a grid of "
        f"{abs(size):.6g}. Resample the array to a regular grid first, for example with .interp({line.name}=...), {IN_PIXELS}."
    )


def _off_px(values: Floats, size: float, start: float) -> Floats:
    """Return the distance of coordinates from the centres of pixels, in pixels."""
    if size == 0:
        return np.full(len(values), np.inf)
    return np.asarray(np.abs((values - start) / size - 0.5 - np.arange(len(values))), dtype=np.float64)


def _check_uncut(array: xr.DataArray, shape: tuple[int, int], name: str) -> None:
    """Refuse an affine that no coordinate confirms.

    The affine gives the location of the whole raster, and the array may be a part of it.
    """
    path = array.encoding.get("source")
    if isinstance(path, str) and Path(path).is_file():
        try:
            whole = tuple(FileSource.open(path).geobox.shape)
        except RasterError:
            whole = None
        if whole == shape:
            return
    raise RasterError(
        f"{name} has a GeoTransform but no coordinates that confirm it, and may be a part of a larger raster. Keep the "
        f"coordinates (parse_coordinates=True in rioxarray), {IN_PIXELS}."
    )


def _check_units(line: xr.DataArray, crs: CRS | None, what: str) -> None:
    unit = str(line.attrs.get("units", "")).strip().lower()
    if crs is None or not crs.projected or not (unit in _ANGLES or unit in _METRES):
        return
    own = crs.proj.axis_info[0].unit_conversion_factor if crs.proj.axis_info else 1.0
    if _METRES.get(unit) != own:
        raise RasterError(
            f"{what} are in {unit}, but its CRS is in {crs.units[0]}; convert them to the unit of the CRS first: "
            f"array.assign_coords({line.name}=array.{line.name} * ...)."
        )


def _short(crs: CRS) -> str:
    return "without EPSG code" if crs.epsg is None else f"EPSG:{crs.epsg}"

"""Hypothesis strategies for property tests: windows, small arrays, polygons on a grid, transforms and georeferences.

Hypothesis is imported when a strategy is made, so that the rest of the package works without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.types import CRSLike

if TYPE_CHECKING:
    import pyproj
    import shapely
    from affine import Affine
    from hypothesis.strategies import SearchStrategy
    from odc.geo.geobox import GeoBox

__all__ = ["geoboxes", "grid_polygons", "label_arrays", "mask_arrays", "transforms", "windows"]

SYSTEMS: tuple[CRSLike, ...] = ("EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:3031", None)
"""A UTM zone, degrees, the web's projection, the Antarctic, and a raster without CRS."""

METRES_PER_DEGREE = 111_320.0
STEEPEST_SHEAR = 0.5


@check_types
def windows(shape: tuple[int, int], *, margin: int = 0, min_side: int = 1) -> SearchStrategy[Rect]:
    """Return a strategy for rectangular windows of a raster.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the raster in pixels.
    margin : int, default 0
        Number of pixels by which a window may reach beyond the raster on each side.
    min_side : int, default 1
        Smallest height and width of a window; 0 also gives empty windows.

    Returns
    -------
    SearchStrategy
        Rectangles with the attributes x0, y0, x1 and y1, in pixels.

    Raises
    ------
    OptionError
        If Hypothesis is not installed, or no window of this size fits.

    Examples
    --------
    >>> from hypothesis import given
    >>> from samgeo.testing import windows
    >>> @given(windows((40, 60), margin=5))
    ... def test_a_window_stays_near_the_raster(window):
    ...     assert -5 <= window.x0 < window.x1 <= 65
    >>> test_a_window_stays_near_the_raster()
    """
    _require_hypothesis()
    from hypothesis import strategies as st

    if margin < 0 or min_side < 0:
        raise OptionError(f"margin is {margin} and min_side is {min_side}; give 0 or more.")
    if min(shape) + 2 * margin < min_side:
        raise OptionError(f"min_side is {min_side}; no such window fits a raster of shape {shape} with a margin of {margin}.")

    def spans(length: int) -> SearchStrategy[tuple[int, int]]:
        end = length + margin
        return st.integers(-margin, end - min_side).flatmap(
            lambda start: st.tuples(st.just(start), st.integers(start + min_side, end))
        )

    return st.builds(lambda x, y: Rect(x[0], y[0], x[1], y[1]), spans(shape[1]), spans(shape[0]))


@check_types
def mask_arrays(*, min_side: int = 1, max_side: int = 12) -> SearchStrategy[NDArray[np.bool_]]:
    """Return a strategy for small masks.

    Parameters
    ----------
    min_side, max_side : int, default 1 and 12
        Smallest and largest height and width in pixels.

    Returns
    -------
    SearchStrategy
        Arrays of bool of shape (H, W).

    Raises
    ------
    OptionError
        If Hypothesis is not installed, or the sizes cannot be.

    Examples
    --------
    >>> from hypothesis import given
    >>> from samgeo.testing import mask_arrays
    >>> @given(mask_arrays(max_side=5))
    ... def test_a_mask_or_its_complement_has_each_pixel(mask):
    ...     assert mask.sum() + (~mask).sum() == mask.size <= 25
    >>> test_a_mask_or_its_complement_has_each_pixel()
    """
    sides = _sides(min_side, max_side)
    from hypothesis.extra.numpy import arrays

    return arrays(np.bool_, sides)


@check_types
def label_arrays(*, min_side: int = 1, max_side: int = 12, max_id: int = 4) -> SearchStrategy[NDArray[np.int32]]:
    """Return a strategy for small arrays of object ids.

    Parameters
    ----------
    min_side, max_side : int, default 1 and 12
        Smallest and largest height and width in pixels.
    max_id : int, default 4
        The largest id; 0 is background.

    Returns
    -------
    SearchStrategy
        Arrays of int32 of shape (H, W). The pixels of an object need not be connected.

    Raises
    ------
    OptionError
        If Hypothesis is not installed, or the sizes or the id cannot be.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import given
    >>> from samgeo.testing import decode_ids, encode_ids, label_arrays
    >>> @given(label_arrays(max_id=100_000))
    ... def test_ids_come_back_from_colours(labels):
    ...     assert np.array_equal(decode_ids(encode_ids(labels)), labels)
    >>> test_ids_come_back_from_colours()
    """
    sides = _sides(min_side, max_side)
    if not 0 <= max_id <= np.iinfo(np.int32).max:
        raise OptionError(f"max_id is {max_id}; give 0 or more, as int32 holds it.")
    from hypothesis import strategies as st
    from hypothesis.extra.numpy import arrays

    return arrays(np.int32, sides, elements=st.integers(0, max_id))


@check_types
def grid_polygons(*, max_side: int = 8) -> SearchStrategy[shapely.Polygon | shapely.MultiPolygon]:
    """Return a strategy for valid polygons whose edges run along the squares of a grid, with holes and parts.

    Parameters
    ----------
    max_side : int, default 8
        Largest height and width of a polygon, in squares of side 1.

    Returns
    -------
    SearchStrategy
        Polygons and MultiPolygons with integer coordinates from 0 to ``max_side``.

    Raises
    ------
    OptionError
        If Hypothesis is not installed, or the size cannot be.

    Examples
    --------
    >>> from hypothesis import given
    >>> from samgeo.testing import grid_polygons
    >>> @given(grid_polygons(max_side=4))
    ... def test_an_area_is_a_number_of_squares(polygon):
    ...     assert polygon.is_valid and polygon.area in range(1, 17)
    >>> test_an_area_is_a_number_of_squares()
    """
    return mask_arrays(max_side=max_side).filter(np.any).map(_outline)


@check_types
def transforms(
    *,
    pixel_size: tuple[float, float] = (0.1, 30.0),
    x: tuple[float, float] = (0.0, 1_000_000.0),
    y: tuple[float, float] = (0.0, 10_000_000.0),
    rotated: bool = True,
) -> SearchStrategy[Affine]:
    """Return a strategy for transforms from pixels to a CRS: north up or south up, with pixels that need not be square.

    Parameters
    ----------
    pixel_size : (float, float), default (0.1, 30)
        Smallest and largest width and height of a pixel, in units of the CRS.
    x, y : (float, float)
        Smallest and largest coordinates of the corner of the first pixel.
    rotated : bool, default True
        Whether some of the transforms are also rotated and sheared.

    Returns
    -------
    SearchStrategy
        Objects of ``affine.Affine``, all of which have an inverse.

    Raises
    ------
    OptionError
        If Hypothesis is not installed, or a range is empty.

    Examples
    --------
    >>> from hypothesis import given
    >>> from samgeo.testing import transforms
    >>> @given(transforms(pixel_size=(0.5, 2)))
    ... def test_a_pixel_has_its_area(transform):
    ...     assert 0.24 < abs(transform.determinant) < 4.01
    >>> test_a_pixel_has_its_area()
    """
    _require_hypothesis()
    from hypothesis import strategies as st

    for name, (low, high) in (("pixel_size", pixel_size), ("x", x), ("y", y)):
        if not low <= high or (name == "pixel_size" and low <= 0):
            raise OptionError(f"{name} is {(low, high)}; give the smaller number first, and sizes above 0.")
    sizes = st.floats(*pixel_size)
    turns = st.one_of(st.just(0.0), st.floats(-math.pi, math.pi)) if rotated else st.just(0.0)
    shears = st.one_of(st.just(0.0), st.floats(-STEEPEST_SHEAR, STEEPEST_SHEAR)) if rotated else st.just(0.0)
    return st.builds(
        _affine,
        width=sizes,
        height=sizes,
        south_up=st.booleans(),
        turn=turns,
        shear=shears,
        x=st.floats(*x),
        y=st.floats(*y),
    )


@check_types
def geoboxes(
    crs: Sequence[CRSLike] = SYSTEMS,
    *,
    max_side: int = 64,
    pixel_size_m: tuple[float, float] = (0.1, 30.0),
    rotated: bool = True,
) -> SearchStrategy[GeoBox]:
    """Return a strategy for georeferences of rasters: a shape, a transform and a CRS.

    Rasters lie in the middle half of the area of use of their CRS, where its coordinates are well defined.

    Parameters
    ----------
    crs : sequence, default a UTM zone, degrees, the web's projection, the Antarctic, and None
        Any coordinate reference systems with a known area of use; None for rasters without CRS.
    max_side : int, default 64
        Largest height and width in pixels.
    pixel_size_m : (float, float), default (0.1, 30)
        Smallest and largest width and height of a pixel: metres, converted to the unit of the CRS by a constant factor.
    rotated : bool, default True
        Whether some of the transforms are also rotated and sheared.

    Returns
    -------
    SearchStrategy
        Objects of ``odc.geo.geobox.GeoBox``.

    Raises
    ------
    OptionError
        If Hypothesis is not installed, a size cannot be, or the area of use of a CRS is unknown.

    Examples
    --------
    >>> from hypothesis import given
    >>> from samgeo.testing import geoboxes
    >>> @given(geoboxes(["EPSG:32633"], max_side=20))
    ... def test_a_raster_lies_in_its_zone(geobox):
    ...     assert 100_000 < geobox.affine.c < 900_000 and max(geobox.shape) <= 20
    >>> test_a_raster_lies_in_its_zone()
    """
    sides = _sides(1, max_side)
    from hypothesis import strategies as st
    from odc.geo.geobox import GeoBox

    fractions = st.floats(0.25, 0.75)

    def placed(one: CRSLike) -> SearchStrategy[GeoBox]:
        if one is None:
            return st.builds(GeoBox, sides, transforms(pixel_size=pixel_size_m, rotated=rotated), st.none())
        system, bounds, unit_m = _area_of_use(one)
        sizes = pixel_size_m[0] / unit_m, pixel_size_m[1] / unit_m
        affines = transforms(pixel_size=sizes, x=(0.0, 0.0), y=(0.0, 0.0), rotated=rotated)
        corners = st.builds(lambda u, v: _corner(system, bounds, u, v), fractions, fractions)
        return st.builds(lambda shape, affine, xy: GeoBox(shape, _moved(affine, xy), system), sides, affines, corners)

    return st.one_of([placed(one) for one in crs])


def _require_hypothesis() -> None:
    """Raise an error that says what to install if Hypothesis is missing."""
    try:
        import hypothesis.strategies  # noqa: F401
    except ImportError:
        raise OptionError("strategies need hypothesis, which is not installed; pip install hypothesis.") from None


def _sides(least: int, most: int) -> SearchStrategy[tuple[int, int]]:
    """Return a strategy for shapes of arrays."""
    _require_hypothesis()
    from hypothesis import strategies as st

    if not 0 <= least <= most:
        raise OptionError(f"sides from {least} to {most} cannot be; give the smaller number first, 0 or more.")
    return st.tuples(st.integers(least, most), st.integers(least, most))


def _outline(mask: NDArray[np.bool_]) -> shapely.Polygon | shapely.MultiPolygon:
    """Return the union of the unit squares of a mask."""
    import shapely

    rows, columns = np.nonzero(mask)
    outline: shapely.Polygon | shapely.MultiPolygon = shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1))  # type: ignore[assignment]
    return outline


def _affine(*, width: float, height: float, south_up: bool, turn: float, shear: float, x: float, y: float) -> Affine:
    """Return a transform that scales, then shears, then rotates, then moves."""
    from affine import Affine

    cosine, sine = math.cos(turn), math.sin(turn)
    down = height if south_up else -height
    return Affine(cosine * width, (cosine * shear - sine) * down, x, sine * width, (sine * shear + cosine) * down, y)


def _moved(affine: Affine, xy: tuple[float, float]) -> Affine:
    """Return a transform whose first corner lies at a place."""
    from affine import Affine

    return Affine(affine.a, affine.b, xy[0], affine.d, affine.e, xy[1])


def _area_of_use(crs: CRSLike) -> tuple[Any, tuple[float, float, float, float], float]:
    """Return a CRS of pyproj, its area of use in degrees (west, south, east, north), and the metres of its unit."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        system = CRS.from_user_input(crs)
    except CRSError as error:
        raise OptionError(f"{crs!r} is not a coordinate reference system ({error}).") from None
    area = system.area_of_use
    if area is None:
        raise OptionError(f"the area of use of {crs!r} is unknown; give a CRS of a register, such as EPSG.")
    east = area.east + 360 if area.east < area.west else area.east
    unit_m = METRES_PER_DEGREE if system.is_geographic else float(system.axis_info[0].unit_conversion_factor)
    return system, (area.west, area.south, east, area.north), unit_m


def _corner(system: pyproj.CRS, bounds: tuple[float, float, float, float], u: float, v: float) -> tuple[float, float]:
    """Return the coordinates of the place at fractions of an area of use."""
    from pyproj import Transformer

    west, south, east, north = bounds
    longitude = (west + u * (east - west) + 180) % 360 - 180
    there = Transformer.from_crs("EPSG:4326", system, always_xy=True)
    x, y = there.transform(longitude, south + v * (north - south))
    return float(x), float(y)

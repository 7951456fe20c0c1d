"""Dasymetric mapping: distribution of census counts among buildings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.geo.coordinates.area import area_m2
from samgeo.geo.coordinates.reprojection import reproject_frame
from samgeo.geo.vector.reading import SUFFIXES, read_vectors, split_layer
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import rasterio

__all__ = ["Allocation", "allocate_population"]

# Each cell with people becomes a unit, so that their number is limited to what fits into memory.
MOST_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Result of `allocate_population`: buildings and census units with their numbers of people.

    Attributes
    ----------
    buildings : GeoDataFrame
        The given buildings, with the column ``population``.
    units : GeoDataFrame
        The given census units. If the census is a raster, each of its cells with people is one polygon. The columns are the
        number of ``buildings`` in each unit, and the people ``allocated`` and ``unallocated``. The people of a unit without
        buildings are unallocated, so that the sum of the two columns is the census.
    """

    buildings: gpd.GeoDataFrame
    units: gpd.GeoDataFrame

    @property
    def allocated(self) -> float:
        """Number of people in buildings."""
        return float(self.units.allocated.sum())

    @property
    def unallocated(self) -> float:
        """Number of people in units that have no building with a weight above 0."""
        return float(self.units.unallocated.sum())

    @property
    def without_buildings(self) -> gpd.GeoDataFrame:
        """Units that have people, but no building with a weight above 0."""
        return self.units[self.units.unallocated > 0]


@check_types
def allocate_population(
    census: FeaturesLike,
    buildings: FeaturesLike,
    *,
    population: str = "population",
    weight: str = "area",
    height: str = "height_m",
    integers: bool = False,
) -> Allocation:
    """Distribute the people of each census unit among the buildings in it.

    Each building of a unit gets people in proportion to its weight. The weight of a building that crosses a border is divided
    among the units in proportion to its area in each of them. The part of a building outside all units gets no people. Totals
    are conserved: the people in buildings and the unallocated people add up to the census, exactly if ``integers`` is true,
    otherwise within the rounding of floats.

    Parameters
    ----------
    census : path, GeoDataFrame, or path of a raster
        Polygons that do not overlap, with a column of people; or a raster with the number of people in each cell, such as the
        population count (not density) of GPWv4. The cells of a raster are the units.
    buildings : path or GeoDataFrame
        Polygons in any CRS.
    population : str, default "population"
        Name of the census column with the numbers of people.
    weight : str, default "area"
        "area" for the true area; "volume" for the area times ``height``; or the name of a column of the buildings, such as the
        floor area.
    height : str, default "height_m"
        Name of the column of heights for "volume".
    integers : bool, default False
        Whether to allocate whole people. Numbers are rounded by the method of largest remainders: first among the units, so
        that they add up to the rounded total, then among the buildings of each unit.

    Returns
    -------
    Allocation
        The buildings and the units with their numbers of people.

    Raises
    ------
    OptionError
        If a column is missing, or a count or a weight is negative or missing.
    VectorError, RasterError
        If an input cannot be read or has no CRS.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.buildings import allocate_population
    >>> x, y = 500_000, 5_400_000
    >>> census = gpd.GeoDataFrame({"population": [90]}, geometry=[box(x, y, x + 100, y + 100)], crs="EPSG:32633")
    >>> houses = [box(x, y, x + 10, y + 10), box(x + 50, y, x + 70, y + 10)]
    >>> buildings = gpd.GeoDataFrame(geometry=houses, crs="EPSG:32633")
    >>> allocate_population(census, buildings, integers=True).buildings["population"].tolist()
    [30, 60]
    """
    buildings = read_vectors(buildings)
    units = _units(census, population)
    if buildings.crs is None or units.crs is None:
        which = "buildings" if buildings.crs is None else "census"
        raise VectorError(f"the {which} have no CRS, so that they cannot be located; set their CRS with .set_crs(...) first.")
    people = _numbers(units, population, "people", "census")
    weights = _weights(buildings, weight, height)
    there = _valid(reproject_frame(buildings, units.crs, name="the layer of buildings", near=units).geometry)
    areas = shapely.area(there)
    places = _valid(units.geometry)
    j, i = shapely.STRtree(there).query(places, predicate="intersects")[::-1] if len(there) else (np.empty(0, int),) * 2
    shared = shapely.area(shapely.intersection(there[j], places[i]))
    inside = shared > 0
    i, j, shared = i[inside], j[inside], shared[inside]
    pieces = weights[j] * shared / areas[j]
    totals = np.bincount(i, pieces, minlength=len(units))
    counts = _whole(people, round(float(people.sum()))) if integers else people
    holds = totals > 0
    got = np.zeros(len(pieces))
    used = holds[i]
    got[used] = counts[i[used]] * (pieces[used] / totals[i[used]])
    if integers:
        got = _whole_by_unit(got, i, counts)
    allocated = np.where(holds, counts, 0.0)
    kind = np.int64 if integers else np.float64
    columns = {
        "buildings": np.bincount(i, minlength=len(units)),
        "allocated": allocated.astype(kind),
        "unallocated": (counts - allocated).astype(kind),
    }
    of_buildings = np.bincount(j, got, minlength=len(buildings)).astype(kind)
    return Allocation(buildings.assign(population=of_buildings), units.assign(**columns))


def _units(census: FeaturesLike, population: str) -> gpd.GeoDataFrame:
    from samgeo.geo.drivers import open_raster

    if isinstance(census, str | os.PathLike) and Path(split_layer(census)[0]).suffix.lower() not in {*SUFFIXES, ".shp", ".zip"}:
        try:
            dataset = open_raster(os.fspath(census), os.fspath(census))
        except RasterioIOError:
            return read_vectors(census)  # If the file is not a vector file either, this raises the error for the user.
        with dataset:
            return _cells(dataset, population)
    return read_vectors(census)


def _cells(dataset: rasterio.DatasetReader, population: str) -> gpd.GeoDataFrame:
    """Return one polygon for each cell of a raster that has people."""
    if dataset.crs is None:
        raise RasterError(
            f"{dataset.name} has no CRS, so that buildings cannot be located in it; assign its CRS (gdal_edit.py -a_srs)."
        )
    if dataset.width * dataset.height > 64 * MOST_CELLS:
        raise OptionError(
            f"{dataset.name} has {dataset.width} x {dataset.height} cells, which are too many; clip it to the area of the "
            "buildings."
        )
    counts = np.ma.filled(dataset.read(1, masked=True).astype(np.float64), np.nan)
    if (counts < 0).any():
        raise OptionError(f"{dataset.name} has cells with negative counts; set its nodata value (gdal_edit.py -a_nodata).")
    row, column = np.nonzero(np.nan_to_num(counts) > 0)
    if len(row) > MOST_CELLS:
        raise OptionError(
            f"{dataset.name} has {len(row):,} cells with people, which are too many; clip it to the area of the buildings."
        )
    corners = np.stack([np.stack([column + x, row + y], axis=1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], axis=1)
    xy = np.stack(dataset.transform * (corners[..., 0], corners[..., 1]), axis=-1)
    return gpd.GeoDataFrame({population: counts[row, column]}, geometry=shapely.polygons(xy), crs=dataset.crs)


def _weights(buildings: gpd.GeoDataFrame, weight: str, height: str) -> NDArray[np.float64]:
    if weight not in ("area", "volume"):
        return _numbers(buildings, weight, "weights", "buildings")
    area = area_m2(buildings.geometry, buildings.crs)
    return area if weight == "area" else area * _numbers(buildings, height, "heights", "buildings")


def _numbers(frame: gpd.GeoDataFrame, column: str, what: str, of: str) -> NDArray[np.float64]:
    if column not in frame:
        raise OptionError(f"the {of} have no column {column!r} of {what}; give one of {', '.join(map(str, frame.columns))}.")
    try:
        values = frame[column].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"column {column!r} of the {of} does not hold numbers ({error}); give another column.") from None
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise OptionError(f"column {column!r} of the {of} is {values[row]} in row {row}; give {what} of 0 or more.")
    return np.asarray(values, dtype=np.float64)


def _valid(geometry: gpd.GeoSeries) -> NDArray[np.object_]:
    return np.asarray(shapely.make_valid(np.array(geometry.array, dtype=object)), dtype=object)


def _whole(values: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """Round numbers to whole ones that add up to a total, by the method of largest remainders."""
    floor = np.floor(values)
    missing = total - int(floor.sum())
    up = np.argsort(-(values - floor), kind="stable")[:missing]
    floor[up] += 1
    return floor


def _whole_by_unit(got: NDArray[np.float64], unit: NDArray[np.intp], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round the people of the buildings in each unit, so that they add up to the count of the unit."""
    result = np.zeros_like(got)
    order = np.argsort(unit, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(unit[order])) + 1):
        if len(rows) and got[rows].any():
            result[rows] = _whole(got[rows], int(counts[unit[rows[0]]]))
    return result

"""Equal-area planes in metres, in which objects with coordinates in any CRS are measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from samgeo.geo.coordinates.antimeridian import middle_of, period_of

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Planes", "batches"]

# Lambert's azimuthal equal-area projection preserves areas everywhere. At c radians from its centre it stretches lengths by
# 1 / cos(c / 2): by 2e-5 in the corners of a cell of one degree, a fifth of a millimetre over ten metres.
CELL_DEGREES = 1.0
COLUMNS = 1000

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Planes:
    """The measuring planes for one CRS: one plane for each cell of one degree of longitude and latitude.

    Without a CRS there is one plane, that of the coordinates. If the CRS has no relation to the earth, there is one plane too,
    with the coordinates converted to metres.

    Attributes
    ----------
    crs : pyproj.CRS or None
        CRS of the coordinates.
    middle_x : float, default 0
        x in the middle of the objects. Where x repeats around the earth, coordinates are taken within half a turn of it.
    """

    crs: Any
    middle_x: float = 0.0

    @classmethod
    def around(cls, frame: gpd.GeoDataFrame) -> Planes:
        """Return the planes for the CRS of a layer, around the middle of its objects."""
        return cls(frame.crs, middle_of(frame.geometry.to_numpy(), period_of(frame.crs)))

    @property
    def unit(self) -> str:
        """Unit of lengths: ``"m"``, or ``"px"`` without a CRS."""
        return "px" if self.crs is None else "m"

    def cells_of(self, geometries: NDArray[np.object_]) -> NDArray[np.int64]:
        """Return the cell of the centre of each geometry's bounding box; -1 where it is not on the earth."""
        bounds = shapely.bounds(geometries)
        centres = (bounds[:, :2] + bounds[:, 2:]) / 2
        known = np.isfinite(bounds).all(axis=1)
        if not self._on_earth:
            return np.where(known, 0, NOWHERE)
        lon, lat = (np.degrees(axis) for axis in self._radians(centres))
        known &= np.isfinite(lon) & np.isfinite(lat)
        row, column = (np.floor(np.where(known, axis, 0) / CELL_DEGREES).astype(np.int64) for axis in (lat, lon))
        return np.where(known, (row + 180) * COLUMNS + column + COLUMNS // 2, NOWHERE)

    def place(self, geometries: NDArray[np.object_], cell: int) -> NDArray[np.object_]:
        """Return geometries in the plane of a cell; geometries that rounding has made invalid are repaired."""
        if self.crs is None:
            return geometries
        placed = np.asarray(shapely.transform(geometries, lambda xy: self._to_plane(xy, cell)), dtype=object)
        broken = ~shapely.is_valid(placed)
        if broken.any():
            placed[broken] = shapely.make_valid(placed[broken])
        return placed

    @property
    def _on_earth(self) -> bool:
        return self.crs is not None and self.crs.geodetic_crs is not None

    def _to_plane(self, xy: NDArray[np.float64], cell: int) -> NDArray[np.float64]:
        if not self._on_earth:
            return np.asarray(xy * self.crs.axis_info[0].unit_conversion_factor, dtype=np.float64)
        row, column = cell // COLUMNS - 180, cell % COLUMNS - COLUMNS // 2
        geod = self.crs.get_geod()
        plane = pyproj.Proj(
            proj="laea", lat_0=(row + 0.5) * CELL_DEGREES, lon_0=(column + 0.5) * CELL_DEGREES, a=geod.a, b=geod.b
        )
        return np.stack(plane(*self._radians(xy), radians=True), axis=-1)

    def _radians(self, xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return longitude and latitude in radians."""
        geodetic = self.crs.geodetic_crs
        lon, lat = pyproj.Transformer.from_crs(self.crs, geodetic, always_xy=True).transform(xy[:, 0], xy[:, 1])
        factor = geodetic.axis_info[0].unit_conversion_factor
        return np.asarray(lon) * factor, np.asarray(lat) * factor


def batches(cells: NDArray[np.int64], size: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Split objects into groups of one cell and at most ``size``; yield the cell and the indices of the objects."""
    order = np.argsort(cells, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(cells[order])) + 1):
        for start in range(0, len(group), size):
            yield int(cells[group[0]]), group[start : start + size]

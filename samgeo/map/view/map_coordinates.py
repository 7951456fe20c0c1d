"""Convert coordinates between a raster and the map: raster pixels, latitudes and longitudes, and the screen's plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.geo.coordinates.pixel_coordinates import inward_to
from samgeo.geo.coordinates.prompt_geometry import PIXELS, from_pixels

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["MapPlacement"]

RADIUS_M = 6_378_137.0
"""Radius in metres of the sphere of Web Mercator (EPSG:3857)."""

MERCATOR_LIMIT = 85.05
WGS84 = "EPSG:4326"
EDGE_POINTS = 33

# A raster without a CRS covers at most this many of the map's degrees, because front ends only support the globe's range.
SPAN = 64.0

ROUND_PX = 16


@dataclass(frozen=True, slots=True)
class MapPlacement:
    """The position of a raster on the map.

    A raster with a CRS is shown on the globe in Web Mercator. A raster without a CRS is shown in a plane of its own, with its
    rows running down; one "degree" of the plane is ``px_per_degree`` pixels. The same holds for a raster that Web Mercator
    cannot show, at the poles or across the 180th meridian.

    Attributes
    ----------
    geobox : GeoBox
        The grid of the raster.
    px_per_degree : float or None
        Raster pixels per degree of the plane; None on the globe.
    """

    geobox: GeoBox
    px_per_degree: float | None

    @classmethod
    def of(cls, geobox: GeoBox) -> MapPlacement:
        """Return the position for a raster."""
        if geobox.crs is not None and _fits_mercator(geobox):
            return cls(geobox, None)
        return cls(geobox, 2.0 ** math.ceil(math.log2(max(*geobox.shape, SPAN) / SPAN)))

    @property
    def crs(self) -> str:
        """The CRS of the coordinates that `to_xy` returns, for prompts: "EPSG:4326" or "pixels"."""
        return WGS84 if self.px_per_degree is None else PIXELS

    def to_xy(self, lat: float, lng: float) -> tuple[float, float]:
        """Convert a position on the map to x and y in `crs`."""
        if self.px_per_degree is None:
            return lng, lat
        return lng * self.px_per_degree, -lat * self.px_per_degree

    def to_pixels(self, latlng: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert map positions, shape (..., 2), to raster pixels; NaN for positions outside the range of the raster's CRS."""
        if self.px_per_degree is None:
            return inward_to(self.geobox, WGS84)(latlng[..., ::-1])
        return np.stack([latlng[..., 1], -latlng[..., 0]], axis=-1) * self.px_per_degree

    def from_pixels(self, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert raster pixels, shape (..., 2), to latitudes and longitudes."""
        if self.px_per_degree is None:
            return from_pixels(xy_px, self.geobox, WGS84)[..., ::-1]
        return np.stack([-xy_px[..., 1], xy_px[..., 0]], axis=-1) / self.px_per_degree

    def to_plane(self, latlng: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert map positions, shape (..., 2), to the plane of the screen: x right, y up, with the same unit in both."""
        if self.px_per_degree is not None:
            return np.asarray(latlng[..., ::-1])
        lat, lng = np.radians(latlng[..., 0]), np.radians(latlng[..., 1])
        return np.stack([lng, np.arctanh(np.sin(lat))], axis=-1) * RADIUS_M

    def from_plane(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert coordinates in the plane of the screen to latitudes and longitudes."""
        if self.px_per_degree is not None:
            return np.asarray(xy[..., ::-1])
        lat, lng = np.arcsin(np.tanh(xy[..., 1] / RADIUS_M)), xy[..., 0] / RADIUS_M
        return np.stack([np.degrees(lat), np.degrees(lng)], axis=-1)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """South, west, north and east of the raster."""
        latlng = self.from_pixels(_outline_px(self.geobox))
        (south, west), (north, east) = latlng.min(axis=0).tolist(), latlng.max(axis=0).tolist()
        return south, west, north, east

    def to_geojson(self, geometry: shapely.Geometry) -> dict[str, Any]:
        """Return a geometry in the raster's CRS as GeoJSON for the map, rounded to a small part of a pixel."""
        inverse = np.array((~self.geobox.affine)[:6]).reshape(2, 3)
        decimals = self._decimals

        def transform(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            latlng = self.from_pixels(xy @ inverse[:, :2].T + inverse[:, 2])
            return np.round(latlng[:, ::-1], decimals)

        mapping: dict[str, Any] = shapely.transform(geometry, transform).__geo_interface__  # type: ignore[attr-defined]
        return mapping

    def describe(self, lat: float, lng: float) -> str:
        """Return a position as text: the coordinates in the CRS of the raster, and the pixel; empty if it has none."""
        x_px, y_px = self.to_pixels(np.array((lat, lng))).tolist()
        if not np.isfinite([x_px, y_px]).all():
            return ""
        pixel = f"pixel {math.floor(x_px)}, {math.floor(y_px)}"
        if self.geobox.crs is None:
            return pixel
        x, y = self.geobox.affine * (x_px, y_px)
        decimals = 6 if self.geobox.crs.geographic else 1
        name = f"EPSG:{self.geobox.crs.epsg}" if self.geobox.crs.epsg else self.geobox.crs.proj.name
        return f"{x:.{decimals}f}, {y:.{decimals}f} ({name}), {pixel}"

    def bounds_of(self, geometry: shapely.Geometry) -> tuple[float, float, float, float]:
        """Return south, west, north and east of a geometry in the raster's CRS."""
        west, south, east, north = shapely.bounds(shapely.geometry.shape(self.to_geojson(geometry))).tolist()
        return south, west, north, east

    @property
    def _decimals(self) -> int:
        height, width = self.geobox.shape
        corners = self.from_pixels(np.array([[0.0, 0.0], [width, height]]))
        return math.ceil(-math.log10(float(np.abs(corners[1] - corners[0]).max()) / max(height, width) / ROUND_PX))


def _outline_px(geobox: GeoBox) -> NDArray[np.float64]:
    height, width = geobox.shape
    along = np.linspace(0, 1, EDGE_POINTS)
    x, y = np.meshgrid(along * width, along * height)
    edge = (x == 0) | (y == 0) | (x == width) | (y == height)
    return np.stack([x[edge], y[edge]], axis=-1)


def _fits_mercator(geobox: GeoBox) -> bool:
    """Whether the whole raster has latitudes and longitudes, away from the poles, and does not cross the 180th meridian."""
    height, width = geobox.shape
    along = np.linspace(0, 1, EDGE_POINTS)
    x, y = np.meshgrid(along * width, along * height)
    lng, lat = np.moveaxis(from_pixels(np.stack([x, y], axis=-1), geobox, WGS84), -1, 0)
    if not (np.isfinite(lng).all() and np.isfinite(lat).all() and np.abs(lat).max() <= MERCATOR_LIMIT):
        return False
    steps = [np.abs(np.diff(lng, axis=axis)).max() for axis in (0, 1)]
    return bool(max(steps) < 180 and np.abs(lng).max() <= 360)

"""The handles of an outline on the screen: which of its vertices have one, and where the middles of its edges are.

An outline that follows pixels has hundreds of vertices, most of which cannot be told apart on the screen. Those vertices have a
handle that the algorithm of Douglas and Peucker keeps with a tolerance of 3 screen pixels, and those that lie 20 screen pixels
or more along the outline from the handles on both sides. If these are more than 300 in view, both distances are doubled until
they are not. After zooming in, the same distances keep more of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.screen import TILE_M

if TYPE_CHECKING:
    from samgeo.map.editing.outline import Outline
    from samgeo.map.view.viewport import View

__all__ = ["Handle", "Screen", "handles_of"]

TOLERANCE_PX, SPACING_PX = 3.0, 20.0
MOST = 300
EDGE_PX = 2 * SPACING_PX + 1
"""Shorter edges have no handle in their middle: as a vertex it would have none either."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The pixels of the page for places on a raster.

    Attributes
    ----------
    place : MapPlacement
        The position of the raster on the map.
    zoom : float
        The zoom of the map.
    """

    place: MapPlacement
    zoom: float

    @property
    def unit(self) -> float:
        """Size of a pixel of the page in the plane of the screen."""
        return float((TILE_M if self.place.px_per_degree is None else 1.0) / 2**self.zoom)

    def latlng(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert coordinates in the raster's CRS, shape (N, 2), to latitudes and longitudes."""
        inverse = np.array((~self.place.geobox.affine)[:6]).reshape(2, 3)
        return self.place.from_pixels(xy @ inverse[:, :2].T + inverse[:, 2])

    def to_screen(self, latlng: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert latitudes and longitudes to pixels of the page: x to the right and y down, from an arbitrary origin."""
        return self.place.to_plane(latlng) / self.unit * (1, -1)

    def shifted(self, xy: tuple[float, float], by_px: tuple[float, float]) -> tuple[float, float]:
        """Return the place in the raster's CRS that lies a number of pixels of the page from another one."""
        plane = self.place.to_plane(self.latlng(np.array([xy])))[0] + np.array(by_px) * (1, -1) * self.unit
        x_px, y_px = self.place.to_pixels(self.place.from_plane(plane)).tolist()
        x, y = self.place.geobox.affine * (x_px, y_px)
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle on a vertex, or in the middle of an edge.

    Attributes
    ----------
    ring, vertex : int
        The ring of the `Outline`, and the vertex; for the middle of an edge the vertex before it.
    before, after : int
        The vertices with handles on both sides, also where these are out of view; for the middle of an edge those at its ends.
    is_middle : bool
    latlng : (float, float)
        Its position on the map.
    arms : tuple of 4 float
        From the handle to the handles before and after it: x, y, x, y in pixels of the page.
    """

    ring: int
    vertex: int
    before: int
    after: int
    is_middle: bool
    latlng: tuple[float, float]
    arms: tuple[float, float, float, float]


def handles_of(outline: Outline, screen: Screen, view: View | None) -> tuple[list[Handle], int]:
    """Return the handles in view, and how many vertices in view have none.

    Parameters
    ----------
    outline : Outline
        In the raster's CRS.
    screen : Screen
    view : View or None
        The part of the map on the screen; None if it is not known, and everything counts as in view.
    """
    latlng = [screen.latlng(ring) for ring in outline.rings]
    at_px = [screen.to_screen(one) for one in latlng]
    seen = [_in_view(one, view) for one in latlng]
    scale = 1.0
    kept = [_thinned(ring, scale) for ring in at_px]
    while sum(int(shown[chosen].sum()) for shown, chosen in zip(seen, kept, strict=True)) > MOST:
        scale *= 2
        kept = [_thinned(ring, scale) for ring in at_px]
    found: list[Handle] = []
    for number, chosen in enumerate(kept):
        found += _of_ring(number, chosen, screen, (latlng[number], at_px[number]), view)
    shown = sum(not one.is_middle for one in found)
    return found, sum(int(one.sum()) for one in seen) - shown


def _of_ring(
    ring: int,
    chosen: NDArray[np.int64],
    screen: Screen,
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
    view: View | None,
) -> list[Handle]:
    latlng, at_px = places
    count, before, after = len(latlng), np.roll(chosen, 1), np.roll(chosen, -1)
    found = []
    arms = np.concatenate([at_px[before] - at_px[chosen], at_px[after] - at_px[chosen]], axis=1)
    shown = _in_view(latlng[chosen], view)
    rows = zip(chosen.tolist(), before.tolist(), after.tolist(), arms.tolist(), shown.tolist(), strict=True)
    for vertex, left, right, (x0, y0, x1, y1), is_shown in rows:
        if is_shown:
            lat, lng = latlng[vertex].tolist()
            found.append(Handle(ring, vertex, left, right, False, (lat, lng), (x0, y0, x1, y1)))
        if right == (vertex + 1) % count and np.hypot(x1, y1) >= EDGE_PX:
            plane = (screen.place.to_plane(latlng[vertex]) + screen.place.to_plane(latlng[right])) / 2
            middle = screen.place.from_plane(plane)
            if _in_view(middle[None], view)[0]:
                lat, lng = middle.tolist()
                found.append(Handle(ring, vertex, vertex, right, True, (lat, lng), (-x1 / 2, -y1 / 2, x1 / 2, y1 / 2)))
    return found


def _thinned(ring: NDArray[np.float64], scale: float) -> NDArray[np.int64]:
    """Return the vertices of a ring that have a handle, three or more, with the two distances times ``scale``."""
    count = len(ring)
    if count <= 3:
        return np.arange(count, dtype=np.int64)
    far = int(np.hypot(*(ring - ring[0]).T).argmax())
    third = int(_distance(ring, ring[0], ring[far]).argmax())
    ends = sorted({0, far, third})
    closed = np.arange(count + 1, dtype=np.int64) % count
    lines = [closed[start : end + 1] for start, end in zip(ends, [*ends[1:], count], strict=True)]
    corners = np.unique(np.concatenate([_line_thinned(ring, line, TOLERANCE_PX * scale) for line in lines]))
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring[closed], axis=0).T))])
    return _filled(corners, along, SPACING_PX * scale)


def _filled(corners: NDArray[np.int64], along: NDArray[np.float64], spacing: float) -> NDArray[np.int64]:
    """Return the vertices ``corners`` and those between them that have a distance along the ring to the ones on both sides."""
    kept: list[int] = []
    for start, end in zip(corners.tolist(), [*corners[1:].tolist(), len(along) - 1], strict=True):
        kept.append(start)
        while (following := int(np.searchsorted(along, along[kept[-1]] + spacing))) < end and along[end] - along[
            following
        ] >= spacing:
            kept.append(following)
    return np.array(kept, dtype=np.int64)


def _line_thinned(ring: NDArray[np.float64], numbers: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    # The number of the vertex is the third coordinate, which GEOS keeps and does not use.
    line = shapely.linestrings(np.column_stack([ring[numbers], numbers]))
    simple = shapely.simplify(line, tolerance, preserve_topology=False)
    return shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.int64)


def _distance(points: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    along = other - one
    return np.asarray(np.abs(along[0] * (points[:, 1] - one[1]) - along[1] * (points[:, 0] - one[0])))


def _in_view(latlng: NDArray[np.float64], view: View | None) -> NDArray[np.bool_]:
    if view is None:
        return np.ones(len(latlng), dtype=np.bool_)
    lat, lng = latlng.T
    return np.asarray((view.south <= lat) & (lat <= view.north) & (view.west <= lng) & (lng <= view.east))

"""Objects in the pixels of a raster: their outlines, their groups, and drawing them on a part of the raster."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.overlay import around_raster, check_same_kind, in_pixels, repaired_polygons
from samgeo.geo.coordinates.pixel_coordinates import crs_of, same_crs
from samgeo.geo.grid import Rect
from samgeo.geo.vector.axes import refuse_mirrored
from samgeo.geo.vector.reading import read_vectors

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.types import FeaturesLike

__all__ = ["Holes", "ObjectsPx"]

WHAT = "the objects"
DIGEST_BYTES = 16

# Number of pixels around a rectangle within which outlines are drawn; it must be above 1.
AROUND_PX = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class ObjectsPx:
    """Polygons in the pixels of a raster.

    Attributes
    ----------
    polygons : ndarray of shapely geometries, shape (N,)
        The outlines of those objects that touch the raster; valid and not empty.
    given : int
        Number of objects that were given, with those outside the raster.
    """

    polygons: NDArray[np.object_]
    given: int

    @classmethod
    def read(cls, objects: FeaturesLike, geobox: GeoBox, *, name: str) -> ObjectsPx:
        """Read objects, and transform them to the pixels of a raster.

        Parameters
        ----------
        objects : path, GeoDataFrame, GeoSeries, geometry or a list of geometries
            Polygons in any CRS. Bare geometries are in the CRS of the raster. Features without geometry are left out.
        geobox : GeoBox
            Grid of the raster.
        name : str
            Name of the raster, for messages.

        Raises
        ------
        VectorError
            If the objects cannot be read or placed, or are no polygons.
        OptionError
            If there are objects, and none of them touches the raster.
        """
        crs = crs_of(geobox)
        if isinstance(objects, shapely.Geometry | list | tuple | np.ndarray):
            geometries = np.array([objects] if isinstance(objects, shapely.Geometry) else list(objects), dtype=object)
            wrong = [one for one in geometries if one is not None and not isinstance(one, shapely.Geometry)]
            if wrong:
                raise VectorError(f"{WHAT} contain a {type(wrong[0]).__name__}; give polygons of shapely, a table or a file.")
        else:
            frame = read_vectors(objects)
            refuse_mirrored(frame, geobox, WHAT)
            geometries, crs = frame.geometry.to_numpy(), frame.crs
        outlines = repaired_polygons(geometries, WHAT)
        outlines = outlines[shapely.area(outlines) > 0]
        given = len(outlines)
        if not given:
            return cls(outlines, 0)
        check_same_kind(crs, geobox, what=WHAT, raster=name)
        outlines = _near(outlines, geobox, crs)
        placed, lost = in_pixels(outlines, geobox, crs)
        if lost.any():
            raise VectorError(
                f"{int(lost.sum())} of {WHAT} cannot be transformed to the CRS of {name}, because a part of each lies outside "
                "the domain of that CRS. Clip them to the area that you need, or give them in the raster's CRS."
            )
        valid = repaired_polygons(placed, WHAT)
        height, width = geobox.shape
        there = valid[shapely.area(shapely.clip_by_rect(valid, 0, 0, width, height)) > 0]
        if not len(there):
            raise OptionError(
                f"none of {given} objects touches {name}; check their CRS, and that they are in the area of the raster."
            )
        return cls(there, given)

    def digest(self) -> str:
        """Return a digest of the outlines in pixels, whatever their order."""
        content = sorted(shapely.to_wkb(shapely.normalize(self.polygons)))
        return blake2b(b"".join(content), digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Holes:
    """Outlines to draw, in groups that are so far apart that each can be treated without the others.

    Attributes
    ----------
    polygons : ndarray of shapely geometries, shape (N,)
        Outlines in pixels.
    group : ndarray of int, shape (N,)
        Number of the group of each outline, from 0.
    bounds : ndarray of float, shape (G, 4)
        x0, y0, x1, y1 of each group, with the distance to other groups.
    tree : shapely.STRtree
        Index of the outlines.
    """

    polygons: NDArray[np.object_]
    group: NDArray[np.int64]
    bounds: NDArray[np.float64]
    tree: shapely.STRtree

    @classmethod
    def of(cls, objects: ObjectsPx, *, grow_px: float, apart_px: float = 0.0) -> Holes:
        """Grow objects, and join those into groups that are nearer than twice ``apart_px``.

        Parameters
        ----------
        objects : ObjectsPx
            The objects.
        grow_px : float
            Width in pixels by which each outline is grown.
        apart_px : float
            Half of the smallest distance of groups. With 0, all outlines are one group.
        """
        polygons = objects.polygons if grow_px == 0 else np.asarray(shapely.buffer(objects.polygons, grow_px), dtype=object)
        tree = shapely.STRtree(polygons)
        if not len(polygons):
            return cls(polygons, np.zeros(0, dtype=np.int64), np.zeros((0, 4)), tree)
        if apart_px == 0:
            bounds = np.asarray(shapely.total_bounds(polygons), dtype=np.float64).reshape(1, 4)
            return cls(polygons, np.zeros(len(polygons), dtype=np.int64), bounds, tree)
        parts = shapely.get_parts(shapely.union_all(shapely.buffer(polygons, apart_px)))
        group = np.zeros(len(polygons), dtype=np.int64)
        number, owner = shapely.STRtree(parts).query(shapely.point_on_surface(polygons), predicate="intersects")
        group[number] = owner
        return cls(polygons, group, np.asarray(shapely.bounds(parts), dtype=np.float64), tree)

    def draw(self, rect: Rect) -> NDArray[np.int32]:
        """Draw the outlines that touch a rectangle.

        Returns
        -------
        ndarray of int32, shape (h, w)
            The number of the group plus 1 where the centre of a pixel is inside of an outline; 0 elsewhere.
        """
        edges = (rect.x0 - AROUND_PX, rect.y0 - AROUND_PX, rect.x1 + AROUND_PX, rect.y1 + AROUND_PX)
        found = np.sort(self.tree.query(shapely.box(*edges)))
        near = shapely.clip_by_rect(self.polygons[found], *edges)
        shapes = [
            (shape, int(number) + 1)
            for shape, number in zip(near, self.group[found], strict=True)
            if shapely.get_dimensions(shape) == 2 and not shape.is_empty
        ]
        if not shapes:
            return np.zeros(rect.shape, dtype=np.int32)
        drawn: NDArray[np.int32] = rasterize(
            shapes, out_shape=rect.shape, transform=Affine.translation(rect.x0, rect.y0), dtype="int32"
        )
        return drawn


def _near(outlines: NDArray[np.object_], geobox: GeoBox, crs: object) -> NDArray[np.object_]:
    """Leave out the outlines that are far from the raster, because they may not exist in its CRS."""
    import pyproj

    ours = crs_of(geobox)
    if ours is None or not isinstance(crs, pyproj.CRS) or same_crs(crs, ours):
        return outlines
    around = around_raster(geobox, crs)
    if around is None:
        return outlines
    return np.asarray(outlines[shapely.intersects(outlines, around)], dtype=object)

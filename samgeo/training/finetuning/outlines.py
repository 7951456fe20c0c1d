"""Outlines of objects in the pixels of an image, from vector files, tables, geometries or label images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes

from samgeo.errors import VectorError
from samgeo.geo.coordinates.prompt_geometry import read_polygons
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.types import CRSLike, FeaturesLike

__all__ = ["MIN_AREA_PX", "Outlines", "draw_outlines", "read_outlines"]

# Training draws no smaller objects.
MIN_AREA_PX = 30


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The usable outlines of an image.

    Attributes
    ----------
    polygons : ndarray of shapely geometries, shape (N,)
        In pixels of the image. The largest is first.
    given : int
        Number of outlines that were given.
    outside, small : int
        Numbers of those that were left out because they lie outside the image, or have fewer than ``MIN_AREA_PX`` pixels.
    """

    polygons: NDArray[np.object_]
    given: int
    outside: int
    small: int

    @property
    def bounds(self) -> NDArray[np.float64]:
        """Bounding boxes in pixels, shape (N, 4): x0, y0, x1, y1."""
        return np.asarray(shapely.bounds(self.polygons), dtype=np.float64).reshape(-1, 4)

    def left_out(self) -> str:
        """Return what was left out, as a text for messages; empty if nothing was."""
        parts = {"lie outside the image": self.outside, f"have fewer than {MIN_AREA_PX} pixels": self.small}
        return " and ".join(f"{count} {what}" for what, count in parts.items() if count)


def read_outlines(outlines: FeaturesLike, raster: Raster, crs: CRSLike = None) -> Outlines:
    """Read outlines, and transform them to pixels of an image.

    Parameters
    ----------
    outlines : path, GeoDataFrame, GeoSeries, geometries, or ndarray of int, shape (H, W)
        Polygons; or a label image with the number of the object of each pixel, where 0 is no object.
    raster : Raster
        The image.
    crs : anything that pyproj takes, optional
        CRS of bare geometries; that of the image by default.

    Returns
    -------
    Outlines

    Raises
    ------
    VectorError
        If the outlines cannot be read or placed on the image, or none of them is a polygon that lies on the image.
    """
    if isinstance(outlines, np.ndarray) and outlines.dtype != object:
        polygons = _of_labels(outlines, raster)
    else:
        polygons, _ = read_polygons(outlines, geobox=raster.geobox, crs=crs)
    given = polygons[~shapely.is_empty(polygons)]
    if not len(given):
        raise VectorError("there are no outlines; give polygons of the objects.")
    height, width = raster.shape
    inside = np.asarray(shapely.clip_by_rect(given, 0, 0, width, height), dtype=object)
    areas = shapely.area(inside)
    is_outside = areas <= 0
    if is_outside.all():
        raise VectorError(
            f"none of the {len(given)} outlines lies on {raster.name}, which has {height} x {width} pixels; check the CRS of "
            "both, and that the outlines belong to this image."
        )
    usable = areas >= MIN_AREA_PX
    order = np.argsort(-areas[usable], kind="stable")
    kept = np.asarray(given[usable][order], dtype=object)
    return Outlines(kept, len(given), int(is_outside.sum()), int((~usable & ~is_outside).sum()))


def draw_outlines(polygons: NDArray[np.object_], rect: Rect) -> NDArray[np.uint16]:
    """Draw polygons in pixels of an image, numbered from 1 in their order; later ones are drawn over earlier ones.

    Parameters
    ----------
    polygons : ndarray of shapely geometries, shape (N,)
    rect : Rect
        The part of the image that is drawn.

    Returns
    -------
    ndarray of uint16, shape (h, w)
    """
    if not len(polygons):
        return np.zeros(rect.shape, dtype=np.uint16)
    numbered = zip(polygons, range(1, len(polygons) + 1), strict=True)
    drawn = rasterize(numbered, rect.shape, transform=Affine.translation(rect.x0, rect.y0), dtype="uint16")
    return np.asarray(drawn, dtype=np.uint16)


def _of_labels(labels: NDArray[np.generic], raster: Raster) -> NDArray[np.object_]:
    """Return the polygons of a label image; an object in several parts is one multipolygon."""
    if labels.dtype.kind not in "biu" or labels.shape != raster.shape:
        raise VectorError(
            f"the outlines are an array of {labels.dtype} with shape {labels.shape}; give polygons, or a label image of whole "
            f"numbers with the shape {raster.shape} of the image."
        )
    numbers, ids = np.unique(labels, return_inverse=True)
    ids = ids.reshape(labels.shape)
    background = np.flatnonzero(numbers == 0)
    is_object = ids != (background[0] if len(background) else -1)
    parts: dict[int, list[shapely.Geometry]] = {}
    for shape, value in shapes(ids.astype(np.int32), mask=is_object):
        parts.setdefault(int(value), []).append(shapely.geometry.shape(shape))
    found = np.empty(len(parts), dtype=object)
    found[:] = [shapely.union_all(some) for some in parts.values()]
    return found

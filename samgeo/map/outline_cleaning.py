"""Clean outlines of candidates and of waiting masks: largest part, holes, simplification and regularization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely

from samgeo.buildings import regularize, simplify
from samgeo.errors import OptionError
from samgeo.finding.zoom import ground_resolution
from samgeo.map.state.acceptance import largest_part
from samgeo.map.state.clean_options import CleanOptions
from samgeo.segmentation.masks.vectorize import georeference

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["Cleaner"]


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Cleans outlines on a raster.

    Attributes
    ----------
    raster : Raster
    """

    raster: Raster

    def check(self, options: CleanOptions) -> CleanOptions:
        """Check that options can be used with the raster.

        Raises
        ------
        OptionError
            If it is something else, or the tolerance is in metres and the raster has no CRS.
        """
        if not isinstance(options, CleanOptions):
            raise OptionError(f"clean is {options!r}; give samgeo.map.CleanOptions, or call set_clean.")
        if options.unit == "m" and self.raster.geobox.crs is None:
            raise OptionError("the tolerance is in metres, and the raster has no CRS; give it in pixels (unit px).")
        return options

    def __call__(self, geometries: Sequence[shapely.Geometry], options: CleanOptions) -> list[shapely.Geometry]:
        """Return the cleaned outlines.

        Parameters
        ----------
        geometries : sequence of Polygon or MultiPolygon
            In the CRS of the raster.
        options : CleanOptions
        """
        found = list(geometries)
        if options.largest_part:
            found = [largest_part(one) for one in found]
        if options.fill_holes:
            found = [_filled(one) for one in found]
        if (options.simplify or options.regularize) and found:
            found = self._straightened(found, options)
        return found

    def _straightened(self, geometries: Sequence[shapely.Geometry], options: CleanOptions) -> list[shapely.Geometry]:
        """Return simplified or regularized outlines."""
        crs, affine = self.raster.geobox.crs, self.raster.geobox.affine
        given = np.array(geometries, dtype=object)
        tolerance = float(options.tolerance)
        if crs is None:
            series = gpd.GeoSeries(georeference(given, ~affine))
        else:
            series = gpd.GeoSeries(given, crs=crs.proj)
            tolerance *= (ground_resolution(self.raster) or 1.0) if options.unit == "px" else 1.0
        if options.regularize:
            frame = regularize(series, tolerance_m=tolerance, shared_walls=False, progress=False)
        else:
            frame = simplify(series, tolerance, keep_topology=False)
        found = np.asarray(frame.geometry, dtype=object)
        after = georeference(found, affine) if crs is None else found
        # A thin outline may vanish; it then stays as it is.
        return [new if shapely.area(new) > 0 else old for new, old in zip(after.tolist(), geometries, strict=True)]


def _filled(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return a polygon without its holes."""
    if not shapely.get_num_interior_rings(shapely.get_parts(geometry)).any():
        return geometry
    rings = shapely.get_exterior_ring(shapely.get_parts(geometry))
    whole = [shapely.Polygon(ring) for ring in rings.tolist()]
    # A part may lie in a hole of another one.
    joined: shapely.Geometry = whole[0] if len(whole) == 1 else shapely.union_all(whole)
    return joined

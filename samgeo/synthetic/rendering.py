"""Rendering of a planned town: the image of one date with its truth, of all its buildings or without some of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from samgeo.errors import OptionError
from samgeo.synthetic.painting.appearance import Appearance, turn_season
from samgeo.synthetic.painting.canvas import CLASSES, SUB, Canvas, Streams, burn
from samgeo.synthetic.painting.ground import paint_fields, paint_ground, paint_river
from samgeo.synthetic.painting.light import expose
from samgeo.synthetic.painting.roofs import paint_roofs
from samgeo.synthetic.painting.traffic import paint_cars, paint_fences, paint_streets
from samgeo.synthetic.painting.vegetation import paint_trees
from samgeo.synthetic.plan import Building, TownPlan
from samgeo.synthetic.planning import plan_town
from samgeo.synthetic.scene import Scene

__all__ = ["PlannedTown"]

# The scene lies in the Cape Winelands, which have towns and vineyards. The sun is in the north there, so that shadows fall
# towards the bottom of the image, as viewers expect.
_CRS, _WEST, _NORTH = "EPSG:32734", 311_200.0, 6_243_800.0


@dataclass(frozen=True, slots=True, eq=False)
class PlannedTown:
    """A town before it is painted.

    Attributes
    ----------
    plan : TownPlan
    streams : Streams
        The random generators of its objects.
    resolution_m : float
    buildings : tuple of Building
        The buildings that cover the centre of a pixel. Their ids are 1, 2, 3 and so on, whichever of them a scene shows.
    outlines : tuple of Polygon
        Their outlines in pixels, clipped to the frame.
    labels : ndarray of int32, shape (H, W)
        The id of the building at the centre of each pixel, 0 elsewhere.
    """

    plan: TownPlan
    streams: Streams
    resolution_m: float
    buildings: tuple[Building, ...]
    outlines: tuple[shapely.Geometry, ...]
    labels: NDArray[np.int32]

    @classmethod
    def of(cls, shape: tuple[int, int], seed: int, resolution_m: float) -> PlannedTown:
        """Plan a town.

        Raises
        ------
        OptionError
            If the shape, the seed or the resolution is out of range.
        """
        if min(shape) < 16:
            raise OptionError(f"shape is {tuple(shape)}; give at least 16 pixels for each side.")
        if seed < 0:
            raise OptionError(f"seed is {seed}; give 0 or more.")
        if not 0.05 <= resolution_m <= 2:
            raise OptionError(f"resolution_m is {resolution_m}; give a number from 0.05 to 2 metres.")
        plan = plan_town(shape, seed, resolution_m)
        frame = shapely.box(0, 0, shape[1], shape[0])
        outlines = [_clipped(shapely.transform(one.polygon, lambda xy: xy / resolution_m), frame) for one in plan.buildings]
        labels = burn(outlines, None, shape, 1.0)
        seen = np.unique(labels[labels > 0])
        ids = np.zeros(len(outlines) + 1, dtype=np.int32)
        ids[seen] = np.arange(1, len(seen) + 1)
        chosen = (seen - 1).tolist()
        return cls(
            plan=plan,
            streams=Streams(seed),
            resolution_m=resolution_m,
            buildings=tuple(plan.buildings[at] for at in chosen),
            outlines=tuple(outlines[at] for at in chosen),
            labels=ids[labels],
        )

    @property
    def ids(self) -> NDArray[np.int32]:
        """The ids of the buildings, shape (N,)."""
        return np.arange(1, len(self.buildings) + 1, dtype=np.int32)

    def render(self, appearance: Appearance, ids: NDArray[np.int32] | None = None) -> Scene:
        """Paint the town with all buildings, or with those of some ids.

        Parameters
        ----------
        appearance : Appearance
        ids : ndarray of int32, optional
            Ids of the buildings, in ascending order. In the scene they are numbered anew from 1.
        """
        chosen = self.ids if ids is None else ids
        canvas = self._paint(appearance, {int(number): self.buildings[number - 1] for number in chosen})
        renumbered = np.zeros(len(self.buildings) + 1, dtype=np.int32)
        renumbered[chosen] = np.arange(1, len(chosen) + 1)
        labels = renumbered[self.labels]
        classes = canvas.classes[SUB // 2 :: SUB, SUB // 2 :: SUB].copy()
        # Classes are painted at half pixels, so a pixel may have the class of a roof although its centre is outside the
        # footprint. Such pixels become bare ground.
        classes[(classes == CLASSES.index("building")) & (labels == 0)] = CLASSES.index("other")
        classes[labels > 0] = CLASSES.index("building")
        return Scene(
            image=expose(canvas, appearance, self.streams.of("sensor", appearance.exposure)),
            labels=labels,
            classes=classes,
            class_names=CLASSES,
            footprints=self.table(chosen),
            geobox=GeoBox(
                labels.shape,
                Affine.translation(_WEST, _NORTH) * Affine.scale(self.resolution_m, -self.resolution_m),
                _CRS,
            ),
        )

    def table(self, ids: NDArray[np.int32]) -> GeoDataFrame:
        """Return the columns ``id`` (from 1), ``roof``, ``cover`` and ``height_m`` and the outlines of some buildings."""
        origin, step = np.array([_WEST, _NORTH]), np.array([self.resolution_m, -self.resolution_m])
        buildings = [self.buildings[number - 1] for number in ids]
        columns = {
            "id": np.arange(1, len(buildings) + 1, dtype=np.int32),
            "roof": [one.wings[0].roof for one in buildings],
            "cover": [one.cover for one in buildings],
            "height_m": np.array([one.wings[0].eave_m for one in buildings], dtype=np.float64).round(2),
        }
        geometry = [shapely.transform(self.outlines[number - 1], lambda xy: origin + xy * step) for number in ids]
        return GeoDataFrame(columns, geometry=geometry, crs=_CRS)

    def _paint(self, appearance: Appearance, buildings: dict[int, Building]) -> Canvas:
        plan, streams = self.plan, self.streams
        height, width = self.labels.shape
        canvas = Canvas.blank((height, width), self.resolution_m, appearance.sun, streams.of("ground"))
        canvas.ids[:] = canvas.burn([one.polygon for one in buildings.values()], list(buildings))
        cars = dict(enumerate(plan.cars))
        if appearance.absent_cars > 0:
            draws = {number: streams.of("car", number, appearance.date).random() for number in cars}
            cars = {number: car for number, car in cars.items() if draws[number] >= appearance.absent_cars}
        paint_ground(canvas, plan)
        paint_fields(canvas, plan.fields, streams)
        paint_river(canvas, plan.river)
        paint_fences(canvas, plan, streams)
        paint_streets(canvas, plan.streets, streams)
        paint_cars(canvas, cars, streams)
        paint_trees(canvas, plan.trees, streams)
        paint_roofs(canvas, buildings, streams)
        turn_season(canvas, appearance.season)
        return canvas


def _clipped(outline: shapely.Geometry, frame: shapely.Polygon) -> shapely.Geometry:
    """Return the part of an outline in the frame, without lines and points where the outline only touches the frame."""
    inside = shapely.intersection(outline, frame)
    if isinstance(inside, shapely.GeometryCollection):
        parts = [part for part in shapely.get_parts(inside) if isinstance(part, shapely.Polygon)]
        return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return inside

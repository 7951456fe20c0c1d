"""Round buildings: tanks, silos, huts."""

from __future__ import annotations

import numpy as np
import shapely

__all__ = ["circle", "is_round"]

_CORNERS = 48
# A regular octagon reaches 0.95 against its circle, a square with corners rounded to a fifth of its side 0.90.
_LEAST_IOU = 0.92
# Below this many tolerances a square's rounded outline is as round as a circle's.
_LEAST_RADIUS = 1.5


def circle(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return the polygon of 48 corners of the same area and centroid as another's exterior."""
    filled = shapely.Polygon(polygon.exterior)
    middle = filled.centroid
    angle = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    radius = np.sqrt(filled.area / (_CORNERS / 2 * np.sin(2 * np.pi / _CORNERS)))
    return shapely.Polygon(np.stack([middle.x + radius * np.cos(angle), middle.y + radius * np.sin(angle)], axis=1))


def is_round(polygon: shapely.Polygon, round_iou: float, other_iou: float, tolerance: float) -> bool:
    """Say whether a polygon is rather a circle, given the IoU of its circle and that of its other outline."""
    radius = np.sqrt(polygon.area / np.pi)
    holes = [shapely.Polygon(ring).area for ring in polygon.interiors]
    return bool(
        max(holes, default=0.0) < tolerance**2
        and radius >= _LEAST_RADIUS * tolerance
        and round_iou >= max(_LEAST_IOU, other_iou - 0.01)
    )

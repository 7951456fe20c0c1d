"""Drawn boxes, upright and turned, whose pixels the oracle knows."""

from dataclasses import replace

import numpy as np
import shapely

from samgeo.annotations import Annotations, Image
from samgeo.testing import encode_ids
from samgeo.testing.rasters import write_raster

CLASSES = ("plane", "ship", "tank")


def turned(x, y, length, width, degrees):
    """The corners of a rectangle around a middle, clockwise on a screen."""
    angle = np.radians(degrees)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    return np.array([x, y]) + signs[:, :1] * length * along + signs[:, 1:] * width * across


def drawn(corners, shape):
    """The pixels whose centres lie in a box."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return shapely.contains_xy(shapely.Polygon(corners), x, y)


def scene(boxes, shape):
    """Ids of boxes, of which later ones lie on top, and each box's own pixels."""
    labels, masks = np.zeros(shape, dtype=np.int32), []
    for number, corners in enumerate(boxes, 1):
        masks.append(drawn(corners, shape))
        labels[masks[-1]] = number
    return labels, masks


def table_of(images, rows, classes=CLASSES):
    """Annotations: images are (name, shape), rows (image, class, corners or x0 y0 x1 y1)."""
    count = len(rows)
    corners = np.full((count, 4, 2), np.nan)
    boxes = np.zeros((count, 4))
    for number, (_, _, given) in enumerate(rows):
        if np.ndim(given) == 1:
            boxes[number] = given
        else:
            corners[number] = given
            boxes[number] = [*np.min(given, axis=0), *np.max(given, axis=0)]
    return Annotations(
        tuple(Image(name, *shape) for name, shape in images),
        classes,
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        boxes,
        corners,
        np.full(count, None, dtype=object),
        np.full(count, np.nan),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=bool),
    )


def without_corners(table):
    return replace(table, corners_px=np.full_like(table.corners_px, np.nan))


def save(path, labels, **options):
    """An image that carries its ids; without a georeference unless one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_raster(path, encode_ids(labels), **{"crs": None, "transform": (1, 0, 0, 0, 1, 0), **options})

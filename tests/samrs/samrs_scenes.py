"""Scenes of horizontal and oriented boxes for which the oracle model returns true masks."""

from dataclasses import replace

import numpy as np
import shapely

from samgeo.annotations import Annotations, Image
from samgeo.testing import encode_ids
from samgeo.testing.rasters import write_raster

CLASSES = ("plane", "ship", "tank")


def turned(x, y, length, width, degrees):
    """Return the corners of a rotated rectangle with a given centre, clockwise on a screen."""
    angle = np.radians(degrees)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    return np.array([x, y]) + signs[:, :1] * length * along + signs[:, 1:] * width * across


def drawn(corners, shape):
    """Return the mask of the pixels whose centres are in a box."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return shapely.contains_xy(shapely.Polygon(corners), x, y)


def scene(boxes, shape):
    """Return the ids of boxes, of which later ones cover earlier ones, and the complete mask of each box."""
    labels, masks = np.zeros(shape, dtype=np.int32), []
    for number, corners in enumerate(boxes, 1):
        masks.append(drawn(corners, shape))
        labels[masks[-1]] = number
    return labels, masks


def table_of(images, rows, classes=CLASSES):
    """Return annotations from images (name, shape) and rows (image, class, corners or x0 y0 x1 y1)."""
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
    """Write an image whose pixels encode ids, without a georeference unless one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_raster(path, encode_ids(labels), **{"crs": None, "transform": (1, 0, 0, 0, 1, 0), **options})

"""Small scenes at two dates with a model that needs no weights: it sees the ids of objects, and describes cells by them."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.testing import Oracle, encode_ids, write_raster

WINDOW = 64
CRS = "EPSG:32633"


class Describer(Oracle):
    """An oracle whose features are a random direction for each id: the same id looks the same at both dates."""

    def features(self, embedding: NDArray[np.int32]) -> NDArray[np.float32]:
        ids = np.asarray(embedding)
        ids = ids.reshape(ids.shape[-2:])[2::4, 2::4]
        directions = {int(one): np.random.default_rng(int(one) + 1).normal(size=16) for one in np.unique(ids)}
        cells = np.stack([directions[int(one)] for one in ids.ravel()]).reshape(*ids.shape, 16)
        # The ground is the origin, so that inside minus ring is what the object is.
        cells[ids == 0] = 0.1
        return cells.astype(np.float32)


def labels_of(boxes: dict[int, tuple[int, int, int, int]], shape: tuple[int, int] = (160, 160)) -> NDArray[np.int32]:
    """An image of ids: each box is x0, y0, x1, y1 in pixels."""
    labels = np.zeros(shape, dtype=np.int32)
    for number, (x0, y0, x1, y1) in boxes.items():
        labels[y0:y1, x0:x1] = number
    return labels


def save(labels: NDArray[np.int32], path: Path) -> Path:
    """Write an image of ids with a CRS, with pixels of a metre."""
    return write_raster(path, encode_ids(labels), crs=CRS)


def outlines(boxes: dict[int, tuple[int, int, int, int]], path: Path) -> gpd.GeoDataFrame:
    """The boxes as polygons on the grid of a raster."""
    import rasterio

    with rasterio.open(path) as file:
        affine = file.transform
    polygons = [
        shapely.transform(shapely.box(*one), lambda xy: np.stack(affine * (xy[:, 0], xy[:, 1]), axis=1))
        for one in boxes.values()
    ]
    return gpd.GeoDataFrame({"id": list(boxes)}, geometry=polygons, crs=CRS)

"""The scene that the tests of sessions and of the map share: ten objects, and where they are."""

import geopandas as gpd
import numpy as np
import shapely

import samgeo
from samgeo.map.session import Session
from samgeo.testing import scattered

LABELS = scattered(10, (180, 220), seed=5, min_size=14, max_size=28)
IDS = np.unique(LABELS[LABELS > 0]).tolist()
POINTS = [tuple((np.argwhere(one == LABELS)[np.sum(one == LABELS) // 2][::-1] + 0.5).tolist()) for one in IDS]
AREAS = [int(np.sum(one == LABELS)) for one in IDS]
GROUND = tuple((np.argwhere(LABELS == 0)[0][::-1] + 0.5).tolist())
CLASSES = ("roof", "road")
# Ground beside the second object.
BESIDE = tuple((min(np.argwhere(LABELS == 0), key=lambda at: np.hypot(*(at[::-1] + 0.5 - POINTS[1])))[::-1] + 0.5).tolist())


def box_of(number: int, margin: float = 0) -> tuple[float, float, float, float]:
    """The box around an object in pixels: x0, y0, x1, y1."""
    y, x = np.nonzero(IDS[number] == LABELS)
    return float(x.min() - margin), float(y.min() - margin), float(x.max() + 1 + margin), float(y.max() + 1 + margin)


def accept_object(session: Session, number: int, class_name: str | None = None) -> int:
    """Click on an object and accept it; return its id."""
    session.add_point(*POINTS[number], crs="pixels")
    return session.accept(class_name).state.objects[-1].id


def proposals(*numbers: int) -> gpd.GeoDataFrame:
    """The boxes of objects, in pixels, as a table of results."""
    geometry = [shapely.box(*box_of(number)) for number in numbers]
    return gpd.GeoDataFrame({"predicted_iou": [0.9] * len(numbers), "class": [None] * len(numbers)}, geometry=geometry)


def on_ground(predictor: samgeo.Predictor, *numbers: int) -> gpd.GeoDataFrame:
    """The boxes of objects in the CRS of the raster."""
    geobox = predictor.raster.geobox
    corners = [shapely.get_coordinates(shapely.box(*box_of(number))) for number in numbers]
    geometry = [shapely.Polygon([geobox.affine * tuple(xy) for xy in one]) for one in corners]
    return gpd.GeoDataFrame(geometry=geometry, crs=geobox.crs.proj)

"""Strategies give what they promise, say what cannot be, and need Hypothesis only when they are made."""

import sys

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import Phase, find, given, settings
from odc.geo.geobox import GeoBox

from samgeo.errors import OptionError
from samgeo.geo.coordinates.prompt_geometry import from_pixels, read_points
from samgeo.geo.grid import Rect
from samgeo.testing import geoboxes, grid_polygons, label_arrays, mask_arrays, transforms, windows

MADE = {
    "windows": lambda: windows((9, 9)),
    "mask_arrays": mask_arrays,
    "label_arrays": label_arrays,
    "grid_polygons": grid_polygons,
    "transforms": transforms,
    "geoboxes": geoboxes,
}


@settings(deadline=None)
@given(windows((20, 30), margin=4, min_side=0))
def test_windows_stay_within_the_margin(window: Rect) -> None:
    assert window in Rect(-4, -4, 34, 24)
    assert window.x1 - window.x0 == window.width
    assert window.y1 - window.y0 == window.height


def test_windows_reach_the_edges_and_beyond() -> None:
    assert find(windows((20, 30)), lambda one: one.x1 == 30).x1 == 30
    assert find(windows((20, 30), margin=2), lambda one: one.x1 == 32).x1 == 32
    assert find(windows((20, 30), min_side=0), lambda one: one.is_empty).is_empty


@settings(deadline=None, max_examples=30)
@given(label_arrays(min_side=0, max_side=5, max_id=9), mask_arrays(min_side=2, max_side=3))
def test_arrays_have_their_type_and_sides(labels: np.ndarray, mask: np.ndarray) -> None:
    assert labels.dtype == np.int32
    assert max(labels.shape) <= 5
    assert not labels.size or 0 <= labels.min() <= labels.max() <= 9
    assert mask.dtype == np.bool_
    assert set(mask.shape) <= {2, 3}


@settings(deadline=None, max_examples=50)
@given(grid_polygons(max_side=5))
def test_polygons_are_valid_and_on_the_grid(polygon: shapely.Geometry) -> None:
    assert shapely.is_valid(polygon)
    assert polygon.geom_type in {"Polygon", "MultiPolygon"}
    corners = shapely.get_coordinates(polygon)
    assert (corners == np.rint(corners)).all()
    assert 0 <= corners.min() < corners.max() <= 5


def test_polygons_have_holes_and_parts() -> None:
    found = find(grid_polygons(), lambda one: any(shapely.get_num_interior_rings(shapely.get_parts(one))))
    assert found.area >= 7
    assert find(grid_polygons(), lambda one: shapely.get_num_geometries(one) > 1).area >= 2


@settings(deadline=None)
@given(transforms(rotated=False))
def test_transforms_without_rotation_keep_rows_level(affine: Affine) -> None:
    assert affine.b == affine.d == 0
    assert 0.1 <= affine.a <= 30


def test_transforms_are_of_all_kinds() -> None:
    south_up, turned, flat = lambda one: one.e > 0, lambda one: abs(one.d) > 0.1, lambda one: one.a > -2 * one.e > 0
    for kind in (south_up, turned, flat):
        assert find(transforms(), kind, settings=settings(phases=[Phase.generate])).determinant != 0


@settings(deadline=None, max_examples=60)
@given(geoboxes())
def test_places_of_any_raster_come_back_in_degrees(geobox: GeoBox) -> None:
    corners = np.array([[0.0, 0.0], geobox.shape[::-1]])
    crs = "pixels" if geobox.crs is None else "EPSG:4326"
    there = from_pixels(corners, geobox, crs)
    back, _, _ = read_points(there, geobox=geobox, crs=crs)
    assert back[:, 0] == pytest.approx(corners, abs=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: windows((3, 9), min_side=4), "min_side is 4"),
        (lambda: windows((3, 9), margin=-1), "margin is -1"),
        (lambda: mask_arrays(min_side=5, max_side=4), "sides from 5 to 4"),
        (lambda: label_arrays(max_id=-1), "max_id is -1"),
        (lambda: transforms(pixel_size=(0.0, 1.0)), "pixel_size is"),
        (lambda: transforms(x=(2.0, 1.0)), "x is"),
        (lambda: geoboxes(["EPSG:0"]), "not a coordinate reference system"),
        (lambda: geoboxes(["+proj=laea +lat_0=10"]), "area of use"),
    ],
)
def test_what_cannot_be_is_refused(make, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("name", MADE)
def test_without_hypothesis_it_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(OptionError, match="pip install hypothesis"):
        MADE[name]()

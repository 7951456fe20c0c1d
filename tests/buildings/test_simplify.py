"""Simplified polygons have fewer corners, and neighbours still share their corners."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely import affinity

from samgeo.buildings import simplify
from samgeo.errors import OptionError
from samgeo.geo.coordinates.area import area_m2
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import polygons

UTM = "EPSG:32645"


def mosaic():
    """Return twelve regions along pixel edges that cover a square; one of them is an island in another."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:80, :80]
    seeds = random.uniform(0, 80, (11, 2))
    wobble = 3 * np.sin(x / 3) + 3 * np.cos(y / 4)
    labels = np.argmin([np.hypot(y - a + wobble, x - b) for a, b in seeds], axis=0)
    labels[np.hypot(y - seeds[0, 0], x - seeds[0, 1]) < 4] = 11
    return np.array(
        [max(shapely.get_parts(each), key=shapely.area) for each in polygons([Mask.from_array(labels == i) for i in range(12)])]
    )


def test_neighbours_stay_neighbours():
    before = mosaic()
    result = simplify(gpd.GeoDataFrame(geometry=before, crs=UTM), 2.0)
    after = np.array(list(result.geometry))
    assert not shapely.coverage_is_valid(before)  # Some corners of a region lie on edges of another.
    assert shapely.coverage_is_valid(after)
    assert shapely.get_num_coordinates(after).sum() < shapely.get_num_coordinates(before).sum() / 3
    first, second = np.triu_indices(len(before), 1)
    shared = shapely.length(before[first] & before[second]) > 4
    assert (shapely.length(after[first] & after[second])[shared] > 0).all()
    assert shapely.area(after).sum() == pytest.approx(shapely.area(shapely.union_all(after)))
    common = shapely.area(before & after)
    assert (common / (shapely.area(before) + shapely.area(after) - common)).min() > 0.8


def test_without_topology_each_is_simplified_alone():
    before = mosaic()
    after = np.array(list(simplify(gpd.GeoDataFrame(geometry=before), 2.0, keep_topology=False).geometry))
    assert shapely.is_valid(after).all()
    assert shapely.get_num_coordinates(after).sum() < shapely.get_num_coordinates(before).sum() / 3
    assert (shapely.hausdorff_distance(before, after) <= 2 + 1e-9).all()
    assert not shapely.coverage_is_valid(after)


def test_polygons_that_overlap_are_simplified_too():
    wave = [(x, 10 + 0.2 * np.sin(x)) for x in np.linspace(20, 0, 60)]
    blob = shapely.Polygon([(0, 0), (20, 0), *wave])
    frame = gpd.GeoDataFrame(geometry=[blob, affinity.translate(blob, 3, 2)], crs=UTM)
    after = simplify(frame, 1.0).geometry
    assert (shapely.get_num_coordinates(list(after)) < 15).all()
    assert after.is_valid.all()


def test_the_tolerance_is_in_metres_on_the_ground():
    before = gpd.GeoDataFrame(geometry=[affinity.translate(each, 350_000, 3_060_000) for each in mosaic()], crs=UTM)
    expected = simplify(before, 2.0)
    in_degrees = before.to_crs("EPSG:4326")
    result = simplify(in_degrees.assign(area_m2=area_m2(in_degrees.geometry, in_degrees.crs)), 2.0)
    found = result.to_crs(UTM)
    # Many triangles have the same area, so that rounding decides which corner is removed first.
    assert (found.intersection(expected).area / found.union(expected).area).min() > 0.9
    assert found.count_coordinates().sum() == pytest.approx(expected.count_coordinates().sum(), rel=0.05)
    np.testing.assert_allclose(result["area_m2"], found.area, rtol=2e-3)
    assert shapely.coverage_is_valid(list(result.geometry))


def test_small_holes_and_parts_and_missing_rows_stay():
    ring = shapely.box(0, 0, 20, 20) - shapely.box(5, 5, 5.5, 5.5)
    two = shapely.MultiPolygon([shapely.box(30, 0, 40, 10), shapely.box(50, 0, 50.2, 0.2)])
    result = simplify(gpd.GeoDataFrame(geometry=[ring, two, None, shapely.Polygon()], crs=UTM), 0.1)
    assert shapely.equals_exact(result.geometry[0], ring, 1e-6, normalize=True)
    assert shapely.equals_exact(result.geometry[1], two, 1e-6, normalize=True)
    assert result.geometry[2] is None
    assert result.geometry[3].is_empty


def test_a_tolerance_that_cannot_work():
    with pytest.raises(OptionError, match="tolerance_m"):
        simplify(gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)]), -1)

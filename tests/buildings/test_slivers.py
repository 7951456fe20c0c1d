"""Footprints of touching buildings have no wall shorter than half the tolerance and no corner sharper than 30 degrees."""

import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from shapely import affinity

from samgeo.buildings import regularize
from samgeo.buildings.regularization.slivers import count_slivers, without_slivers
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import georeference, polygons

GRID = 2.0**-20


def walls_and_angles(polygon):
    """Return lengths in metres and angles in degrees, without corners on a straight wall at which a neighbour ends."""
    lengths, angles = [], []
    for ring in shapely.get_rings(shapely.simplify(polygon, 0.02)):
        edge = np.diff(shapely.get_coordinates(ring), axis=0)
        # If the ring starts within a straight wall, the two parts of this wall are joined.
        turn = lambda before, after: np.degrees(np.arctan2(before[0] * after[1] - before[1] * after[0], before @ after))  # noqa: E731
        if abs(turn(edge[-1], edge[0])) < 0.5:
            edge = np.concatenate([[edge[-1] + edge[0]], edge[1:-1]])
        lengths += np.hypot(*edge.T).tolist()
        angles += [180 - abs(turn(before, after)) for before, after in zip(np.roll(edge, 1, axis=0), edge, strict=True)]
    return np.array(lengths), np.array(angles)


def touching(seed, count):
    """Return rectangles with random directions that touch each other without overlaps, like the masks of neighbours."""
    rng = np.random.default_rng(seed)
    placed = [affinity.rotate(shapely.box(0, 0, rng.uniform(7, 16), rng.uniform(6, 12)), rng.uniform(0, 90))]
    while len(placed) < count:
        house = affinity.rotate(shapely.box(0, 0, rng.uniform(6, 14), rng.uniform(5, 10)), rng.uniform(0, 90))
        direction, other = rng.uniform(0, 2 * np.pi), placed[rng.integers(len(placed))]
        way = np.array([np.cos(direction), np.sin(direction)])
        near = min(
            np.linspace(0, 30, 120),
            key=lambda off: (
                abs(affinity.translate(house, *(_to(other) + way * off - _to(house))).distance(other) - 0.05) + (off < 3)
            ),
        )
        moved = affinity.translate(house, *(_to(other) + way * (near - rng.uniform(0, 0.8)) - _to(house)))
        left = shapely.difference(moved, shapely.union_all(placed))
        left = max(shapely.get_parts(left), key=lambda part: part.area)
        if left.area > 0.8 * moved.area:
            placed.append(left)
    return placed


def _to(shape):
    return shapely.get_coordinates(shape.centroid)[0]


@pytest.mark.parametrize("seed", range(6))
def test_touching_footprints_have_no_slivers_and_fit(seed):
    outlines = touching(seed, 5)
    result = regularize(gpd.GeoDataFrame(geometry=outlines, crs="EPSG:32645"))
    found, done = np.array(list(result.geometry)), result["regularized"].to_numpy()
    assert done.sum() >= 2
    for polygon in found[done]:
        lengths, angles = walls_and_angles(polygon)
        assert lengths.min() >= 0.499
        assert angles.min() >= 29.9
    assert shapely.is_valid(found).all()
    first, second = np.triu_indices(len(found), 1)
    assert shapely.area(shapely.intersection(found[first], found[second])).max() < 1e-4
    assert (result["outline_iou"] >= 0.85)[done].all()
    common = shapely.area(shapely.intersection(found, outlines))
    assert (common / shapely.area(shapely.union(found, outlines)) > 0.7).all()


@settings(max_examples=30, deadline=None)
@given(
    jog=st.floats(0.02, 0.45),
    place=st.floats(1, 9),
    depth=st.floats(-1, 1).filter(lambda depth: abs(depth) > 0.6),
    width=st.floats(0.05, 0.4),
    turned=st.floats(0, 90),
)
def test_jogs_fingers_notches_and_needles_go_and_the_rest_stays(jog, place, depth, width, turned):
    plain = shapely.box(0, 0, 12, 8)
    made = {
        "jog": plain | shapely.box(place, 7, 12, 8 + jog),
        "finger": plain | shapely.box(place, 7, place + width, 8 + abs(depth)),
        "notch": plain - shapely.box(place, 8 - abs(depth), place + width, 9),
        "needle": plain | shapely.Polygon([(place, 8), (place + width, 8), (place, 8 + 3 * abs(depth))]),
    }
    for shape in made.values():
        polygon = affinity.rotate(shape, turned, origin=(0, 0))
        found = without_slivers(polygon, [], 1.0, GRID)
        assert count_slivers(polygon, 1.0) > 0
        assert count_slivers(found, 1.0) == 0
        assert found.is_valid
        changed = shapely.area(shapely.symmetric_difference(found, polygon))
        # The change is at most the area of the sliver, or that of a wall of length 8 that moves by 0.5.
        assert changed <= max(shapely.area(shapely.symmetric_difference(shape, plain)), 0.5 * 8) + 1e-6


def test_a_change_takes_nothing_of_a_neighbour():
    mine = shapely.box(0, 0, 12, 8) | shapely.box(6, 7, 12, 8.3)
    neighbour = shapely.box(-1, 8, 6, 12)
    found = without_slivers(mine, [neighbour], 1.0, GRID)
    assert count_slivers(found, 1.0) == 0
    assert shapely.area(shapely.intersection(found, neighbour)) < 1e-6


def test_what_has_no_sliver_is_the_same_object():
    house = shapely.Polygon([(0, 0), (5, 0), (5.2, 0), (12, 0), (12, 8), (0, 8)])
    assert without_slivers(house, [], 1.0, GRID) is house


@pytest.mark.skipif("SAMGEO_DATA" not in os.environ, reason="SAMGEO_DATA does not name the folder of test data")
def test_a_dense_part_of_a_real_town_has_no_slivers():
    true = gpd.read_file(Path(os.environ["SAMGEO_DATA"]) / "oam-banepa-buildings" / "footprints.geojson")
    true = true.to_crs(true.estimate_utm_crs()).geometry.explode(ignore_index=True)
    true = true[true.is_valid & (true.area > 20)]
    middle = shapely.get_coordinates(true.centroid)
    dense = np.argmax((((middle[:, None] - middle) ** 2).sum(-1) < 40**2).sum(axis=1))
    near = np.argsort(((middle - middle[dense]) ** 2).sum(axis=1))[:60]
    true = true.iloc[near]
    # The outlines are masks of pixels of 0.3 m; each pixel belongs to one building.
    transform = Affine(0.3, 0, true.total_bounds[0] - 3, 0, -0.3, true.total_bounds[3] + 3)
    size = np.ceil((true.total_bounds[2:] - true.total_bounds[:2] + 6) / 0.3).astype(int)
    ids = rasterize(zip(true, range(1, 61), strict=True), size[::-1].tolist(), transform=transform, dtype="uint8")
    masks = georeference(polygons([Mask.from_array(ids == number) for number in range(1, 61)]), transform)
    outlines = gpd.GeoDataFrame(geometry=[max(shapely.get_parts(one), key=shapely.area) for one in masks], crs=true.crs)
    f1 = {}
    for shared in (True, False):
        result = regularize(outlines, shared_walls=shared)
        found = np.array(list(result.geometry))
        common = shapely.area(shapely.intersection(found, np.array(list(true))))
        f1[shared] = (common / shapely.area(shapely.union(found, np.array(list(true)))) >= 0.5).mean()
        if shared:
            square = found[result["outline"].isin(["right", "45"])]
            assert len(square) > 40
            # `count_slivers` ignores the corners of neighbours, which lie on walls within a hundredth of a millimetre.
            assert all(count_slivers(part, 1.0) == 0 for one in square for part in shapely.get_parts(one))
    assert f1[True] >= f1[False]

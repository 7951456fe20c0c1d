"""The index of an area of interest gives what a computation with the whole area gives, bit for bit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samgeo.geo.coordinates.indexed_area import BLOCK, IndexedArea

SIDE = 400.0


def coast(rng: np.random.Generator, count: int) -> shapely.Geometry:
    """Return a ragged island with lakes, around the middle of the frame."""
    angle = np.sort(rng.random(count)) * 2 * np.pi
    radius = SIDE * (0.3 + 0.15 * rng.random(count))
    shell = np.stack([SIDE / 2 + radius * np.cos(angle), SIDE / 2 + radius * np.sin(angle)], axis=1)
    lakes = [shapely.box(x, y, x + 6, y + 9).buffer(1) for x, y in rng.uniform(150, 240, (4, 2))]
    return shapely.difference(shapely.Polygon(shell).buffer(0), shapely.union_all(lakes))


def blocks(rng: np.random.Generator, count: int) -> shapely.Geometry:
    """Return many rectangles on whole pixels, whose edges run along those of objects."""
    corners = rng.integers(0, int(SIDE), (count, 2))
    return shapely.union_all(shapely.box(*corners.T, *(corners + rng.integers(3, 30, (count, 2))).T))


def wedges(rng: np.random.Generator, count: int) -> shapely.Geometry:
    """Return triangles with whole corners, whose long edges go through corners and centres of pixels."""
    corners = rng.integers(0, int(SIDE), (count, 3, 2)).astype(float) + rng.choice([0.0, 0.5])
    return shapely.union_all([one for one in shapely.polygons(corners) if one.is_valid])


AREAS = {"coast": coast, "blocks": blocks, "wedges": wedges}


def outlines(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Return polygons along the edges of pixels, small and large, some with holes and with several parts, and an empty one."""
    made = []
    for _ in range(count):
        low, size = rng.integers(0, int(SIDE), 2), rng.integers(2, int(rng.choice([8, 20, 150])), 2)
        one = shapely.box(*low, *(low + size))
        kind = rng.integers(3)
        if kind == 0 and size.min() > 4:
            one = one.difference(shapely.box(*(low + 1), *(low + 3)))
        if kind == 1:
            one = one.union(shapely.box(*(low + size + 1), *(low + size + 4)))
        made.append(one)
    return np.array([*made, shapely.Polygon()], dtype=object)


def clipped_directly(polygons: NDArray[np.object_], area: shapely.Geometry) -> NDArray[np.object_]:
    """Clip each polygon with the whole area."""
    result = polygons.copy()
    for number in np.flatnonzero(~shapely.contains(area, polygons)).tolist():
        if polygons[number].is_empty:
            result[number] = shapely.MultiPolygon()
            continue
        near = shapely.clip_by_rect(area, *(shapely.bounds(polygons[number]) + np.array([-1, -1, 1, 1])))
        parts = shapely.get_parts(shapely.intersection(polygons[number], shapely.make_valid(near)))
        surfaces = shapely.get_parts(parts[shapely.get_dimensions(parts) == 2])
        result[number] = surfaces[0] if len(surfaces) == 1 else shapely.multipolygons(surfaces)
    return result


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(sorted(AREAS)), seed=st.integers(0, 10**6), count=st.integers(1, 300))
def test_answers_are_those_of_the_whole_area(kind: str, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    area = AREAS[kind](rng, max(count, 8) if kind == "coast" else min(count, 40))
    indexed = IndexedArea(area)
    points = np.concatenate([rng.integers(0, int(SIDE), (300, 2)) + 0.5, shapely.get_coordinates(area)[:50]])
    assert (indexed.contains_xy(points) == shapely.contains_xy(area, points)).all()
    assert (indexed.contains_xy(points, on_edge=True) == shapely.intersects_xy(area, points)).all()
    polygons = outlines(rng, 20)
    assert (indexed.intersects(polygons) == shapely.intersects(area, polygons)).all()
    for rect in rng.integers(0, int(SIDE), (5, 2)):
        x0, y0, x1, y1 = *rect.tolist(), *(rect + 30).tolist()
        assert indexed.meets(x0, y0, x1, y1) == shapely.intersects(area, shapely.box(x0, y0, x1, y1))
    assert shapely.to_wkb(indexed.clip(polygons)).tolist() == shapely.to_wkb(clipped_directly(polygons, area)).tolist()


@pytest.mark.parametrize("kind", sorted(AREAS))
def test_points_are_divided_where_the_area_has_many_vertices(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samgeo.geo.coordinates.indexed_area.MOST_COMPARED", 1 << 10)
    rng = np.random.default_rng(7)
    area = AREAS[kind](rng, 2000 if kind == "coast" else 60)
    points = rng.uniform(0, SIDE, (3000, 2))
    assert (IndexedArea(area).contains_xy(points) == shapely.contains_xy(area, points)).all()


def test_what_is_near_a_place_has_its_edges_and_few_others() -> None:
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    area = shapely.Polygon(np.stack([200 + 150 * np.cos(angle), 200 + 150 * np.sin(angle)], axis=1))
    near = IndexedArea(area).near(345, 195, 355, 205)
    assert shapely.get_num_coordinates(area) == 100_001
    edge = shapely.box(345, 195, 355, 205).intersection(near.boundary)
    assert shapely.get_num_coordinates(near) < shapely.get_num_coordinates(edge) + 4 * BLOCK
    there = {tuple(xy) for xy in shapely.get_coordinates(area)}
    assert all(tuple(xy) in there for xy in shapely.get_coordinates(near))


def test_far_from_the_area_there_is_nothing_and_inside_it_there_are_few_vertices() -> None:
    indexed = IndexedArea(shapely.Point(200, 200).buffer(150, quad_segs=1000))
    assert indexed.near(0, 0, 10, 10).is_empty
    inside = indexed.near(190, 190, 210, 210)
    assert shapely.covers(inside, shapely.box(190, 190, 210, 210))
    assert shapely.get_num_coordinates(inside) < 20


def test_another_process_gets_the_area_without_its_index() -> None:
    indexed = IndexedArea(shapely.Point(200, 200).buffer(150, quad_segs=1000))
    assert indexed.meets(0, 0, 200, 200)
    sent = pickle.dumps(indexed)
    assert len(sent) < 1.1 * len(shapely.to_wkb(indexed.geometry)) + 1000
    assert shapely.equals_exact(pickle.loads(sent).geometry, indexed.geometry)  # noqa: S301 - our own bytes
    assert pickle.loads(sent).meets(0, 0, 200, 200)  # noqa: S301


@pytest.mark.parametrize("empty", [shapely.Polygon(), shapely.MultiPolygon()])
def test_an_empty_area_holds_nothing(empty: shapely.Geometry) -> None:
    indexed = IndexedArea(empty)
    polygons = np.array([shapely.box(0, 0, 5, 5)], dtype=object)
    assert not indexed.contains_xy(np.ones((3, 2))).any()
    assert not indexed.intersects(polygons).any()
    assert indexed.clip(polygons)[0].is_empty

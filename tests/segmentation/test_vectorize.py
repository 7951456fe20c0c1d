"""Outlines equal those of ``rasterio.features.shapes``, are valid, and burn back to the mask they came from."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import georeference, polygons
from samgeo.testing import mask_arrays

Bools = NDArray[np.bool_]


def image(*rows: str) -> Bools:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def spiral(side: int) -> Bools:
    """One path of foreground, one pixel wide, that winds inwards."""
    array = np.zeros((side, side), dtype=bool)
    y, x, dy, dx = 0, 0, 0, 1
    array[0, 0] = True
    turns = 0
    while turns < 2:
        ahead, beyond = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
        inside = all(0 <= c < side for c in ahead)
        if inside and not array[ahead] and not (all(0 <= c < side for c in beyond) and array[beyond]):
            (y, x), turns = ahead, 0
            array[y, x] = True
        else:
            dy, dx, turns = dx, -dy, turns + 1
    return array


CHECKER = np.indices((12, 13)).sum(axis=0) % 2 == 0
SHAPES = {
    "pixel": image("#"),
    "two that touch at a corner": image("#.", ".#"),
    "two that touch at the other corner": image(".#", "#."),
    "square": np.ones((5, 7), dtype=bool),
    "ring": image("###", "#.#", "###"),
    "ring open at a corner": image(".##", "#.#", "###"),
    "ring of diagonals": image("..#..", ".#.#.", "#...#", ".#.#.", "..#.."),
    "hole of two diagonal pixels": image("####", "#.##", "##.#", "####"),
    "hole of the other diagonal": image("####", "##.#", "#.##", "####"),
    "island in a hole": image("#####", "#...#", "#.#.#", "#...#", "#####"),
    "island that touches its hole at four corners": image("#####", "##.##", "#.#.#", "##.##", "#####"),
    "island that touches its hole at one corner": image("#####", "#..##", "#.#.#", "#...#", "#####"),
    "nested rings": np.isin(np.maximum(*np.abs(np.indices((19, 19)) - 9)), (1, 2, 4, 5, 7, 9)),
    "checkerboard": CHECKER,
    "framed checkerboard": np.pad(~CHECKER, 1, constant_values=True),
    "checkerboard of large squares": np.kron(CHECKER, np.ones((3, 2), dtype=bool)),
    "comb": np.vstack([np.ones((1, 21), dtype=bool), np.tile(np.arange(21) % 2 == 0, (6, 1))]),
    "comb on its side": np.vstack([np.ones((1, 21), dtype=bool), np.tile(np.arange(21) % 2 == 0, (6, 1))]).T,
    "spiral": spiral(23),
    "inverted spiral": np.pad(~spiral(23), 1, constant_values=True),
    "stairs": np.tri(9, dtype=bool),
    "chain of holes at their corners": np.pad(~np.eye(7, dtype=bool), 1, constant_values=True),
    "rows": np.tile(np.arange(6)[:, None] % 2 == 0, (1, 8)),
}


def reference(array: Bools, x0: int = 0, y0: int = 0) -> shapely.Geometry:
    found = rasterio.features.shapes(array.astype(np.uint8), mask=array, connectivity=4, transform=Affine.translation(x0, y0))
    return shapely.unary_union([shapely.geometry.shape(outline) for outline, _ in found])


def rings(geometry: shapely.Geometry) -> list[NDArray[np.float64]]:
    return [shapely.get_coordinates(ring) for part in shapely.get_parts(geometry) for ring in shapely.get_rings(part)]


def assert_outlines(geometry: shapely.Geometry, array: Bools, x0: int = 0, y0: int = 0) -> None:
    assert geometry.is_valid, shapely.is_valid_reason(geometry)
    assert geometry.geom_type in {"Polygon", "MultiPolygon"}
    assert geometry.area == np.count_nonzero(array)
    assert shapely.equals(geometry, reference(array, x0, y0))
    parts = shapely.get_parts(geometry)
    assert len(parts) == ndimage.label(array)[1]
    assert geometry.geom_type == ("MultiPolygon" if len(parts) > 1 else "Polygon")
    for ring in rings(geometry):
        steps = np.diff(ring, axis=0)
        assert ((steps == 0).sum(axis=1) == 1).all()  # Along the grid,
        assert ((steps[:, 0] == 0) != (np.roll(steps[:, 0], 1) == 0)).all()  # turning at every vertex.
    for part in parts:
        assert not shapely.is_ccw(part.exterior)
        assert all(shapely.is_ccw(hole) for hole in part.interiors)


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_of_awkward_shapes(name: str) -> None:
    array = SHAPES[name]
    for turned in (array, array.T, array[::-1], array[:, ::-1]):
        mask = Mask.from_array(turned, -7, 11)
        assert_outlines(polygons([mask])[0], turned, -7, 11)


def test_every_mask_of_four_by_four_pixels() -> None:
    bits = np.arange(1, 2**16)[:, None] >> np.arange(16) & 1
    arrays_ = bits.astype(bool).reshape(-1, 4, 4)
    geometries = polygons([Mask.from_array(array) for array in arrays_])
    assert shapely.is_valid(geometries).all()
    np.testing.assert_array_equal(shapely.area(geometries), bits.sum(axis=1))
    for array, geometry in zip(arrays_[::97], geometries[::97], strict=True):
        assert_outlines(geometry, array)


def test_thousands_of_random_masks() -> None:
    random = np.random.default_rng(8)
    scenes, masks = [], []
    for _ in range(1000):
        noise = random.random(random.integers(1, 24, 2))
        blur, share = random.choice([0, 0.7, 1.2]), random.choice([0.1, 0.3, 0.5, 0.7, 0.9])
        noise = ndimage.gaussian_filter(noise, blur)
        x0, y0 = random.integers(-100_000, 100_000, 2)
        scenes.append((noise > np.quantile(noise, share), int(x0), int(y0)))
        masks.append(Mask.from_array(*scenes[-1]))
    for geometry, (array, x0, y0) in zip(polygons(masks), scenes, strict=True):
        if array.any():
            assert_outlines(geometry, array, x0, y0)
        else:
            assert geometry.is_empty


@settings(deadline=None, max_examples=100)
@given(st.lists(mask_arrays(min_side=0, max_side=9), max_size=4))
def test_masks_outlined_together_are_those_outlined_alone(images: list[Bools]) -> None:
    masks = [Mask.from_array(array, 3 * index, -index) for index, array in enumerate(images)]
    together = polygons(masks)
    assert len(together) == len(masks)
    for index, (mask, geometry) in enumerate(zip(masks, together, strict=True)):
        assert shapely.equals_exact(geometry, polygons([mask])[0])
        if mask.is_empty:
            assert geometry.geom_type == "Polygon"
            assert geometry.is_empty
        else:
            assert_outlines(geometry, images[index], 3 * index, -index)


COSINE, SINE = np.cos(np.radians(76.3)), np.sin(np.radians(76.3))
TRANSFORMS = {
    "EPSG:4326, 0.3 m": Affine(2.7e-6, 0, -122.4194155, 0, -2.7e-6, 37.7749295),
    "UTM, 10 m": Affine(10, 0, 499980, 0, -10, 4200000),
    "EPSG:3857, 0.149 m": Affine(0.14929107086948487, 0, -13627665.271218061, 0, -0.14929107086948487, 4547675.354340558),
    "EPSG:3031, 40 m": Affine(40, 0, -2_700_000, 0, -40, 2_300_000),
    "turned by 76 degrees": Affine(0.5 * COSINE, 0.5 * SINE, 431_256.3, 0.5 * SINE, -0.5 * COSINE, 5_412_777.7),
    "pixels that are not square": Affine(0.25, 0, 500_000.1, 0, -0.7, 4_100_000.9),
    "south up": Affine(3, 0, 1000, 0, 3, 2000),
}


def frame_scene(seed: int) -> tuple[NDArray[np.int64], list[Mask]]:
    """A frame cut into patches, each one mask of many parts and holes; 0 is nobody's."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=(90, 120)), 1.5)
    labels = np.digitize(noise, np.quantile(noise, [0.2, 0.5, 0.6, 0.9]))
    return labels, [Mask.from_array(labels == label) for label in range(1, labels.max() + 1)]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_georeferenced_polygons_burn_back_to_their_masks(name: str) -> None:
    transform = TRANSFORMS[name]
    labels, masks = frame_scene(len(name))
    masks += [Mask.from_array(SHAPES[shape], 20, 30) for shape in SHAPES]
    moved = georeference(polygons(masks), transform)
    for mask, geometry in zip(masks, moved, strict=True):
        burnt = rasterio.features.rasterize([geometry], labels.shape, transform=transform, all_touched=False, dtype=np.uint8)
        np.testing.assert_array_equal(burnt.astype(bool), mask.to_array(Rect(0, 0, labels.shape[1], labels.shape[0])))
    parts = shapely.get_parts(moved)
    assert shapely.is_ccw(shapely.get_exterior_ring(parts)).all()
    assert not any(shapely.is_ccw(hole) for part in parts for hole in part.interiors)


def test_patches_of_a_frame_share_their_edges_exactly() -> None:
    labels, masks = frame_scene(1)
    geometries = georeference(polygons([*masks, Mask.from_array(labels == 0)]), TRANSFORMS["UTM, 10 m"])
    assert sum(shapely.area(geometries)) == labels.size * 100
    for a, b in itertools.combinations(geometries, 2):
        assert shapely.intersection(a, b).area == 0


def test_a_transform_is_applied_to_every_vertex_once() -> None:
    square = polygons([Mask.from_array(np.ones((1, 2), dtype=bool), 10, 20)])
    moved = georeference(square, Affine(2, 0, 100, 0, -3, 200))[0]
    assert shapely.equals(moved, shapely.box(120, 137, 124, 140))
    assert len(georeference(np.array([], dtype=object), Affine.identity())) == 0
    assert georeference(polygons([Mask.from_array(np.zeros((1, 1), dtype=bool))]), Affine.identity())[0].is_empty


def test_a_transform_without_area_is_refused() -> None:
    with pytest.raises(OptionError, match="pixels have no area"):
        georeference(polygons([Mask.from_array(np.ones((1, 1), dtype=bool))]), Affine(1, 1, 0, 1, 1, 0))


def test_thousands_of_parts_and_holes_take_no_quadratic_time() -> None:
    rings_ = np.tile(np.pad(SHAPES["ring"], ((0, 1), (0, 1))), (100, 100))
    framed = np.pad(rings_, 3)
    framed[:2], framed[-2:], framed[:, :2], framed[:, -2:] = True, True, True, True
    started = time.perf_counter()
    geometry = polygons([Mask.from_array(framed)])[0]
    elapsed = time.perf_counter() - started
    parts = shapely.get_parts(geometry)
    assert len(parts) == 100 * 100 + 1
    assert (shapely.get_num_interior_rings(parts) == 1).all()
    assert geometry.area == np.count_nonzero(framed)
    assert geometry.is_valid
    assert elapsed < 10


def test_a_sparse_mask_of_an_enormous_raster_makes_no_frame() -> None:
    far = 500_000_000
    runs = np.array([[-far, -far, far], [far, far - 1, far]], dtype=np.int32)
    geometry = polygons([Mask(runs)])[0]
    expected = shapely.MultiPolygon([shapely.box(-far, -far, far, 1 - far), shapely.box(far - 1, far, far, far + 1)])
    assert shapely.equals(geometry, expected)
    with pytest.raises(OptionError, match="convert fewer masks at a time"):
        polygons([Mask(runs * 4)])

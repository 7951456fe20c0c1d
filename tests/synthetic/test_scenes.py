"""Scenes know their own truth, and tell it the same way every time."""

import numpy as np
import pytest
import rasterio
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy import ndimage

from samgeo.errors import OptionError, RasterError
from samgeo.synthetic import Scene, town
from samgeo.synthetic.painting.canvas import Canvas, Sun
from samgeo.synthetic.painting.light import shadows
from samgeo.synthetic.rendering import _clipped
from samgeo.testing import decode_ids, encode_ids, road, scattered, touching_grid


@pytest.fixture(scope="module")
def scene() -> Scene:
    return town((400, 480), seed=3)


def in_pixels(scene: Scene) -> list[shapely.Geometry]:
    to_pixel = ~scene.geobox.affine
    return [shapely.transform(one, lambda xy: np.stack(to_pixel * tuple(xy.T), axis=1)) for one in scene.footprints.geometry]


def test_the_same_town_is_the_same_to_the_bit_and_another_is_another(scene: Scene) -> None:
    again, other = town((400, 480), seed=3), town((400, 480), seed=4)
    assert np.array_equal(scene.image, again.image)
    assert np.array_equal(scene.labels, again.labels)
    assert np.array_equal(scene.classes, again.classes)
    assert scene.footprints.equals(again.footprints)
    assert not np.array_equal(scene.image, other.image)


def test_types_and_shapes_are_as_promised(scene: Scene) -> None:
    assert (scene.image.shape, scene.image.dtype) == ((400, 480, 3), np.uint8)
    assert (scene.labels.shape, scene.labels.dtype) == ((400, 480), np.int32)
    assert (scene.classes.shape, scene.classes.dtype) == ((400, 480), np.uint8)
    assert tuple(scene.geobox.shape) == (400, 480)
    assert scene.geobox.crs.epsg == scene.footprints.crs.to_epsg() == 32734
    assert scene.geobox.affine.a == -scene.geobox.affine.e == 0.3


@pytest.mark.parametrize("seed", [0, 3])
def test_labels_are_the_footprints_at_pixel_centres(seed: int) -> None:
    scene = town((200, 280), seed=seed)
    drawn = rasterize(
        zip(scene.footprints.geometry, scene.footprints.id, strict=True),
        out_shape=scene.labels.shape,
        transform=scene.geobox.affine,
        dtype="int32",
    )
    assert np.array_equal(drawn, scene.labels)
    y, x = np.mgrid[:200, :280] + 0.5
    claimed = np.zeros(scene.labels.shape, dtype=int)
    for number, outline in zip(scene.footprints.id, in_pixels(scene), strict=True):
        inside = shapely.contains_xy(outline, x, y)
        assert np.array_equal(inside, scene.labels == number)
        claimed += inside
    assert claimed.max() == 1


def test_ids_run_from_one_without_gaps_and_each_has_a_footprint(scene: Scene) -> None:
    ids = np.unique(scene.labels)
    assert ids.tolist() == list(range(len(scene.footprints) + 1))
    assert scene.footprints.id.tolist() == ids[1:].tolist()
    assert scene.footprints.is_valid.all()
    assert set(scene.footprints.geom_type) <= {"Polygon", "MultiPolygon"}


def test_the_class_raster_has_buildings_exactly_where_labels_have_them(scene: Scene) -> None:
    building = scene.class_names.index("building")
    assert np.array_equal(scene.classes == building, scene.labels > 0)
    assert scene.classes.max() < len(scene.class_names)


def test_a_town_has_everything_that_towns_have() -> None:
    scene = town((512, 512), seed=6, resolution_m=0.6)
    shares = np.bincount(scene.classes.ravel(), minlength=len(scene.class_names)) / scene.classes.size
    assert all(share > 0.002 for share in shares), dict(zip(scene.class_names, shares, strict=True))
    assert len(scene.footprints) > 150
    assert set(scene.footprints.roof) == {"gable", "hip", "shed", "flat"}
    # Row houses share walls: many pairs of buildings touch.
    beside = (scene.labels[:, 1:] != scene.labels[:, :-1]) & (scene.labels[:, 1:] > 0) & (scene.labels[:, :-1] > 0)
    pairs = {tuple(sorted(pair)) for pair in zip(scene.labels[:, 1:][beside], scene.labels[:, :-1][beside], strict=True)}
    assert len(pairs) > 40


@pytest.mark.parametrize(("slope", "elevation"), [(0, 45.0), (4, 45.0), (8, 55.0)])
@pytest.mark.parametrize("east", [False, True])
def test_a_box_throws_the_shadow_that_trigonometry_says(slope: int, elevation: float, east: bool) -> None:
    sun = Sun.at(slope, elevation, east=east)
    assert np.hypot(np.hypot(sun.x, sun.y), sun.z) == pytest.approx(1)
    canvas = Canvas.blank((100, 100), 0.4, sun, np.random.default_rng(0))
    canvas.height[60:80, 80:120] = 8.0  # from (16, 12) to (24, 16) metres
    box = shapely.box(16, 12, 24, 16)
    reach = 8.0 / np.tan(np.radians(elevation)) / np.hypot(sun.x, sun.y)
    tip = shapely.affinity.translate(box, -sun.x * reach, -sun.y * reach)
    truth = canvas.burn([shapely.difference(shapely.MultiPolygon([box, tip]).convex_hull, box)]) > 0
    thrown = shadows(canvas)
    assert np.count_nonzero(thrown ^ truth) < 0.08 * np.count_nonzero(truth)


@pytest.mark.parametrize("shape", [(16, 16), (64, 300), (131, 77)])
def test_any_shape_can_be_had(shape: tuple[int, int]) -> None:
    scene = town(shape, seed=5)
    assert scene.labels.shape == scene.image.shape[:2] == shape


def test_finer_pixels_show_the_same_town() -> None:
    coarse, fine = town((128, 160), seed=8, resolution_m=0.6), town((256, 320), seed=8, resolution_m=0.3)
    assert coarse.footprints.total_bounds == pytest.approx(fine.footprints.total_bounds, abs=1e-6)
    assert np.mean((coarse.labels > 0) == (fine.labels[::2, ::2] > 0)) > 0.97


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (8, 100)}, "at least 16 pixels"),
        ({"seed": -1}, "seed is -1"),
        ({"resolution_m": 5.0}, "0.05 to 2 metres"),
    ],
)
def test_towns_that_cannot_be_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        town(**arguments)


@pytest.mark.parametrize("overviews", [False, True])
def test_a_saved_scene_reads_back_with_its_georeference(scene: Scene, tmp_path, overviews: bool) -> None:
    path = scene.save(tmp_path / "town.tif", overviews=overviews)
    with rasterio.open(path) as dataset:
        assert np.array_equal(np.moveaxis(dataset.read(), 0, -1), scene.image)
        assert dataset.transform == scene.geobox.affine
        assert dataset.crs.to_epsg() == 32734
        assert dataset.profile["tiled"]
        assert dataset.compression.value == "DEFLATE"
        assert bool(dataset.overviews(1)) == overviews


def test_saving_where_nothing_can_be_written_says_so(scene: Scene, tmp_path) -> None:
    with pytest.raises(OptionError, match="is not a folder"):
        scene.save(tmp_path / "nowhere" / "town.tif")
    with pytest.raises(RasterError, match="cannot be written"):
        scene.save(tmp_path)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_ids_in_colours_read_back(seed: int, shape: tuple[int, int]) -> None:
    labels = np.random.default_rng(seed).integers(0, 2**24, shape, dtype=np.int32)
    image = encode_ids(labels)
    assert image.dtype == np.uint8
    assert np.array_equal(decode_ids(image), labels)


def test_an_id_is_red_plus_256_green_plus_65536_blue() -> None:
    assert encode_ids(np.array([[3 + 256 * 4 + 65536 * 5]], dtype=np.int32)).tolist() == [[[3, 4, 5]]]


@pytest.mark.parametrize("labels", [np.array([[-1]]), np.array([[2**24]]), np.zeros((2, 2)), np.zeros(3, np.int32)])
def test_labels_that_do_not_fit_colours_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(OptionError):
        encode_ids(labels)


@pytest.mark.parametrize("image", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3))])
def test_images_that_cannot_carry_ids_are_refused(image: np.ndarray) -> None:
    with pytest.raises(OptionError):
        decode_ids(image)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 40),
    shape=st.tuples(st.integers(150, 400), st.integers(150, 400)),
    seed=st.integers(0, 1000),
    low=st.integers(4, 18),
    more=st.integers(0, 40),
)
def test_scattered_objects_are_as_many_as_asked_whole_apart_and_of_their_sizes(n, shape, seed, low, more) -> None:
    labels = scattered(n, shape, seed, min_size=low, max_size=low + more)
    assert labels.shape == shape
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, n + 1))
    _, count = ndimage.label(labels > 0, np.ones((3, 3)))
    assert count == n  # as many islands as ids, even across corners: no two touch, and none is in pieces
    for rows, columns in ndimage.find_objects(labels):
        assert low <= rows.stop - rows.start <= low + more
        assert low <= columns.stop - columns.start <= low + more


def test_scattered_objects_have_more_than_one_shape() -> None:
    labels = scattered(60, seed=2)
    fill = [np.mean(labels[box] == number) for number, box in enumerate(ndimage.find_objects(labels), start=1)]
    assert 1.0 in fill  # a rectangle
    assert any(0.77 < share < 0.80 for share in fill)  # a disc: a quarter of pi
    assert min(fill) < 0.75  # an L


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 400, "shape": (100, 100)}, "do not fit into 100 x 100"),
        ({"n": -1}, "n is -1"),
        ({"n": 3, "min_size": 9, "max_size": 8}, "min_size is 9"),
    ],
)
def test_objects_that_cannot_be_scattered_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        scattered(**arguments)


def test_a_grid_of_24_rows_of_28_is_672_rectangles_in_blocks_that_share_walls() -> None:
    labels = touching_grid(24, 28)
    boxes = ndimage.find_objects(labels)
    assert len(boxes) == 672
    for number, box in enumerate(boxes, start=1):
        assert (labels[box] == number).all()
        assert all(44 <= side <= 64 for side in labels[box].shape)
    _, blocks = ndimage.label(labels > 0)
    assert blocks == 12 * 4
    assert not labels[[0, -1]].any()
    assert not labels[:, [0, -1]].any()


@pytest.mark.parametrize("arguments", [{"rows": 0, "columns": 3}, {"rows": 2, "columns": 2, "size": (9, 5)}])
def test_grids_of_nothing_are_refused(arguments: dict) -> None:
    with pytest.raises(OptionError, match="do not define a grid"):
        touching_grid(**arguments)


@pytest.mark.parametrize("winding", [False, True])
def test_a_road_is_one_object_from_edge_to_edge(winding: bool) -> None:
    labels = road(3000, 30, winding=winding)
    assert labels.shape == (480, 3000)
    assert ndimage.label(labels)[1] == 1
    assert (labels.sum(axis=0) == 30).all()
    assert (np.ptp(labels.argmax(axis=0)) > 200) == winding


def test_a_road_without_pixels_is_refused() -> None:
    with pytest.raises(OptionError, match="at least 1"):
        road(0, 10)


def test_an_outline_that_touches_the_frame_is_clipped_to_polygons() -> None:
    frame = shapely.box(0, 0, 10, 10)
    # A notch reaches exactly to the frame, so that a part of the intersection is a line.
    outline = shapely.Polygon([(-2, 1), (4, 1), (4, 3), (0, 3), (0, 5), (-1, 5), (-1, 9), (-2, 9)])
    assert shapely.intersection(outline, frame).geom_type == "GeometryCollection"
    assert _clipped(outline, frame).equals(shapely.box(0, 1, 4, 3))

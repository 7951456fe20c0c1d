"""Windows of several scales: large objects come out whole, small ones as ever, and every object once."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scaled import COLORS, Sharp, Shortsighted, paint
from scipy.ndimage import binary_opening

import samgeo
from samgeo.errors import OptionError
from samgeo.geo.levels import check_scales
from samgeo.segmentation.api import segment_to_file
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.windows.scales import leave_to_finer, thick_part
from samgeo.testing import mask_arrays, road, scattered, touching_grid
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

ALL_SCALES = [(1,), (1, 2), (1, 2, 4), (1, 3), (1, 4)]


def found(labels: np.ndarray, scales=(1, 2, 4), model: type[Oracle] = Sharp, side: int = 128, **options):
    options = {"overlap": side // 2, "points_per_side": side // 8, "progress": False} | options
    return samgeo.segment(paint(labels), model=model(side), scales=scales, **options)


def areas(labels: np.ndarray) -> np.ndarray:
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    return np.stack([ids, counts], axis=1)


def ids_and_areas(result, labels: np.ndarray) -> np.ndarray:
    """The id under each feature, and the feature's area."""
    points = shapely.get_coordinates(shapely.point_on_surface(result.geometry.to_numpy())).astype(int)
    ids = labels[points[:, 1], points[:, 0]]
    return np.stack([ids, result.area_px.astype(int)], axis=1)[np.argsort(ids, kind="stable")]


def lake(shape: tuple[int, int], rect: tuple[int, int, int, int], island: bool = True) -> np.ndarray:
    """An ellipse that fills a rectangle, with an island; ids 1 and 2."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    x0, y0, x1, y1 = rect
    away = ((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2
    labels = (away <= 0.25).astype(np.int32)
    if island:
        labels[away <= 0.004] = 2
    return labels


@pytest.mark.parametrize(("shape", "method"), [((112, 416), "average"), ((112, 411), "average"), ((112, 416), "nearest")])
def test_overviews_change_no_object_whatever_the_size_of_the_raster(shape, method: str, tmp_path: Path) -> None:
    """Overviews of sizes that their factors do not divide have pixels of other widths than these."""
    labels = np.zeros(shape, dtype=np.int32)
    for index, x in enumerate(range(10, 330, 100)):
        labels[16:96, x : x + 80] = index + 1
    options = {"model": Shortsighted(64), "overlap": 16, "points_per_side": 8, "scales": (1, 4), "progress": False}
    results = [
        samgeo.segment(
            write_raster(tmp_path / f"{len(overviews)}.tif", paint(labels), overviews=overviews, overview_method=method),
            **options,
        )
        for overviews in ((), (2, 4, 8))
    ]
    assert len(results[0]) >= labels.max()
    assert results[0].geometry.geom_equals_exact(results[1].geometry, 0).all()


@pytest.mark.parametrize("scales", ALL_SCALES)
def test_150_objects_are_150_features_with_their_very_pixels(scales) -> None:
    labels = scattered(150, (880, 880), seed=7, min_size=20, max_size=45)
    result = found(labels, scales, side=256)
    assert len(result) == 150
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))


@pytest.mark.parametrize("scales", ALL_SCALES)
def test_touching_buildings_stay_apart_and_lose_nothing(scales) -> None:
    labels = touching_grid(12, 14, size=(22, 32), street=12)
    result = found(labels, scales)
    assert len(result) == 168
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))


@pytest.mark.parametrize("scales", ALL_SCALES)
@pytest.mark.parametrize("winding", [False, True])
def test_a_road_ten_windows_long_is_one_feature(scales, winding: bool) -> None:
    labels = road(10 * 64 + 128, 12, winding=winding)
    result = found(labels, scales)
    assert result.area_px.tolist() == [(labels > 0).sum()]
    assert result.complete.all()


@pytest.mark.parametrize(
    ("size", "scales"),
    [
        *(((150, 190), scales) for scales in ALL_SCALES),
        *(((420, 600), scales) for scales in ALL_SCALES[:2]),
        pytest.param((420, 600), (1, 2, 4), marks=pytest.mark.slow),
        pytest.param((700, 800), (1, 2, 4), marks=pytest.mark.slow),
    ],
)
def test_a_lake_larger_than_one_window_and_than_four_is_one_feature_with_its_very_pixels(size, scales) -> None:
    labels = lake((size[0] + 60, size[1] + 70), (31, 17, 31 + size[1], 17 + size[0]))
    result = found(labels, scales)
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))
    assert result.complete.all()


def test_what_fills_a_window_is_found_by_a_coarser_one() -> None:
    """Scale 1 alone sees the shores; at scale 4 the lake is an object, and the shores stay sharp."""
    labels = lake((760, 870), (31, 17, 451, 437), island=False)
    labels[600:640, 700:740] = 3
    shores = found(labels, (1,), model=Shortsighted)
    assert max(shores.area_px) < 0.9 * (labels == 1).sum()
    result = found(labels, (1, 2, 4), model=Shortsighted)
    assert np.array_equal(ids_and_areas(result, labels)[:, 0], [1, 3])
    assert result.complete.all()
    (water,) = result.geometry[result.area_px > 10_000]
    truth = shapely.union_all([shapely.box(*box) for box in _runs(labels == 1)])
    assert shapely.area(shapely.intersection(water, truth)) / shapely.area(shapely.union(water, truth)) > 0.995
    assert shapely.hausdorff_distance(shapely.boundary(water), shapely.boundary(truth)) < 4


def _runs(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    return [(start, y, stop, y + 1) for y, start, stop in Mask.from_array(mask).runs.tolist()]


def test_a_field_between_two_sizes_of_windows_is_found_where_only_the_coarser_sees_it() -> None:
    labels = np.zeros((500, 500), dtype=np.int32)
    labels[100:260, 80:252] = 7
    result = found(labels, (1, 2), model=Shortsighted)
    assert len(result) == 1
    assert abs(result.area_px[0] - 160 * 172) < 4 * (160 + 172)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 30),
    shape=st.tuples(st.integers(150, 500), st.integers(150, 500)),
    large=st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(80, 400), st.integers(80, 400)),
    scales=st.sampled_from(ALL_SCALES),
    overlap=st.sampled_from([40, 64]),
    workers=st.integers(1, 4),
)
def test_any_scales_overlap_and_worker_count_give_the_same_objects(seed, count, shape, large, scales, overlap, workers) -> None:
    labels = scattered(count, shape, seed=seed, min_size=12, max_size=40)
    y, x, height, width = large
    labels[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1] = 0
    labels[y : y + height, x : x + width] = count + 1
    labels = whole_ones(labels)
    result = found(labels, scales, overlap=overlap, workers=workers)
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))


def whole_ones(labels: np.ndarray) -> np.ndarray:
    """Without what something else has cut into pieces, or into slivers between the points, which are 8 pixels apart."""
    from scipy.ndimage import binary_erosion, find_objects, label

    kept = labels.copy()
    for number, box in enumerate(find_objects(labels), start=1):
        if box is not None:
            here = labels[box] == number
            if label(here)[1] > 1 or not binary_erosion(here, np.ones((10, 10))).any():
                kept[box][here] = 0
    return kept


def test_result_is_the_same_to_the_byte_for_threads_processes_and_any_order() -> None:
    labels = lake((300, 330), (20, 30, 240, 280))
    labels[200:230, 260:320] = 5

    def canonical(**options) -> bytes:
        return found(labels, model=Sharp, **options).to_wkb().to_csv().encode()

    expected = canonical(scheduler="synchronous")
    assert canonical(workers=2) == canonical(workers=4) == expected
    assert canonical(scheduler="processes", workers=1) == expected


def test_scales_whose_windows_hold_the_raster_more_than_once_are_not_read() -> None:
    model = Sharp(128)
    samgeo.segment(paint(np.ones((200, 200), dtype=np.int32)), model=model, overlap=64, scales=(1, 2, 4, 8), progress=False)
    assert model.embedded == 9 + 1


def test_coarse_windows_are_of_the_area_of_interest_too() -> None:
    labels = lake((500, 500), (20, 20, 480, 480), island=False)
    model = Sharp(128)
    aoi = shapely.box(100, 230, 155, 280)  # in the core of one window
    result = samgeo.segment(paint(labels), model=model, overlap=64, scales=(1, 4), aoi=aoi, progress=False)
    assert model.embedded == 1 + 1
    assert len(result) == 1
    assert result.complete.all()


@pytest.mark.parametrize("length", [100, 320])
@pytest.mark.parametrize("scales", [(1,), (1, 2), (1, 2, 4)])
def test_an_object_whose_end_is_too_thin_for_coarse_windows_is_whole_and_found_once(length: int, scales) -> None:
    """Coarse windows see the thick part alone, cut where the thin one begins; that goes on at scale 1."""
    labels = np.zeros((length + 10, 180), dtype=np.int32)
    labels[0:40, 112:136] = 1
    labels[40:length, 120:126] = 1
    aoi = shapely.box(110, 0, 130, 12)
    result = found(labels, scales, side=32, overlap=10, points_per_side=32, aoi=aoi)
    assert result.area_px.tolist() == [np.count_nonzero(labels)]
    assert result.complete.all()


def test_nodata_is_no_part_of_an_object_and_cuts_none() -> None:
    labels = np.full((440, 440), 3, dtype=np.int32)
    image = paint(labels)
    away = np.add.outer(np.arange(440), np.arange(440)) < 360
    image[away] = 255
    raster = samgeo.Raster.open(image, nodata=255)
    result = samgeo.segment(raster, model=Sharp(128), overlap=64, points_per_side=16, scales=(1, 2, 4), progress=False)
    assert result.area_px.tolist() == [(~away).sum()]
    assert result.complete.all()


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((), "scales are"),
        ((0, 1), "from 1 to 64"),
        ((1, -2), "from 1 to 64"),
        ((1, 2, 2), "different"),
        ((1, 1.5), "whole numbers"),
        ((1, "2"), "whole numbers"),
        ("1,2", "whole numbers"),
        ((1, True), "whole numbers"),
        ((1, 65), "from 1 to 64"),
        ((2, 4), "add scale 1"),
        (None, "whole numbers"),
    ],
)
def test_scales_that_cannot_work_are_refused_before_work_starts(scales, message: str) -> None:
    model = Sharp(128)
    with pytest.raises(OptionError, match=message):
        samgeo.segment(paint(np.ones((300, 300), dtype=np.int32)), model=model, scales=scales, progress=False)
    assert model.embedded == 0


def test_scales_are_taken_in_any_order_and_kind() -> None:
    assert check_scales([4, np.int64(1), 2]) == (1, 2, 4)
    assert check_scales(1) == (1,)


def test_the_table_tells_the_scales() -> None:
    assert found(np.ones((64, 64), dtype=np.int32), (2, 1)).attrs["samgeo"]["options"]["scales"] == [1, 2]


def square(side: int) -> Mask:
    return Mask.from_array(np.ones((side, side), dtype=bool), 40, 40)


def test_what_is_small_or_thin_at_a_scale_is_left_to_the_finer_one() -> None:
    assert leave_to_finer(square(64), 4, overlap=64).is_empty
    assert leave_to_finer(square(65), 4, overlap=64) == square(65)
    line = Mask.from_array(np.ones((9, 200), dtype=bool))
    assert leave_to_finer(line, 4, overlap=64).is_empty
    assert leave_to_finer(line, 2, overlap=64) == line


@settings(deadline=None)
@given(image=mask_arrays(max_side=14), side=st.integers(1, 6))
def test_the_thick_part_is_the_opening_with_a_square(image: np.ndarray, side: int) -> None:
    padded = np.pad(image, 8)
    opened = binary_opening(padded, np.ones((side, side)), origin=0 if side % 2 else -1)
    assert thick_part(Mask.from_array(padded), side) == Mask.from_array(opened)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = lake((390, 340), (20, 30, 280, 360))
    labels[10:60, 300:330] = 9
    return write_raster(tmp_path_factory.mktemp("scene") / "image.tif", paint(labels))


def stop_after(calls: int):
    """A flag that goes up when it was asked so many times."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


RUN = {"overlap": 64, "points_per_side": 16, "scales": (1, 2, 4), "progress": False}


def test_a_run_that_stops_after_any_window_comes_to_the_same_bytes(scene: Path, tmp_path: Path) -> None:
    from samgeo.errors import StoppedError
    from samgeo.segmentation.run.status import run_status

    whole = tmp_path / "whole.parquet"
    done = segment_to_file(scene, whole, model=Sharp(128), **RUN)
    output, stops = tmp_path / "out.parquet", 0
    while not output.exists():
        try:
            segment_to_file(scene, output, model=Sharp(128), stop=stop_after(7), scheduler="synchronous", **RUN)
        except StoppedError:
            stops += 1
            assert run_status(output).windows == done.windows
    assert stops > 3
    assert output.read_bytes() == whole.read_bytes()
    with pytest.raises(StoppedError):
        segment_to_file(scene, tmp_path / "two.parquet", model=Sharp(128), stop=stop_after(7), **RUN)
    with pytest.raises(samgeo.SamgeoError, match=r"options\.scales was \[1, 2, 4\] and is now \[1, 2\]"):
        segment_to_file(scene, tmp_path / "two.parquet", model=Sharp(128), **RUN | {"scales": (1, 2)})


class Failing(Sharp):
    """It has no memory left for windows that show the island small."""

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        if 0 < np.count_nonzero(ids == COLORS[2]) < 300:
            raise RuntimeError("out of memory")
        return ids


def test_coarse_windows_that_fail_are_holes_of_their_scale(scene: Path, tmp_path: Path) -> None:
    from samgeo.geo.vector.reading import read_vectors
    from samgeo.segmentation.api import HolesWarning
    from samgeo.segmentation.run.status import run_status

    output = tmp_path / "out.gpkg"
    with pytest.warns(HolesWarning, match="the window of scale 4 at row 0, column 0"):
        result = samgeo.segment(scene, output, model=Failing(128), **RUN)
    holes = read_vectors(tmp_path / "out.holes.gpkg")
    windows = holes[["scale", "row", "column"]].to_numpy().tolist()
    assert [4, 0, 0] in windows
    told = [[row, column, *([scale] if scale > 1 else [])] for scale, row, column in windows]
    assert result.attrs["samgeo"]["failed_windows"] == told
    assert [[one.scale, one.row, one.column] for one in run_status(output).failures] == windows
    samgeo.segment(scene, output, model=Sharp(128), retry_failed=True, **RUN)
    expected = samgeo.segment(scene, model=Sharp(128), **RUN)
    # Files have multipolygons.
    assert (
        read_vectors(output).explode(ignore_index=True).to_wkb().to_csv()
        == expected.explode(ignore_index=True).to_wkb().to_csv()
    )


def test_the_command_takes_scales(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from samgeo.cli import main
    from samgeo.geo.vector.reading import read_provenance

    image = write_raster(tmp_path / "image.tif", np.zeros((90, 90, 3), dtype=np.uint8))
    small = ["--window", "64", "--overlap", "16", "--points-per-side", "2", "--quiet"]
    done = CliRunner().invoke(main, ["segment", str(image), str(tmp_path / "out.gpkg"), "--scales", "2,1", *small])
    assert done.exit_code == 0, done.output
    assert read_provenance(tmp_path / "out.gpkg")["options"]["scales"] == [1, 2]
    for text, code, message in (("1,two", 2, "whole numbers; give them as in 1,2,4"), ("2,4", 1, "add scale 1")):
        refused = CliRunner().invoke(main, ["segment", str(image), str(tmp_path / "no.gpkg"), "--scales", text, *small])
        assert (refused.exit_code, message in refused.stderr) == (code, True), refused.output

"""The whole way with a perfect model: what windows cut is one object again, to the pixel."""

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import samgeo
from samgeo.testing import encode_ids, road, scattered, touching_grid
from samgeo.testing.oracle import Oracle


def areas(labels: np.ndarray) -> np.ndarray:
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    return np.stack([ids, counts], axis=1)


def found(labels: np.ndarray, **options):
    options = {"model": Oracle(512), "points_per_side": 32, "progress": False} | options
    return samgeo.segment(encode_ids(labels), **options)


def ids_and_areas(result, labels: np.ndarray) -> np.ndarray:
    """The id under each feature, and the feature's area."""
    points = shapely.get_coordinates(shapely.point_on_surface(result.geometry.to_numpy())).astype(int)
    ids = labels[points[:, 1], points[:, 0]]
    return np.stack([ids, result.area_px.astype(int)], axis=1)[np.argsort(ids, kind="stable")]


@pytest.mark.parametrize("overlap", [96, 128, 256])
def test_120_objects_are_120_features_with_their_very_pixels(overlap: int) -> None:
    labels = scattered(120, (1600, 1600), seed=7)
    result = found(labels, overlap=overlap)
    assert len(result) == 120
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))


def test_168_touching_buildings_are_168_features_and_all_of_the_area() -> None:
    labels = touching_grid(12, 14)
    result = found(labels)
    assert len(result) == 168
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))


@pytest.mark.parametrize("winding", [False, True])
def test_a_road_ten_windows_long_is_one_feature(winding: bool) -> None:
    labels = road(10 * 384 + 128, 40, winding=winding)
    result = found(labels)
    assert len(result) == 1
    assert result.area_px[0] == (labels > 0).sum()
    assert result.complete.all()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 40),
    shape=st.tuples(st.integers(150, 600), st.integers(150, 600)),
    window=st.sampled_from([192, 256]),
    overlap=st.sampled_from([80, 96]),
    workers=st.integers(1, 4),
)
def test_any_window_overlap_and_worker_count_gives_the_same_objects(seed, count, shape, window, overlap, workers) -> None:
    labels = scattered(count, shape, seed=seed, min_size=18, max_size=60)
    result = found(labels, model=Oracle(window), points_per_side=window // 8, window=window, overlap=overlap, workers=workers)
    assert np.array_equal(ids_and_areas(result, labels), areas(labels))


def test_result_is_the_same_to_the_byte_for_threads_processes_and_a_cluster() -> None:
    from distributed import Client, LocalCluster

    labels = scattered(25, (520, 640), seed=3)

    def canonical(**options) -> bytes:
        result = found(labels, model=Oracle(256), window=256, overlap=96, points_per_side=16, **options)
        return result.to_wkb().to_csv().encode()

    expected = canonical(scheduler="synchronous")
    assert canonical(workers=4) == expected
    assert canonical(scheduler="processes", workers=2) == expected
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert canonical(scheduler=client) == expected
        assert canonical(scheduler=cluster.scheduler_address) == expected


def test_windows_without_data_are_never_encoded() -> None:
    labels = np.zeros((600, 1400), dtype=np.int32)
    labels[50:90, 60:100] = 1
    image = encode_ids(labels)
    valid = np.zeros(labels.shape, dtype=bool)
    valid[:, :300] = True
    oracle = Oracle(256)
    raster = samgeo.Raster.open(np.where(valid[..., None], image, 255), nodata=255)
    result = samgeo.segment(raster, model=oracle, points_per_side=16, progress=False)
    assert len(result) == 1
    # Only the first two columns of windows reach into the data: strides of 192 over 300 columns, three rows.
    assert oracle.embedded == 6


def test_an_object_at_the_edge_of_the_data_is_complete() -> None:
    labels = np.zeros((256, 448), dtype=np.int32)
    labels[100:140, 150:200] = 5
    image = encode_ids(labels)
    image[:, 200:] = 255
    result = samgeo.segment(samgeo.Raster.open(image, nodata=255), model=Oracle(256), points_per_side=16, progress=False)
    assert result.area_px.tolist() == [2000]


def test_points_outside_the_area_of_interest_are_not_asked() -> None:
    labels = touching_grid(4, 4)
    oracle = Oracle(512)
    one = labels == labels[labels > 0][0]
    y, x = np.nonzero(one)
    aoi = shapely.box(x.min(), y.min(), x.max() + 1, y.max() + 1)
    result = found(labels, model=oracle, aoi=aoi)
    assert result.area_px.tolist() == [one.sum()]


def test_area_limits_drop_objects_outside() -> None:
    labels = np.zeros((256, 256), dtype=np.int32)
    labels[20:40, 20:40], labels[100:150, 100:150], labels[180:250, 20:90] = 1, 2, 3
    result = found(labels, model=Oracle(256), min_area=401, max_area=2500)
    assert result.area_px.tolist() == [2500]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 400}, "give an even number from 0 to 256"),
        ({"window": 1}, "give at least 2"),
        ({"points_per_side": 0}, "points_per_side is 0"),
        ({"pred_iou": 1.5}, "pred_iou is 1.5"),
        ({"min_area": 5, "max_area": 4}, "min_area"),
        ({"merge_iou": 0}, "merge_iou"),
        ({"workers": 0}, "workers is 0"),
        ({"scheduler": "nowhere"}, "scheduler is 'nowhere'"),
        ({"aoi": shapely.box(9000, 9000, 9001, 9001)}, "area of interest does not intersect"),
    ],
)
def test_options_that_cannot_work_are_refused_before_work_starts(options: dict, message: str) -> None:
    oracle = Oracle(512)
    with pytest.raises(samgeo.SamgeoError, match=message):
        found(np.ones((300, 300), dtype=np.int32), model=oracle, **options)
    assert oracle.embedded == 0


class Broken(Oracle):
    def embed(self, images, sizes=None):
        raise RuntimeError("out of memory")


def test_a_window_that_fails_twice_is_named_and_nothing_is_written(tmp_path) -> None:
    output = tmp_path / "objects.parquet"
    with pytest.raises(samgeo.SamgeoError, match=r"row 0, column 0 .* failed 2 times: out of memory"):
        samgeo.segment(np.ones((64, 64, 3), np.uint8), output, model=Broken(512), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_table_tells_what_made_it() -> None:
    result = found(np.ones((64, 64), dtype=np.int32))
    made = result.attrs["samgeo"]
    assert made["model"]["name"] == "oracle"
    assert made["options"]["window"] == 512
    assert made["options"]["overlap"] == 128
    assert list(result.columns) == ["predicted_iou", "stability_score", "area_px", "complete", "geometry"]

"""Objects over several dates: ids, gaps, areas, the run and its outputs, on scenes that know their truth."""

from __future__ import annotations

import datetime
import os
import signal
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from change_scenes import WINDOW, Describer, labels_of, outlines, save
from click.testing import CliRunner
from odc.geo.xr import xr_coords
from track_scenes import area_errors, right_ids

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, RasterError, RunError, StoppedError, VectorError
from samgeo.segmentation import HolesWarning
from samgeo.synthetic import dates
from samgeo.testing import Oracle, encode_ids, write_raster
from samgeo.time_series import plot_areas, summarize, track_to_file
from samgeo.time_series.tracking import track_run

# 1 to 5 are always there. 6 appears at the second date, 7 vanishes after the second, 8 is away at the second date, and 9 at the
# second and the third. 10 grows.
STAY = {1: (8, 8, 28, 30), 2: (50, 8, 64, 24), 3: (4, 60, 118, 72), 4: (10, 84, 24, 100), 5: (125, 130, 144, 150)}
OTHERS = [
    {7: (80, 8, 100, 28), 8: (120, 90, 150, 101), 9: (60, 80, 75, 98), 10: (90, 120, 110, 131)},
    {6: (110, 10, 130, 30), 7: (80, 8, 100, 28), 10: (90, 120, 110, 135)},
    {6: (110, 10, 130, 30), 8: (120, 90, 150, 101), 10: (90, 120, 114, 137)},
    {6: (110, 10, 130, 30), 8: (120, 90, 150, 101), 9: (60, 80, 75, 98), 10: (90, 120, 114, 139)},
]
BOXES = [STAY | others for others in OTHERS]
YEARS = (2018, 2020, 2021, 2024)
QUIET = {"model": Describer(WINDOW), "progress": False}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("series")
    return [save(labels_of(boxes), folder / f"{year}.tif") for year, boxes in zip(YEARS, BOXES, strict=True)]


@pytest.fixture
def layers(images: list[Path]) -> list[gpd.GeoDataFrame]:
    return [outlines(boxes, images[0]) for boxes in BOXES]


def ids_by_object(result: gpd.GeoDataFrame, boxes: list[dict]) -> dict[int, list[int]]:
    """The ids of the rows of each object of the scene, in the order of the dates."""
    found: dict[int, list[int]] = {}
    for date, part in enumerate(sorted(result.date.unique())):
        names = list(boxes[date])
        for row in result[result.date == part].itertuples():
            found.setdefault(names[row.object_id], []).append(row.id)
    return found


def test_ids_persist_over_gaps_and_areas_are_right(images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path) -> None:
    result = samgeo.track(list(zip(YEARS, images, strict=True)), tmp_path / "out.parquet", objects=layers, **QUIET)
    found = ids_by_object(result, BOXES)
    assert {name: len(set(ids)) for name, ids in found.items()} == dict.fromkeys(range(1, 11), 1) | {9: 2}
    every = [number for ids in found.values() for number in set(ids)]
    assert sorted(every) == list(range(1, 12))
    assert result.date.is_monotonic_increasing
    eight, nine = (result[result.id.isin(found[name])] for name in (8, 9))
    assert eight.missed.tolist() == [0, 1, 0]
    assert nine.missed.tolist() == [0, 0]
    assert eight.angle.iloc[1] == pytest.approx(0, abs=1e-2)
    told = result.attrs["samgeo"]["track"]
    assert told["counts"] == {"2018-01-01": 9, "2020-01-01": 8, "2021-01-01": 8, "2024-01-01": 9}
    assert (told["objects"], told["missed"], told["unseen"]) == (11, 1, 0)
    table = summarize(result)
    assert table.columns[-4:].tolist() == [f"area_m2 {date}" for date in told["dates"]]
    growing = table.loc[found[10][0]].iloc[-4:].to_numpy(dtype=float)
    truth = [(box[2] - box[0]) * (box[3] - box[1]) / 4 for box in (boxes[10] for boxes in BOXES)]
    assert growing == pytest.approx(truth, rel=2e-3)  # pixels of half a metre
    row = table.loc[found[8][0]]
    assert (row.seen, row.gaps, row.missed, row.first_seen.year, row.last_seen.year) == (3, 1, 1, 2018, 2024)
    assert np.isnan(row["area_m2 2020-01-01"])
    assert not (tmp_path / "out.parquet.run").exists()
    pd.testing.assert_frame_equal(summarize(gpd.read_parquet(tmp_path / "out.parquet")), table)


def test_a_summary_of_a_file_is_that_of_the_result(images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path) -> None:
    path = tmp_path / "tracks.geojson"
    result = samgeo.track(images[:2], path, dates=[2018, datetime.date(2020, 1, 1)], objects=layers[:2], **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # GDAL would like ids of GeoJSON to be unique, but keeps the column
        read = gpd.read_file(path)
    # Reading may give numbers of another width; GeoJSON has degrees, but the same areas.
    pd.testing.assert_frame_equal(summarize(read), summarize(result), check_dtype=False, check_index_type=False)


def test_an_object_that_moved_is_known_by_its_features(images: list[Path]) -> None:
    boxes = [STAY | {7: (80, 8, 100, 28)}, STAY | {7: (89, 8, 109, 28)}, STAY | {70: (80, 8, 100, 28)}]
    rasters = [encode_ids(labels_of(one)) for one in boxes]
    given = [[shapely.box(*box) for box in one.values()] for one in boxes]
    options = QUIET | {"dates": [2020, 2021], "max_shift_px": 20.0}
    moved = samgeo.track(rasters[:2], objects=given[:2], **options)
    assert ids_by_object(moved, boxes)[7] == [6, 6] or len(set(ids_by_object(moved, boxes)[7])) == 1
    assert moved[moved.object_id == 5].iou.iloc[1] == pytest.approx(220 / 580)
    other = samgeo.track(rasters[1:], objects=given[1:], **options)
    found = ids_by_object(other, boxes[1:])
    assert set(found[7]).isdisjoint(found[70])
    assert "area_px" in other


def test_one_layer_has_a_row_for_each_date_with_data(
    images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path
) -> None:
    hidden = np.ones((160, 160), dtype=bool)
    hidden[:, 112:] = False
    part = write_raster(tmp_path / "part.tif", encode_ids(labels_of(BOXES[1])), mask=hidden)
    series = dict(zip(YEARS[:3], (images[0], part, images[2]), strict=True))
    result = samgeo.track(series, objects=layers[0], scheduler="synchronous", **QUIET)
    found = ids_by_object(result, [BOXES[0]] * 3)
    assert {name: len(ids) for name, ids in found.items()} == dict.fromkeys(BOXES[0], 3) | {5: 2, 8: 2}
    table = summarize(result)
    assert table.loc[found[8][0], ["seen", "missed", "unseen"]].tolist() == [2, 0, 1]
    # Layers of each date: a place without data is no gap.
    given = [layers[0], layers[0][~layers[0].id.isin([1, 5, 8])], layers[0]]
    found = samgeo.track(series, objects=given, max_gap=0, **QUIET)
    last = found[found.date.dt.year == 2021].set_index("object_id")
    assert last.loc[[0, 4, 6], "unseen"].tolist() == [0, 1, 1]
    assert np.isnan(last.loc[0, "iou"])  # it was missing at a place with data, so that it is a new object


def test_an_array_with_an_axis_of_time_and_objects_that_are_found(images: list[Path]) -> None:
    with_georeference = samgeo.Raster.open(images[0])
    stack = np.stack([encode_ids(labels_of(boxes)) for boxes in BOXES[:2]])
    coordinates = dict(xr_coords(with_georeference.geobox)) | {"time": pd.to_datetime(["2018", "2020"])}
    array = xr.DataArray(stack, dims=("time", "y", "x", "band"), coords=coordinates)
    result = samgeo.track(array, points_per_side=8, **QUIET)
    assert summarize(result).seen.value_counts().to_dict() == {2: 7, 1: 3}
    assert result.date.dt.year.unique().tolist() == [2018, 2020]


def killed(work) -> int:
    """Do something in a forked process, and return the signal that ended it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_killed_and_resumed_gives_the_same_bytes(
    images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = QUIET | {"scheduler": "synchronous", "objects": layers[:2], "dates": list(YEARS[:2])}
    alone, output = tmp_path / "alone.parquet", tmp_path / "out.parquet"
    samgeo.track(images[:2], alone, **options | {"workers": 2, "scheduler": None})
    write = track_run.write_part

    def write_or_die(table: gpd.GeoDataFrame, path: Path) -> None:
        if path.name.startswith("000001"):
            os.kill(os.getpid(), signal.SIGKILL)
        write(table, path)

    with monkeypatch.context() as patched:
        patched.setattr(track_run, "write_part", write_or_die)
        assert killed(lambda: samgeo.track(images[:2], output, **options)) == signal.SIGKILL
    assert not output.exists()
    with pytest.raises(RunError, match="max_gap was 1"):
        samgeo.track(images[:2], output, max_gap=0, **options)
    model = Describer(WINDOW)
    samgeo.track(images[:2], output, **options | {"model": model})
    assert model.embedded == 0  # nothing was encoded again
    assert output.read_bytes() == alone.read_bytes()
    assert not (tmp_path / "out.parquet.run").exists()


def test_a_run_that_is_stopped_is_continued(images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path) -> None:
    asked = iter([False] * 3)
    series = dict(zip(YEARS, images, strict=True))
    options = QUIET | {"scheduler": "synchronous", "objects": dict(zip(YEARS, layers, strict=True)), "max_gap": 2}
    with pytest.raises(StoppedError):
        track_to_file(series, tmp_path / "out.parquet", stop=lambda: next(asked, True), **options)
    done = track_to_file(series, tmp_path / "out.parquet", **options)
    assert (done.objects, done.missed, done.failures, done.folder) == (10, 3, (), None)
    assert len(done.shifts) == 3


def test_windows_that_fail_are_told_and_tried_again(images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path) -> None:
    class Failing(Describer):
        def features(self, embedding: np.ndarray) -> np.ndarray:
            raise MemoryError("no memory")

    options = QUIET | {"dates": YEARS[:2], "objects": layers[:2], "scheduler": "synchronous"}
    output = tmp_path / "out.parquet"
    with pytest.warns(HolesWarning, match="could not be described"):
        first = samgeo.track(images[:2], output, **options | {"model": Failing(WINDOW)})
    assert first.angle.isna().all()
    assert len(first) == 17
    again = samgeo.track(images[:2], output, retry_failed=True, **options)
    assert again.angle.notna().sum() == 7
    assert again.id.tolist() == first.id.tolist()
    assert not (tmp_path / "out.parquet.run").exists()


def test_what_cannot_be_followed_is_refused(images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path) -> None:
    two = {"dates": [2018, 2020]}
    for rasters, wrong, told in (
        (images, {}, "has no date"),
        (images[:1], {"dates": [2018]}, "at least two"),
        (images[:2], {"dates": [2018]}, "2 rasters and 1 dates"),
        (images[:2], {"dates": ["2018", 2018]}, "two rasters have the date 2018-01-01"),
        (images[:2], {"dates": ["soon", 2018]}, "not a date"),
        (images[:2], {"dates": [2018, 20180101]}, "not a date"),
        ({2018: images[0], 2020: images[1]}, two, "leave out dates"),
        (images[:2], two | {"objects": layers[:3]}, "3 layers of objects are given for 2 dates"),
        (images[:2], two | {"objects": {2018: layers[0], 2021: layers[1]}}, "different dates"),
        (images[:2], two | {"min_iou": 0.05}, "min_iou"),
        (images[:2], two | {"max_angle": -1.0}, "max_angle"),
        (images[:2], two | {"max_gap": -1}, "max_gap"),
        (images[:2], two | {"objects": layers[:2], "what": "building"}, "leave out what"),
        (images[:2], two | {"objects": layers[:2], "examples": layers[0]}, "leave out examples"),
        (images[:2], two | {"retry_failed": True}, "needs a run"),
    ):
        with pytest.raises(OptionError, match=told):
            samgeo.track(rasters, **QUIET, **wrong)
    with pytest.raises(RasterError, match="no CRS"):
        samgeo.track([images[0], encode_ids(labels_of(BOXES[1]))], **two, **QUIET)
    layers[0].to_file(tmp_path / "in.gpkg")
    with pytest.raises(VectorError, match="also an input"):
        samgeo.track(images[:2], tmp_path / "in.gpkg", objects=str(tmp_path / "in.gpkg"), **two, **QUIET)
    with pytest.raises(OptionError, match="no column id"):
        summarize(layers[0].assign(area_m2=1.0)[["area_m2"]])
    twice = pd.DataFrame({"id": [1, 1], "date": pd.to_datetime(["2020", "2020"]), "missed": 0, "unseen": 0, "area_m2": 1.0})
    with pytest.raises(OptionError, match="two rows of one date"):
        summarize(twice)


class Colours(Oracle):
    """A model that describes cells by their colour."""

    def features(self, embedding: np.ndarray) -> np.ndarray:
        ids = np.asarray(embedding)
        ids = ids.reshape(ids.shape[-2:])[2::4, 2::4]
        return encode_ids(ids).astype(np.float32) / 255


def test_a_generated_town(tmp_path: Path) -> None:
    town = dates((96, 96), 6, seed=11, resolution_m=0.6, births=0.3, deaths=0.2, gaps=0.2, season=0.5, haze=0.2)
    assert (town.truth.gap_date >= 0).sum() > 3
    images = [scene.save(tmp_path / f"{number}.tif") for number, scene in enumerate(town.scenes)]
    options = {"model": Colours(WINDOW), "progress": False, "scheduler": "synchronous"}
    layers = [scene.footprints for scene in town.scenes]
    result = samgeo.track(images, dates=range(2015, 2021), objects=layers, **options)
    assert right_ids(result, town) >= 0.95
    assert area_errors(result, town).max() < 0.02


def test_the_command_and_a_plot(images: list[Path], layers: list[gpd.GeoDataFrame], tmp_path: Path) -> None:
    files = []
    for number in range(2):
        files += ["--objects", str(tmp_path / f"{number}.gpkg")]
        layers[number].to_file(files[-1])
    output = tmp_path / "out.gpkg"
    arguments = ["track", *map(str, images[:2]), str(output), "--dates", "2018, 2020-03-01", *files]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert "10 objects at 2 dates" in shown.output
    assert "2018-01-01: 9, 2020-03-01: 8" in shown.output
    result = gpd.read_file(output)
    assert len(result) == 17
    assert CliRunner().invoke(main, arguments).exit_code == 1  # the output exists
    pytest.importorskip("matplotlib")
    plot_areas(result, tmp_path / "areas.png", ids=[1, 2, 3])
    assert (tmp_path / "areas.png").stat().st_size > 10_000
    with pytest.raises(OptionError, match="no object has the id 999"):
        plot_areas(result, tmp_path / "more.png", ids=[999])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [20, 21, 22])
def test_ids_of_generated_towns_in_other_light(seed: int, tmp_path: Path) -> None:
    town = dates((384, 384), 6, seed=seed, gaps=0.1, season=0.5, haze=0.2, absent_cars=0.3, shift_px=1.0)
    images = {2015 + number: scene.save(tmp_path / f"{number}.tif") for number, scene in enumerate(town.scenes)}
    result = samgeo.track(images, objects=[scene.footprints for scene in town.scenes], progress=False)
    assert right_ids(result, town) >= 0.95
    assert area_errors(result, town).max() < 0.02

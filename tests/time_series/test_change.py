"""Changes between two dates: kinds, the run and its outputs, on scenes that know their truth."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from change_scenes import WINDOW, Describer, labels_of, outlines, save
from click.testing import CliRunner

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, RasterError, RunError, StoppedError, VectorError
from samgeo.geo.raster.sources.block_cache import LEAST_BYTES
from samgeo.segmentation import HolesWarning
from samgeo.synthetic import two_dates
from samgeo.testing import encode_ids, write_raster
from samgeo.time_series import change_to_file
from samgeo.time_series.folder import ChangeFolder

# 2 vanishes, 3 appears, and 4 is replaced by 40 with the same outline. 5 stays, and its neighbour 2 vanishes beside it. 6 is
# larger than a window. The others stay, and let the shift be measured.
STAY = {
    1: (8, 8, 28, 30), 5: (50, 8, 64, 24), 6: (4, 60, 118, 72), 7: (10, 84, 24, 100), 8: (120, 90, 150, 101),
    9: (60, 80, 75, 98), 10: (90, 120, 110, 131), 11: (10, 130, 19, 151), 12: (40, 110, 66, 120), 13: (125, 130, 144, 150),
}  # fmt: skip
BEFORE = STAY | {2: (32, 8, 48, 24), 4: (80, 8, 100, 28)}
AFTER = STAY | {3: (110, 10, 130, 30), 40: (80, 8, 100, 28)}
QUIET = {"model": Describer(WINDOW), "progress": False}
FEW = QUIET | {"points_per_side": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dates")
    save(labels_of(BEFORE), folder / "before.tif")
    save(labels_of(AFTER), folder / "after.tif")
    return folder


@pytest.fixture
def images(place: Path) -> tuple[Path, Path]:
    return place / "before.tif", place / "after.tif"


def kinds_by_id(result: gpd.GeoDataFrame, before: dict, after: dict) -> dict[int, str]:
    """The kind of each object by its id in the scene, from the numbers in both layers."""
    names = list(before), list(after)
    return {
        names[1][int(row.after_id)] if isinstance(row.after_id, int | np.integer) else names[0][int(row.before_id)]: row.kind
        for row in result.itertuples()
    }


def test_given_footprints_of_both_dates_have_their_kinds(images: tuple[Path, Path], tmp_path: Path) -> None:
    layers = [outlines(BEFORE, images[0]), outlines(AFTER, images[0])]
    result = samgeo.change(*images, tmp_path / "out.parquet", objects=layers, **QUIET)
    expected = dict.fromkeys(STAY, "same") | {2: "vanished", 3: "appeared", 40: "changed"}
    assert kinds_by_id(result, BEFORE, AFTER) == expected
    known = result.set_index("kind")
    assert known.loc["vanished", "before_area_m2"] == pytest.approx(64, rel=2e-3)
    assert known.loc["changed", "iou"] == pytest.approx(1)
    assert known.loc["appeared", ["before_id", "before_area_m2", "iou", "reason"]].isna().all()
    assert (result.score[result.kind == "same"] < 0.5).all()
    told = result.attrs["samgeo"]["change"]
    assert told["counts"] == {"appeared": 1, "vanished": 1, "changed": 1, "same": len(STAY), "unknown": 0}
    assert told["changed_area_m2"] == pytest.approx((256 + 400 + 400) / 4, rel=2e-3)  # pixels of half a metre
    assert told["above_angle"] == pytest.approx(3 / (len(STAY) + 3))
    assert told["shift_px"] == pytest.approx([0, 0], abs=0.2)
    stored = gpd.read_parquet(tmp_path / "out.parquet")
    assert stored.kind.tolist() == result.kind.tolist()
    assert not (tmp_path / "out.parquet.run").exists()


def test_one_layer_is_compared_as_it_is(images: tuple[Path, Path]) -> None:
    result = samgeo.change(*images, objects=outlines(BEFORE, images[0]), **QUIET)
    assert kinds_by_id(result, BEFORE, BEFORE) == dict.fromkeys(STAY, "same") | {2: "changed", 4: "changed"}
    assert (result.before_id == result.after_id).all()


def test_objects_of_both_dates_are_segmented(images: tuple[Path, Path], tmp_path: Path) -> None:
    result = samgeo.change(*images, tmp_path / "all.gpkg", **FEW)
    assert result.kind.value_counts().to_dict() == {"same": len(STAY), "vanished": 1, "appeared": 1, "changed": 1}
    vanished = result[result.kind == "vanished"].geometry.iloc[0]
    assert vanished.equals(outlines({2: BEFORE[2]}, images[0]).geometry.iloc[0])


def test_an_object_that_one_date_missed_is_the_same(images: tuple[Path, Path]) -> None:
    after = {number: box for number, box in AFTER.items() if number != 1}
    found = samgeo.change(*images, objects=[outlines(BEFORE, images[0]), outlines(after, images[0])], **QUIET)
    assert kinds_by_id(found, BEFORE, after)[1] == "vanished"  # the layers are taken to be complete
    from samgeo.time_series.kinds import kinds_of

    no = np.zeros(2, dtype=bool)
    options = {"is_hidden": no, "is_paired": no, "is_first": np.array([True, False]), "min_angle": 45.0}
    assert kinds_of(np.array([10.0, 10.0]), trusted=False, **options).tolist() == ["same", "same"]
    assert kinds_of(np.array([50.0, 50.0]), trusted=False, **options).tolist() == ["vanished", "appeared"]


def test_identical_dates_have_no_change(images: tuple[Path, Path]) -> None:
    result = samgeo.change(images[0], images[0], objects=outlines(BEFORE, images[0]), **QUIET)
    assert set(result.kind) == {"same"}
    assert result.angle.max() < 1e-3
    assert result.attrs["samgeo"]["change"]["above_angle"] == 0


def test_places_without_data_are_unknown(images: tuple[Path, Path], tmp_path: Path) -> None:
    hidden = np.ones((160, 160), dtype=bool)
    hidden[:, 112:] = False
    write_raster(tmp_path / "part.tif", encode_ids(labels_of(AFTER)), mask=hidden)
    layers = [outlines(BEFORE, images[0]), outlines(AFTER, images[0])]
    with pytest.warns(HolesWarning, match="cannot be compared"):
        result = samgeo.change(images[0], tmp_path / "part.tif", objects=layers, scheduler="synchronous", **QUIET)
    kinds = kinds_by_id(result, BEFORE, AFTER)
    assert {number for number, kind in kinds.items() if kind == "unknown"} == {3, 8, 13}
    assert set(result.reason.dropna()) == {"no data after"}
    assert kinds[2] == "vanished"


def test_the_result_does_not_depend_on_workers(images: tuple[Path, Path], tmp_path: Path) -> None:
    layers = [outlines(BEFORE, images[0]), outlines(AFTER, images[0])]
    for name, how in {"three": {"workers": 3}, "none": {"scheduler": "synchronous"}}.items():
        samgeo.change(*images, tmp_path / f"{name}.parquet", objects=layers, **QUIET, **how)
    three, none = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("three", "none"))
    assert three == none


def test_the_cache_of_blocks_is_limited(images: tuple[Path, Path]) -> None:
    """Without a limit, GDAL would keep the blocks of both rasters up to a twentieth of the memory."""
    seen = []

    class Watching(Describer):
        def features(self, embedding: np.ndarray) -> np.ndarray:
            seen.append(rasterio.env.getenv().get("GDAL_CACHEMAX"))
            return super().features(embedding)

    layers = [outlines(BEFORE, images[0]), outlines(AFTER, images[0])]
    options = {"model": Watching(WINDOW), "progress": False, "scheduler": "synchronous", "objects": layers}
    samgeo.change(*images, **options)
    assert set(seen) == {LEAST_BYTES}
    seen.clear()
    samgeo.track(images, dates=[2019, 2024], **options)
    assert set(seen) == {LEAST_BYTES}


@pytest.mark.slow
@pytest.mark.parametrize("is_given", [True, False], ids=["given", "everything"])
def test_threads_processes_and_a_cluster_give_the_same_bytes(images: tuple[Path, Path], tmp_path: Path, is_given: bool) -> None:
    from distributed import Client, LocalCluster

    options = QUIET | {"objects": [outlines(BEFORE, images[0]), outlines(AFTER, images[0])]} if is_given else FEW

    def written(name: str, **how: object) -> bytes:
        samgeo.change(*images, tmp_path / f"{name}.parquet", **options, **how)
        return (tmp_path / f"{name}.parquet").read_bytes()

    expected = written("threads", workers=2)
    assert written("processes", scheduler="processes", workers=2) == expected
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert written("cluster", scheduler=client) == expected


@pytest.mark.slow
def test_the_bundled_model_in_processes_gives_the_bytes_of_threads(tmp_path: Path) -> None:
    town = two_dates((640, 400), seed=12, light="other")  # two rows of windows
    images = town.before.save(tmp_path / "a.tif"), town.after.save(tmp_path / "b.tif")
    layers = [town.before.footprints, town.after.footprints]
    for name in ("threads", "processes"):
        samgeo.change(*images, tmp_path / f"{name}.parquet", objects=layers, scheduler=name, workers=2, progress=False)
    threads, processes = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("threads", "processes"))
    assert threads == processes


def killed(work) -> int:
    """Do something in a forked process, and return the signal that ended it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("rows", [1, pytest.param(0, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_gives_the_same_bytes(
    images: tuple[Path, Path], tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FEW | {"scheduler": "synchronous"}
    alone, output = tmp_path / "alone.gpkg.parquet", tmp_path / "out.parquet"
    samgeo.change(*images, alone, **options)
    write = ChangeFolder.write_row

    def write_or_die(self: ChangeFolder, row: int, *results: object) -> None:
        if row == rows:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, row, *results)

    with monkeypatch.context() as patched:
        patched.setattr(ChangeFolder, "write_row", write_or_die)
        assert killed(lambda: samgeo.change(*images, output, **options)) == signal.SIGKILL
    assert not output.exists()
    assert (tmp_path / "out.parquet.run").is_dir()
    with pytest.raises(RunError, match="min_angle was 45"):
        samgeo.change(*images, output, min_angle=30.0, **options)
    model = Describer(WINDOW)
    samgeo.change(*images, output, **options | {"model": model})
    assert model.embedded == 0  # nothing was encoded again
    assert output.read_bytes() == alone.read_bytes()
    assert not (tmp_path / "out.parquet.run").exists()


def test_a_run_that_is_stopped_is_continued(images: tuple[Path, Path], tmp_path: Path) -> None:
    asked = iter([False] * 3)
    options = QUIET | {"scheduler": "synchronous", "objects": outlines(BEFORE, images[0])}
    with pytest.raises(StoppedError):
        change_to_file(*images, tmp_path / "out.parquet", stop=lambda: next(asked, True), **options)
    done = change_to_file(*images, tmp_path / "out.parquet", **options)
    assert done.counts["same"] == len(STAY)
    assert done.shift is not None
    assert not done.is_corrected


def test_rasters_without_a_crs_need_equal_shapes() -> None:
    before, after = encode_ids(labels_of(BEFORE)), encode_ids(labels_of(AFTER))
    layers = [[shapely.box(*one) for one in boxes.values()] for boxes in (BEFORE, AFTER)]
    result = samgeo.change(before, after, objects=layers, **QUIET)
    assert result.kind.value_counts()["changed"] == 1
    assert result.set_index("kind").loc["vanished", "before_area_px"] == 256
    with pytest.raises(RasterError, match="neither has a CRS"):
        samgeo.change(before, after[:150], **QUIET)


def test_what_cannot_be_compared_is_refused(images: tuple[Path, Path], tmp_path: Path) -> None:
    layer = outlines(BEFORE, images[0])
    with pytest.raises(RasterError, match="no CRS"):
        samgeo.change(images[0], encode_ids(labels_of(AFTER)), **QUIET)
    far = write_raster(tmp_path / "far.tif", encode_ids(labels_of(AFTER)), crs="EPSG:32650")
    with pytest.raises(RasterError, match="do not overlap"):
        samgeo.change(images[0], far, **QUIET)
    with pytest.raises(OptionError, match="none of the"):
        samgeo.change(*images, objects=layer.set_geometry(layer.translate(1e5)), **QUIET)
    for wrong, told in (
        ({"min_angle": 0.0}, "min_angle"),
        ({"max_shift_px": -1.0}, "max_shift_px"),
        ({"objects": layer, "what": "building"}, "leave out what"),
        ({"min_score": 0.4}, "give what"),
        ({"what": "building", "pred_iou": 0.5}, "pred_iou"),
        ({"retry_failed": True}, "needs a run"),
    ):
        with pytest.raises(OptionError, match=told):
            samgeo.change(*images, **QUIET, **wrong)
    with pytest.raises(VectorError, match="also an input"):
        samgeo.change(*images, images[0].with_suffix(".gpkg"), objects=str(images[0].with_suffix(".gpkg")), **QUIET)
    (tmp_path / "other.run").mkdir()
    (tmp_path / "other.run" / "mine.txt").touch()
    with pytest.raises(OptionError, match="not the folder of a comparison"):
        samgeo.change(*images, tmp_path / "other.gpkg", run_dir=tmp_path / "other.run", **QUIET)


def test_the_command_prints_a_summary(images: tuple[Path, Path], tmp_path: Path) -> None:
    town = two_dates((128, 128), seed=1, vanished=0.2, appeared=0.2)
    before, after = town.before.save(tmp_path / "a.tif"), town.after.save(tmp_path / "b.tif")
    files = []
    for name, scene in (("a", town.before), ("b", town.after)):
        files += ["--objects", str(tmp_path / f"{name}.gpkg")]
        scene.footprints.to_file(files[-1])
    arguments = ["change", str(before), str(after), str(tmp_path / "out.gpkg"), *files]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    kinds = town.truth.kind.value_counts()
    assert f"{kinds.get('appeared', 0)} appeared, {kinds.get('vanished', 0)} vanished" in shown.output
    assert "m2 appeared, vanished or changed" in shown.output
    assert len(gpd.read_file(tmp_path / "out.gpkg")) == len(town.truth)
    assert CliRunner().invoke(main, arguments).exit_code == 1  # the output exists


@pytest.mark.slow
@pytest.mark.parametrize(("light", "least"), [("same", 0.98), ("other", 0.92)])
def test_angles_tell_changed_footprints_from_others(light: str, least: float, tmp_path: Path) -> None:
    positive, negative = [], []
    for seed in (10, 11, 12):
        town = two_dates((384, 384), seed=seed, light=light, season=0.0 if light == "same" else 0.5)
        images = town.before.save(tmp_path / "a.tif"), town.after.save(tmp_path / "b.tif")
        layers = [town.before.footprints, town.after.footprints]
        result = samgeo.change(*images, objects=layers, progress=False).dropna(subset="angle")
        changed = result.kind.isin(["appeared", "vanished"])
        assert changed.sum() >= 0.9 * (town.truth.kind != "same").sum()
        positive += result.angle[changed].tolist()
        negative += result.angle[~changed].tolist()
    higher = np.array(positive)[:, None] > np.array(negative)[None]
    assert higher.mean() >= least

"""Runs: what is done stays, what is asked must be the same, what fails is told, and the result is what it always is."""

import errno
import json
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

import samgeo
from samgeo.errors import OptionError, RunError, SamgeoError, StoppedError, WindowError
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.segmentation.api import HolesWarning, NothingFoundWarning, segment_to_file
from samgeo.segmentation.merge.open_objects import Step
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.manifest import differences
from samgeo.segmentation.run.parts import DamagedError, Frontier, MergedRow, Part
from samgeo.segmentation.run.status import run_status
from samgeo.segmentation.windows.failures import Failure
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 16, "progress": False}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = scattered(20, (320, 330), seed=4, min_size=20, max_size=60)
    labels[:, 140:150] = 99
    return write_raster(tmp_path_factory.mktemp("scene") / "image.tif", encode_ids(labels))


@pytest.fixture(scope="module")
def expected(scene: Path) -> gpd.GeoDataFrame:
    return samgeo.segment(scene, model=Oracle(128), **OPTIONS)


@pytest.fixture
def image(scene: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(scene, tmp_path / "image.tif"))


class Failing(Oracle):
    """An oracle that has no memory left for windows that show some id."""

    def __init__(self, input_size: int = 128, ids: tuple[int, ...] = (3,)) -> None:
        super().__init__(input_size)
        self.ids = ids

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        if np.isin(self.ids, ids).any():
            raise RuntimeError("out of memory")
        return ids


def csv(frame: gpd.GeoDataFrame) -> str:
    """Return a table as text, polygons as the multipolygons that files have."""
    multi = [shapely.MultiPolygon([one]) if isinstance(one, shapely.Polygon) else one for one in frame.geometry]
    return frame.set_geometry(gpd.GeoSeries(multi, index=frame.index, crs=frame.crs)).to_wkb().to_csv()


def stop_after(calls: int):
    """A flag that goes up when it was asked so many times."""
    counter, lock = iter(range(calls)), threading.Lock()

    def stop() -> bool:
        with lock:
            return next(counter, None) is None

    return stop


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_a_run_writes_what_is_returned_and_what_is_made_in_memory(image: Path, tmp_path: Path, expected, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    returned = samgeo.segment(image, output, model=Oracle(128), **OPTIONS)
    assert csv(returned) == csv(expected)
    assert returned.attrs["samgeo"]["options"] == expected.attrs["samgeo"]["options"]
    assert returned.attrs["samgeo"] == read_provenance(output)
    found = read_vectors(output)
    assert found.crs == expected.crs
    assert list(found.columns) == list(expected.columns)
    if suffix == ".fgb":  # in the order of its spatial index
        assert sorted(csv(found).splitlines()[1:], key=lambda line: line.split(",", 1)[1]) != []
        found, expected = (frame.sort_values("area_m2").reset_index(drop=True) for frame in (found, expected))
    assert csv(found) == csv(expected)
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", output.name}


def test_geoparquet_says_its_bounds_and_its_bytes_do_not_depend_on_workers(image: Path, tmp_path: Path, expected) -> None:
    contents = set()
    for number, options in enumerate([{"workers": 1}, {"workers": 2}, {"workers": 4}, {"scheduler": "synchronous"}]):
        output = tmp_path / f"{number}.parquet"
        segment_to_file(image, output, model=Oracle(128), **options, **OPTIONS)
        contents.add(output.read_bytes())
    assert len(contents) == 1
    geo = json.loads(pq.read_schema(tmp_path / "0.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["bbox"] == pytest.approx(expected.total_bounds)
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon"]


def test_rows_come_in_the_order_in_which_they_close(expected) -> None:
    road = expected.area.idxmax()
    assert expected.bounds.miny[road] == expected.total_bounds[1]  # it reaches the last row of windows, and starts in the first
    assert expected.bounds.maxy[road] == expected.total_bounds[3]
    # 192 rows of pixels of half a metre down, only the last row of windows looks.
    seen_last = expected.bounds.miny < 5_400_000 - 192 / 2
    assert seen_last.idxmax() <= road
    assert seen_last[seen_last.idxmax() :].all()


def test_nothing_found_is_an_empty_table_in_every_format(tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", np.zeros((300, 300, 3), np.uint8))
    for suffix in (".parquet", ".gpkg", ".fgb", ".geojson"):
        with pytest.warns(NothingFoundWarning):
            done = segment_to_file(image, tmp_path / f"out{suffix}", model=Oracle(128), **OPTIONS)
        assert (done.objects, done.folder) == (0, None)
        found = read_vectors(tmp_path / f"out{suffix}")
        assert len(found) == 0
        assert found.crs == "EPSG:32633"


def test_a_run_that_was_stopped_goes_on_where_it_was(image: Path, tmp_path: Path, expected) -> None:
    output = tmp_path / "out.parquet"
    with pytest.raises(StoppedError, match="Run the same call or command again to continue"):
        segment_to_file(image, output, model=Oracle(128), stop=stop_after(15), scheduler="synchronous", **OPTIONS)
    assert not output.exists()
    status = run_status(output)
    assert (status.state, status.windows) == ("stopped", 20)
    assert 8 <= status.done < 20
    again = Oracle(128)
    done = segment_to_file(image, output, model=again, workers=4, **OPTIONS)
    assert done.continued == status.done
    assert again.embedded == 20 - status.done
    assert csv(read_vectors(output)) == csv(expected)
    assert not (tmp_path / "out.parquet.run").exists()


def test_a_folder_that_is_named_stays_and_makes_the_output_again(image: Path, tmp_path: Path, expected) -> None:
    run, output = tmp_path / "run", tmp_path / "out.gpkg"
    segment_to_file(image, output, model=Oracle(128), run_dir=run, **OPTIONS)
    assert run_status(run).state == "complete"
    (tmp_path / "other.gpkg").touch()
    with pytest.raises(SamgeoError, match=r"other\.gpkg exists"):
        segment_to_file(image, tmp_path / "other.gpkg", model=Oracle(128), run_dir=run, **OPTIONS)
    output.unlink()
    idle = Oracle(128)
    for _ in range(2):  # the second time there is nothing to do
        assert segment_to_file(image, output, model=idle, run_dir=run, **OPTIONS).objects == len(expected)
    assert csv(samgeo.segment(image, model=idle, run_dir=run, **OPTIONS)) == csv(expected)
    assert idle.embedded == 0
    assert csv(read_vectors(output)) == csv(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points_per_side": 8}, r"options\.points_per_side was 16 and is now 8"),
        ({"overlap": 32}, r"options\.overlap was 64 and is now 32"),
        ({"min_area": 3.0}, r"options\.min_area was 0\.0 and is now 3\.0"),
        ({"model": Oracle(256)}, r"model\.input_size was 128 and is now 256"),
        ({"stretch": (0, 100)}, r"input\.stretch was null"),
    ],
)
def test_a_run_begun_with_something_else_is_refused(image: Path, tmp_path: Path, changes: dict, message: str) -> None:
    output, options = tmp_path / "out.parquet", {"model": Oracle(128)} | OPTIONS
    with pytest.raises(StoppedError):
        segment_to_file(image, output, stop=stop_after(5), **options)
    with pytest.raises(RunError, match=message):
        segment_to_file(image, output, **options | changes)
    assert segment_to_file(image, output, **options).objects > 0


def test_a_raster_that_changed_is_refused(image: Path, tmp_path: Path) -> None:
    output, options = tmp_path / "out.parquet", {"model": Oracle(128)} | OPTIONS
    with pytest.raises(StoppedError):
        segment_to_file(image, output, stop=stop_after(5), **options)
    status = image.stat()
    content = bytearray(image.read_bytes())
    content[1000:1500] = bytes(500)
    image.write_bytes(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(RunError, match=r"input\.content was"):
        segment_to_file(image, output, **options)
    os.utime(image, ns=(1, 1))
    with pytest.raises(RunError, match=r"input\.modified_ns was .* and is now 1"):
        segment_to_file(image, output, **options)


def test_a_raster_that_changes_while_the_run_works_on_it_is_noticed(image: Path, tmp_path: Path) -> None:
    class Meddling(Oracle):
        def embed(self, images, sizes=None):
            os.utime(image, ns=(1, 1))
            return super().embed(images, sizes)

    with pytest.raises(RunError, match="has changed since"):
        segment_to_file(image, tmp_path / "out.parquet", model=Meddling(128), **OPTIONS)
    assert not (tmp_path / "out.parquet").exists()


def test_two_runs_in_one_folder_are_refused(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    errors = []

    class Asking(Oracle):
        def embed(self, images, sizes=None):
            if not errors:
                errors.append("asked")
                assert run_status(output).state == "running"
                with pytest.raises(RunError, match="another process works on the run") as caught:
                    segment_to_file(image, output, model=Oracle(128), **OPTIONS)
                errors.append(str(caught.value))
            return super().embed(images, sizes)

    assert segment_to_file(image, output, model=Asking(128), workers=1, **OPTIONS).objects > 0
    assert f"process {os.getpid()}" in errors[1]


def test_windows_that_fail_are_holes_and_can_be_retried(image: Path, tmp_path: Path, expected) -> None:
    output, holes = tmp_path / "out.gpkg", tmp_path / "out.holes.gpkg"
    with pytest.warns(
        HolesWarning, match=r"of 20 windows could not be segmented.*failed 2 times: out of memory.*out\.holes\.gpkg"
    ):
        found = samgeo.segment(image, output, model=Failing(), **OPTIONS)
    failed = found.attrs["samgeo"]["failed_windows"]
    layer = read_vectors(holes)
    assert layer[["row", "column"]].to_numpy().tolist() == failed
    assert layer.crs == found.crs
    # Outside the holes and what their neighbours saw of them nothing is missing.
    far = expected[~expected.intersects(shapely.union_all(layer.buffer(32)))]
    assert set(far.geometry.to_wkb()) <= set(found.geometry.to_wkb())
    status = run_status(output)
    assert status.state == "complete with holes"
    assert [(one.row, one.column) for one in status.failures] == [tuple(one) for one in failed]
    assert status.failures[0].bounds_px == tuple(layer[["x0_px", "y0_px", "x1_px", "y1_px"]].iloc[0])
    # The same again changes nothing, and says the same.
    idle = Oracle(128)
    assert len(segment_to_file(image, output, model=idle, **OPTIONS).failures) == len(failed)
    assert idle.embedded == 0
    done = segment_to_file(image, output, model=idle, retry_failed=True, **OPTIONS)
    assert (done.failures, done.holes, done.folder) == ((), None, None)
    assert idle.embedded < 20
    assert csv(read_vectors(output)) == csv(expected)
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", "out.gpkg"}


def test_if_nothing_is_left_but_holes_there_is_no_output(image: Path, tmp_path: Path) -> None:
    with pytest.raises(WindowError, match=r"nothing was found, and the window at row 0, column 0 .*\(and 19 other"):
        segment_to_file(image, tmp_path / "out.parquet", model=Failing(ids=tuple(range(100))), **OPTIONS)
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif"}


def test_a_full_disk_ends_the_run_and_loses_nothing(image: Path, tmp_path: Path, expected, monkeypatch) -> None:
    output, write = tmp_path / "out.parquet", RunFolder.write_part
    room = iter(range(2))

    def write_part(self, part):
        if next(room, None) is None:
            raise OptionError(f"a part cannot be written ({os.strerror(errno.ENOSPC)}); make space")
        write(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_part", write_part)
        with pytest.raises(SamgeoError, match="No space left"):
            segment_to_file(image, output, model=Oracle(128), **OPTIONS)
    again = Oracle(128)
    segment_to_file(image, output, model=again, **OPTIONS)
    assert again.embedded == 20 - 10
    assert csv(read_vectors(output)) == csv(expected)


def test_a_folder_of_something_else_is_left_alone(image: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out.parquet.run"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="is not the folder of a run"):
        segment_to_file(image, tmp_path / "out.parquet", model=Oracle(128), **OPTIONS)
    assert (mine / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("seed", range(6))
def test_a_run_folder_with_damaged_files_gives_the_same_result_or_says_no(
    image: Path, tmp_path: Path, expected, seed: int
) -> None:
    output, options = tmp_path / "out.parquet", {"model": Oracle(128)} | OPTIONS
    with pytest.raises(StoppedError):
        segment_to_file(image, output, stop=stop_after(18), scheduler="synchronous", **options)
    rng = np.random.default_rng(seed)
    files = sorted(path for path in (tmp_path / "out.parquet.run").rglob("*") if path.is_file() and path.stat().st_size)
    for path in rng.choice(files, 3, replace=False):
        content = bytearray(path.read_bytes())
        kind = rng.integers(3)
        if kind == 0:
            path.unlink()
        elif kind == 1:
            path.write_bytes(content[: rng.integers(len(content))])
        else:
            for place in rng.integers(len(content), size=4):
                content[place] ^= 1 << rng.integers(8)
            path.write_bytes(content)
    try:
        segment_to_file(image, output, **options)
    except SamgeoError:
        assert not output.exists()
    else:
        assert csv(read_vectors(output)) == csv(expected)


def test_parts_and_frontiers_come_back_and_every_flipped_byte_is_seen(scene: Path) -> None:
    from samgeo.geo.grid import Lattice
    from samgeo.geo.levels import Levels
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.registry import default_gates
    from samgeo.segmentation.windows.worker import Plan, segment_window

    model = Oracle(128)
    plan = Plan(Levels.of(Lattice((320, 330), 128, 64)), default_gates(model), None)
    pieces = {column: segment_window(Raster.open(scene), model, plan, (1, column)) for column in (1, 2)}
    part = Part(1, 1, 3, pieces, (Failure((1, 2), 'of "memory" é'),))
    content = part.to_bytes()
    assert Part.from_bytes(content, 1, 1, 3) == part
    with pytest.raises(DamagedError, match="windows do not agree with its name"):
        Part.from_bytes(content, 2, 1, 3)
    added = {4: (4, pieces[1][0]), 5: (5, pieces[1][1]), 7: (4, pieces[2][0])}
    row = MergedRow(3, Step(added, ((3, 2),), ((2, 0, 99), (4, 1, 12), (5, -1, 0)), 8))
    kept = row.to_bytes()
    assert MergedRow.from_bytes(kept) == row
    rng = np.random.default_rng(0)
    for place in rng.integers(len(kept), size=200):
        flipped = bytearray(kept)
        flipped[place] ^= 1 << rng.integers(8)
        with suppress(DamagedError):
            assert MergedRow.from_bytes(bytes(flipped)) == row  # a byte that says nothing


def test_differences_name_what_changed() -> None:
    before = {"options": {"a": 1, "b": [1, 2]}, "about": {"raster": "x"}, "gone": 1}
    now = {"options": {"a": 2, "b": [1, 2]}, "about": {"raster": "y"}}
    assert differences(before, now) == ["gone was 1 and is now null", "options.a was 1 and is now 2"]


def test_a_manifest_that_cannot_be_read_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(RunError, match=r"cannot be read .*check its permissions"):
        RunFolder(tmp_path).manifest()
    (tmp_path / "manifest.json").rmdir()
    with pytest.raises(RunError, match="missing, damaged"):
        RunFolder(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="missing, damaged"):
        RunFolder(tmp_path).manifest()


def test_a_link_in_the_place_of_a_file_of_a_run_is_replaced_itself(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "merged").mkdir()
    (tmp_path / "precious").write_text("mine")
    part = Part(0, 0, 1, {0: []}, ())
    for name in ("parts/000000-000000-000001.npz", "session.json", "merged/000000.npz"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    folder = RunFolder(tmp_path)
    folder.write_part(part)
    folder.write_session(3)
    folder.write_row(0, gpd.GeoDataFrame(geometry=[]), MergedRow(0))
    assert (tmp_path / "precious").read_text() == "mine"
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert [span.name for span in folder.spans()] == ["000000-000000-000001.npz"]
    assert folder.session()["windows"] == 3
    assert folder.read_frontier() == Frontier((0,))

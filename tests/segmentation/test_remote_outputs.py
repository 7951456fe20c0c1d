"""Results in object storage: whole or not at all, refused before any work, and runs that go on."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

import samgeo
from samgeo.cli import main
from samgeo.errors import SamgeoError, StoppedError, StorageError, VectorError, WindowError
from samgeo.geo.vector.joining import join_vectors
from samgeo.geo.vector.reading import read_provenance, read_vectors, write_vectors
from samgeo.segmentation.api import HolesWarning, segment_to_file
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.status import run_status
from samgeo.storage import locations as places
from samgeo.storage.locations import RemotePlace, as_place
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 16, "progress": False}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = scattered(20, (320, 330), seed=4, min_size=20, max_size=60)
    return write_raster(tmp_path_factory.mktemp("scene") / "image.tif", encode_ids(labels))


@pytest.fixture(scope="module")
def expected(scene: Path) -> bytes:
    samgeo.segment(scene, scene.with_name("local.parquet"), model=Oracle(128), **OPTIONS)
    return scene.with_name("local.parquet").read_bytes()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty storage in memory, with an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    places._probe.cache_clear()
    storage = MemoryFileSystem()
    storage.store.clear()
    yield storage
    storage.store.clear()


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_what_is_put_is_what_is_written_locally(bucket: MemoryFileSystem, tmp_path: Path, scene: Path, suffix: str) -> None:
    local, url = tmp_path / f"local{suffix}", f"memory://bucket/remote{suffix}"
    samgeo.segment(scene, local, model=Oracle(128), **OPTIONS)
    found = samgeo.segment(scene, url, model=Oracle(128), **OPTIONS)
    assert list(bucket.store) == [f"/bucket/remote{suffix}"]
    copy = tmp_path / f"copy{suffix}"
    bucket.get_file(url, str(copy))
    assert read_vectors(copy).to_wkb().to_csv() == read_vectors(local).to_wkb().to_csv()
    assert read_provenance(copy) == found.attrs["samgeo"]
    assert {path.name for path in tmp_path.iterdir()} == {local.name, copy.name}


def test_a_run_lives_in_the_current_folder_and_goes_on(bucket: MemoryFileSystem, tmp_path: Path, scene: Path, expected) -> None:
    calls, url = iter(range(8)), "memory://bucket/deep/out.parquet"
    with pytest.raises(StoppedError):
        segment_to_file(
            scene, url, model=Oracle(128), stop=lambda: next(calls, None) is None, scheduler="synchronous", **OPTIONS
        )
    assert list(bucket.store) == []
    assert run_status(url).path == Path("out.parquet.run")
    done = segment_to_file(scene, url, model=Oracle(128), **OPTIONS)
    assert done.continued > 0
    assert str(done.output) == url
    assert bucket.store["/bucket/deep/out.parquet"].getvalue() == expected
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_when_allowed(bucket: MemoryFileSystem, scene: Path, expected) -> None:
    url = "memory://bucket/out.parquet"
    bucket.pipe_file(url, b"mine")
    with pytest.raises(VectorError, match="exists; choose another name"):
        samgeo.segment(scene, url, model=Oracle(128), **OPTIONS)
    assert bucket.store["/bucket/out.parquet"].getvalue() == b"mine"
    samgeo.segment(scene, url, model=Oracle(128), overwrite=True, **OPTIONS)
    assert bucket.store["/bucket/out.parquet"].getvalue() == expected


def test_a_run_that_died_behind_its_last_step_knows_its_own_output(
    bucket: MemoryFileSystem, tmp_path: Path, scene: Path, expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://bucket/out.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "remove", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            samgeo.segment(scene, url, model=Oracle(128), **OPTIONS)
    assert bucket.store["/bucket/out.parquet"].getvalue() == expected
    model = Oracle(128)
    samgeo.segment(scene, url, model=model, **OPTIONS)
    assert model.embedded == 0
    assert list(tmp_path.iterdir()) == []
    bucket.pipe_file(url, b"another's")
    with pytest.raises(VectorError, match="exists"):
        samgeo.segment(scene, url, model=Oracle(128), **OPTIONS)


def test_a_storage_that_fails_at_the_end_loses_nothing(
    bucket: MemoryFileSystem, scene: Path, expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, genuine = "memory://bucket/out.parquet", MemoryFileSystem.put_file

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    def cut(self, local: str, path: str, **_: object) -> None:
        self.pipe_file(path, Path(local).read_bytes()[:100])

    for put, words in ((fail, "no route"), (cut, "has 100 of")):
        monkeypatch.setattr(MemoryFileSystem, "put_file", put)
        with pytest.raises(StorageError, match=words):
            samgeo.segment(scene, url, model=Oracle(128), overwrite=True, **OPTIONS)
        assert run_status(url).state == "complete"
    monkeypatch.setattr(MemoryFileSystem, "put_file", genuine)
    model = Oracle(128)
    samgeo.segment(scene, url, model=model, overwrite=True, **OPTIONS)
    assert model.embedded == 0
    assert bucket.store["/bucket/out.parquet"].getvalue() == expected


class Failing(Oracle):
    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        if np.isin(3, ids).any():
            raise RuntimeError("out of memory")
        return ids


def test_holes_are_put_beside_and_taken_away_when_they_are_filled(bucket: MemoryFileSystem, scene: Path, expected) -> None:
    url = "memory://bucket/out.parquet"
    with pytest.warns(HolesWarning, match=r"memory://bucket/out\.holes\.parquet"):
        samgeo.segment(scene, url, model=Failing(128), **OPTIONS)
    assert sorted(bucket.store) == ["/bucket/out.holes.parquet", "/bucket/out.parquet"]
    samgeo.segment(scene, url, model=Oracle(128), retry_failed=True, **OPTIONS)
    assert bucket.store["/bucket/out.parquet"].getvalue() == expected
    assert sorted(bucket.store) == ["/bucket/out.parquet"]


def test_holes_of_somebody_else_stay(bucket: MemoryFileSystem, scene: Path) -> None:
    bucket.pipe_file("memory://bucket/out.holes.parquet", b"mine")
    samgeo.segment(scene, "memory://bucket/out.parquet", model=Oracle(128), **OPTIONS)
    assert bucket.store["/bucket/out.holes.parquet"].getvalue() == b"mine"


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("memory://bucket/out.shp", VectorError, "suffix '.shp' is not one of"),
        ("memory://bucket/", VectorError, "suffix '' is not one of"),
        ("http://example.org/out.parquet", StorageError, "results go to files, or to object storage"),
        ("file:///tmp/out.parquet", StorageError, "results go to files"),
        ("ftp://example.org/out.parquet", StorageError, "results go to files"),
        ("simplecache::memory://bucket/out.parquet", StorageError, "results go to files"),
        ("memory://bucket::simplecache/out.parquet", StorageError, "results go to files"),
        ("oss://bucket/out.parquet", StorageError, "takes the package ossfs, which is not installed; pip install ossfs"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(
    bucket: MemoryFileSystem, tmp_path: Path, url: str, error: type[SamgeoError], words: str
) -> None:
    with pytest.raises(error, match=words):
        samgeo.segment(tmp_path / "absent.tif", url, model=Oracle(128), **OPTIONS)
    assert list(tmp_path.iterdir()) == list(bucket.store) == []


def test_a_bucket_that_takes_nothing_is_told_before_any_work(
    bucket: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", deny)
    with pytest.raises(StorageError, match=r"memory://bucket/out\.gpkg cannot be written \(Access Denied\)"):
        samgeo.segment(tmp_path / "absent.tif", "memory://bucket/out.gpkg", model=Oracle(128), **OPTIONS)


def test_without_any_object_nothing_is_put(bucket: MemoryFileSystem, scene: Path) -> None:
    class Broken(Oracle):
        def embed(self, images, sizes=None):
            raise RuntimeError("no memory")

    with pytest.raises(WindowError, match="nothing was found"):
        samgeo.segment(scene, "memory://bucket/out.parquet", model=Broken(128), **OPTIONS)
    assert list(bucket.store) == []


def test_tables_and_joined_tables_are_put(bucket: MemoryFileSystem, tmp_path: Path, scene: Path) -> None:
    frame = samgeo.segment(scene, model=Oracle(128), **OPTIONS)
    write_vectors(frame, "memory://bucket/a.PARQUET")
    write_vectors(frame, tmp_path / "part.parquet")
    assert join_vectors([tmp_path / "part.parquet"] * 2, "memory://bucket/b.gpkg") == 2 * len(frame)
    bucket.get_file("memory://bucket/a.PARQUET", str(tmp_path / "a.parquet"))
    found = gpd.read_parquet(tmp_path / "a.parquet")
    assert found.drop(columns="geometry").to_csv() == frame.drop(columns="geometry").to_csv()
    assert found.geometry.explode().tolist() == frame.geometry.explode().tolist()


def test_places_have_names_as_paths_do() -> None:
    place = as_place("s3://bucket/deep/city.v2.parquet")
    assert isinstance(place, RemotePlace)
    assert (place.name, place.stem, place.suffix) == ("city.v2.parquet", "city.v2", ".parquet")
    assert str(place.with_name("x.gpkg")) == "s3://bucket/deep/x.gpkg"
    assert as_place(place) is place
    assert as_place("a/b.gpkg") == Path("a/b.gpkg")


def test_commands_take_addresses(bucket: MemoryFileSystem, tmp_path: Path, scene: Path) -> None:
    image = shutil.copy(scene, tmp_path / "image.tif")
    boxes = samgeo.segment(scene, model=Oracle(128), **OPTIONS)[["geometry"]]
    boxes.to_file(tmp_path / "boxes.gpkg")
    runner = CliRunner()
    done = runner.invoke(main, ["segment", str(image), "memory://bucket/all.parquet", "--points-per-side", "4"])
    assert done.exit_code == 0, done.output
    assert "in memory://bucket/all.parquet" in done.stderr
    done = runner.invoke(main, ["predict", str(image), "memory://bucket/some.geojson", "--boxes", str(tmp_path / "boxes.gpkg")])
    assert done.exit_code == 0, done.output
    done = runner.invoke(main, ["regularize", str(tmp_path / "boxes.gpkg"), "memory://bucket/regular.fgb"])
    assert done.exit_code == 0, done.output
    assert sorted(bucket.store) == [f"/bucket/{name}" for name in ("all.parquet", "regular.fgb", "some.geojson")]
    assert len(json.loads(bucket.store["/bucket/some.geojson"].getvalue())["features"]) == len(boxes)
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", "boxes.gpkg"}

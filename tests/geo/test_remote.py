"""Rasters at an address: servers that fail for a while, and what is said of them."""

import os
import time

import numpy as np
import pytest
import rasterio
from raster_server import Served, served

import samgeo
from samgeo.errors import RasterError, RunError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources import remote
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import coordinate_pixels, write_raster


@pytest.fixture
def server(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(remote.PATIENCE, "GDAL_HTTP_RETRY_DELAY", "0.02")
    write_raster(tmp_path / "city.tif", coordinate_pixels((600, 600)), tiled=True, blockxsize=64, blockysize=64)
    with served(tmp_path) as server:
        yield server


def address(server: Served) -> str:
    return f"http://user:word@{server.url}/city.tif?key=secret"


def test_a_server_that_fails_for_a_while_is_asked_again(server: Served) -> None:
    server.failures.value = 3
    raster = Raster.open(address(server), check=False)  # So that no pixels are there yet.
    server.failures.value = 3
    pixels, valid = raster.read(Rect(300, 300, 500, 500))
    assert server.failures.value == 0
    assert valid.all()
    assert np.array_equal(pixels, coordinate_pixels((600, 600))[300:500, 300:500])


def test_a_server_that_stays_down_is_told_without_secrets(server: Served) -> None:
    server.failures.value = 10**6
    start = time.monotonic()
    with pytest.raises(RasterError, match=r"http://127\.0\.0\.1:\d+/city\.tif cannot be opened") as caught:
        Raster.open(address(server))
    assert time.monotonic() - start < 60
    assert server.asked.value > 3
    told = str(caught.value)
    assert "secret" not in told
    assert "word" not in told


def test_the_environment_says_otherwise(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    server.failures.value = 3
    with pytest.raises(RasterError, match="cannot be opened"):
        Raster.open(address(server))


def test_files_of_this_machine_need_no_patience(tmp_path) -> None:
    with remote.patient(str(tmp_path)):
        assert not rasterio.env.hasenv()
    with remote.patient("https://example.org/a.tif"):
        assert rasterio.env.getenv()["GDAL_HTTP_MAX_RETRY"] == "5"


def test_a_bad_answer_is_not_believed_for_ever(server: Served, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL keeps that a file is missing, or that its server failed, until the process ends."""
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    server.failures.value = 10**6
    with pytest.raises(RasterError, match="cannot be opened"):
        Raster.open(address(server))
    server.failures.value = 0
    assert Raster.open(address(server)).shape == (600, 600)
    later = f"http://{server.url}/later.tif"
    with pytest.raises(RasterError, match="cannot be opened"):
        Raster.open(later)
    write_raster(tmp_path / "later.tif", coordinate_pixels((30, 40)))
    assert Raster.open(later).shape == (30, 40)


def test_a_read_that_failed_is_made_anew(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    raster = Raster.open(address(server), check=False)
    server.failures.value = 10**6
    with pytest.raises(RasterError, match="cannot be"):
        raster.read(Rect(300, 300, 500, 500))
    server.failures.value = 0
    assert np.array_equal(raster.read(Rect(300, 300, 500, 500))[0], coordinate_pixels((600, 600))[300:500, 300:500])


def test_a_file_that_was_replaced_is_opened_anew(server: Served, tmp_path) -> None:
    first = Raster.open(address(server))
    assert first.read(Rect(0, 0, 8, 8))[0][0, 1].tolist() == [1, 0, 0]
    write_raster(tmp_path / "city.tif", 255 - coordinate_pixels((600, 600)), tiled=True, blockxsize=64, blockysize=64)
    assert Raster.open(address(server)).read(Rect(0, 0, 8, 8))[0][0, 1].tolist() == [254, 255, 255]


@pytest.mark.parametrize("tells", ["e", "d", "r"])
def test_servers_tell_the_version_of_a_file(tells: str, server: Served, tmp_path) -> None:
    server.tells.value = tells.encode()
    before = remote.remote_version(address(server))
    assert before is not None
    assert before == remote.remote_version(f"/vsicurl/{address(server)}")
    assert before == remote.remote_version(address(server), patient=False)
    path = tmp_path / "city.tif"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert path.stat().st_size == size
    if tells == "d":
        os.utime(path, (10**9, 10**9))
    assert remote.remote_version(address(server)) not in (None, (), before)
    path.unlink()
    assert remote.remote_version(address(server)) == ()


def test_a_server_that_fails_or_tells_nothing_leaves_the_version_open(server: Served) -> None:
    server.failures.value = 1
    assert remote.remote_version(address(server)) is not None  # It is asked again.
    server.tells.value = b"n"
    assert remote.remote_version(address(server)) == ("", str(len(served_bytes(server))))
    server.failures.value = 10**6
    assert remote.remote_version(address(server)) is None
    assert remote.remote_version("ftp://example.org/a.tif") is None


def served_bytes(server: Served) -> bytes:
    from urllib.request import urlopen

    with urlopen(f"http://{server.url}/city.tif", timeout=10) as response:
        return response.read()


def test_storage_tells_the_version_of_an_object() -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe("/bucket/a.tif", b"first")
    before = remote.remote_version("memory://bucket/a.tif")
    assert before
    assert before == remote.remote_version("memory://bucket/a.tif")
    system.pipe("/bucket/a.tif", b"second")
    assert remote.remote_version("memory://bucket/a.tif") not in (None, before)
    system.rm("/bucket/a.tif")
    assert remote.remote_version("memory://bucket/a.tif") == ()


def test_a_raster_that_is_replaced_ends_the_run(tmp_path) -> None:
    labels = np.zeros((256, 64), dtype=np.int32)
    labels[8:40, 8:40], labels[200:230, 8:40] = 1, 2
    path = write_raster(tmp_path / "town.tif", encode_ids(labels))
    content = path.read_bytes()
    options = {"overlap": 16, "points_per_side": 8, "progress": False, "scheduler": "synchronous"}
    seen: list[int] = []

    class Meddling(Oracle):
        def embed(self, images, sizes=None):
            seen.append(1)
            if len(seen) == 2:
                write_raster(path, encode_ids(labels[:, ::-1]))
            return super().embed(images, sizes)

    with served(tmp_path) as server:
        for output in (tmp_path / "out.gpkg", None):
            path.write_bytes(content)
            seen.clear()
            with pytest.raises(RunError, match=r"http://[^ ]*town\.tif has changed since"):
                samgeo.segment(f"http://{server.url}/town.tif", output, model=Meddling(64), **options)
        assert not (tmp_path / "out.gpkg").exists()
        path.write_bytes(content)
        assert len(samgeo.segment(f"http://{server.url}/town.tif", tmp_path / "again.gpkg", model=Oracle(64), **options)) == 2

"""Rasters at an address: servers that fail for a while, and what is said of them."""

import time

import numpy as np
import pytest
import rasterio
from raster_server import Served, served

from samgeo.errors import RasterError
from samgeo.geo import remote
from samgeo.geo.grid import Rect
from samgeo.geo.raster import Raster
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

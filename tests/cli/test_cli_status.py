"""The commands around a run, as a person meets them: exit codes, lists of what failed, status, SIGTERM, kill -9."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from samgeo.cli import main
from samgeo.geo.vector.reading import read_vectors
from samgeo.synthetic import town
from samgeo.testing.rasters import write_raster

OPTIONS = "--window", "128", "--overlap", "32", "--points-per-side", "4"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(town((320, 320), seed=4).image)


def test_windows_that_cannot_be_read_are_listed_with_exit_code_3_and_retried(pixels, tmp_path: Path) -> None:
    image, output = damaged_raster(pixels, tmp_path), tmp_path / "out.parquet"
    result = run("segment", image, output, *OPTIONS)
    assert result.exit_code == 3, result.output
    assert "1 window of 9 could not be segmented" in result.stderr
    assert "row 2, column 2" in result.stderr
    assert "--retry-failed" in result.stderr
    assert len(read_vectors(tmp_path / "out.holes.parquet")) == 1
    told = run("status", output)
    assert told.exit_code == 0
    assert "complete with holes" in told.stdout
    assert "9 of 9 (100.0%)" in told.stdout
    assert "row 2, column 2 (pixels x 192 to 320, y 192 to 320)" in told.stdout
    status = json.loads(run("status", tmp_path / "out.parquet.run", "--json").stdout)
    assert status["windows"] == status["done"] == 9
    assert status["objects"] == len(read_vectors(output))
    assert status["failures"][0]["bounds_px"] == [192, 192, 320, 320]
    left, bottom, right, top = status["failures"][0]["bounds_crs"]
    assert (right - left, top - bottom) == (64.0, 64.0)
    again = run("segment", image, output, *OPTIONS, "--retry-failed", "--quiet")
    assert again.exit_code == 3
    assert "1 window of 9" in again.stderr


def damaged_raster(pixels: np.ndarray, folder: Path) -> Path:
    """A tiled GeoTIFF whose last block cannot be unpacked."""
    path = write_raster(
        folder / "image.tif", pixels, tiled=True, blockxsize=64, blockysize=64, compress="deflate", interleave="pixel"
    )
    with rasterio.open(path) as dataset:
        start, size = (int(dataset.get_tag_item(f"BLOCK_{name}_4_4", "TIFF", bidx=1)) for name in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def test_status_of_nothing_is_refused(tmp_path: Path) -> None:
    result = run("status", tmp_path / "out.gpkg")
    assert result.exit_code == 1
    assert "there is no run" in result.stderr
    (tmp_path / "folder").mkdir()
    assert "is missing, damaged" in run("status", tmp_path / "folder").stderr


def begin(image: Path, output: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "samgeo.cli", "segment", str(image), str(output), *OPTIONS, "--quiet", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603


def wait_for_parts(output: Path, process: subprocess.Popen) -> None:
    while not list(output.with_name(f"{output.name}.run").glob("parts/*.npz")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_sigterm_saves_what_is_in_work_and_exits_with_143(tmp_path: Path) -> None:
    image = town((1100, 128), seed=4).save(tmp_path / "town.tif")
    output = tmp_path / "out.parquet"
    options = "--points-per-side", "4", "--workers", "1"
    process = begin(image, output, *options)
    wait_for_parts(output, process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 143, told
    assert "Run the same call or command again to continue" in told
    status = run("status", output)
    assert "stopped" in status.stdout
    assert not output.exists()
    done = run("segment", image, output, *OPTIONS, *options)
    assert done.exit_code == 0, done.output
    assert not output.with_name("out.parquet.run").exists()
    assert len(read_vectors(output)) > 3

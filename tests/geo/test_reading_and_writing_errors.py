"""Where an input of an output fails, the message names the input; where the output fails, the message names the output."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox

from samgeo.errors import VectorError
from samgeo.geo.label_drawing import write_label_raster
from samgeo.geo.label_raster import stored_frames
from samgeo.geo.vector.joining import join_vectors, write_part
from samgeo.geo.vector.reading import write_vectors

CRS = "EPSG:32633"
ROWS = 2000


def part(path: Path) -> Path:
    """Write a part with several row groups' worth of bytes."""
    corners = np.random.default_rng(0).random((ROWS, 2)) * 1000
    write_part(gpd.GeoDataFrame({"n": np.arange(ROWS)}, geometry=shapely.buffer(shapely.points(corners), 1), crs=CRS), path)
    return path


def damage(path: Path) -> None:
    """Overwrite the values in a Parquet file, and leave its footer, which is read first, as it is."""
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_a_part_that_cannot_be_read_is_named(tmp_path: Path, suffix: str) -> None:
    parts = [part(tmp_path / "0.parquet"), part(tmp_path / "1.parquet")]
    damage(parts[1])
    output = tmp_path / f"out{suffix}"
    output.write_bytes(b"old")
    with pytest.raises(VectorError, match=r"(?s)1\.parquet cannot be read .*writes the part again"):
        join_vectors(parts, output, overwrite=True)
    assert output.read_bytes() == b"old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0.parquet", "1.parquet", output.name]


def test_a_part_of_a_label_raster_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    damage(part(tmp_path / "0.parquet"))
    grid = GeoBox.from_bbox((0, 0, 1000, 1000), crs=CRS, resolution=10)
    with pytest.raises(VectorError, match=r"0\.parquet cannot be read"):
        write_label_raster(stored_frames([tmp_path / "0.parquet"]), grid, tmp_path / "labels.tif")
    assert [one.name for one in tmp_path.iterdir()] == ["0.parquet"]


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part(tmp_path / "0.parquet")]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(VectorError, match=rf"out\{suffix} cannot be written .*No space left"):
        join_vectors(parts, tmp_path / f"out{suffix}")
    assert [one.name for one in tmp_path.iterdir()] == ["0.parquet"]


ADD_A_LAYER = """
import resource, signal, sys, geopandas, shapely
from samgeo.errors import VectorError
from samgeo.geo.vector.reading import write_vectors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    write_vectors(geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=32633), sys.argv[1], layer="new")
except VectorError as error:
    print(error)
"""


def test_a_copy_that_has_no_space_is_a_failure_of_writing(tmp_path: Path) -> None:
    """A file of the child may grow to 60 kB, which stands for a full disk; the GeoPackage that it copies is larger."""
    path = tmp_path / "city.gpkg"
    corners = np.random.default_rng(0).random((ROWS, 2)) * 1000
    write_vectors(gpd.GeoDataFrame(geometry=shapely.buffer(shapely.points(corners), 1), crs=CRS), path)
    before = path.read_bytes()
    command = [sys.executable, "-c", ADD_A_LAYER, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert "city.gpkg cannot be written" in said
    assert "free space" in said
    assert path.read_bytes() == before


def test_a_geopackage_that_is_damaged_is_a_failure_of_reading(tmp_path: Path) -> None:
    path = tmp_path / "city.gpkg"
    write_vectors(gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=CRS), path)
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[100 : 2 * size] = b"\xff" * (2 * size - 100)
    path.write_bytes(content)
    with pytest.raises(VectorError, match=r"city\.gpkg .*cannot be read"):
        write_vectors(gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=CRS), path, layer="new")
    assert path.read_bytes() == bytes(content)

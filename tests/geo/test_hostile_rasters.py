"""Rasters that lie: a result or an error within bounds of time and memory, and nothing read that was not named."""

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import hostile_rasters as hostile
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.testing.rasters import write_raster

SECRET = 77
ALL = Rect(0, 0, 64, 64)


def read_seeds(first: int, last: int, folder: Path) -> dict[int, dict]:
    """What came of each seed; a process that dies is told with the seed that it read."""
    command = [sys.executable, "-W", "ignore", hostile.__file__, str(first), str(last), str(folder)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, (lines[-1:], child.returncode, child.stderr[-2000:])
    return {line["seed"]: line for line in lines if "came" in line}


def check(came: dict[int, dict], count: int) -> None:
    assert len(came) == count
    results = sum(line["came"] == "result" for line in came.values())
    slack = count**0.5  # the share varies when there are few
    assert 0.2 * count - slack < results < 0.8 * count + slack
    assert max(line["seconds"] for line in came.values()) < hostile.SECONDS_EACH
    assert max(line["resident"] for line in came.values()) < hostile.RESIDENT


def test_50_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    check(read_seeds(0, 50, tmp_path), 50)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_2000_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    check(
        {seed: line for first in range(0, 2000, 250) for seed, line in read_seeds(first, first + 250, tmp_path).items()}, 2000
    )


@pytest.mark.filterwarnings("ignore::samgeo.errors.RasterWarning")
def test_whole_files_are_read(tmp_path: Path) -> None:
    for layout in hostile.LAYOUTS:
        (tmp_path / "a.tif").write_bytes(hostile.whole(layout))
        assert hostile.read_some(tmp_path / "a.tif") == "result"


# What a file may open


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A raster of one value, which nobody named."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return write_raster(folder / "secret.tif", np.full((64, 64), SECRET, dtype=np.uint8))


def refused(path: str | Path) -> str:
    with pytest.raises(RasterError) as caught:
        Raster.open(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jp2", ".img", ".xml", ".vrt.tif", "", ".vrt?.tif"])
def test_a_mosaic_by_another_name_is_not_followed(tmp_path: Path, secret: Path, suffix: str) -> None:
    copy(secret, tmp_path / "a.vrt", driver="VRT")
    with rasterio.open(tmp_path / "a.vrt") as mosaic:
        assert mosaic.read(1)[0, 0] == SECRET
    (tmp_path / "a.vrt").rename(tmp_path / f"city{suffix}")
    assert "city" in refused(tmp_path / f"city{suffix}")


def test_a_mosaic_by_its_name_is_followed(tmp_path: Path, secret: Path) -> None:
    copy(secret, tmp_path / "a.vrt", driver="VRT")
    assert (Raster.open(tmp_path / "a.vrt").read(ALL)[0] == SECRET).all()
    assert (Raster.open(f"vrt://{secret}").read(ALL)[0] == SECRET).all()


def test_code_in_a_mosaic_does_not_run(tmp_path: Path, secret: Path) -> None:
    copy(secret, tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    steal = f"open({str(tmp_path / 'owned')!r}, 'w')"
    code = (
        "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        f"<PixelFunctionCode><![CDATA[\n{steal}\ndef f(*a, **k): {steal}\n]]></PixelFunctionCode>"
    )
    text = text.replace('band="1">', 'band="1" subClass="VRTDerivedRasterBand">' + code)
    assert "Python" in text
    (tmp_path / "a.vrt").write_text(text)
    with pytest.raises(RasterError):
        Raster.open(tmp_path / "a.vrt").read(ALL)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "text",
    [
        "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl></Service></GDAL_WMS>",
        "<WCS_GDAL><ServiceURL>http://127.0.0.1:9/</ServiceURL></WCS_GDAL>",
        '{"type": "gdal_streamed_alg", "command_line": "gdal raster convert /etc/passwd"}',
        "<GDALTileIndexDataset><IndexDataset>/etc/passwd</IndexDataset></GDALTileIndexDataset>",
        '{"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {"href": "/etc/passwd"}}}',
    ],
)
def test_a_text_that_leads_to_the_network_is_no_raster(tmp_path: Path, text: str) -> None:
    for name in ("city.tif", "city.xml", "city.vrt", "city.json"):
        (tmp_path / name).write_text(text)
        assert name in refused(tmp_path / name)
    assert refused(text)


@pytest.mark.parametrize(
    "name", ["WMS:http://127.0.0.1:9/", "GTI:a.gpkg", "DERIVED_SUBDATASET:LOGAMPLITUDE:a.tif", "MEM:::A=1"]
)
def test_a_name_that_asks_for_a_format_that_leads_elsewhere_is_refused(name: str) -> None:
    assert "samgeo does not open" in refused(name)


def test_a_part_of_a_file_is_opened_by_its_own_format(secret: Path) -> None:
    assert (Raster.open(f"GTIFF_DIR:1:{secret}").read(ALL)[0] == SECRET).all()


def test_overviews_in_another_file_are_not_read(tmp_path: Path, secret: Path) -> None:
    path = write_raster(tmp_path / "city.tif", np.zeros((128, 128), dtype=np.uint8))
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
    with rasterio.open(path) as file:
        assert (file.read(1, out_shape=(64, 64)) == SECRET).all()
    assert "refers to another file for its overviews" in refused(path)
    # As well in the notes beside a file.
    path = write_raster(tmp_path / "town.tif", np.zeros((128, 128), dtype=np.uint8))
    notes = f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{secret}</MDI></Metadata></PAMDataset>'
    Path(f"{path}.aux.xml").write_text(notes)
    assert "refers to another file for its overviews" in refused(path)


@pytest.mark.parametrize("ending", [".ovr", ".msk"])
def test_overviews_and_masks_beside_a_file_are_no_mosaics(tmp_path: Path, secret: Path, ending: str) -> None:
    path = write_raster(tmp_path / "city.tif", np.zeros((128, 128), dtype=np.uint8))
    copy(secret, Path(f"{path}{ending}"), driver="VRT")
    assert "is not a TIFF" in refused(path)
    Path(f"{path}{ending}").unlink()
    copy(secret, Path(f"{path}{ending}"), driver="GTiff")
    assert Raster.open(path).shape == (128, 128)


@pytest.mark.filterwarnings("ignore::samgeo.errors.RasterWarning")
def test_nothing_beside_a_raster_is_written(tmp_path: Path, secret: Path) -> None:
    for seed in range(100, 115):
        (tmp_path / "a.tif").write_bytes(hostile.mutated(seed)[1])
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        hostile.read_some(tmp_path / "a.tif")
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# Sizes


@pytest.mark.parametrize("layout", [{"rows": 30_000}, {"tile": 32_768}, {"rows": 8192}])
def test_a_block_of_gigabytes_is_refused_with_the_remedy(tmp_path: Path, layout: dict[str, int]) -> None:
    (tmp_path / "a.tif").write_bytes(hostile.zeros(60_000, 8, **layout))
    assert "TILED=YES" in refused(tmp_path / "a.tif")


def test_an_overview_of_one_pixel_does_not_make_the_whole_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(hostile.zeros(60_000, 16, tile=512, dot=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.overviews(1) == [60_000]
    start = time.process_time()
    raster = Raster.open(tmp_path / "a.tif")
    assert raster.source.decimation == 1
    assert time.process_time() - start < hostile.SECONDS_EACH


def test_an_honest_raster_of_60000_pixels_is_read_from_little(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(hostile.zeros(60_000, 32, tile=4096))
    start = time.process_time()
    pixels, valid = Raster.open(tmp_path / "a.tif").read(Rect(59_000, 59_000, 59_256, 59_256))
    assert time.process_time() - start < hostile.SECONDS_EACH
    assert valid.all()
    assert not pixels.any()


def test_thousands_of_bands_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9">' + '<VRTRasterBand dataType="Byte"/>' * 5000 + "</VRTDataset>"
    )
    assert "5000 bands" in refused(tmp_path / "a.vrt")
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{2**31 - 1}" rasterYSize="{2**31 - 1}"><VRTRasterBand dataType="Byte"/></VRTDataset>'
    )
    assert "pixels, more than" in refused(tmp_path / "a.vrt")

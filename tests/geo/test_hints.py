"""What is strange in the picture of a raster is said once, and nothing is said of ordinary ones."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import samgeo
from samgeo.cli import main
from samgeo.errors import RasterWarning, SamgeoWarning
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources import sampling
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.segmentation.api import NothingFoundWarning, segment_to_file
from samgeo.synthetic import town
from samgeo.testing.rasters import write_raster

SHAPE = (160, 200)


def photo(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Roofs on grass, with noise: an ordinary 8-bit picture, no pixel of which is black or white."""
    rng = np.random.default_rng(seed)
    image = np.full((*shape, 3), (70, 95, 60), np.float32) + rng.normal(0, 6, (*shape, 3))
    for _ in range(12):
        y, x = rng.integers(0, (shape[0] - 30, shape[1] - 30))
        image[y : y + 25, x : x + 25] = rng.uniform(90, 230, 3) + rng.normal(0, 4, (25, 25, 3))
    return np.clip(image, 1, 254).astype(np.uint8)


def collar(image: np.ndarray, value: float, columns: int = 12) -> np.ndarray:
    made = image.copy()
    made[:, :columns] = value
    return made


WEDGE = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1]))[..., np.newaxis] < 80
SCALES = {"float32": 1 / 255, "int16": 10, "uint16": 10}


def scene_with(value: float, dtype: str, columns: int = 12) -> np.ndarray:
    return collar((photo() * SCALES[dtype]).astype(dtype), value, columns)


STRANGE: dict[str, tuple[Callable[[], np.ndarray], dict[str, object], str]] = {
    "dim": (lambda: photo() // 32, {}, "--stretch"),
    "saturated": (lambda: 250 + photo() // 50, {}, "--stretch"),
    "a stretch for other values": (photo, {"stretch": (0, 30_000)}, "--stretch"),
    "values above a stretch": (lambda: photo().astype(np.uint16) + 5000, {"stretch": (0, 3000)}, "--stretch"),
    "no data at all": (lambda: np.full(SHAPE, 7, np.uint16), {"nodata": 7}, "--nodata none"),
    "-9999 in reflectances": (lambda: scene_with(-9999, "float32"), {}, "--nodata -9999"),
    "-9999 over half": (lambda: scene_with(-9999, "float32", 120), {}, "--nodata -9999"),
    "-32768 in integers": (lambda: scene_with(-32768, "int16"), {}, "--nodata -32768"),
    "65535": (lambda: scene_with(65535, "uint16"), {}, "--nodata 65535"),
    "black collar": (lambda: collar(photo(), 0), {}, "--nodata 0"),
    "black collar in one band": (lambda: collar(photo(), 0)[..., 0], {}, "--nodata 0"),
    "black collar of 16 bits": (lambda: scene_with(0, "uint16"), {}, "--nodata 0"),
    "white collar": (lambda: collar(photo(), 255, 20), {}, "--nodata 255"),
    "black wedge": (lambda: np.where(WEDGE, 0, photo()).astype(np.uint8), {}, "--nodata 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(STRANGE))
def test_what_is_strange_is_said_once_with_the_option(case: str, tmp_path: Path) -> None:
    make, options, words = STRANGE[case]
    source = write_raster(tmp_path / "a.tif", make())
    with pytest.warns(RasterWarning) as told:
        raster = Raster.open(source, **options)
    assert len(told) == 1
    assert words in str(told[0].message)
    assert told[0].filename == __file__
    # An open raster was looked at already.
    assert Raster.open(raster) is raster


ADVISED = sorted(case for case, (_, _, words) in STRANGE.items() if words.startswith("--nodata ") and "none" not in words)


@pytest.mark.parametrize("case", ADVISED)
def test_the_advice_ends_it(case: str) -> None:
    make, _, words = STRANGE[case]
    Raster.open(make(), nodata=float(words.split()[1]))


def test_the_stretch_that_is_advised_ends_it() -> None:
    Raster.open(STRANGE["dim"][0](), stretch=(0, 8))


def ordinary() -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(3)
    shadows = photo()
    shadows[60:100, 60:140] = 0
    clouds = photo()
    clouds[:30, 50:80] = 255
    numbers = np.kron(rng.permutation(20 * 25).reshape(20, 25), np.ones((8, 8), int))
    blocks = np.stack([numbers % 256, numbers // 256, numbers % 7], axis=2).astype(np.uint8) * (numbers % 3 > 0)[..., None]
    drawing = np.zeros((*SHAPE, 3), np.uint8)
    drawing[20:80, 30:90] = (255, 0, 0)
    sea = xr.DataArray(np.where(np.arange(200) < 50, 0, rng.uniform(1, 100, SHAPE)).astype(np.float32), dims=("y", "x"))
    return {
        "photo": photo,
        "16 bits": lambda: photo().astype(np.uint16) * 11,
        "reflectances": lambda: photo().astype(np.float32) / 255,
        "a generated town": lambda: town((160, 200), 3).image,
        "deep shadows inside": lambda: shadows,
        "a cloud at the edge": lambda: clouds,
        "a drawing on black": lambda: drawing,
        "many colours on black": lambda: blocks,
        "a mask": lambda: (rng.random(SHAPE) > 0.5).astype(np.uint8) * 255,
        "a mask of ones": lambda: (rng.random(SHAPE) > 0.5).astype(np.uint16),
        "classes": lambda: rng.integers(0, 5, SHAPE).astype(np.uint16),
        "heights with the sea": lambda: sea,
        "a few bright points": lambda: np.where(rng.random(SHAPE) < 0.001, 60_000, photo()[..., 0] * 10.0).astype(np.uint16),
        "near infrared untagged": lambda: np.dstack([photo(), photo(1)[..., 0]]),
        "one colour": lambda: np.full(SHAPE, 7, np.uint16),
        "few numbers": lambda: (np.indices(SHAPE)[0] // 32).astype(np.uint8),
        "small": lambda: np.full((50, 50), 3, np.uint8),
        "masked collar": lambda: np.ma.masked_equal(collar(photo(), 0), 0),
    }  # fmt: skip


@pytest.mark.parametrize("case", sorted(ordinary()))
def test_nothing_is_said_of_ordinary_rasters(case: str) -> None:
    Raster.open(ordinary()[case]())


def test_nodata_and_masks_end_it(tmp_path: Path) -> None:
    black = collar(photo(), 0)
    Raster.open(write_raster(tmp_path / "tag.tif", black, nodata=0))
    Raster.open(write_raster(tmp_path / "mask.tif", black, mask=black.any(axis=2)))
    Raster.open(black, nodata="none")
    alpha = np.dstack([black, black.any(axis=2) * np.uint8(255)])
    Raster.open(write_raster(tmp_path / "alpha.tif", alpha, colors=("red", "green", "blue", "alpha")))


def test_the_check_can_be_left_away_and_reads_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = FileSource.read

    def spy(self, numbers, rect, out_shape=None):
        values, mask = original(self, numbers, rect, out_shape)
        read.append(values.size)
        return values, mask

    monkeypatch.setattr(FileSource, "read", spy)
    path = write_raster(tmp_path / "a.tif", collar(photo(shape=(600, 800)), 0, 60), tiled=True, blockxsize=128, blockysize=128)
    Raster.open(path, check=False)
    assert read == []
    with pytest.warns(RasterWarning, match="pure black"):
        Raster.open(path)
    assert len(read) == 1
    # Where the whole would take long, windows from edge to edge stand for it.
    monkeypatch.setattr(sampling, "MOST_PIXELS", 1000)
    read.clear()
    with pytest.warns(RasterWarning, match="pure black"):
        Raster.open(path)
    assert len(read) == sampling.WINDOWS**2
    assert sum(read) <= 3 * (sampling.WINDOWS * sampling.WINDOW) ** 2


def test_a_lazy_array_is_not_computed_for_it() -> None:
    computed = []

    def block(block_info=None) -> np.ndarray:
        computed.append(block_info)
        return np.zeros(block_info[None]["chunk-shape"], dtype=np.uint8)

    lazy = da.map_blocks(block, chunks=((50,) * 4, (50,) * 4), dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    Raster.open(xr.DataArray(lazy, dims=("y", "x")))
    assert computed == []


def test_a_damaged_block_is_left_to_those_who_read_it(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", photo(shape=(512, 512)), tiled=True, blockxsize=128, blockysize=128, compress="deflate"
    )
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)
    assert Raster.open(path).shape == (512, 512)


def test_each_way_in_says_it_once(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", collar(photo(shape=(100, 200)), 0, 30))
    example = samgeo.segment(path, nodata=0, progress=False).iloc[:1]
    ways: dict[str, Callable[[], object]] = {
        "segment": lambda: samgeo.segment(path, progress=False),
        "to a file": lambda: segment_to_file(path, tmp_path / "a.gpkg", progress=False),
        "Predictor": lambda: samgeo.Predictor(path),
        "encode": lambda: samgeo.encode(path, tmp_path / "a.zarr", progress=False),
        "show": lambda: samgeo.show(path),
        "Map": lambda: samgeo.Map(path),
        "footprints": lambda: samgeo.footprints(path, examples=example, regular=False),
    }
    for name, way in ways.items():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            way()
        assert [str(one.message)[:3] for one in told if issubclass(one.category, SamgeoWarning)] == ["15%"], name


def test_the_command_says_it_on_standard_error_and_does_its_work(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", photo() // 32)
    result = CliRunner().invoke(main, ["segment", str(path), str(tmp_path / "a.gpkg"), "--quiet"])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("Note: nearly all of")
    assert "--stretch" in result.stderr


def test_nothing_found_is_said(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", photo())
    with pytest.warns(NothingFoundWarning, match="--stretch"):
        assert len(samgeo.segment(path, pred_iou=1, progress=False)) == 0
    with pytest.warns(NothingFoundWarning, match="samgeo show"):
        assert segment_to_file(path, tmp_path / "a.gpkg", pred_iou=1, progress=False).objects == 0
    result = CliRunner().invoke(main, ["segment", str(path), str(tmp_path / "b.gpkg"), "--pred-iou", "1"])
    assert result.exit_code == 0
    assert result.stderr.count("Note: nothing was found") == 1


def test_real_imagery_is_ordinary() -> None:
    if "SAMGEO_DATA" not in os.environ:
        pytest.skip("SAMGEO_DATA is not set")
    data = Path(os.environ["SAMGEO_DATA"])
    names = ["odd-rasters/umbra_mount_yasur.tiff", "odd-rasters/bremen_sea_ice_conc_2022_9_9.tif", "odd-rasters/utm.tif"]
    names += ["odd-rasters/LE70220491999322EDC01_stack.gtif", "odd-rasters/ftw_s2_8band_inference-img.tif"]
    names += ["s2-fields-denmark/RGB_small.tif", "population-sao-miguel/clc2018_v2020_20u1.tif", "dc-dsm-dtm"]
    for name in names:
        path = data / name
        for one in sorted(path.glob("*.tif")) if path.is_dir() else [path]:
            Raster.open(one)
    strange = data / "spacenet1-rio-sample" / "3band" / "3band_013022223130_Public_img2.tif"
    with pytest.warns(RasterWarning, match="75% of .* is pure black"):
        Raster.open(strange)

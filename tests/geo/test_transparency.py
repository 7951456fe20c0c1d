"""Which band is transparency: what the user says, else what is tagged so and has such values."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, RasterError, RasterWarning
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.band_stack import StackSource
from samgeo.geo.raster.transparency import settle_alpha
from samgeo.testing.rasters import transform, write_raster

RGBA = ("red", "green", "blue", "alpha")
SIDE = 96
ALL = Rect(0, 0, SIDE, SIDE)
POND = (slice(20, 50), slice(30, 70))
OTHER = "not used as transparency"


def picture(dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    top = 255 if dtype == "uint8" else 4000
    return rng.integers(top // 10, top, (SIDE, SIDE, 3)).astype(dtype)


def infrared(dtype: str = "uint8") -> np.ndarray:
    """Near infrared: bright, and 0 on water."""
    rng = np.random.default_rng(1)
    band = rng.integers(120, 240, (SIDE, SIDE)).astype(dtype)
    band[POND] = 0
    return band


def opacity(opaque: int, dtype: str = "uint8") -> np.ndarray:
    """Transparency: 0 in the pond, half along its upper edge, opaque elsewhere."""
    band = np.full((SIDE, SIDE), opaque, dtype=dtype)
    band[POND] = 0
    band[19, 30:70] = max(opaque // 2, 1)
    return band


def write(path: Path, fourth: np.ndarray, **options: object) -> Path:
    values = np.dstack([picture(str(fourth.dtype)), fourth])
    return write_raster(path, values, **{"colors": RGBA} | options)


def hidden(raster: Raster) -> np.ndarray:
    return ~raster.read(ALL)[1]


def pond() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[POND] = True
    return mask


@pytest.mark.parametrize(
    ("dtype", "opaque"), [("uint8", 255), ("uint8", 1), ("uint16", 65535), ("uint16", 255), ("uint16", 4095), ("float32", 1)]
)
def test_a_tagged_band_of_opaque_and_transparent_hides_pixels(dtype: str, opaque: int, tmp_path: Path) -> None:
    raster = Raster.open(write(tmp_path / "a.tif", opacity(opaque, dtype)))
    assert np.array_equal(hidden(raster), pond())
    assert raster.provenance()["alpha"] == [4]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_tagged_band_of_other_values_hides_nothing_and_is_told(dtype: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", infrared(dtype))
    with pytest.warns(RasterWarning, match=OTHER) as told:
        raster = Raster.open(path)
    assert len(told) == 1
    assert "--alpha none" in str(told[0].message)
    assert not hidden(raster).any()
    assert raster.bands == (1, 2, 3)
    assert raster.provenance()["alpha"] == []


def test_a_constant_tagged_band_below_opaque_hides_nothing(tmp_path: Path) -> None:
    band = np.where(pond(), 0, 180).astype(np.uint8)
    with pytest.warns(RasterWarning, match=OTHER):
        assert not hidden(Raster.open(write(tmp_path / "a.tif", band))).any()


def test_what_the_user_says_is_not_doubted(tmp_path: Path) -> None:
    """Each of these opens without a warning, which is an error here."""
    near, opaque = write(tmp_path / "nir.tif", infrared()), write(tmp_path / "alpha.tif", opacity(255))
    assert not hidden(Raster.open(near, alpha="none")).any()
    assert np.array_equal(hidden(Raster.open(near, alpha=4)), pond())
    assert np.array_equal(hidden(Raster.open(near, alpha="4")), pond())
    assert np.array_equal(hidden(Raster.open(near, alpha="alpha")), pond())
    assert not hidden(Raster.open(opaque, alpha="none")).any()
    false_colour = Raster.open(near, bands=(4, 1, 2))
    assert false_colour.bands == (4, 1, 2)
    assert not hidden(false_colour).any()
    assert np.array_equal(false_colour.read(ALL)[0][..., 0], infrared())
    assert Raster.open(near, bands="alpha").bands == (4, 4, 4)


def test_a_raster_that_is_open_keeps_what_was_said(tmp_path: Path) -> None:
    raster = Raster.open(write(tmp_path / "a.tif", infrared()), alpha="none")
    assert not hidden(Raster.open(raster, stretch=(0, 200))).any()
    assert np.array_equal(hidden(Raster.open(raster, alpha=4)), pond())
    assert Raster.open(Raster.open(raster, alpha=4), bands=(4, 1, 2)).bands == (4, 1, 2)


@pytest.mark.parametrize("alpha", [0, -1, 1.5, True, "", 9, "nir"])
def test_a_band_that_is_not_there_is_refused(alpha: object, tmp_path: Path) -> None:
    with pytest.raises(OptionError if alpha not in (9, "nir") else RasterError, match=r"alpha is|no band"):
        Raster.open(write(tmp_path / "a.tif", opacity(255)), alpha=alpha)


def test_a_band_cannot_be_image_and_transparency(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="as transparency and as image"):
        Raster.open(write(tmp_path / "a.tif", infrared()), alpha=4, bands=(4, 1, 2))


def two(tmp_path: Path, first: np.ndarray, second: np.ndarray, **options: object) -> list[Path]:
    right = transform("north-up") @ transform("north-up").translation(SIDE, 0)
    return [write(tmp_path / "left.tif", first), write(tmp_path / "right.tif", second, transform=right, **options)]


def test_a_mosaic_is_judged_as_a_whole(tmp_path: Path) -> None:
    """Files of water alone are 0 in near infrared: by themselves they would be transparent."""
    paths = two(tmp_path, infrared(), np.zeros((SIDE, SIDE), np.uint8))
    with pytest.warns(RasterWarning, match=OTHER):
        raster = Raster.open(paths)
    assert raster.read(Rect(0, 0, 2 * SIDE, SIDE))[1].all()
    assert Raster.open(paths, bands=(4, 1, 2)).read(Rect(0, 0, 2 * SIDE, SIDE))[1].all()
    own = Raster.open(paths, alpha=4).read(Rect(0, 0, 2 * SIDE, SIDE))[1]
    assert np.array_equal(own, np.hstack([~pond(), np.zeros((SIDE, SIDE), dtype=bool)]))


def test_files_of_a_mosaic_that_are_tagged_differently_need_a_word(tmp_path: Path) -> None:
    options = {"colors": ("red", "green", "blue", "undefined"), "photometric": "RGB", "alpha": "UNSPECIFIED"}
    paths = two(tmp_path, opacity(255), opacity(255), **options)
    with rasterio.open(paths[1]) as file:
        assert file.colorinterp[3].name != "alpha"
    with pytest.raises(RasterError, match="band 4 is transparency in only one of"):
        Raster.open(paths)
    assert Raster.open(paths, alpha="none").read(Rect(0, 0, 2 * SIDE, SIDE))[1].all()
    assert np.array_equal(Raster.open(paths, alpha=4).read(Rect(0, 0, 2 * SIDE, SIDE))[1], np.hstack([~pond(), ~pond()]))


def test_bands_of_their_own_files_are_masked_by_the_one_that_is_named(tmp_path: Path) -> None:
    from samgeo.geo.raster.sources.file_source import FileSource

    layers = {"red": picture()[..., 0], "green": picture()[..., 1], "blue": picture()[..., 2], "clear": opacity(255)}
    files = {name: FileSource.open(write_raster(tmp_path / f"{name}.tif", layer)) for name, layer in layers.items()}
    stack = StackSource.of("scene", files)
    assert not hidden(Raster.open(stack, check=False)).any()
    masked = Raster.open(stack, alpha="clear")
    assert np.array_equal(hidden(masked), pond())
    assert masked.provenance()["alpha"] == [4]
    with_alpha = {"image": FileSource.open(write(tmp_path / "a.tif", infrared())), "more": files["red"]}
    source, told = settle_alpha(StackSource.of("scene", with_alpha), None, None)
    assert len(source.bands) == 5
    assert len(told) == 1
    assert not hidden(Raster.open(StackSource.of("scene", with_alpha), alpha="none")).any()


def test_binary_bands_that_are_not_tagged_are_told(tmp_path: Path) -> None:
    values = np.dstack([picture(), opacity(255)])
    values[19, 30:70, 3] = 255
    with pytest.warns(RasterWarning, match="--alpha 4"):
        raster = Raster.open(values)
    assert not hidden(raster).any()
    assert np.array_equal(hidden(Raster.open(values, alpha=4)), pond())
    Raster.open(np.dstack([picture(), infrared()]))


def test_a_store_and_a_run_know_what_was_transparent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", infrared())
    samgeo.encode(path, tmp_path / "a.zarr", alpha="none", progress=False)
    assert samgeo.encode(path, tmp_path / "a.zarr", alpha="none", progress=False).encoded == 0
    with pytest.raises(OptionError, match=r"alpha \[\], and now it is \[4\]"):
        samgeo.Predictor(path, alpha=4, cache=tmp_path / "a.zarr")


@pytest.mark.parametrize("command", ["segment", "show"])
def test_every_command_has_the_option_and_says_each_note_once(command: str, tmp_path: Path) -> None:
    path, output = write(tmp_path / "a.tif", infrared()), tmp_path / ("a.gpkg" if command == "segment" else "a.png")
    arguments = [command, str(path), *([str(output)] if command == "segment" else ["-o", str(output)])]
    told = CliRunner().invoke(main, [*arguments, "--overwrite"])
    assert told.exit_code == 0, told.stderr
    assert told.stderr.count("Note: ") - told.stderr.count("nothing was found") == told.stderr.count(OTHER) == 1
    silent = CliRunner().invoke(main, [*arguments, "--overwrite", "--alpha", "none"])
    assert OTHER not in silent.stderr


def test_real_imagery_with_near_infrared_is_whole() -> None:
    if "SAMGEO_DATA" not in os.environ:
        pytest.skip("SAMGEO_DATA is not set")
    path = Path(os.environ["SAMGEO_DATA"]) / "naip-urban-trees" / "images" / "chico_2018_42.tif"
    with pytest.warns(RasterWarning, match=OTHER):
        raster = Raster.open(path)
    assert raster.view()[1].all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Raster.open(path, bands=(4, 1, 2)).view()[1].all()

"""Compression by regions of interest: what is exact, what is gained, and that other readers see a whole image."""

import json
import math

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from PIL import Image
from shapely.geometry import box

import samgeo
from samgeo.cli import main
from samgeo.editing import compress, remove
from samgeo.errors import OptionError, RasterError, RasterWarning
from samgeo.geo.raster.bands import ROI_TAG
from samgeo.synthetic import town
from samgeo.testing import TRANSFORMS, write_raster

TRANSFORM = Affine(*TRANSFORMS["north-up"])
RNG = np.random.default_rng(3)


def noise(shape, bands=3, dtype="uint8"):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=(*shape, bands)).astype(dtype)
    return RNG.integers(0, 200, (*shape, bands)).astype(dtype)


def roof(x0=30, y0=20, x1=60, y1=50):
    (left, top), (right, bottom) = TRANSFORM @ (x0, y0), TRANSFORM @ (x1, y1)
    return gpd.GeoDataFrame(geometry=[box(left, bottom, right, top)], crs="EPSG:32633")


def read(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def scene():
    return town((384, 384), 2, resolution_m=0.3)


def test_a_fifth_of_objects_needs_two_thirds_of_the_bytes_at_the_same_quality(tmp_path, scene):
    """The source is lossless, and 20 % of it are buildings."""
    assert 0.15 < (scene.labels > 0).mean() < 0.25
    path = write_raster(tmp_path / "a.tif", scene.image, crs=scene.geobox.crs.proj, transform=scene.geobox.affine)
    result = compress(path, scene.footprints, "out.tif", codec="jpeg", quality=90)
    assert result.share <= 0.65
    assert abs(result.psnr_inside - result.plain_psnr_inside) < 0.1
    assert result.psnr_inside > 36
    assert result.psnr_outside > 20
    # The figures are those of the files.
    exact = read("out.roi.tif")[0] == 1
    error = (read("out.tif").astype(float) - np.moveaxis(scene.image, 2, 0)) ** 2
    assert result.psnr_inside == pytest.approx(10 * math.log10(255**2 / error[:, exact].mean()))
    assert result.psnr_outside == pytest.approx(10 * math.log10(255**2 / error[:, ~exact].mean()))
    assert result.bytes == (tmp_path / "out.tif").stat().st_size
    assert result.exact_share == exact.mean()
    assert (exact | (scene.labels == 0)).all()
    squares = compress(path, scene.footprints, "squares.tif", smooth=False)
    assert squares.bytes < 0.8 * result.bytes


@pytest.mark.parametrize("codec", ["jpeg", "webp", "deflate"])
def test_every_reader_sees_the_whole_image(tmp_path, scene, codec):
    path = write_raster(tmp_path / "a.tif", scene.image[:200, :200])
    compress(path, roof(), "out.tif", codec=codec)
    with rasterio.open("out.tif") as file:
        assert (file.dataset_mask() == 255).all()
        assert all(flags == [rasterio.enums.MaskFlags.all_valid] for flags in file.mask_flag_enums)
        assert file.files == [str(file.name)]
        pixels = np.moveaxis(file.read(), 0, 2).astype(int)
    if codec != "webp":  # Pillow does not read WebP inside of TIFF
        with Image.open("out.tif") as opened:
            assert opened.mode == "RGB"
            assert np.abs(np.asarray(opened) - pixels).mean() < (1.5 if codec == "jpeg" else 1e-9)
    with pytest.warns(RasterWarning, match="means of 8 x 8 pixels"):
        raster = samgeo.Raster.open("out.tif")
    assert raster.view()[1].all()
    assert len(raster.source.bands) == 3


@pytest.mark.parametrize(
    ("dtype", "bands", "codec"),
    [("uint8", 3, "deflate"), ("uint16", 5, "zstd"), ("int16", 1, "lzw"), ("float32", 2, "deflate"), ("float64", 1, "zstd")],
)
def test_lossless_codecs_keep_objects_exactly(tmp_path, dtype, bands, codec):
    image = noise((100, 120), bands, dtype)
    path = write_raster(tmp_path / "a.tif", image, descriptions=[f"b{number}" for number in range(bands)])
    result = compress(path, roof(), "out.tif", codec=codec, grow_px=0, feather_px=4)
    assert result.psnr_inside == math.inf
    assert math.isfinite(result.psnr_outside)
    values, exact = read("out.tif"), read("out.roi.tif")[0] == 1
    assert np.array_equal(exact, np.pad(np.ones((30, 30), bool), ((20, 50), (30, 60))))
    assert np.array_equal(values[:, exact], np.moveaxis(image, 2, 0)[:, exact])
    assert values.dtype == dtype
    assert values[:, 70:].std() < 0.3 * image.std()  # means of 64 values
    assert abs(values.mean() - image.mean()) < 0.1 * image.std()
    with rasterio.open("out.tif") as file:
        assert file.descriptions == tuple(f"b{number}" for number in range(bands))
        note = json.loads(file.tags()[ROI_TAG])
    options = {"factor": 8, "codec": codec, "quality": None, "grow_px": 0, "feather_px": 4, "smooth": True}
    assert note == options | {"objects": result.digest, "count": 1, "mask": "out.roi.tif"}


def test_squares_have_the_mean_of_their_values(tmp_path):
    image = noise((50, 70), 1, "float64")
    path = write_raster(tmp_path / "a.tif", image)
    compress(path, roof(32, 16, 48, 32), "out.tif", codec="deflate", factor=16, grow_px=0, feather_px=0, smooth=False)
    values = read("out.tif")[0]
    assert np.allclose(values[:16, :16], image[:16, :16].mean())
    assert np.allclose(values[48:, 64:], image[48:, 64:].mean())  # cut by the edge


def test_the_result_does_not_depend_on_the_parts(tmp_path, monkeypatch):
    image = noise((300, 330), 2, "uint16")
    path = write_raster(tmp_path / "a.tif", image, nodata=7)
    options = {"codec": "deflate", "factor": 12, "feather_px": 20}
    compress(path, roof(100, 120, 200, 140), "whole.tif", **options)
    monkeypatch.setattr("samgeo.editing.compression.PART", 64)
    compress(path, roof(100, 120, 200, 140), "parts.tif", **options)
    assert np.array_equal(read("whole.tif"), read("parts.tif"))


def test_nodata_stays_exactly_where_it_was(tmp_path):
    image = np.maximum(noise((100, 120), 2, "uint16"), 1)
    image[:40, :50] = 0
    path = write_raster(tmp_path / "a.tif", image, nodata=0)
    compress(path, roof(), "out.tif", codec="deflate")
    assert np.array_equal(read("out.tif") == 0, np.moveaxis(image, 2, 0) == 0)
    with rasterio.open("out.tif") as file:
        assert file.nodata == 0


@pytest.mark.parametrize("kind", ["nodata", "mask", "alpha", "invented"])
def test_a_lossy_codec_gets_a_mask_of_the_pixels_with_data(tmp_path, kind):
    image = np.maximum(noise((100, 120)), 1)
    gone = np.zeros((100, 120), dtype=bool)
    gone[60:90, 70:110] = True
    options = {}
    if kind == "nodata":
        image[gone], options["nodata"] = 0, 0
    elif kind == "mask":
        options["mask"] = ~gone
    elif kind == "alpha":
        image = np.dstack([image, np.where(gone, 0, 255).astype("uint8")])
        options["colors"] = ["red", "green", "blue", "alpha"]
    path = write_raster(tmp_path / "a.tif", image, **options)
    if kind == "invented":
        remove(path, roof(70, 60, 110, 90), "removed.tif", grow_px=0)
        path = "removed.tif"
    compress(path, roof(), "out.tif", codec="jpeg")
    with rasterio.open("out.tif") as file:
        assert file.count == 3
        assert file.nodata is None
        assert np.array_equal(file.dataset_mask() == 0, gone)
    assert np.array_equal(samgeo.Raster.open("out.tif", check=False).view()[1], ~gone)


def test_lossless_codecs_keep_the_marks_of_invented_pixels(tmp_path):
    path = write_raster(tmp_path / "a.tif", noise((100, 120)))
    remove(path, roof(70, 60, 110, 90), "removed.tif", grow_px=0)
    compress("removed.tif", roof(), "out.tif", codec="deflate")
    assert np.array_equal(read("out.tif")[3], read("removed.tif")[3])
    assert (~samgeo.Raster.open("out.tif", check=False).view()[1]).sum() == 30 * 40


WRONG = {
    "factor": ({"factor": 1}, "factor is 1"),
    "codec": ({"codec": "png"}, "give one of jpeg"),
    "quality": ({"codec": "deflate", "quality": 80}, "lossless"),
    "high quality": ({"quality": 101}, "from 1 to 100"),
    "feather": ({"feather_px": -1}, "feather_px"),
    "sixteen bits": ({"image": "deep.tif"}, "8-bit"),
    "bands": ({"image": "two.tif", "codec": "webp"}, "three bands"),
    "no objects": ({"objects": gpd.GeoDataFrame(geometry=[], crs="EPSG:32633")}, "there are no objects"),
    "outside": ({"objects": roof(1000, 1000, 1010, 1010)}, "none of 1 objects touches"),
    "input": ({"output": "a.tif"}, "also an input"),
    "other mask": ({"output": "two.tif".replace("two", "new")}, "new.roi.tif exists"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(tmp_path, what):
    write_raster(tmp_path / "a.tif", noise((64, 64)))
    write_raster(tmp_path / "deep.tif", noise((64, 64), 3, "uint16"))
    write_raster(tmp_path / "two.tif", noise((64, 64), 2))
    write_raster(tmp_path / "new.roi.tif", noise((64, 64), 1))
    before = sorted(path.name for path in tmp_path.iterdir())
    given, words = WRONG[what]
    with pytest.raises(OptionError, match=words):
        compress(**({"image": "a.tif", "objects": roof(), "output": "out.tif"} | given))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_failure_leaves_neither_of_the_two_files(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "a.tif", noise((64, 64)))

    def fail(*_):
        raise RasterError("the raster cannot be read")

    monkeypatch.setattr("samgeo.editing.compression._psnr", fail)
    with pytest.raises(RasterError, match="cannot be read"):
        compress(path, roof(), "out.tif")
    assert [one.name for one in tmp_path.iterdir()] == ["a.tif"]


def test_jpeg_of_two_bands_and_no_crs(tmp_path):
    path = write_raster(tmp_path / "a.tif", noise((80, 80), 2), transform=TRANSFORMS["none"])
    result = compress(path, box(10, 10, 40, 40), "out.tif", quality=95)
    assert result.psnr_inside > 30
    compress(path, box(10, 10, 40, 40), "out.tif", quality=50, overwrite=True)


def test_the_command(tmp_path):
    path = write_raster(tmp_path / "a.tif", noise((80, 80)))
    roof().to_file("roofs.gpkg")
    options = ["--codec", "deflate", "--factor", "4", "--no-smooth", "--feather-px", "0"]
    done = CliRunner().invoke(main, ["compress", str(path), "roofs.gpkg", "out.tif", *options])
    assert done.exit_code == 0, done.output
    assert "PSNR exact in 1 object (whole image: exact)" in done.output
    with rasterio.open("out.tif") as file:
        assert json.loads(file.tags()[ROI_TAG])["factor"] == 4

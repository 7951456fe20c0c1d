"""Real rasters that others stumble over."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from samgeo.errors import RasterWarning
from samgeo.geo.coordinates.area import area_m2
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.vector.reading import read_vectors, write_vectors


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("SAMGEO_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SAMGEO_DATA does not name the folder of test data")
    return Path(folder)


def everything(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    return raster.read(Rect(0, 0, raster.shape[1], raster.shape[0]))


ODD = {
    "umbra_mount_yasur.tiff": ("EPSG:32759", (2000, 2000), (1, 1, 1), None),
    "bremen_sea_ice_conc_2022_9_9.tif": ("EPSG:3031", (1327, 1264), (1, 1, 1), "float"),
    "utm.tif": ("EPSG:32617", (100, 100), (1, 1, 1), None),
    "LE70220491999322EDC01_stack.gtif": ("EPSG:32615", (250, 250), (1, 2, 3), "int"),
    "ftw_s2_8band_inference-img.tif": ("EPSG:32633", (379, 578), (1, 2, 3), "int"),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_rasters_keep_their_georeference_and_become_pictures(name: str, data: Path) -> None:
    crs, shape, bands, stretched = ODD[name]
    path = data / "odd-rasters" / name
    raster = Raster.open(path)
    with rasterio.open(path) as file:
        assert raster.geobox.affine == file.transform
    assert raster.geobox.crs == crs
    assert raster.shape == shape
    assert raster.bands == bands
    assert (raster.stretch is None) == (stretched is None)
    pixels, valid = everything(raster)
    assert pixels[valid].std() > 20  # a picture, neither black nor white
    assert not pixels[~valid].any()


def test_sea_ice_without_a_tag_is_valid_where_it_is_a_number(data: Path) -> None:
    path = data / "odd-rasters" / "bremen_sea_ice_conc_2022_9_9.tif"
    with rasterio.open(path) as file:
        values = file.read(1)
    raster = Raster.open(path)
    assert np.array_equal(everything(raster)[1], np.isfinite(values))
    assert 0 < raster.stretch[0][0] < raster.stretch[0][1] == 100


def test_a_map_with_a_palette_has_the_colours_of_its_table(data: Path) -> None:
    path = data / "odd-rasters" / "utm.tif"
    with rasterio.open(path) as file:
        index, colors = file.read(1), file.colormap(1)
    expected = np.array([colors[value][:3] for value in index.ravel()]).reshape(*index.shape, 3)
    assert np.array_equal(everything(Raster.open(path))[0], expected)


def test_sentinel_and_landsat_show_true_colours_by_band_number(data: Path) -> None:
    raster = Raster.open(data / "odd-rasters" / "LE70220491999322EDC01_stack.gtif", bands=["Band 3 reflectance", 2, 1])
    assert raster.bands == (3, 2, 1)
    assert raster.nodata == (-9999,) * 3
    assert min(low for low, _ in raster.stretch) > 0


@pytest.mark.parametrize("kind", ["3band", "8band"])
def test_black_wedges_without_a_tag_become_invalid_when_nodata_is_given(kind: str, data: Path) -> None:
    path = data / "spacenet1-rio-sample" / kind / f"{kind}_013022223130_Public_img1.tif"
    with rasterio.open(path) as file:
        values = file.read((1, 2, 3))
    with pytest.warns(RasterWarning, match="--nodata 0"):
        assert everything(Raster.open(path))[1].all()
    raster = Raster.open(path, nodata=0)
    assert np.array_equal(everything(raster)[1], values.any(axis=0))
    assert raster.stretch is None or min(low for low, _ in raster.stretch) > 0


def test_a_mosaic_in_jpeg_is_read_in_windows_as_in_whole(data: Path) -> None:
    path = data / "oam-banepa-buildings" / "banepa.tif"
    raster = Raster.open(path)
    with rasterio.open(path) as file:
        expected = np.moveaxis(file.read(window=((900, 1300), (1700, 2048))), 0, 2)
    pixels, valid = raster.read(Rect(1700, 900, 2100, 1300))
    assert np.array_equal(pixels[:, :348], expected)
    assert valid[:, :348].all()
    assert not valid[:, 348:].any()
    assert raster.view(512)[0].shape == (512, 256, 3)


def test_chips_with_a_sidecar_lie_where_the_mosaic_says(data: Path) -> None:
    mosaic = Raster.open(data / "oam-banepa-buildings" / "banepa.tif")
    chips = sorted((data / "oam-banepa-buildings" / "chips").glob("*.tif"))
    shared = 0
    for path in chips[::5]:
        chip = Raster.open(path)
        assert chip.geobox.crs == mosaic.geobox.crs == "EPSG:4326"
        place, frame = chip.geobox.affine, mosaic.geobox.affine
        x, y = round((place.c - frame.c) / frame.a), round((place.f - frame.f) / frame.e)
        there, valid = mosaic.read(Rect(x, y, x + chip.shape[1], y + chip.shape[0]))
        here, _ = everything(chip)
        # Both are JPEG: equal but for its noise.
        assert not valid.any() or np.abs(there[valid].astype(int) - here[valid]).mean() < 8
        shared += valid.any()
    assert shared >= 3


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of the expected values' own reading
def test_tiles_without_georeference_have_no_crs_and_their_alpha(data: Path) -> None:
    for path in sorted((data / "oam-kampala-buildings").glob("*.png"))[::12]:
        raster = Raster.open(path)
        assert raster.geobox.crs is None
        assert raster.bands == (1, 2, 3)
        with rasterio.open(path) as file:
            alpha = file.read(4) if file.count == 4 else np.full(file.shape, 255)
        assert np.array_equal(everything(raster)[1], alpha > 0)


def test_footprints_of_a_town_keep_every_bit_and_have_true_areas(data: Path, tmp_path: Path) -> None:
    footprints = read_vectors(data / "oam-banepa-buildings" / "footprints.geojson")
    for suffix in (".parquet", ".gpkg", ".geojson"):
        write_vectors(footprints, tmp_path / f"a{suffix}")
        # Files have multipolygons.
        written = read_vectors(tmp_path / f"a{suffix}").geometry.explode(ignore_index=True)
        assert list(written.to_wkb()) == list(footprints.geometry.explode(ignore_index=True).to_wkb())
    planar = footprints.to_crs(footprints.estimate_utm_crs()).area.to_numpy()
    # A UTM zone scales areas by up to 0.2 %.
    assert area_m2(footprints.geometry, footprints.crs) == pytest.approx(planar, rel=3e-3)

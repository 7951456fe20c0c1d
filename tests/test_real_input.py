"""Real rasters of every awkward kind through the command, to every format. Needs the data that SAMGEO_DATA points to."""

import os
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import rasterio.features
import shapely
from click.testing import CliRunner

from samgeo.cli import main
from samgeo.evaluation import match
from samgeo.geo.raster.raster import Raster

RASTERS = {
    "jpeg-ycbcr": ("oam-banepa-buildings/banepa.tif", ["--window", "1024"]),
    "rgb": ("spacenet1-rio-sample/3band/*img10.tif", []),
    "8-band-uint16": ("spacenet1-rio-sample/8band/*img10.tif", ["--bands", "5,3,2", "--window", "128"]),
    "landsat-int16-nodata": ("odd-rasters/LE70220491999322EDC01_stack.gtif", ["--bands", "3,2,1"]),
    "rotated-sar": ("odd-rasters/umbra_mount_yasur.tiff", ["--window", "1024"]),
    "polar-nan": ("odd-rasters/bremen_sea_ice_conc_2022_9_9.tif", []),
    "sentinel-2-stack": ("odd-rasters/ftw_s2_8band_inference-img.tif", ["--bands", "1,2,3"]),
}


@pytest.fixture(scope="session")
def data() -> Path:
    folder = os.environ.get("SAMGEO_DATA", "")
    if not Path(folder).is_dir() or not folder:
        pytest.skip("needs real imagery: SAMGEO_DATA is not set to its folder")
    return Path(folder)


def raster_path(data: Path, kind: str) -> Path:
    (path,) = data.glob(RASTERS[kind][0])
    return path


@pytest.fixture(scope="session", params=list(RASTERS))
def parquet(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A raster and the objects that the command found in it, with few points a window to be quick."""
    image, options = raster_path(data, request.param), RASTERS[request.param][1]
    output = tmp_path_factory.mktemp(request.param) / "objects.parquet"
    points = ["--points-per-side", "4", "--pred-iou", "0.3"]
    result = CliRunner().invoke(main, ["segment", str(image), str(output), *points, *options])
    assert result.exit_code == 0, result.output
    return image, output


def test_objects_are_valid_lie_on_the_raster_and_keep_its_crs(parquet: tuple[Path, Path]) -> None:
    image, output = parquet
    frame, geobox = gpd.read_parquet(output), Raster.open(image, check=False).geobox
    assert len(frame) > 0
    assert frame.crs == geobox.crs.proj
    assert frame.geometry.is_valid.all()
    assert (frame.area_m2 > 0).all()
    pixel = max(abs(geobox.resolution.x), abs(geobox.resolution.y))
    assert shapely.contains(geobox.extent.geom.buffer(pixel / 100), frame.geometry.to_numpy()).all()


def test_every_format_gives_back_the_same_objects(parquet: tuple[Path, Path], tmp_path: Path) -> None:
    from samgeo.geo.vector.reading import write_vectors

    frame = gpd.read_parquet(parquet[1])
    for suffix in (".gpkg", ".fgb", ".geojson"):
        path = tmp_path / f"objects{suffix}"
        write_vectors(frame, path)
        again = gpd.read_file(path)
        assert again.crs == frame.crs
        assert len(again) == len(frame)
        ours, theirs = (sorted(shapely.normalize(one.geometry.to_numpy()), key=shapely.to_wkb) for one in (frame, again))
        assert shapely.equals_exact(ours, theirs).all()


def test_small_rasters_go_through_the_command_to_every_format(data: Path, tmp_path: Path) -> None:
    for suffix in (".parquet", ".gpkg", ".fgb", ".geojson"):
        output = tmp_path / f"objects{suffix}"
        arguments = ["segment", str(raster_path(data, "rgb")), str(output), "--points-per-side", "4", "--quiet"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        frame = gpd.read_parquet(output) if suffix == ".parquet" else gpd.read_file(output)
        assert frame.crs.to_epsg() == 4326


def test_nothing_is_found_where_there_are_no_data(data: Path, tmp_path: Path) -> None:
    image = raster_path(data, "landsat-int16-nodata")
    output = tmp_path / "objects.gpkg"
    arguments = ["segment", str(image), str(output), "--bands", "3,2,1", "--quiet"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    with rasterio.open(image) as dataset:
        valid = dataset.read_masks(3) > 0
    found = rasterio.features.rasterize(gpd.read_file(output).geometry, valid.shape, transform=Raster.open(image).geobox.affine)
    assert not (found.astype(bool) & ~valid).any()


@pytest.mark.slow
def test_footprints_of_banepa_are_found(data: Path) -> None:
    import samgeo

    found = samgeo.segment(data / "oam-banepa-buildings" / "banepa.tif", progress=False)
    matches = match(found, gpd.read_file(data / "oam-banepa-buildings" / "footprints.geojson"))
    assert matches.recall > 0.55

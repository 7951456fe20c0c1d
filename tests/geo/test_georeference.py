"""Files whose place is no affine are refused, with the command that warps them, wherever a raster is opened."""

import json
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC

import samgeo
from samgeo.cli import main
from samgeo.errors import RasterError
from samgeo.geo.raster.raster import Raster
from samgeo.testing.rasters import TRANSFORMS, coordinate_pixels, write_raster


def bare(path: Path, **options: object) -> Path:
    """A raster without affine."""
    return write_raster(path, coordinate_pixels((20, 30)), transform=TRANSFORMS["none"], **options)


def changed(path: Path, change: Callable[[rasterio.io.DatasetWriter], None]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as file:
            change(file)
    return path


UTM = CRS.from_epsg(32633)


def points(count: int, crs: CRS | None = UTM) -> Callable[[rasterio.io.DatasetWriter], None]:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 20, (count, 2)).tolist()
    made = [GroundControlPoint(row, column, 5e5 + column / 2, 5e6 - row / 2) for row, column in places]

    def change(file: rasterio.io.DatasetWriter) -> None:
        file.gcps = (made, crs) if crs is not None else (made, CRS())

    return change


def polynomials(file: rasterio.io.DatasetWriter) -> None:
    ones = [1.0] + [0.0] * 19
    file.rpcs = RPC(0, 1, 48, 1, ones, ones, 10, 10, 14, 1, ones, ones, 10, 10)


def arrays(file: rasterio.io.DatasetWriter) -> None:
    file.update_tags(ns="GEOLOCATION", X_DATASET="lon.tif", Y_DATASET="lat.tif", X_BAND=1, Y_BAND=1)


def crs_alone(file: rasterio.io.DatasetWriter) -> None:
    file.crs = CRS.from_epsg(32633)


CASES = {
    "few points": (points(4), ["gdalwarp", "-dstalpha"]),
    "many points": (points(20), ["gdalwarp", "-tps", "-dstalpha"]),
    "points without CRS": (points(4, None), ["gdalwarp", "-s_srs", "EPSG:...", "-dstalpha"]),
    "polynomials": (polynomials, ["gdalwarp", "-rpc", "-dstalpha"]),
    "arrays": (arrays, ["gdalwarp", "-geoloc", "-dstalpha"]),
    "a CRS alone": (crs_alone, ["gdal_edit.py", "-a_ullr"]),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_command_that_places_it_is_told(case: str, tmp_path: Path) -> None:
    change, words = CASES[case]
    path = changed(bare(tmp_path / "a scene.tif"), change)
    with pytest.raises(RasterError, match="gdal") as caught:
        Raster.open(path)
    command = str(caught.value)[str(caught.value).index(words[0]) :].partition(";")[0].rstrip(".")
    given = shlex.split(command)
    assert given[: len(words)] == words
    assert str(path) in given
    # The way out without a place is the one that the message names.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            assert Raster.open(file.read().transpose(1, 2, 0)).geobox.crs is None


def test_what_the_command_makes_is_placed(tmp_path: Path) -> None:
    """GDAL's warper stands for gdalwarp, which not every machine has."""
    from rasterio.shutil import copy
    from rasterio.vrt import WarpedVRT

    path = changed(bare(tmp_path / "a.tif"), points(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file, WarpedVRT(file, src_crs=file.gcps[1], add_alpha=True) as warped:
            copy(warped, tmp_path / "warped.tif", driver="GTiff")
    raster = Raster.open(tmp_path / "warped.tif")
    assert raster.geobox.crs == "EPSG:32633"
    assert raster.geobox.affine @ (0, 0) == pytest.approx((5e5, 5e6), abs=0.5)


def test_an_affine_beside_points_and_polynomials_holds(tmp_path: Path) -> None:
    path = changed(write_raster(tmp_path / "a.tif", coordinate_pixels((20, 30))), polynomials)
    assert Raster.open(path).geobox.crs == "EPSG:32633"


def test_every_way_in_refuses_it(tmp_path: Path) -> None:
    path = changed(bare(tmp_path / "gcp.tif"), points(4))
    other = write_raster(tmp_path / "other.tif", coordinate_pixels((20, 30)))
    (tmp_path / "list.txt").write_text("gcp.tif\nother.tif\n")
    asset = {"href": "gcp.tif", "roles": ["data"], "type": "image/tiff; application=geotiff"}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "i", "properties": {}, "links": [], "assets": {"data": asset}}
    (tmp_path / "item.json").write_text(json.dumps(item | {"geometry": None}))
    ways: list[Callable[[], object]] = [
        lambda: Raster.open([path, other]),
        lambda: Raster.open([other, path]),
        lambda: Raster.open(tmp_path / "list.txt"),
        lambda: Raster.open(tmp_path / "item.json"),
        lambda: samgeo.segment(path, progress=False),
        lambda: samgeo.Predictor(path),
        lambda: samgeo.encode(path, tmp_path / "a.zarr", progress=False),
        lambda: samgeo.show(path),
        lambda: samgeo.Map(path),
    ]
    for way in ways:
        with pytest.raises(RasterError, match="gdalwarp"):
            way()
    for command in (["segment", path, tmp_path / "a.gpkg"], ["show", path, "-o", tmp_path / "a.png"]):
        result = CliRunner().invoke(main, list(map(str, command)))
        assert result.exit_code == 1
        assert "gdalwarp" in result.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["gcp.tif", "item.json", "list.txt", "other.tif"]

"""What draws the raster: localtileserver only where it is installed and can show what the model sees."""

import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

import samgeo
from samgeo.errors import OptionError
from samgeo.map.view import tiles
from samgeo.map.view.map_coordinates import RADIUS_M, MapPlacement
from samgeo.map.view.viewport import View, draw
from samgeo.map.widget import Map
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import TRANSFORMS, write_raster

SIDE = 96
TILE = 256


@pytest.fixture
def pixels() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([2 * x, 2 * y, x + y], axis=-1).astype(np.uint8)


def write(path, values, **options):
    return write_raster(path, values, **{"crs": "EPSG:32633", "transform": TRANSFORMS["north-up"], **options})


class Server(types.ModuleType):
    """Stands for the library, and keeps what it is asked for."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__("localtileserver")
        self.asked: list[tuple[str, dict]] = []
        self._fails = fails

    def get_leaflet_tile_layer(self, path, **options):
        import ipyleaflet

        if self._fails is not None:
            raise self._fails
        self.asked.append((path, options))
        return ipyleaflet.TileLayer(url="http://127.0.0.1:9/{z}/{x}/{y}.png")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setitem(sys.modules, "localtileserver", made)
    return made


def test_the_kernel_draws_unless_another_is_asked_for(tmp_path, pixels, server: Server) -> None:
    m = Map(write(tmp_path / "a.tif", pixels), Oracle(64))
    assert m.wait(60)
    assert len(m.drawing.pictures.shown) == 1
    assert server.asked == []
    m.close()


def test_the_server_draws_instead_of_the_kernel_and_clicks_go_on(tmp_path, pixels, server: Server) -> None:
    image = write(tmp_path / "a.tif", pixels)
    m = Map(image, Oracle(64), tiles="localtileserver")
    m.leaflet.set_state({"south": 50.0, "west": 14.0, "north": 60.0, "east": 16.0})
    m.leaflet.set_state({"left": 0.0, "top": 0.0, "right": 80.0, "bottom": 60.0})
    assert m.wait(60)
    assert m.drawing.pictures.shown == ()
    ((path, options),) = server.asked
    assert path == str(image)
    assert options["indexes"] == [1, 2, 3]
    assert "vmin" not in options, "uint8 is shown as it is"
    assert m.leaflet.layers[0].url.startswith("http://127.0.0.1:9/")
    m.session.add_point(10, 10, crs="pixels")
    assert m.session.state.prompt
    m.close()


def test_the_tiles_have_the_bands_stretch_and_nodata_of_the_raster(tmp_path, pixels, server: Server) -> None:
    values = (pixels.astype(np.int16) * 10)[..., [0, 1, 2, 0]]
    image = write(tmp_path / "a.tif", values, nodata=-9)
    tiles.tile_layer(samgeo.Raster.open(image, bands=(4, 2, 1), stretch=((0, 100), (1, 200), (2, 300))))
    tiles.tile_layer(samgeo.Raster.open(image, bands=(2,), stretch=(5, 5.5), check=False))  # It is all white.
    tiles.tile_layer(samgeo.Raster.open(image, bands=(2,), stretch=(5, 6), nodata=7, check=False))
    several, one, other = (options for _, options in server.asked)
    assert (several["indexes"], several["vmin"], several["vmax"]) == ([4, 2, 1], [0, 1, 2], [100, 200, 300])
    assert (one["indexes"], one["vmin"], one["vmax"]) == ([2], 5, 5.5)
    assert (several["nodata"], other["nodata"]) == (-9, 7)


def test_what_the_server_cannot_show_is_refused_before_the_model_is_loaded(tmp_path, pixels, server: Server) -> None:
    image = write(tmp_path / "a.tif", pixels, nodata=0)
    polar = write(tmp_path / "pole.tif", pixels, crs="EPSG:3413", transform=(50.0, 0.0, -3000.0, 0.0, -50.0, 2000.0))
    for raster, options, message in (
        (pixels, {}, "serves single files"),
        (polar, {}, "Web Mercator"),
        (image, {"nodata": "none"}, "nodata"),
    ):
        with pytest.raises(OptionError, match=f"(?s)localtileserver cannot show.*{message}.*kernel"):
            Map(raster, "no such model", tiles="localtileserver", **options)
    assert server.asked == []


def test_another_name_is_refused(tmp_path, pixels) -> None:
    with pytest.raises(OptionError, match="tiles is 'titiler'; give 'kernel' or 'localtileserver'"):
        Map(write(tmp_path / "a.tif", pixels), "no such model", tiles="titiler")


def test_without_the_library_it_says_what_to_install(tmp_path, pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "localtileserver", None)
    with pytest.raises(OptionError, match=r"needs localtileserver.*pip install 'samgeo\[tiles\]'"):
        Map(write(tmp_path / "a.tif", pixels), "no such model", tiles="localtileserver")


def test_a_server_that_does_not_start_is_said(tmp_path, pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "localtileserver", Server(OSError("no port is free")))
    with pytest.raises(OptionError, match=r"does not serve .*OSError: no port is free"):
        Map(write(tmp_path / "a.tif", pixels), Oracle(64), tiles="localtileserver")


@pytest.mark.filterwarnings("ignore")  # those of its own libraries
@pytest.mark.parametrize("kind", ["uint8", "stretched"])
def test_its_tiles_show_what_the_kernel_shows(tmp_path, pixels, kind: str) -> None:
    pytest.importorskip("localtileserver", reason="localtileserver is not installed: pip install 'samgeo[tiles]'")
    import requests

    values = pixels if kind == "uint8" else pixels.astype(np.uint16) * 40 + 100
    # A pixel is two of a tile's a side.
    affine = (1.2, 0.0, 1_500_000.0, 0.0, -1.2, 6_800_000.0)
    raster = samgeo.Raster.open(write(tmp_path / "a.tif", values, crs="EPSG:3857", transform=affine))
    layer = tiles.tile_layer(raster)
    zoom, place = 18, MapPlacement.of(raster.geobox)
    half, across = np.pi * RADIUS_M, 2 * np.pi * RADIUS_M / 2**zoom
    x, y = int((half + 1_500_060) // across), int((half - 6_799_940) // across)
    west, north = x * across - half, half - y * across
    corners = place.from_plane(np.array([[west, north - across], [west + across, north]]))
    picture = draw(raster, place, View(*corners.ravel().tolist(), TILE, TILE))
    url = layer.tile_server.create_url("").split("?")[0].rstrip("/") + layer.url[layer.url.index("/api/") :]
    served = np.asarray(Image.open(io.BytesIO(requests.get(url.format(z=zoom, x=x, y=y), timeout=60).content)).convert("RGBA"))
    corner = place.to_plane(np.array([[picture.north, picture.west]]))[0]
    column, row = np.rint((corner - (west, north)) * (1, -1) / across * TILE).astype(int).tolist()
    ours = np.asarray(picture.image)
    theirs = served[row : row + ours.shape[0], column : column + ours.shape[1]]
    both = (ours[..., 3] == 255) & (theirs[..., 3] == 255)
    assert both.sum() > 5000
    off = np.abs(ours[..., :3].astype(int) - theirs[..., :3])[both]
    assert np.percentile(off, 95) <= 12

"""A raster on the screen: every pixel of a picture where it belongs, and little read however large the raster."""

import base64
import io
from dataclasses import dataclass, field

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import Band
from samgeo.geo.raster.raster import Raster
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.screen import fit, view_of_raster
from samgeo.map.view.viewport import View, draw, encode
from samgeo.testing.rasters import TRANSFORMS, coordinate_pixels, pixel_coordinates, write_raster

SHAPE = (90, 120)
DEGREES = (1e-5, 0.0, 13.0, 0.0, -0.7e-5, 52.0)
# A CRS and a transform for each kind of raster that people have.
GRIDS = {
    **{name: ("EPSG:32633", transform) for name, transform in TRANSFORMS.items() if name != "none"},
    "degrees": ("EPSG:4326", DEGREES),
    "mercator": ("EPSG:3857", (0.5, 0.0, 1_500_000.0, 0.0, -0.5, 6_800_000.0)),
    "south": ("EPSG:32733", (0.5, 0.0, 500_000.0, 0.0, -0.5, 6_200_000.0)),
    "pole": ("EPSG:3413", (50.0, 0.0, -3000.0, 0.0, -50.0, 2000.0)),
    "date line": ("EPSG:32601", (0.5, 0.0, 165_990.0, 0.0, -0.5, 1000.0)),
    "past the date line": ("EPSG:4326", (0.01, 0.0, 179.5, 0.0, -0.01, -17.0)),
    "no CRS": (None, TRANSFORMS["none"]),
}


@pytest.fixture(params=GRIDS)
def raster(request: pytest.FixtureRequest, tmp_path) -> Raster:
    crs, transform = GRIDS[request.param]
    return Raster.open(write_raster(tmp_path / "where.tif", coordinate_pixels(SHAPE), crs=crs, transform=transform))


def view_of(place: MapPlacement, rect: Rect, width: int) -> View:
    """A view with square pixels around a part of the raster."""
    corners = np.array([(x, y) for x in (rect.x0, rect.x1) for y in (rect.y0, rect.y1)], dtype=float)
    plane = place.to_plane(place.from_pixels(corners))
    low, high = plane.min(axis=0), plane.max(axis=0)
    unit = (high[0] - low[0]) / width
    height = int(np.ceil((high[1] - low[1]) / unit))
    low[1] = high[1] - height * unit
    (south, west), (north, east) = place.from_plane(np.array([low, high])).tolist()
    return View(south, west, north, east, width, height)


def centres_px(place: MapPlacement, picture) -> np.ndarray:
    """The raster pixels under the centres of a picture's pixels."""
    corners = place.to_plane(np.array(picture.bounds))
    width, height = picture.image.size
    x = corners[0, 0] + (np.arange(width) + 0.5) / width * (corners[1, 0] - corners[0, 0])
    y = corners[1, 1] - (np.arange(height) + 0.5) / height * (corners[1, 1] - corners[0, 1])
    return place.to_pixels(place.from_plane(np.stack(np.meshgrid(x, y), axis=-1)))


def test_every_pixel_on_the_screen_is_that_of_the_raster_under_it(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    picture = draw(raster, place, view_of(place, Rect(0, 0, SHAPE[1], SHAPE[0]), 701))
    assert picture is not None
    rgba = np.asarray(picture.image)
    xy = centres_px(place, picture)
    shown = rgba[..., 3] == 255
    inside = (xy > 0.05).all(axis=-1) & (xy < np.array(SHAPE[::-1]) - 0.05).all(axis=-1)
    assert shown[inside].all()
    assert not shown[(xy < -0.05).any(axis=-1) | (xy > np.array(SHAPE[::-1]) + 0.05).any(axis=-1)].any()
    column, row = pixel_coordinates(rgba[..., :3])
    off = np.abs(np.stack([column, row], axis=-1) + 0.5 - xy)[inside & shown]
    assert off.max() < 0.5 + 0.05


def test_a_part_is_drawn_where_it_is_in_the_whole(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    picture = draw(raster, place, view_of(place, Rect(40, 30, 60, 50), 400))
    assert picture is not None
    rgba = np.asarray(picture.image)
    shown = rgba[..., 3] == 255
    off = np.abs(np.stack(pixel_coordinates(rgba[..., :3]), axis=-1) + 0.5 - centres_px(place, picture))[shown]
    assert off.max() < 0.5 + 0.05
    assert np.abs(centres_px(place, picture)[200, 200] - (50, 40)).max() < 6


@pytest.mark.parametrize("name", ["north-up", "rotated", "non-square", "degrees", "no CRS"])
def test_spots_stay_in_place_when_the_view_is_coarser_than_the_raster(name: str, tmp_path) -> None:
    crs, transform = GRIDS[name]
    values = np.zeros((1200, 1500, 3), dtype=np.uint8)
    spots = [(200, 150), (1300, 90), (700, 600), (90, 1100), (1400, 1120)]
    for x, y in spots:
        values[y - 12 : y + 12, x - 12 : x + 12] = 255
    raster = Raster.open(write_raster(tmp_path / "spots.tif", values, crs=crs, transform=transform, overviews=(2, 4)))
    place = MapPlacement.of(raster.geobox)
    picture = draw(raster, place, view_of(place, Rect(0, 0, 1500, 1200), 400))
    assert picture is not None
    grey = np.asarray(picture.image)[..., 0].astype(float)
    xy = centres_px(place, picture)
    for spot in spots:
        near = np.hypot(*np.moveaxis(xy - spot, -1, 0)) < 40
        weight = grey * near
        assert weight.sum() > 0
        found = (xy * weight[..., None]).sum(axis=(0, 1)) / weight.sum()
        # A screen pixel is about four of the raster.
        assert np.abs(found - spot).max() < 4


def test_a_picture_is_cut_to_the_raster_on_whole_screen_pixels(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    inner = view_of(place, Rect(0, 0, SHAPE[1], SHAPE[0]), 200)
    low, high = place.to_plane(np.array([[inner.south, inner.west], [inner.north, inner.east]]))
    unit = (high - low) / (inner.width, inner.height)
    wide = place.from_plane(np.array([low - 150 * unit, high + 100 * unit]))
    view = View(*wide[0].tolist(), *wide[1].tolist(), inner.width + 250, inner.height + 250)
    picture = draw(raster, place, view)
    assert picture is not None
    assert picture.image.size[0] <= inner.width + 2
    assert picture.image.size[1] <= inner.height + 2
    start = place.to_plane(np.array(picture.bounds))[0]
    steps = (start - (low - 150 * unit)) / unit
    assert np.abs(steps - np.rint(steps)).max() < 1e-3


@pytest.mark.parametrize("ratio", [1.5, 2, 3])
def test_on_a_fine_screen_a_picture_has_its_pixels_and_lies_on_those_of_the_page(raster: Raster, ratio: float) -> None:
    place = MapPlacement.of(raster.geobox)
    inner = view_of(place, Rect(0, 0, SHAPE[1], SHAPE[0]), 400)
    low, high = place.to_plane(np.array([[inner.south, inner.west], [inner.north, inner.east]]))
    unit = (high - low) / (inner.width, inner.height)
    start = low - 150.3 * unit
    wide = place.from_plane(np.array([start, start + (650, inner.height + 250) * unit]))
    view = View(*wide[0].tolist(), *wide[1].tolist(), 650, inner.height + 250)
    coarse, fine = draw(raster, place, view), draw(raster, place, view.on_screen(ratio))
    assert coarse is not None
    assert fine is not None
    assert np.array(fine.image.size) == pytest.approx(np.array(coarse.image.size) * ratio, abs=1)
    steps, coarse_steps = ((place.to_plane(np.array(one.bounds)) - start) / unit for one in (fine, coarse))
    # Where not every edge of a pixel of the page is one of the screen, the nearest is.
    off = 1e-3 if ratio % 1 == 0 else 1 / ratio
    assert np.abs(steps - coarse_steps).max() < off
    assert np.abs(steps - np.rint(steps)).max() < off
    xy = centres_px(place, fine)
    rgba = np.asarray(fine.image)
    shown = (rgba[..., 3] == 255) & (xy > 0.05).all(axis=-1) & (xy < np.array(SHAPE[::-1]) - 0.05).all(axis=-1)
    off = np.abs(np.stack(pixel_coordinates(rgba[..., :3]), axis=-1) + 0.5 - xy)[shown]
    assert off.max() < 0.5 + 0.05


def test_no_screen_is_so_fine_that_its_picture_is_huge() -> None:
    sides = {(800, 600): 2, (4000, 100): 2, (3000, 2000): 4, (4096, 4096): 8, (500, 400): 100}
    for (width, height), ratio in sides.items():
        view = View(0, 0, 1, 1, width, height)
        fine = view.on_screen(ratio)
        assert max(fine.width, fine.height) <= 4096
        assert fine.width * fine.height <= max(2**23 + 4096, width * height)
        assert fine.width / fine.height == pytest.approx(width / height, rel=0.01)
        assert (fine.south, fine.west, fine.north, fine.east) == (0, 0, 1, 1)
    assert View(0, 0, 1, 1, 800, 600).on_screen(2) == View(0, 0, 1, 1, 1600, 1200, 2)


def test_a_view_beside_the_raster_is_no_picture(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    south, west, north, east = place.bounds
    step = east - west
    if place.px_per_degree is None:
        assert draw(raster, place, View(south, east + step, north, east + 2 * step, 100, 100)) is None
    assert draw(raster, place, View(south - 2 * (north - south), west, south - (north - south), east, 100, 100)) is None


def test_pixels_without_data_are_transparent_and_the_url_keeps_them_so(tmp_path) -> None:
    values = np.full((60, 80, 3), 200, dtype=np.uint8)
    values[10:30, 20:50] = 0
    raster = Raster.open(write_raster(tmp_path / "hole.tif", values, crs="EPSG:3857", nodata=0))
    place = MapPlacement.of(raster.geobox)
    picture = draw(raster, place, view_of_raster(place))
    assert picture is not None
    alpha = np.asarray(picture.image.resize((80, 60), Image.Resampling.NEAREST))[..., 3]
    assert (alpha[12:28, 22:48] == 0).all()
    assert (alpha[:8] == 255).all()
    url = encode(picture.image)
    again = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert url.startswith("data:image/webp;base64,")
    assert np.array_equal(np.asarray(again)[..., 3], np.asarray(picture.image)[..., 3])


def test_an_opaque_picture_is_sent_as_jpeg_and_looks_the_same() -> None:
    y, x = np.mgrid[:120, :160]
    image = Image.fromarray(np.dstack([x, y, x // 2 + y // 2, np.full_like(x, 255)]).astype(np.uint8))
    url = encode(image)
    again = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert url.startswith("data:image/jpeg;base64,")
    assert np.abs(np.asarray(again).astype(int) - np.asarray(image)[..., :3]).mean() < 3


# However large the raster


@dataclass
class Endless:
    """A source of any size that counts what is read."""

    geobox: GeoBox
    decimation: float
    name: str = "endless.tif"
    bands: tuple = (Band("uint8"),)
    palette: None = None
    reads: list = field(default_factory=list)

    def read(self, numbers, rect, out_shape=None):
        shape = rect.shape if out_shape is None else out_shape
        self.reads.append((rect, shape))
        x = rect.x0 + (np.arange(shape[1]) + 0.5) * rect.width / shape[1]
        return np.broadcast_to((x // 64 % 256).astype(np.uint8), (len(numbers), *shape)), np.ones(shape, dtype=bool)


def endless(decimation: float) -> tuple[Endless, Raster]:
    source = Endless(GeoBox((100_000, 100_000), Affine(0.1, 0, 500_000, 0, -0.1, 5_400_000), "EPSG:32633"), decimation)
    return source, Raster(source, (1, 1, 1), (None,) * 3, None)


@pytest.mark.parametrize("side", [100_000, 30_000, 4_000, 300, 20])
def test_a_screen_reads_a_screenful_of_a_huge_raster(side: int) -> None:
    source, raster = endless(256)
    place = MapPlacement.of(raster.geobox)
    start = 50_000 - side // 2
    view = view_of(place, Rect(start, start, start + side, start + side), 1000)
    assert draw(raster, place, view) is not None
    ((rect, shape),) = source.reads
    assert shape[0] * shape[1] < 1.5 * view.width * view.height
    assert rect.width < 1.2 * side + 10


def test_without_overviews_a_huge_raster_is_refused_from_afar_and_drawn_from_near() -> None:
    source, raster = endless(1)
    place = MapPlacement.of(raster.geobox)
    with pytest.raises(RasterError, match=r"endless\.tif has no overviews.*gdaladdo"):
        draw(raster, place, view_of_raster(place))
    assert source.reads == []
    assert draw(raster, place, view_of(place, Rect(500, 500, 3000, 3000), 800)) is not None


def test_what_is_coarse_comes_from_overviews(tmp_path) -> None:
    board = np.repeat((np.indices((512, 512)).sum(axis=0) % 2 * 254).astype(np.uint8)[..., None], 3, axis=2)
    path = write_raster(tmp_path / "board.tif", board, crs="EPSG:3857", tiled=True, blockxsize=128, blockysize=128)
    import rasterio
    from rasterio.enums import Resampling

    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    raster = Raster.open(path)
    # Pixels of the file are 0 or 254; only in the overviews they are 127.
    assert set(np.unique(raster.view((64, 64), Rect(128, 128, 384, 384))[0])) == {127}
    assert set(np.unique(raster.view((256, 256), Rect(128, 128, 384, 384))[0])) == {0, 254}


def test_a_sparse_file_of_ten_gigapixels_is_drawn_from_near(tmp_path) -> None:
    import rasterio
    from rasterio.windows import Window

    path = tmp_path / "sparse.tif"
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 100_000, "height": 100_000, "crs": "EPSG:32633"}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True, "bigtiff": "yes", "nodata": 0}
    with rasterio.open(path, "w", **profile, **tiles, transform=Affine(0.1, 0, 500_000, 0, -0.1, 5_400_000)) as file:
        file.write(np.moveaxis(coordinate_pixels((512, 512)), 2, 0) | 1, window=Window(51_200, 51_200, 512, 512))
    raster = Raster.open(path)
    place = MapPlacement.of(raster.geobox)
    picture = draw(raster, place, view_of(place, Rect(51_300, 51_300, 51_400, 51_400), 500))
    assert picture is not None
    assert path.stat().st_size < 10_000_000
    red = np.asarray(picture.image)[..., 0].astype(int)
    shown = np.asarray(picture.image)[..., 3] == 255
    assert np.abs(red - (np.floor(centres_px(place, picture)[..., 0] - 51_200).astype(int) | 1))[shown].max() <= 2


@pytest.mark.parametrize("rect", [Rect(0, 0, 0, 5), Rect(-1, 0, 5, 5), Rect(100, 80, 121, 90)])
def test_a_part_that_is_not_of_the_raster_is_refused(rect: Rect) -> None:
    with pytest.raises(OptionError, match="give pixels within it"):
        Raster.open(coordinate_pixels(SHAPE)).view(10, rect)


def test_a_view_of_nothing_is_refused() -> None:
    for view in ((1, 0, 0, 1, 10, 10), (0, 0, 1, 1, 0, 10), (0, 0, 1, 1, 10, 5000), (0, float("nan"), 1, 1, 5, 5)):
        with pytest.raises(OptionError, match="give"):
            View(*view)


# Places


def test_what_the_globe_cannot_show_lies_in_its_own_pixels() -> None:
    for name, (crs, transform) in GRIDS.items():
        place = MapPlacement.of(GeoBox(SHAPE, Affine(*transform), crs))
        assert (place.px_per_degree is None) == (name not in {"pole", "date line", "no CRS"})
        assert place.crs == ("EPSG:4326" if place.px_per_degree is None else "pixels")


def test_places_go_to_pixels_and_back(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    xy = np.array([[0.5, 0.5], [119.25, 3.75], [60.0, 89.5]])
    assert place.to_pixels(place.from_pixels(xy)) == pytest.approx(xy, abs=1 / 256)
    latlng = place.from_pixels(xy)
    assert place.from_plane(place.to_plane(latlng)) == pytest.approx(latlng, abs=1e-9)


def test_a_polygon_goes_to_the_map_with_the_precision_of_its_pixels(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    corners = np.array([[10.0, 10.0], [40.0, 12.0], [33.0, 50.0]])
    affine = raster.geobox.affine
    polygon = shapely.Polygon([affine * tuple(corner) for corner in corners])
    (ring,) = place.to_geojson(polygon)["coordinates"]
    latlng = np.array(ring)[:3, ::-1]
    assert place.to_pixels(latlng) == pytest.approx(corners, abs=0.1)
    south, west, north, east = place.bounds_of(polygon)
    assert (south, west) == pytest.approx(latlng.min(axis=0).tolist())
    assert (north, east) == pytest.approx(latlng.max(axis=0).tolist())


def test_the_whole_raster_fits_the_screen(raster: Raster) -> None:
    place = MapPlacement.of(raster.geobox)
    _, zoom = fit(place, 800, 600)
    south, west, north, east = place.bounds
    low, high = place.to_plane(np.array([[south, west], [north, east]]))
    per_unit = 2**zoom * (1 if place.px_per_degree else 256 / (2 * np.pi * 6_378_137))
    across, up = ((high - low) * per_unit).tolist()
    assert across <= 800
    assert up <= 600
    assert across > 800 / 2**0.26 or up > 600 / 2**0.26

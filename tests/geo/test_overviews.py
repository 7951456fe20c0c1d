"""Coarse pixels from overviews: what they would be without, at the same places, valid where they would be."""

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from scipy import ndimage

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.coarse import best_overview
from samgeo.geo.raster.overviews import Overview, Squares, is_mean_of_pixels
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.testing.rasters import write_raster

TILES = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def smooth(shape: tuple[int, int], seed: int = 0, sigma: float = 6.0) -> np.ndarray:
    """A picture in which a shift shows, of every grey."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((*shape, 3)), (sigma, sigma, 0))
    low, high = noise.min(), noise.max()
    return ((noise - low) / (high - low) * 255).astype(np.uint8)


def covering(shape: tuple[int, int], factor: int) -> Rect:
    height, width = (-(-length // factor) * factor for length in shape)
    return Rect(-factor, -factor, width + factor, height + factor)


def without_pixels(raster: Raster, rect: Rect, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Read coarse pixels from overviews alone."""

    def refuse(*_: object) -> None:
        raise AssertionError("pixels were read")

    raster.read_coarse(rect, factor)  # The overviews are compared with the pixels once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileSource, "read", refuse)
        return raster.read_coarse(rect, factor)


GAPS = ("none", "nodata", "mask inside", "mask beside", "alpha", "nan")


def write(path: Path, pixels: np.ndarray, valid: np.ndarray, gaps: str, *, beside: bool, **options) -> Path:
    """Write a raster whose gaps are said in one of the ways that there are, its overviews inside or in a file of their own."""
    overviews, method = options.pop("overviews"), options.pop("method")
    if gaps == "nodata":
        write_raster(path, np.where(valid[..., None], np.maximum(pixels, 1), 0), nodata=0, **options)
    elif gaps == "alpha":
        layers = np.dstack([pixels, np.where(valid, 255, 0)]).astype(np.uint8)
        write_raster(path, layers, colors=["red", "green", "blue", "alpha"], **options)
    elif gaps == "nan":
        write_raster(path, np.where(valid[..., None], pixels, np.nan).astype(np.float32), **options)
    elif gaps == "none":
        write_raster(path, pixels, **options)
    else:
        write_raster(path, pixels, mask=valid, mask_inside=gaps == "mask inside", **options)
    if overviews:
        with rasterio.Env(TIFF_USE_OVR=beside), rasterio.open(path, "r+") as file:
            file.build_overviews(list(overviews), Resampling[method])
    return path


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(17, 150), st.integers(17, 150)),
    whole=st.booleans(),
    factor=st.sampled_from([2, 3, 4, 6, 8, 16]),
    overviews=st.sampled_from([(2,), (2, 4), (4,), (3,), (2, 4, 8, 16), (8,)]),
    method=st.sampled_from(["average", "nearest", "cubic", "mode"]),
    beside=st.booleans(),
    gaps=st.sampled_from(GAPS),
)
def test_a_coarse_pixel_is_what_it_is_without_overviews(
    seed, shape, whole, factor, overviews, method, beside, gaps, tmp_path_factory
) -> None:
    if whole:  # Where overviews can be used.
        shape = tuple(-(-length // 16) * 16 for length in shape)
    rng = np.random.default_rng(seed)
    pixels = smooth(shape, seed)
    valid = np.ones(shape, dtype=bool)
    if gaps != "none":
        valid = ndimage.gaussian_filter(rng.standard_normal(shape), 3) < 0.05
        valid &= rng.random(shape) < 0.8
    folder = tmp_path_factory.mktemp("overviews")
    options = {"beside": beside, "gaps": gaps, "method": method} | TILES
    kind = {"stretch": (0, 255)} if gaps == "nan" else {}
    plain = Raster.open(write(folder / "plain.tif", pixels, valid, overviews=(), **options), **kind)
    raster = Raster.open(write(folder / "overviews.tif", pixels, valid, overviews=overviews, **options), **kind)
    rect = covering(shape, factor)
    wanted, enough = plain.read_coarse(rect, factor)
    found, found_valid = raster.read_coarse(rect, factor)
    assert np.array_equal(found_valid, enough)
    assert np.abs(found.astype(int) - wanted).max(initial=0) <= (2 if method != "cubic" else 24)
    left, top = (int(rng.integers(0, length // factor + 1)) for length in rect.shape[::-1])
    part = Rect(rect.x0 + left * factor, rect.y0 + top * factor, rect.x1, rect.y1)
    again, again_valid = raster.read_coarse(part, factor)
    assert np.array_equal(again, found[top:, left:])
    assert np.array_equal(again_valid, found_valid[top:, left:])


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(("factor", "used"), [(2, 2), (4, 4), (6, 2), (8, 8), (12, 4), (16, 8), (3, 1), (5, 1)])
def test_the_coarsest_overview_whose_pixels_make_up_squares_is_read(
    factor: int, used: int, beside: bool, tmp_path: Path
) -> None:
    pixels = smooth((480, 960))
    options = {"beside": beside, "gaps": "none", "method": "average"} | TILES
    raster = Raster.open(write(tmp_path / "a.tif", pixels, np.ones((480, 960), bool), overviews=(2, 4, 8), **options))
    assert best_overview(raster.source, factor) == used
    if used > 1:
        rect = covering((480, 960), factor)
        found, valid = without_pixels(raster, rect, factor)
        wanted, enough = Raster.open(pixels).read_coarse(rect, factor)
        assert np.array_equal(valid, enough)
        assert np.abs(found.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("size", [(480, 961), (481, 960), (479, 957)])
def test_overviews_whose_pixels_lie_across_the_edges_of_squares_are_not_read(size: tuple[int, int], tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", smooth(size), overviews=(2, 4, 8), overview_method="average", **TILES)
    assert best_overview(Raster.open(path).source, 8) == 1


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("method", ["nearest", "mode"])
def test_overviews_of_single_pixels_are_not_read_whether_or_not_they_say_so(method, says_so, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", smooth((512, 512)), overviews=(4, 8), overview_method=method, **TILES)
    if not says_so:
        for level in (0, 1):
            with rasterio.open(path, "r+", overview_level=level) as file:
                for band in (1, 2, 3):
                    file.update_tags(band, RESAMPLING="")
    assert best_overview(Raster.open(path).source, 8) == 1


def test_overviews_that_are_older_than_the_pixels_are_not_read(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", smooth((512, 512)), overviews=(4, 8), overview_method="average", **TILES)
    assert best_overview(Raster.open(path).source, 8) == 8
    with rasterio.open(path, "r+") as file:
        file.write(np.moveaxis(smooth((512, 512), seed=5), 2, 0))
    assert best_overview(Raster.open(path).source, 8) == 1


def test_lossy_overviews_of_a_photograph_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    grey = smooth((512, 512))[..., :1].astype(int) + rng.integers(-12, 13, (512, 512, 1))
    pixels = np.clip(grey * (1.0, 0.9, 0.8), 0, 255).astype(np.uint8)
    options = {"compress": "JPEG", "photometric": "YCBCR", "jpeg_quality": 85} | TILES
    path = write_raster(tmp_path / "a.tif", pixels, overviews=(2, 4), overview_method="average", **options)
    assert best_overview(Raster.open(path).source, 4) == 4


def test_an_overview_is_believed_where_it_lies_and_not_beside() -> None:
    """Moved by a part of its own pixel, it is not what it stands for."""
    shape, factor = (400, 600), 4
    x = np.arange(shape[1] + 8)
    wave = np.tile(128 + 90 * np.sin(x / 9.0), (shape[0], 1))[None]

    def moved(by: int, rect: Rect) -> np.ndarray:
        means = wave[:, :, by : by + shape[1]].reshape(1, 100, factor, 150, factor).mean(axis=(2, 4))
        return np.floor(means + 0.5)[:, rect.y0 : rect.y1, rect.x0 : rect.x1]

    overview = Overview(0, (100, 150))
    for by in (0, 1, 2):
        believed = is_mean_of_pixels(
            overview, shape, lambda rect, by=by: moved(by, rect), lambda rect: wave[:, rect.y0 : rect.y1, rect.x0 : rect.x1]
        )
        assert believed == (by == 0)
    assert not is_mean_of_pixels(overview, shape, lambda rect: moved(0, rect), lambda _: None)


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 400), overview=st.integers(1, 400), seed=st.integers(0, 99))
def test_means_of_cells_add_up_to_the_mean_of_the_pixels(length: int, overview: int, seed: int) -> None:
    """The pixels of an overview as cells over those of the raster: together they are all of it."""
    values = np.random.default_rng(seed).integers(0, 255, (1, 2, length)).astype(float)
    cells = Squares(0, length, overview, length)
    means = cells.means(values, overview, 2)
    assert np.allclose(means.mean(axis=2), values.mean(axis=2))
    assert np.allclose(cells.weights(overview)[1].sum(axis=1), 1)


def mosaic_of(folder: Path, pixels: np.ndarray, cuts: list[int], **options) -> list[Path]:
    left, top = 500_000.0, 5_400_000.0
    edges = [0, *cuts, pixels.shape[1]]
    return [
        write_raster(folder / f"{x0}.tif", pixels[:, x0:x1], transform=(0.5, 0, left + x0 / 2, 0, -0.5, top), **options)
        for x0, x1 in pairwise(edges)
    ]


@pytest.mark.parametrize("cuts", [[256, 512], [250, 514]])
@pytest.mark.parametrize("order", [1, -1])
def test_mosaics_are_the_same_with_and_without_overviews(cuts: list[int], order: int, tmp_path: Path) -> None:
    pixels = smooth((384, 768))
    rect = covering((384, 768), 8)
    wanted, enough = Raster.open(pixels).read_coarse(rect, 8)
    for name, overviews in (("plain", ()), ("with", (2, 4, 8))):
        (tmp_path / name).mkdir()
        options = {"overviews": overviews, "overview_method": "average"} | TILES
        raster = Raster.open(mosaic_of(tmp_path / name, pixels, cuts, **options)[::order])
        found, valid = raster.read_coarse(rect, 8)
        assert np.array_equal(valid, enough)
        assert np.abs(found.astype(int) - wanted).max() <= 2
        if overviews and cuts[0] % 8 == 0:
            assert np.array_equal(without_pixels(raster, Rect(0, 0, 768, 384), 8)[0], found[1:-1, 1:-1])


def test_a_stack_of_bands_is_the_same_with_and_without_overviews(tmp_path: Path) -> None:
    from samgeo.geo.raster.sources.band_stack import StackSource

    pixels = smooth((384, 512))
    rect = covering((384, 512), 4)
    wanted, enough = Raster.open(pixels).read_coarse(rect, 4)
    for overviews in ((), (2, 4)):
        layers = {
            name: FileSource.open(
                write_raster(
                    tmp_path / f"{name}{len(overviews)}.tif", pixels[..., band], overviews=overviews, overview_method="average"
                )
            )
            for band, name in enumerate(("red", "green", "blue"))
        }
        raster = Raster.open(StackSource.of("bands", layers))
        found, valid = raster.read_coarse(rect, 4)
        assert np.array_equal(valid, enough)
        assert np.abs(found.astype(int) - wanted).max() <= 2
        if overviews:
            assert np.array_equal(without_pixels(raster, rect, 4)[0], found)


@pytest.mark.parametrize("kind", ["VRT", "warped VRT"])
@pytest.mark.parametrize("shape", [(384, 512), (383, 509)])
def test_a_vrt_is_the_same_with_and_without_overviews(kind: str, shape: tuple[int, int], tmp_path: Path) -> None:
    pixels = smooth(shape)
    rect, found = covering(shape, 4), []
    for overviews in ((), (2, 4)):
        name = f"{len(overviews)}"
        options = {"overviews": overviews, "overview_method": "average"} | TILES
        path = write_raster(tmp_path / f"{name}.tif", pixels, **options)
        vrt = tmp_path / f"{name}.vrt"
        if kind == "VRT":
            rasterio.shutil.copy(path, vrt, driver="VRT")
        else:
            with rasterio.open(path) as file, rasterio.vrt.WarpedVRT(file, crs="EPSG:32634") as warped:
                rasterio.shutil.copy(warped, vrt, driver="VRT")
        found.append(Raster.open(vrt, check=False).read_coarse(rect, 4))
    assert np.array_equal(found[0][1], found[1][1])
    assert np.abs(found[0][0].astype(int) - found[1][0]).max() <= 2


def test_an_overview_that_cannot_be_read_is_not_needed(tmp_path: Path) -> None:
    pixels = smooth((512, 512))
    path = write_raster(tmp_path / "a.tif", pixels, **TILES)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([4], Resampling.average)
    beside = tmp_path / "a.tif.ovr"
    content = bytearray(beside.read_bytes())
    content[len(content) // 2 :] = b"\0" * (len(content) - len(content) // 2)
    beside.write_bytes(content)
    try:
        raster = Raster.open(path)
    except RasterError:
        return  # GDAL found the file broken at once.
    wanted, _ = Raster.open(pixels).read_coarse(Rect(0, 0, 512, 512), 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(raster.read_coarse(Rect(0, 0, 512, 512), 4)[0], wanted)


@pytest.mark.parametrize("overviews", [(), (2, 4, 8)])
def test_a_decimated_view_is_not_shifted(overviews: tuple[int, ...], tmp_path: Path) -> None:
    """Whatever part of a raster, of whatever size, is seen in however few pixels."""
    y, x = np.indices((501, 1025))
    source = FileSource.open(
        write_raster(
            tmp_path / "a.tif",
            np.stack([x * 16, y * 16], axis=2).astype(np.uint16),
            overviews=overviews,
            overview_method="average",
            **TILES,
        )
    )
    rng = np.random.default_rng(0)
    for _ in range(40):
        left, top, width, height = (int(rng.integers(*span)) for span in ((0, 600), (0, 200), (100, 400), (100, 300)))
        shape = tuple(max(int(length / rng.uniform(1.5, 9)), 1) for length in (height, width))
        values, _ = source.read([1, 2], Rect(left, top, left + width, top + height), shape)
        for band, axis, start, length in ((0, 1, left, width), (1, 0, top, height)):
            step = length / shape[axis]
            places = start + (np.arange(shape[axis]) + 0.5) * step
            off = (values[band].mean(axis=1 - axis) / 16 + 0.5 - places) / step
            assert np.abs(off).max() <= 0.75
            assert abs(off.mean()) <= 0.25

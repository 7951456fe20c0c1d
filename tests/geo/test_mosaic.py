"""Many files on one grid are one raster: to the byte that of one file, and told apart where they do not fit."""

import os
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import samgeo
from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.identity import has_changed, identify
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources import file_source
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.geo.raster.sources.mosaic import MosaicSource
from samgeo.geo.raster.sources.opening import AT_ONCE, open_source
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import TRANSFORMS, coordinate_pixels, pixel_coordinates, transform, write_raster

OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 16, "progress": False}


def cut(folder: Path, values: np.ndarray, rects: list[Rect], affine: Affine, **options) -> list[Path]:
    """Write pieces of a raster as files of their own, as gdal_translate -srcwin does."""
    return [
        write_raster(
            folder / f"{number}.tif",
            values[rect.y0 : rect.y1, rect.x0 : rect.x1],
            transform=affine * Affine.translation(rect.x0, rect.y0),
            **options,
        )
        for number, rect in enumerate(rects)
    ]


def quarters(shape: tuple[int, int], y: int, x: int, overlap: int = 0) -> list[Rect]:
    height, width = shape
    return [Rect(x0, y0, x1, y1) for y0, y1 in ((0, y + overlap), (y, height)) for x0, x1 in ((0, x + overlap), (x, width))]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("order", [1, -1])
def test_pixels_are_where_they_say_on_any_grid(tmp_path: Path, name: str, order: int) -> None:
    values = coordinate_pixels((300, 400))
    if name == "none":
        paths = cut(tmp_path, values, quarters((300, 400), 130, 170), Affine.identity(), crs=None)
        with pytest.raises(RasterError, match="has no georeference"):
            Raster.open(paths)
        return
    one = Raster.open(write_raster(tmp_path / "one.tif", values, transform=TRANSFORMS[name]))
    raster = Raster.open(cut(tmp_path, values, quarters((300, 400), 130, 170, 20), transform(name))[::order])
    assert raster.shape == (300, 400)
    assert raster.geobox == one.geobox
    for rect in (Rect(100, 100, 250, 200), Rect(-20, -30, 40, 20), Rect(390, 290, 410, 310), Rect(160, 120, 200, 160)):
        pixels, valid = raster.read(rect)
        assert np.array_equal(pixels, one.read(rect)[0])
        assert np.array_equal(valid, one.read(rect)[1])
        x, y = pixel_coordinates(pixels[valid])
        assert set(zip(x.tolist(), y.tolist(), strict=True)) == {
            (x, y) for x in range(max(rect.x0, 0), min(rect.x1, 400)) for y in range(max(rect.y0, 0), min(rect.y1, 300))
        }


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_segmenting_four_files_gives_the_bytes_of_one(tmp_path: Path, dtype: str) -> None:
    labels = scattered(20, (320, 330), seed=4, min_size=20, max_size=60)
    labels[:, 140:150] = 99
    values = encode_ids(labels).astype(dtype)
    options = {} if dtype == "uint8" else {"stretch": (0, 255)}
    one = write_raster(tmp_path / "one.tif", values)
    tiles = cut(tmp_path, values, quarters((320, 330), 150, 170, 7), transform())
    expected = samgeo.segment(one, tmp_path / "one.parquet", model=Oracle(128), **OPTIONS, **options)
    found = samgeo.segment(tiles, tmp_path / "many.parquet", model=Oracle(128), **OPTIONS, **options)
    assert len(found) > 10
    assert found.to_wkb().to_csv() == expected.to_wkb().to_csv()
    made = found.attrs["samgeo"]["raster"]
    assert made["files"] == [str(tile) for tile in tiles]
    assert {name: made[name] for name in ("shape", "crs", "transform", "bands", "nodata")} == {
        name: expected.attrs["samgeo"]["raster"][name] for name in ("shape", "crs", "transform", "bands", "nodata")
    }
    if dtype == "uint8":
        elsewhere = samgeo.segment(tiles, model=Oracle(128), scheduler="processes", workers=1, **OPTIONS)
        assert elsewhere.to_wkb().to_csv() == expected.to_wkb().to_csv()


def test_the_stretch_is_that_of_all_files_together(tmp_path: Path) -> None:
    values = (np.arange(300)[:, None, None] * 200 + np.arange(300)[:, None] + np.zeros(3)).astype(np.uint16)
    one = Raster.open(write_raster(tmp_path / "one.tif", values))
    many = Raster.open(cut(tmp_path, values, quarters((300, 300), 140, 99), transform()))
    assert many.stretch == one.stretch
    assert np.array_equal(many.view(300)[0], one.view(300)[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_decimated_view_takes_every_pixel_from_near_its_place(tmp_path: Path, data: st.DataObject) -> None:
    values = coordinate_pixels((90, 120))
    y, x = data.draw(st.integers(1, 89)), data.draw(st.integers(1, 119))
    raster = Raster.open(cut(tmp_path, values, quarters((90, 120), y, x), transform()))
    shape = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 120))
    pixels, valid = raster.view(shape)
    assert valid.all()
    found_x, found_y = pixel_coordinates(pixels)
    step_y, step_x = 90 / shape[0], 120 / shape[1]
    assert np.abs(found_y + 0.5 - ((np.arange(shape[0]) + 0.5) * step_y)[:, None]).max() <= step_y + 1
    assert np.abs(found_x + 0.5 - ((np.arange(shape[1]) + 0.5) * step_x)[None]).max() <= step_x + 1


def test_the_first_file_with_data_is_on_top(tmp_path: Path) -> None:
    top, under = np.full((50, 50, 3), 10, np.uint8), np.full((50, 50, 3), 20, np.uint8)
    top[:20] = 0  # no data
    top[20:30, :, 0] = 0  # a colour
    a = write_raster(tmp_path / "a.tif", top, nodata=0)
    b = write_raster(tmp_path / "b.tif", under)
    pixels, valid = Raster.open([a, b]).read(Rect(0, 0, 50, 50))
    assert valid.all()
    assert (pixels[:20] == 20).all()
    assert (pixels[20:30] == (0, 10, 10)).all()
    assert (pixels[30:] == 10).all()
    assert (Raster.open([b, a]).read(Rect(0, 0, 50, 50))[0] == 20).all()


def test_nodata_that_the_user_names_shows_what_lies_below(tmp_path: Path) -> None:
    collar, under = np.full((50, 50, 3), 10, np.uint8), np.full((50, 50, 3), 20, np.uint8)
    collar[:, :20] = 255
    paths = [write_raster(tmp_path / f"{name}.tif", values) for name, values in (("a", collar), ("b", under))]
    assert (Raster.open(paths).read(Rect(0, 0, 20, 50))[0] == 255).all()
    assert (Raster.open(paths, nodata=255).read(Rect(0, 0, 20, 50))[0] == 20).all()
    assert (Raster.open(Raster.open(paths), nodata=255).read(Rect(0, 0, 20, 50))[0] == 20).all()
    tagged = [
        write_raster(tmp_path / f"{path.stem}n.tif", values, nodata=255)
        for path, values in zip(paths, (collar, under), strict=True)
    ]
    assert (Raster.open(tagged).read(Rect(0, 0, 20, 50))[0] == 20).all()
    assert (Raster.open(tagged, nodata="none").read(Rect(0, 0, 20, 50))[0] == 255).all()


@pytest.mark.parametrize("inside", [True, False])
def test_masks_and_alpha_show_what_lies_below(tmp_path: Path, inside: bool) -> None:
    mask = np.zeros((50, 50), dtype=bool)
    mask[25:] = True
    under = write_raster(tmp_path / "under.tif", np.full((50, 50, 3), 20, np.uint8))
    masked = write_raster(tmp_path / "masked.tif", np.full((50, 50, 3), 10, np.uint8), mask=mask, mask_inside=inside)
    pixels, valid = Raster.open([masked, under]).read(Rect(0, 0, 50, 50))
    assert valid.all()
    assert (pixels[:25] == 20).all()
    assert (pixels[25:] == 10).all()
    colors = ["red", "green", "blue", "alpha"]
    layers = [
        np.dstack([np.full((50, 50, 3), value), alpha]).astype(np.uint8)
        for value, alpha in ((10, mask * 255), (20, np.full((50, 50), 255)))
    ]
    paths = [write_raster(tmp_path / f"alpha{number}.tif", layer, colors=colors) for number, layer in enumerate(layers)]
    assert np.array_equal(Raster.open(paths).read(Rect(0, 0, 50, 50))[0], pixels)


def test_ground_between_the_files_has_no_data(tmp_path: Path) -> None:
    values = coordinate_pixels((300, 400))
    rects = [Rect(0, 0, 100, 100), Rect(300, 200, 400, 300)]
    raster = Raster.open(cut(tmp_path, values, rects, transform()))
    assert raster.shape == (300, 400)
    _, valid = raster.read(Rect(0, 0, 400, 300))
    expected = np.zeros((300, 400), dtype=bool)
    expected[:100, :100] = expected[200:, 300:] = True
    assert np.array_equal(valid, expected)
    values, _ = Raster.open(cut(tmp_path, values, rects, transform(), nodata=7)).source.read([1], Rect(150, 150, 160, 160))
    assert (values == 7).all()


def test_a_list_of_files_with_one_is_that_file(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", coordinate_pixels((30, 40)))
    assert Raster.open([path]).provenance() == Raster.open(path).provenance()


def test_a_text_file_names_files_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = coordinate_pixels((100, 100))
    (tmp_path / "tiles").mkdir()
    paths = cut(tmp_path / "tiles", values, quarters((100, 100), 50, 40), transform())
    (tmp_path / "tiles.txt").write_text(
        "".join(f"{os.path.relpath(path, tmp_path)}\r\n\n" for path in paths[:3]) + str(paths[3])
    )
    monkeypatch.chdir("/")
    assert np.array_equal(Raster.open(tmp_path / "tiles.txt").read(Rect(0, 0, 100, 100))[0], values)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(RasterError, match="empty list of rasters"):
        Raster.open(tmp_path / "empty.txt")
    (tmp_path / "again.txt").write_text("tiles.txt")
    with pytest.raises(RasterError, match=r"tiles\.txt is not a raster"):
        Raster.open(tmp_path / "again.txt")
    (tmp_path / "grid.txt").write_text("ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n")
    assert Raster.open(tmp_path / "grid.txt").shape == (2, 2)


def test_a_missing_file_is_told_before_any_work(tmp_path: Path) -> None:
    paths = cut(tmp_path, coordinate_pixels((100, 100)), quarters((100, 100), 50, 40), transform())
    paths[2].unlink()
    with pytest.raises(RasterError, match=r"2\.tif does not exist"):
        samgeo.segment(paths, tmp_path / "out.parquet", model=Oracle(64), progress=False)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(RasterError, match="the list is empty"):
        Raster.open([])
    with pytest.raises(RasterError, match="from a ndarray; give paths"):
        Raster.open([paths[0], np.zeros((3, 3))])


HALF = TRANSFORMS["north-up"]


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        ((30, 30, 3, "uint8"), {"crs": "EPSG:32634"}, "is in EPSG:32633 and .* in EPSG:32634"),
        ((30, 30, 3, "uint8"), {"crs": None}, "and .* in no CRS"),
        ((30, 30, 4, "uint8"), {}, "has 3 bands and .* 4"),
        ((30, 30, 3, "uint16"), {}, "band 1 is uint8 in .* and uint16"),
        ((30, 30, 3, "uint8"), {"transform": (0.6, *HALF[1:])}, "pixel size of .* is 0.6 x 0.5 and that of .* is 0.5 x 0.5"),
        ((30, 30, 3, "uint8"), {"transform": (0.5, 0.01, *HALF[2:])}, "rotated"),
        (
            (30, 30, 3, "uint8"),
            {"transform": (*HALF[:2], HALF[2] + 10.25, *HALF[3:])},
            "not on the grid of .*0.500 pixels in x",
        ),
        ((30, 30, 3, "uint8"), {"transform": (*HALF[:5], HALF[5] + 10.01)}, "not on the grid .* -0.020 in y"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_the_difference(tmp_path: Path, values, options: dict, words: str) -> None:
    a = write_raster(tmp_path / "a.tif", np.zeros((30, 30, 3), np.uint8))
    *shape, dtype = values
    b = write_raster(tmp_path / "b.tif", np.zeros(shape, dtype), **options)
    with pytest.raises(RasterError, match=words):
        Raster.open([a, b])


def test_a_hundredth_of_a_pixel_is_rounding(tmp_path: Path) -> None:
    values = coordinate_pixels((30, 60))
    paths = cut(tmp_path, values, [Rect(0, 0, 30, 30)], transform())
    off = (0.5 * (1 + 1e-5), 0.0, HALF[2] + 15 + 0.002, 0.0, -0.5, HALF[5] - 0.003)
    paths.append(write_raster(tmp_path / "off.tif", values[:, 30:], transform=off))
    assert np.array_equal(Raster.open(paths).read(Rect(0, 0, 60, 30))[0], values)


def test_bands_in_another_order_are_refused_unless_named_by_number(tmp_path: Path) -> None:
    values = np.zeros((30, 30, 3), np.uint8)
    a = write_raster(tmp_path / "a.tif", values, descriptions=["red", "green", "blue"], photometric="minisblack")
    b = write_raster(tmp_path / "b.tif", values, descriptions=["blue", "green", "red"], photometric="minisblack")
    with pytest.raises(RasterError, match=r"the bands of .*b\.tif are in another order"):
        Raster.open([a, b])
    with pytest.raises(RasterError, match="another order"):
        Raster.open([a, b], bands=["red", "green", "blue"])
    assert Raster.open([a, b], bands=[1, 2, 3]).bands == (1, 2, 3)


def test_palettes_are_the_same_or_refused(tmp_path: Path) -> None:
    values = np.zeros((30, 30), np.uint8)
    colors = [{0: (10, 20, 30, 255)}, {0: (10, 20, 30, 255)}, {0: (90, 20, 30, 255)}]
    a, b, c = (write_raster(tmp_path / f"{number}.tif", values, palette=palette) for number, palette in enumerate(colors))
    assert (Raster.open([a, b]).read(Rect(0, 0, 30, 30))[0] == (10, 20, 30)).all()
    for pair in ([a, c], [a, write_raster(tmp_path / "plain.tif", values)], [tmp_path / "plain.tif", a]):
        with pytest.raises(RasterError, match="different colour tables"):
            Raster.open(pair)


def test_files_too_far_apart_are_refused(tmp_path: Path) -> None:
    values = np.zeros((4, 4), np.uint8)
    tiny = (0.001, 0.0, 0.0, 0.0, -0.001, 0.0)
    a = write_raster(tmp_path / "a.tif", values, transform=tiny)
    b = write_raster(tmp_path / "b.tif", values, transform=(0.001, 0.0, 40_000.0, 0.0, -0.001, -40_000.0))
    with pytest.raises(RasterError, match="pixels, more than 1e"):
        Raster.open([a, b])


def test_a_window_opens_the_files_that_it_touches_and_few_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = coordinate_pixels((200, 2000))
    rects = [Rect(x, y, x + 100, y + 100) for y in (0, 100) for x in range(0, 2000, 100)]
    raster = Raster.open(cut(tmp_path, values, rects, transform()))
    opened: list[str] = []
    genuine = file_source.open_raster

    def spy(path: str, name: str):
        opened.append(Path(path).stem)
        return genuine(path, name)

    monkeypatch.setattr(file_source, "open_raster", spy)
    raster.read(Rect(510, 20, 590, 80))
    assert opened == ["5"]
    raster.read(Rect(550, 50, 650, 150))
    assert sorted(opened) == ["25", "26", "5", "6"]
    assert np.array_equal(raster.read(Rect(0, 0, 2000, 200))[0], values)
    assert len(opened) == 4 + 40
    assert len(file_source._local.handles) == file_source.HANDLES_PER_THREAD


def test_thousands_of_files_travel_light(tmp_path: Path) -> None:
    values = coordinate_pixels((40, 200))
    paths = cut(tmp_path, values, [Rect(x, 0, x + 1, 40) for x in range(200)], transform())
    raster = Raster.open(paths)
    packed = pickle.dumps(raster)
    assert len(packed) / len(paths) < 600
    again = pickle.loads(packed)  # noqa: S301 - our own
    assert np.array_equal(again.read(Rect(0, 0, 200, 40))[0], values)
    assert len(raster.provenance()["files"]) == 200


def test_the_identity_covers_every_file_and_their_order(tmp_path: Path) -> None:
    values = coordinate_pixels((100, 100))
    rects = [Rect(0, 0, 60, 100), Rect(40, 0, 100, 100)]
    paths = cut(tmp_path, values, rects, transform())
    raster = Raster.open(paths)
    before = identify(raster)
    assert before == identify(Raster.open(paths))
    assert before["bytes"] == sum(path.stat().st_size for path in paths)
    assert identify(Raster.open(paths[::-1])) != before
    assert not has_changed(raster)
    os.utime(paths[1], ns=(1, 1))
    assert has_changed(raster)
    assert identify(Raster.open(paths)) != before


def test_a_file_written_anew_as_another_raster_is_noticed(tmp_path: Path) -> None:
    paths = cut(tmp_path, coordinate_pixels((100, 100)), quarters((100, 100), 50, 50), transform())
    raster = Raster.open(paths, check=False)  # So that nothing has been read yet.
    write_raster(paths[3], np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(RasterError, match=r"3\.tif has changed since it was opened"):
        raster.read(Rect(0, 0, 100, 100))


def test_the_prompts_the_store_and_the_picture_take_many_files(tmp_path: Path) -> None:
    labels = scattered(20, (320, 330), seed=4, min_size=20, max_size=60)
    values = encode_ids(labels)
    one = write_raster(tmp_path / "one.tif", values)
    tiles = cut(tmp_path, values, quarters((320, 330), 150, 170), transform())
    y, x = np.argwhere(labels > 0)[0] + 0.5
    answers = [
        samgeo.Predictor(image, model=Oracle(128)).predict([(x, y)], crs="pixels").to_wkb().to_csv() for image in (one, tiles)
    ]
    assert answers[0] == answers[1]
    samgeo.encode(tiles, tmp_path / "store.zarr", model=Oracle(128), progress=False)
    changed = values.copy()
    changed[:150] = 255 - changed[:150]
    two = write_raster(tmp_path / "two.tif", changed)
    with pytest.raises(OptionError, match="stale"):
        samgeo.segment(two, model=Oracle(128), cache=tmp_path / "store.zarr", progress=False)
    cached = Oracle(128)
    samgeo.segment(one, model=cached, cache=tmp_path / "store.zarr", progress=False)  # the same pixels, from one file
    assert cached.embedded == 0
    assert np.array_equal(np.asarray(samgeo.show(tiles)), np.asarray(samgeo.show(one)))


def test_a_run_goes_on_with_the_same_files_and_with_no_others(tmp_path: Path) -> None:
    from samgeo.errors import RunError, StoppedError
    from samgeo.segmentation.api import segment_to_file

    values = encode_ids(scattered(20, (320, 330), seed=4, min_size=20, max_size=60))
    tiles = cut(tmp_path, values, quarters((320, 330), 150, 170, 5), transform())
    calls = iter(range(6))
    output, options = tmp_path / "out.parquet", {"model": Oracle(128)} | OPTIONS
    with pytest.raises(StoppedError):
        segment_to_file(tiles, output, stop=lambda: next(calls, None) is None, scheduler="synchronous", **options)
    with pytest.raises(RunError, match=r"input\.content was"):
        segment_to_file(tiles[::-1], output, **options)
    assert segment_to_file(tiles, output, **options).continued > 0


def test_a_mosaic_is_a_source_of_every_kind(tmp_path: Path) -> None:
    raster = Raster.open(
        cut(
            tmp_path,
            coordinate_pixels((64, 64)),
            quarters((64, 64), 30, 30),
            transform(),
            tiled=True,
            blockxsize=16,
            blockysize=16,
        )
    )
    assert isinstance(raster.source, MosaicSource)
    assert raster.source.block == (256, 256 * 3)
    assert raster.name.endswith("0.tif and 3 more")
    with rasterio.open(raster.source.files[0].path) as file:
        assert file.count == len(raster.source.bands)


def test_several_files_are_opened_at_a_time_and_the_first_bad_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros((40, 400, 3), np.uint8)
    columns = [Rect(x, 0, x + 10, 40) for x in range(0, 400, 10)]
    tiles = cut(tmp_path, values, columns, transform())
    together, inside, most = threading.Barrier(2, timeout=60), 0, 0
    count, opened = threading.Lock(), FileSource.open

    def meet(source: Path) -> FileSource:
        nonlocal inside, most
        with count:
            inside += 1
            most = max(most, inside)
        if source in tiles[:2]:
            together.wait()  # breaks unless both are being opened
        found = opened(source)
        with count:
            inside -= 1
        return found

    filters = list(warnings.filters)
    monkeypatch.setattr(FileSource, "open", meet)
    assert [tile.path for tile in open_source(tiles).tiles] == [str(tile) for tile in tiles]
    assert 2 <= most <= AT_ONCE
    assert warnings.filters == filters
    for bad in (7, 30):
        tiles[bad].write_bytes(b"no raster")
    with pytest.raises(RasterError, match=tiles[7].name):
        open_source(tiles)

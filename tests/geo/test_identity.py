"""Whether a raster is still the one that was opened: every file that it is read from, of every kind."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from raster_server import served
from rasterio.enums import Resampling

from samgeo.errors import RasterError
from samgeo.geo.raster.identity import SourceWatch, file_versions, has_changed, identify
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.band_stack import StackSource
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.testing.rasters import coordinate_pixels, write_raster

SHAPE = (96, 96)
BANDS = ("red", "green", "blue")
VRT = (
    '<VRTDataset rasterXSize="96" rasterYSize="96"><SRS>EPSG:32633</SRS>'
    "<GeoTransform>500000,0.5,0,5400000,0,-0.5</GeoTransform>"
    '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)


def tif(path: Path, **options) -> Path:
    return write_raster(path, coordinate_pixels(SHAPE), **options)


def rewrite(path: Path) -> None:
    """Change one byte and the time, not the size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


def overviews_beside(path: Path) -> None:
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.average)


def plain(folder: Path) -> tuple[object, Path]:
    return tif(folder / "a.tif"), folder / "a.tif"


def mosaic_file(folder: Path) -> tuple[object, Path]:
    tif(folder / "a.tif")
    (folder / "m.vrt").write_text(VRT.format("a.tif"))
    return folder / "m.vrt", folder / "a.tif"


def mosaic_of_mosaics(folder: Path) -> tuple[object, Path]:
    mosaic_file(folder)
    (folder / "outer.vrt").write_text(VRT.format("m.vrt"))
    (folder / "list.txt").write_text("outer.vrt\n")
    return folder / "list.txt", folder / "a.tif"


def several(folder: Path) -> tuple[object, Path]:
    right = (0.5, 0, 500_048, 0, -0.5, 5_400_000)
    return [tif(folder / "a.tif"), tif(folder / "b.tif", transform=right)], folder / "b.tif"


def stack(folder: Path) -> tuple[object, Path]:
    for name in BANDS:
        write_raster(folder / f"{name}.tif", coordinate_pixels(SHAPE)[..., 0])
    return stack_of(folder), folder / "green.tif"


def stack_of(folder: Path) -> StackSource:
    return StackSource.of("bands", {name: FileSource.open(folder / f"{name}.tif") for name in BANDS})


def item(folder: Path) -> tuple[object, Path]:
    tif(folder / "a.tif")
    (folder / "item.json").write_text(
        '{"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": {"visual": {"href": "a.tif", "type": "image/tiff"}}}'
    )
    return folder / "item.json", folder / "a.tif"


def mask_beside(folder: Path) -> tuple[object, Path]:
    return tif(folder / "a.tif", mask=np.ones(SHAPE, bool), mask_inside=False), folder / "a.tif.msk"


def with_overviews_beside(folder: Path) -> tuple[object, Path]:
    overviews_beside(tif(folder / "a.tif"))
    return folder / "a.tif", folder / "a.tif.ovr"


def world_file(folder: Path) -> tuple[object, Path]:
    write_raster(folder / "a.png", coordinate_pixels(SHAPE), driver="PNG", crs=None, transform=(1, 0, 0, 0, 1, 0))
    (folder / "a.png.aux.xml").unlink(missing_ok=True)
    (folder / "a.pgw").write_text("0.5\n0\n0\n-0.5\n500000\n5400000\n")
    return folder / "a.png", folder / "a.pgw"


def source_of_mosaic_with_mask(folder: Path) -> tuple[object, Path]:
    mask_beside(folder)
    (folder / "m.vrt").write_text(VRT.format("a.tif"))
    return folder / "m.vrt", folder / "a.tif.msk"


def archive(folder: Path) -> tuple[object, Path]:
    path = tif(folder / "a.tif")
    with zipfile.ZipFile(folder / "a.zip", "w") as zipped:
        zipped.write(path, "a.tif")
    return f"/vsizip/{folder / 'a.zip'}/a.tif", folder / "a.zip"


KINDS: list[Callable[[Path], tuple[object, Path]]] = [
    plain,
    mosaic_file,
    mosaic_of_mosaics,
    several,
    stack,
    item,
    mask_beside,
    with_overviews_beside,
    world_file,
    source_of_mosaic_with_mask,
    archive,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_change_of_any_file_is_seen_and_named(kind: Callable[[Path], tuple[object, Path]], tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    raster = Raster.open(source)
    watch = SourceWatch(raster)
    before = identify(raster)
    assert watch.look(now=True) is None
    assert not has_changed(raster)
    assert identify(Raster.open(source)) == before
    rewrite(path)
    change = watch.look(now=True)
    assert change is not None
    assert path.name in change.files
    assert not change.is_loss
    assert has_changed(raster)
    again = Raster.open(stack_of(tmp_path) if isinstance(source, StackSource) else source)
    assert identify(again)["files"] != before["files"]


@pytest.mark.parametrize("kind", KINDS[:-1], ids=lambda kind: kind.__name__)
def test_a_file_that_is_gone_may_come_back(kind: Callable[[Path], tuple[object, Path]], tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    watch = SourceWatch(Raster.open(source))
    path.rename(tmp_path / "away")
    change = watch.look(now=True)
    assert change is not None
    assert change.is_loss
    assert "is gone" in str(change)
    (tmp_path / "away").rename(path)
    assert watch.look(now=True) is None


@pytest.mark.parametrize("name", ["a.tif.ovr", "a.tif.msk", "a.tfw", "a.wld", "a.tif.aux.xml"])
@pytest.mark.parametrize("kind", [plain, mosaic_file], ids=lambda kind: kind.__name__)
def test_a_file_that_appears_beside_another_is_a_change(kind, name: str, tmp_path: Path) -> None:
    source, _ = kind(tmp_path)
    watch = SourceWatch(Raster.open(source))
    (tmp_path / name).write_text("<PAMDataset><GeoTransform>1,1,0,1,0,-1</GeoTransform></PAMDataset>")
    change = watch.look(now=True)
    assert change is not None
    assert name in change.files


def test_looking_at_a_raster_in_a_viewer_is_no_change(tmp_path: Path) -> None:
    """Viewers keep statistics beside what they show."""
    path = tif(tmp_path / "a.tif")
    raster = Raster.open(path)
    before = identify(raster)
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Histograms><HistItem><HistMin>0</HistMin></HistItem></Histograms><Metadata>'
        '<MDI key="STATISTICS_MEAN">47.5</MDI><MDI key="STATISTICS_STDDEV">27.7</MDI></Metadata></PAMRasterBand></PAMDataset>'
    )
    assert not has_changed(raster)
    assert identify(Raster.open(path)) == before


def test_what_does_not_belong_to_the_raster_may_change(tmp_path: Path) -> None:
    raster = Raster.open(tif(tmp_path / "a.tif"))
    tif(tmp_path / "b.tif")
    (tmp_path / "a.txt").write_text("a note")
    assert not has_changed(raster)
    assert [Path(one.path).name for one in file_versions(raster)] == ["a.tif"]


def test_metadata_that_would_grow_without_end_are_not_read(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif")
    (tmp_path / "a.tif.aux.xml").write_text('<!DOCTYPE a [<!ENTITY a "aaaa">]><PAMDataset>&a;</PAMDataset>')
    watch = SourceWatch(Raster.open(path))
    assert watch.look(now=True) is None
    rewrite(tmp_path / "a.tif.aux.xml")
    assert watch.look(now=True) is not None


def test_arrays_have_no_files_and_never_change() -> None:
    raster = Raster.open(coordinate_pixels(SHAPE))
    assert identify(raster)["files"] is None
    assert not has_changed(raster)


def test_an_array_that_is_read_from_a_file_while_it_is_used_is_that_file(tmp_path: Path) -> None:
    import xarray as xr

    path = tif(tmp_path / "a.tif")
    array = xr.DataArray(coordinate_pixels(SHAPE), dims=("y", "x", "band"))
    array.encoding["source"] = str(path)
    watch = SourceWatch(Raster.open(array))
    rewrite(path)
    change = watch.look(now=True)
    assert change is not None
    assert "a.tif" in change.files


def test_a_moved_raster_is_the_same(tmp_path: Path) -> None:
    mosaic_file(tmp_path)
    before = identify(Raster.open(tmp_path / "m.vrt"))
    (tmp_path / "other").mkdir()
    for name in ("a.tif", "m.vrt"):
        (tmp_path / name).rename(tmp_path / "other" / name)
    assert identify(Raster.open(tmp_path / "other" / "m.vrt")) == before


def test_looking_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import samgeo.geo.raster.identity as module

    clock, looks = [100.0], []
    original = module.stamps_of

    def slow(paths, **options):
        looks.append(clock[0])
        clock[0] += 1.0
        return original(paths, **options)

    watch = SourceWatch(Raster.open(tif(tmp_path / "a.tif")), clock=lambda: clock[0])
    monkeypatch.setattr(module, "stamps_of", slow)
    while clock[0] < 200:
        watch.look()
        clock[0] += 0.5
    assert 2 <= len(looks) <= 6
    assert watch.look(now=True) is None
    rewrite(tmp_path / "a.tif")
    assert watch.look(now=True) is not None
    looks.clear()
    assert watch.look() is not None  # What was found once stays found.
    assert not looks


def test_a_server_that_has_another_version_is_seen_and_one_that_is_silent_is_told(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        path = tif(tmp_path / "a.tif")
        (tmp_path / "m.vrt").write_text(VRT.format("a.tif"))
        for name in ("a.tif", "m.vrt"):
            raster = Raster.open(
                f"http://user:word@{server.url}/{name}?key=secret" if name == "a.tif" else f"http://{server.url}/{name}"
            )
            watch = SourceWatch(raster)
            assert watch.look(now=True) is None
            server.failures.value = 10**6
            with pytest.raises(RasterError, match="does not answer") as caught:
                watch.look(now=True)
            assert "secret" not in str(caught.value)
            server.failures.value = 0
            assert watch.look(now=True) is None
            rewrite(path)
            change = watch.look(now=True)
            assert change is not None
            assert "a.tif" in change.files
            assert "secret" not in change.files
            assert identify(Raster.open(f"http://{server.url}/{name}"))["files"] != identify(raster)["files"]
            tif(path)


def test_of_many_files_those_beside_them_are_seen_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import samgeo.geo.raster.versions as module

    monkeypatch.setattr(module, "LISTED_FROM", 3)
    raster = Raster.open(mask_beside(tmp_path)[0])
    assert not has_changed(raster)
    overviews_beside(tmp_path / "a.tif")
    change = SourceWatch(raster).look(now=True)
    assert change is not None
    assert "a.tif.ovr" in change.files

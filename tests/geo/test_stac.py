"""STAC Items as rasters: which asset is taken, where it lies, and where an Item may not lead."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from raster_server import served

import samgeo
from samgeo.errors import OptionError, RasterError, SamgeoError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources import file_source
from samgeo.testing.rasters import coordinate_pixels, transform, write_raster

ALL = Rect(0, 0, 40, 40)
GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(name: str = "scene", **assets) -> dict:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
        "links": [],
        "assets": assets,
    }


def asset(href: object, *roles: str, kind: str | None = GEOTIFF) -> dict:
    return {"href": href, "roles": list(roles), **({} if kind is None else {"type": kind})}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rasters of one value each: their own, and one outside that nobody named."""
    inside = tmp_path / "catalog"
    (inside / "data").mkdir(parents=True)
    for number, name in enumerate(["visual", "red", "green", "blue", "thumb"], start=1):
        shape = (40, 40, 3) if name == "visual" else (40, 40)
        write_raster(inside / "data" / f"{name}.tif", np.full(shape, number, np.uint8))
    write_raster(tmp_path / "secret.tif", np.full((40, 40), 77, np.uint8))
    return inside


def value(source: object, **options) -> list[int]:
    pixels, valid = Raster.open(source, **options).read(ALL)
    assert valid.all()
    assert (pixels == pixels[0, 0]).all()
    return pixels[0, 0].tolist()


def test_the_visual_asset_else_the_data_else_the_only_raster(folder: Path) -> None:
    red, visual, thumb = asset("data/red.tif", "data"), asset("./data/visual.tif"), asset("data/thumb.tif", "thumbnail")
    other = asset("data/green.tif", "data")
    note = asset("data/notes.xml", "metadata", kind="application/xml")
    for content, expected in (
        (item(visual=visual, red=red, green=other, thumb=thumb), [1, 1, 1]),
        (item(picture=asset("data/visual.tif", "visual"), red=red, green=other), [1, 1, 1]),
        (item(image=red, extra=asset("data/blue.tif"), note=note), [2, 2, 2]),
        (item(image=asset("data/blue.tif", kind=None), thumb=thumb, note=note), [4, 4, 4]),
    ):
        assert value(write(folder / "item.json", content)) == expected


def test_an_item_without_a_choice_lists_what_there_is(folder: Path) -> None:
    path = write(folder / "item.json", item(a=asset("data/red.tif", "data"), b=asset("data/blue.tif", "data")))
    with pytest.raises(OptionError, match=r"item\.json has several rasters; choose with assets from a, b"):
        Raster.open(path)
    with pytest.raises(OptionError, match="has no asset 'c'; choose from a, b"):
        Raster.open(path, assets="c")
    assert value(path, assets="b") == [4, 4, 4]
    with pytest.raises(RasterError, match=r"has no asset that is a raster \(its assets are note\)"):
        Raster.open(write(folder / "no.json", item(note=asset("a.xml", kind="application/xml"))))
    with pytest.raises(OptionError, match="assets choose files of a STAC Item"):
        Raster.open(folder / "data" / "red.tif", assets="visual")
    with pytest.raises(OptionError, match="this raster is open already"):
        Raster.open(Raster.open(path, assets="b"), assets="b")


def test_assets_that_are_bands_become_one_raster(folder: Path) -> None:
    content = item(**{name: asset(f"data/{name}.tif", "data") for name in ("red", "green", "blue", "visual")})
    path = write(folder / "item.json", content)
    assert value(path, assets=["blue", "red", "green"]) == [2, 3, 4]  # by name: they are called red, green and blue
    assert value(path, assets=["blue", "red", "green"], bands=[1, 2, 3]) == [4, 2, 3]
    assert value(path, assets=["visual", "red"]) == [1, 1, 1]
    write_raster(folder / "data" / "green.tif", np.full((20, 40), 3, np.uint8))
    with pytest.raises(RasterError, match=r"red\.tif and .*green\.tif do not have the same grid of pixels"):
        Raster.open(path, assets=["red", "green", "blue"])


def test_a_hole_in_one_band_of_its_own_file_is_a_hole(folder: Path) -> None:
    mask = np.ones((40, 40), dtype=bool)
    mask[:10] = False
    write_raster(folder / "data" / "green.tif", np.full((40, 40), 3, np.uint8), mask=mask)
    content = item(**{name: asset(f"data/{name}.tif", "data") for name in ("red", "green", "blue")})
    _, valid = Raster.open(write(folder / "item.json", content), assets=["red", "green", "blue"]).read(ALL)
    assert np.array_equal(valid, mask)


def test_items_together_are_a_mosaic(folder: Path) -> None:
    values = coordinate_pixels((40, 80))
    for number in (0, 1):
        part = values[:, 40 * number : 40 * number + 40]
        write_raster(folder / f"{number}.tif", part, transform=transform() @ transform().translation(40 * number, 0))
    items = [item(str(number), image=asset(f"{number}.tif")) for number in (0, 1)]
    collection = write(folder / "all.json", {"type": "FeatureCollection", "features": items})
    paths = [write(folder / f"{number}.json", one) for number, one in enumerate(items)]
    for source in (collection, paths, tuple(map(str, paths)), [paths[0], folder / "1.tif"]):
        assert np.array_equal(Raster.open(source).read(Rect(0, 0, 80, 40))[0], values)
    (folder / "list.txt").write_text("0.json\n1.tif\n")
    assert np.array_equal(Raster.open(folder / "list.txt").read(Rect(0, 0, 80, 40))[0], values)


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with served(folder) as server:
        yield f"http://{server.url}"


def test_an_item_at_an_address_and_one_of_an_api(folder: Path, address: str) -> None:
    write(folder / "item.json", item(visual=asset("data/visual.tif")))
    assert value(f"{address}/item.json?token=secret") == [1, 1, 1]
    (folder / "collections" / "c" / "items").mkdir(parents=True)
    write(folder / "collections" / "c" / "items" / "one", item(visual=asset(f"{address}/data/visual.tif")))
    assert value(f"{address}/collections/c/items/one") == [1, 1, 1]
    assert Raster.open(f"{address}/collections/c/items/one").name == f"{address}/data/visual.tif"
    with pytest.raises(RasterError, match=r"absent\.json cannot be read \(HTTP Error 404") as caught:
        Raster.open(f"{address}/absent.json?token=secret")
    assert "secret" not in str(caught.value)


class Pystac:
    """What an Item of pystac looks like from here."""

    def __init__(self, content: dict) -> None:
        self.content = content

    def to_dict(self) -> dict:
        return self.content


def test_an_item_in_memory_leads_to_addresses_alone(folder: Path, address: str) -> None:
    content = item(visual=asset(f"{address}/data/visual.tif"))
    assert value(content) == value(Pystac(content)) == value([Pystac(content)]) == [1, 1, 1]
    path = folder / "data" / "visual.tif"
    content = item(visual=asset(str(path)))
    content["links"] = [{"rel": "self", "href": str(folder / "item.json")}]
    for source in (content, Pystac(content), item(visual=asset("data/visual.tif"))):
        with pytest.raises(RasterError, match="assets must be web addresses"):
            Raster.open(source)
    with pytest.raises(RasterError, match="is not a STAC Item but None"):
        Raster.open({"a": 1})


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened from now on."""
    genuine, opened = file_source.open_raster, []

    def spy(path: str, name: str):
        opened.append(path)
        return genuine(path, name)

    monkeypatch.setattr(file_source, "open_raster", spy)
    return opened


@pytest.mark.parametrize(
    "href",
    [
        "{outside}",
        "file://{outside}",
        "../secret.tif",
        "data/../../secret.tif",
        "data/link.tif",
        "vrt://{outside}",
        "zip+file://{outside}",
        "/vsimem/a.tif",
        "/vsicurl/http://127.0.0.1:9/a.tif",
        "GTIFF_DIR:1:{outside}",
        "NETCDF:{outside}:a",
        "data/mosaic.vrt",
        "http://127.0.0.1:9/mosaic.vrt",
        "https://127.0.0.1:9/mosaic.VRT?key",
        "data/store.zarr",
        "http:",
        "ftp://127.0.0.1/a.tif",
        "//127.0.0.1:9/a.tif",
        "",
        "data/red.tif\n",
        None,
        17,
        ["data/red.tif"],
        "<VRTDataset/>",
        "~/a.tif",
    ],
)
def test_an_item_leads_nowhere_else(folder: Path, href: object, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = folder.parent / "secret.tif"
    (folder / "data" / "link.tif").symlink_to(outside)
    (folder / "data" / "mosaic.vrt").write_text("<VRTDataset rasterXSize='4' rasterYSize='4'/>")
    text = href.format(outside=outside) if isinstance(href, str) else href
    opened = spied(monkeypatch)
    with pytest.raises(RasterError, match=r"item\.json"):
        Raster.open(write(folder / "item.json", item(image=asset(text))))
    # Some look like names of files in the folder, and no such files are there.
    is_a_name = href in ("<VRTDataset/>", "~/a.tif", "GTIFF_DIR:1:{outside}")
    expected = [os.path.normpath(folder / str(text))] if is_a_name else []
    assert opened == expected


def test_an_item_at_an_address_does_not_lead_to_files(folder: Path, address: str) -> None:
    outside = folder.parent / "secret.tif"
    for href in (str(outside), f"file://{outside}", "/vsimem/a.tif", f"vrt://{outside}"):
        write(folder / "item.json", item(image=asset(href)))
        with pytest.raises(RasterError, match=r"secret|vsimem"):
            Raster.open(f"{address}/item.json")


BODIES = [
    "",
    "[]",
    "null",
    "7",
    "{}",
    '{"type": "Feature"}',
    '{"type": "Feature", "stac_version": "1.0.0"}',
    '{"type": "Feature", "stac_version": "1.0.0", "assets": []}',
    '{"type": "Feature", "stac_version": "1.0.0", "assets": {"a": 3}}',
    '{"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {}}}',
    '{"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {"href": "a.tif", "roles": 4, "type": 5}}}',
    '{"type": "FeatureCollection", "features": []}',
    '{"type": "FeatureCollection", "features": [3]}',
    '{"type": "FeatureCollection", "features": {}}',
    '{"type": "Collection", "stac_version": "1.0.0"}',
    "[" * 100_000,
    "\0" * 100,
    '{"a": "\xff',
]


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_what_is_no_item_is_told(folder: Path, number: int) -> None:
    path = folder / "item.json"
    path.write_bytes(BODIES[number].encode("latin1"))
    with pytest.raises(SamgeoError, match=r"item\.json"):
        Raster.open(path)


def test_flipped_bytes_of_an_item_never_lead_out_of_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.dumps(item(visual=asset("data/visual.tif", "data"), red=asset("data/red.tif", "data"))).encode()
    path, rng = folder / "item.json", np.random.default_rng(0)
    opened, results = spied(monkeypatch), 0
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            content[place] = rng.choice(np.frombuffer(b'./:~\\"{}[],0aA\xff\x00', np.uint8))
        path.write_bytes(content)
        with suppress(SamgeoError):
            results += value(path) == [1, 1, 1]
    assert 50 < results < 290
    assert all(Path(one).is_relative_to(folder) for one in opened)


def test_an_item_is_an_image_like_any_other(folder: Path, tmp_path: Path) -> None:
    path = write(folder / "item.json", item(visual=asset("data/visual.tif"), red=asset("data/red.tif", "data")))
    picture = samgeo.show(path)
    assert picture.size == (40, 40)
    (folder / "data" / "visual.tif").unlink()
    with pytest.raises(RasterError, match=r"item\.json: .*visual\.tif does not exist"):
        samgeo.segment(path, tmp_path / "out.parquet")
    assert list(tmp_path.glob("out*")) == []

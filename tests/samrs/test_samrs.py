"""Data sets made with an exact model are exact, complete or absent, and the same after a stopped run is continued."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image as Picture
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from samrs_scenes import CLASSES, save, scene, table_of, turned, without_corners

from samgeo import Raster
from samgeo.annotations import read_annotations, write_annotations
from samgeo.annotations.oriented_boxes import to_rbox
from samgeo.errors import AnnotationError, OptionError
from samgeo.geo.grid import Rect
from samgeo.samrs import make_samrs
from samgeo.samrs.chips import chip_bytes, is_plain
from samgeo.samrs.drawing import class_colors
from samgeo.samrs.split import Shown, split
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import Rle
from samgeo.testing import Oracle
from samgeo.testing.rasters import write_raster

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools warns.

SHAPE = (200, 260)
# The boxes are so far apart that the bounding box of an oriented box contains no other object.
BOXES = [turned(40, 40, 50, 20, 0), turned(130, 60, 70, 20, 45), turned(50, 140, 60, 16, -30), turned(200, 150, 40, 40, 45)]
LABELS = [0, 1, 0, 2]


def make(*args, model=None, **options):
    return make_samrs(*args, model=model or Oracle(128), progress=False, scheduler="synchronous", **options)


def gray(out, name):
    return np.array(Picture.open(out / "gray" / f"{name}.png"))


def files(out):
    """Return the content of all files of a data set except its hidden folder, by name; Parquet files as rows of text."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(".samgeo/"):
            found[name] = gpd.read_parquet(path).to_wkt().to_csv() if path.suffix == ".parquet" else path.read_bytes()
    return found


@pytest.fixture
def one(tmp_path):
    """Write one image with four boxes, of which two are rotated by 45 degrees."""
    labels, masks = scene(BOXES, SHAPE)
    save(tmp_path / "images" / "a.png", labels, driver="PNG")
    table = table_of([("a.png", SHAPE)], [(0, label, box) for label, box in zip(LABELS, BOXES, strict=True)])
    return tmp_path, table, labels, masks


@pytest.mark.parametrize("prompt", ["hbox", "rhbox", "rbox"])
def test_pictures_runs_and_counts_are_exact(one, prompt):
    folder, table, labels, masks = one
    made = make(folder / "images", table, folder / "out", prompt=prompt, min_box_iou=0.9)
    wanted = np.full(SHAPE, 255)
    for label, mask in zip(LABELS, masks, strict=True):
        wanted[mask] = label
    np.testing.assert_array_equal(gray(folder / "out", "a"), wanted)
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:3] = class_colors(3)
    np.testing.assert_array_equal(np.array(Picture.open(folder / "out" / "color" / "a.png")), colors[wanted])
    assert (made.pictures, made.instances, made.rejected, made.failed) == (1, 4, 0, {})

    coco = COCO(str(folder / "out" / "instances" / "all.json"))
    records = coco.loadAnns(coco.getAnnIds())
    for record, mask, box, label in zip(records, masks, table.boxes_px, LABELS, strict=True):
        assert record["segmentation"]["counts"].encode() == coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
        np.testing.assert_array_equal(coco.annToMask(record), mask)
        assert record["area"] == mask.sum() == coco_mask.area(coco.annToRLE(record))
        assert record["category_id"] == label + 1
        assert record["box_iou"] > 0.9
        np.testing.assert_allclose(record["bbox"], [*box[:2], *(box[2:] - box[:2])])
    assert [one["file_name"] for one in coco.loadImgs(coco.getImgIds())] == ["a.png"]

    sizes = [int(mask.sum()) for mask in masks]
    counted = json.loads((folder / "out" / "statistics.json").read_text())
    assert [one["size_px"] for one in counted["classes"]] == [sizes[0] + sizes[2], sizes[1], sizes[3]]
    assert [one["pixels"] for one in counted["classes"]] == [one["size_px"] for one in counted["classes"]]
    assert counted["labelled_px"] == sum(sizes) == (labels > 0).sum()
    assert counted["labelled_px"] + counted["unlabelled_px"] == counted["total_px"] == labels.size
    for number, entry in enumerate(counted["classes"]):
        mine = [size for size, label in zip(sizes, LABELS, strict=True) if label == number]
        edges = counted["size_edges"]
        between = [sum(low <= size < high for size in mine) for low, high in pairwise(edges)]
        assert (entry["histogram"], entry["instances"], entry["name"]) == (between, len(mine), CLASSES[number])


def test_turned_boxes_come_back_from_the_table(one):
    folder, table, _, masks = one
    make(folder / "images", table, folder / "out", prompt="rhbox")
    back = read_annotations(folder / "out" / "instances" / "all.json")
    np.testing.assert_array_equal(back.corners_px, table.corners_px)
    np.testing.assert_array_equal(back.boxes_px, table.boxes_px)
    assert list(back.shapes) == [Rle.from_mask(Mask.from_array(mask), SHAPE) for mask in masks]


@pytest.mark.parametrize(("prompt", "has_masks"), [("hbox", False), ("rhbox", False), ("rbox", True)])
def test_what_is_asked(tmp_path, prompt, has_masks):
    asked = []

    class Noted(Oracle):
        def decode(self, embedding, **given):
            asked.append(given)
            return super().decode(embedding, **given)

    labels, _ = scene(BOXES, SHAPE)
    save(tmp_path / "a.tif", labels)
    rows = [(0, 0, box) for box in BOXES[:3]]
    # The last box extends beyond the image.
    table = table_of([("a.tif", SHAPE)], [*rows, (0, 2, (171, 121, 280, 210))])
    # As in DIOR, the horizontal boxes are annotated separately, and are not the bounding boxes of the corners.
    hulls = table.boxes_px
    own = hulls.copy()
    own[:3] += (2, 1, -3, -2)
    made = make(
        tmp_path / "a.tif", replace(table, boxes_px=own), tmp_path / "out", model=Noted(300), prompt=prompt, min_box_iou=0.3
    )
    assert made.instances == 4
    boxes = np.concatenate([given["boxes"] for given in asked])
    wanted = np.minimum(own if prompt == "hbox" else hulls, (260, 200, 260, 200))
    np.testing.assert_allclose(sorted(boxes.tolist()), sorted(wanted.tolist()), atol=1 / 256)
    assert all(given["multimask"] is False and "points" not in given for given in asked)
    drawings = [given["masks"] for given in asked if "masks" in given]
    # An annotation that is only a horizontal box gets no mask prompt.
    assert sum(map(len, drawings)) == (3 if has_masks else 0)
    for logits, box in zip(np.concatenate(drawings) if drawings else [], BOXES, strict=False):
        at = (np.arange(len(logits)) + 0.5) * 300 / len(logits)
        centres = shapely.points(*np.meshgrid(at, at))
        # Pixel centres very near to the outline may be on either side, and are not compared.
        clear = shapely.distance(shapely.Polygon(box).exterior, centres) > 1 / 16
        np.testing.assert_array_equal((logits > 0)[clear], shapely.contains(shapely.Polygon(box), centres)[clear])
        assert np.abs(logits).max() < 10


def test_what_lies_on_top(tmp_path):
    large, small = turned(60, 60, 80, 80, 0), turned(60, 60, 30, 30, 0)
    beside = turned(60, 60, 20, 4, 0)

    class Drawn(Oracle):
        """A model whose masks are the boxes of the prompts, so that masks may overlap."""

        def decode(self, embedding, *, boxes=None, **_):
            import torch

            y, x = np.mgrid[: self.input_size, : self.input_size] + 0.5
            inside = [(x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3]) for box in boxes]
            return torch.from_numpy(np.where(np.array(inside), 10.0, -10.0))[:, None], torch.ones(len(boxes), 1)

    labels, masks = scene([small, large, beside], (128, 128))
    save(tmp_path / "a.tif", labels)
    table = table_of([("a.tif", (128, 128))], [(0, 0, small), (0, 1, large), (0, 2, beside)])
    pictures = {}
    for on_top in ("annotation", "smallest"):
        out = tmp_path / on_top
        made = make(tmp_path / "a.tif", table, out, model=Drawn(128), on_top=on_top)
        pictures[on_top] = gray(out, "a")
        # ``size_px`` counts the pixels of the complete masks, whichever is on top.
        assert [one["size_px"] for one in made.statistics["classes"]] == [900, 6400, 80]
    later = np.select([masks[2], masks[1]], [2, 1], 255)
    np.testing.assert_array_equal(pictures["annotation"], later)
    np.testing.assert_array_equal(pictures["smallest"], np.where(masks[0] & ~masks[2], 0, later))


def test_chips_keep_bands_type_nodata_and_place(tmp_path):
    labels, masks = scene(BOXES, SHAPE)
    path = save(tmp_path / "a.tif", labels, crs="EPSG:32633", transform=(0.5, 0, 500_000, 0, -0.5, 5_400_000), nodata=7)
    table = table_of([("a.tif", SHAPE)], [(0, label, box) for label, box in zip(LABELS, BOXES, strict=True)])
    options = {"chip": 96, "chip_overlap": 32, "min_visible": 0.7, "polygons": True, "exports": ["torchgeo"]}
    made = make(path, table, tmp_path / "out", prompt="rhbox", **options)
    coco = COCO(str(tmp_path / "out" / "instances" / "all.json"))
    seen = set()
    for image in coco.loadImgs(coco.getImgIds()):
        x, y = (int(part[1:]) for part in image["file_name"].removesuffix(".tif").split("_")[1:])
        rect = Rect(x, y, x + 96, y + 96)
        with rasterio.open(tmp_path / "out" / "images" / image["file_name"]) as chip, rasterio.open(path) as whole:
            window = rasterio.windows.Window(x, y, 96, 96)
            np.testing.assert_array_equal(chip.read(), whole.read(window=window))
            assert (chip.crs, chip.nodata, chip.dtypes) == (whole.crs, 7, whole.dtypes)
            np.testing.assert_allclose(chip.transform[:6], [0.5, 0, 500_000 + x / 2, 0, -0.5, 5_400_000 - y / 2])
        # The visible fraction of a rectangle is computed from fine samples, and not with the tested code.
        wanted, shown = np.full((96, 96), 255), []
        for number, mask in enumerate(masks):
            corners = BOXES[number]
            at = np.stack(np.meshgrid(*[(np.arange(400) + 0.5) / 400] * 2), axis=-1).reshape(-1, 2)
            points = corners[0] + at[:, :1] * (corners[1] - corners[0]) + at[:, 1:] * (corners[3] - corners[0])
            share = ((points >= (x, y)) & (points < (x + 96, y + 96))).all(axis=1).mean()
            assert abs(share - 0.7) > 0.005
            if share > 0.7:
                shown.append(number)
                wanted[mask[y : y + 96, x : x + 96]] = LABELS[number]
        np.testing.assert_array_equal(gray(tmp_path / "out", image["file_name"].removesuffix(".tif")), wanted)
        with rasterio.open(tmp_path / "out" / "masks" / image["file_name"]) as mask:
            np.testing.assert_array_equal(mask.read(1), wanted)
            assert (mask.nodata, mask.bounds) == (255, chip.bounds)
        records = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert [record["annotation"] for record in records] == shown
        for record in records:
            assert coco.annToMask(record).sum() == record["area"] == masks[record["annotation"]][rect.slices_in(WHOLE)].sum()
        seen |= set(shown)
    assert made.rejected == 4 - len(seen)
    objects = gpd.read_parquet(tmp_path / "out" / "polygons.parquet")
    assert objects.crs == "EPSG:32633"
    areas = {number: masks[number].sum() / 4 for number in seen}
    assert dict(zip(objects.annotation, objects.area, strict=True)) == areas


WHOLE = Rect(0, 0, SHAPE[1], SHAPE[0])

PLACE = {"crs": "EPSG:32633", "transform": (0.4, 0.1, 500_000, 0.1, -0.4, 5_400_000)}
NOWHERE = {"crs": None, "transform": (1, 0, 0, 0, 1, 0)}


@pytest.mark.parametrize(
    ("bands", "dtype", "suffix", "options"),
    [
        (3, "uint8", ".png", NOWHERE),
        (1, "uint8", ".png", NOWHERE),
        (4, "uint8", ".png", NOWHERE | {"colors": ["red", "green", "blue", "alpha"]}),
        (4, "uint8", ".tif", NOWHERE | {"colors": ["red", "green", "blue", "undefined"]}),
        (3, "uint8", ".tif", PLACE),
        (8, "uint16", ".tif", PLACE | {"nodata": 3, "descriptions": list("abcdefgh")}),
        (2, "float32", ".tif", NOWHERE | {"nodata": -9999}),
        (1, "uint8", ".tif", PLACE | {"palette": {value: (value, 9, 255 - value, 255) for value in range(256)}}),
        (3, "uint8", ".tif", PLACE | {"mask": np.tri(60, 80, dtype=bool)}),
    ],
)
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # This test reads an image without a georeference.
def test_a_chip_is_its_image_in_small(tmp_path, bands, dtype, suffix, options):
    values = np.random.default_rng(0).integers(0, 256, (60, 80, bands)).astype(dtype)
    if "alpha" in options.get("colors", ()):
        values[..., 3] = values[..., 3] // 128 * 255
    path = write_raster(tmp_path / "a.tif", values if bands > 1 else values[..., 0], **options)
    raster, rect = Raster.open(path), Rect(20, 10, 60, 50)
    assert is_plain(raster) == (suffix == ".png")
    (tmp_path / f"chip{suffix}").write_bytes(chip_bytes(raster, path, rect, suffix))
    window = rasterio.windows.Window(20, 10, 40, 40)
    with rasterio.open(tmp_path / f"chip{suffix}") as chip, rasterio.open(path) as whole:
        np.testing.assert_array_equal(chip.read(), whole.read(window=window))
        np.testing.assert_array_equal(chip.dataset_mask(), whole.dataset_mask(window=window))
        assert (chip.dtypes, chip.nodata, chip.crs) == (whole.dtypes, whole.nodata, whole.crs)
        if suffix == ".tif":
            assert chip.descriptions == whole.descriptions
            assert chip.colorinterp == whole.colorinterp
    mine, theirs = Raster.open(tmp_path / f"chip{suffix}"), raster.geobox[10:50, 20:60]
    assert mine.geobox.crs == raster.geobox.crs
    if raster.geobox.crs is not None:
        np.testing.assert_allclose(mine.geobox.affine[:6], theirs.affine[:6])
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("chip")] == [f"chip{suffix}"]


def test_what_no_chip_shows_is_listed_and_never_asked(tmp_path):
    labels, _ = scene([turned(64, 32, 60, 20, 0)], (64, 128))
    save(tmp_path / "a.tif", labels)
    model = Oracle(64)
    made = make(
        tmp_path / "a.tif", table_of([("a.tif", (64, 128))], [(0, 0, (34, 22, 94, 42))]), tmp_path / "out", model=model, chip=64
    )
    assert (made.pictures, made.rejected, model.embedded) == (0, 1, 0)
    assert "cut: no chip shows 70% of it" in (tmp_path / "out" / "rejected.csv").read_text()


@pytest.mark.parametrize("chip", [None, 64])
def test_images_larger_than_a_window_are_whole(tmp_path, chip):
    labels, masks = scene([turned(150, 100, 240, 60, 0)], (200, 300))
    save(tmp_path / "a.tif", labels)
    table = table_of([("a.tif", (200, 300))], [(0, 0, (30, 70, 270, 130))])
    made = make(tmp_path / "a.tif", table, tmp_path / "out", model=Oracle(64), chip=chip, min_visible=0)
    assert made.statistics["labelled_px"] >= masks[0].sum()
    if chip is None:
        np.testing.assert_array_equal(gray(tmp_path / "out", "a") == 0, masks[0])


def test_masks_far_from_their_boxes_and_none_are_kept_out(one):
    folder, table, _, _ = one
    rows = [
        (0, 0, (38, 38, 42, 42)),  # The box is far smaller than the object.
        (0, 1, (230, 20, 240, 30)),  # There is no object.
        (0, 2, (300, 20, 340, 40)),  # The box is outside the image.
        (0, 2, (10, 10, 10, 20)),  # The box has no area.
        (0, 0, (15, 30, 65, 50)),  # The box fits an object.
    ]
    table = table_of([("a.png", SHAPE)], rows)
    made = make(folder / "images", table, folder / "out")
    assert (made.instances, made.rejected) == (1, 4)
    lines = (folder / "out" / "rejected.csv").read_text().splitlines()[1:]
    reasons = [line.split(",")[-1] for line in lines]
    assert reasons == ["far from its box: IoU of the boxes below 0.5", "no mask", "outside the image", "the box has no area"]
    # The box has 16 of the 1000 pixels of the object's bounding box.
    assert lines[0].split(",")[8] == "0.0160"
    assert make(folder / "images", table, folder / "all", min_box_iou=0).instances == 2


def several(folder, count=4):
    """Write images in a subfolder, and their DOTA files."""
    tables = []
    for number in range(count):
        labels, _ = scene(BOXES[number % 3 : number % 3 + 2], SHAPE)
        save(folder / "images" / "sub" / f"i{number}.tif", labels)
        rows = [(0, LABELS[number % 3 + k], BOXES[number % 3 + k]) for k in range(2)]
        tables.append(table_of([(f"sub/i{number}.tif", SHAPE)], rows))
        (folder / "dota" / "sub").mkdir(parents=True, exist_ok=True)
        write_annotations(tables[-1], folder / f"t{number}", format="dota")
        shutil.move(folder / f"t{number}" / "sub" / f"i{number}.txt", folder / "dota" / "sub")
    return folder / "images", folder / "dota"


def test_a_run_that_is_stopped_goes_on(tmp_path):
    images, dota = several(tmp_path)
    options = {
        "chip": 128,
        "polygons": True,
        "exports": ["yolo-segments", "dota"],
        "split": (0.5, 0.25, 0.25),
        "prompt": "rhbox",
    }
    whole = make(images, dota, tmp_path / "whole", **options)

    class Stops(Oracle):
        def embed(self, *args):
            if self.embedded >= 5:
                raise KeyboardInterrupt
            return super().embed(*args)

    with pytest.raises(KeyboardInterrupt):
        make(images, dota, tmp_path / "out", model=Stops(128), **options)
    begun = files(tmp_path / "out")
    assert begun
    assert {name: content for name, content in files(tmp_path / "whole").items() if name in begun} == begun
    assert not list((tmp_path / "out" / ".samgeo").glob("temporary/*"))
    model = Oracle(128)
    made = make(images, dota, tmp_path / "out", model=model, **options)
    assert 0 < model.embedded < whole.pictures * 9
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert made.statistics == whole.statistics
    model = Oracle(128)
    make(images, dota, tmp_path / "out", model=model, **options)
    assert model.embedded == 0


def test_another_way_is_refused_with_the_difference(tmp_path):
    images, dota = several(tmp_path, 2)
    make(images, dota, tmp_path / "out")
    with pytest.raises(OptionError, match=r'options\.prompt was "hbox" and is now "rhbox"; options\.seed was 0 and is now 3'):
        make(images, dota, tmp_path / "out", prompt="rhbox", seed=3)
    with pytest.raises(OptionError, match=r"model\.digest was"):
        make(images, dota, tmp_path / "out", model=type("Other", (Oracle,), {"digest": "other"})(128))
    save(images / "sub" / "i1.tif", np.ones(SHAPE, dtype=np.int32))
    with pytest.raises(OptionError, match=r'images\.sub/i1\.tif was "[0-9a-f]{64}" and is now "[0-9a-f]{64}"'):
        make(images, dota, tmp_path / "out")


def test_polygons_of_images_with_several_crs(tmp_path):
    labels, masks = scene(BOXES, SHAPE)
    for name, crs in (("a", "EPSG:32633"), ("b", "EPSG:32634")):
        save(tmp_path / "images" / f"{name}.tif", labels, crs=crs, transform=(0.5, 0, 500_000, 0, -0.5, 5_400_000))
    rows = [(number, label, box) for number in (0, 1) for label, box in zip(LABELS, BOXES, strict=True)]
    table = table_of([("a.tif", SHAPE), ("b.tif", SHAPE)], rows)
    make(tmp_path / "images", table, tmp_path / "out", prompt="rhbox", polygons=True)
    objects = gpd.read_parquet(tmp_path / "out" / "polygons.parquet")
    assert objects.crs == "EPSG:4326"
    assert objects.annotation.tolist() == list(range(8))
    # The two images are six degrees apart, and their objects have the same areas.
    np.testing.assert_allclose(objects.to_crs("EPSG:32633").area[:4], [mask.sum() / 4 for mask in masks], rtol=1e-6)
    np.testing.assert_allclose(objects.bounds.minx[4:] - 6, objects.bounds.minx[:4])
    save(tmp_path / "images" / "b.tif", labels)
    with pytest.raises(OptionError, match=r"b\.tif has no CRS and a\.tif has one"):
        make(tmp_path / "images", table, tmp_path / "mixed", polygons=True)


def test_threads_make_the_same(tmp_path):
    images, dota = several(tmp_path)
    for scheduler in ("synchronous", "threads"):
        make_samrs(images, dota, tmp_path / scheduler, model=Oracle(128), scheduler=scheduler, workers=3, progress=False)
    assert files(tmp_path / "threads") == files(tmp_path / "synchronous")


def test_broken_and_missing_images_are_listed_and_can_be_mended(tmp_path):
    images, dota = several(tmp_path)
    good = (images / "sub" / "i1.tif").read_bytes()
    (images / "sub" / "i1.tif").write_bytes(b"II*\0 no more")
    # The header of the file is complete, but its pixels are not.
    (images / "sub" / "i2.tif").write_bytes((images / "sub" / "i2.tif").read_bytes()[:-30_000])
    (images / "sub" / "i3.tif").unlink()
    made = make(images, dota, tmp_path / "out", keep_empty=True)
    assert set(made.failed) == {"sub/i1.tif", "sub/i2.tif", "sub/i3"}
    assert made.pictures == 1
    assert (tmp_path / "out" / "failed.csv").read_text().count("\n") == 4
    assert not list((tmp_path / "out").rglob("i2*"))
    (images / "sub" / "i1.tif").write_bytes(good)
    made = make(images, dota, tmp_path / "out", keep_empty=True)
    assert set(made.failed) == {"sub/i2.tif", "sub/i3"}
    assert made.pictures == 2


def test_exports_hold_the_same_instances(one):
    folder, table, _, masks = one
    flat = without_corners(table)
    made = make(folder / "images", flat, folder / "out", exports=["dota", "voc", "yolo-obb", "yolo-segments"], copy_images=True)
    exports = folder / "out" / "exports"
    assert made.instances == 4
    dota = read_annotations(exports / "dota", images=folder / "images")
    # Horizontal boxes are now oriented boxes: those of their masks.
    np.testing.assert_allclose(dota.corners_px, [to_rbox(Mask.from_array(mask)) for mask in masks])
    segments = read_annotations(exports / "yolo-segments", images=folder / "images")
    np.testing.assert_allclose([shape.area for shape in segments.shapes], [mask.sum() for mask in masks])
    assert segments.classes == CLASSES
    np.testing.assert_allclose(read_annotations(exports / "voc").boxes_px, table.boxes_px, atol=1e-6)
    assert (folder / "out" / "images" / "a.png").read_bytes() == (folder / "images" / "a.png").read_bytes()
    card = (folder / "out" / "README.md").read_text()
    assert "`yolo-segments`: 4 masks are written as polygons along pixel edges" in card
    assert Oracle.digest in card


@pytest.mark.filterwarnings("ignore::samgeo.samrs.SplitWarning")
def test_no_two_parts_show_the_same_ground(tmp_path):
    rng = np.random.default_rng(0)
    places = [(x + rng.integers(20), y + rng.integers(20)) for x in range(30, 300, 50) for y in range(30, 300, 50)]
    boxes = [(x - 10, y - 7, x + 10, y + 7) for x, y in places]
    labels, _ = scene([turned(*place, 20, 14, 0) for place in places], (320, 320))
    path = save(tmp_path / "a.tif", labels, crs="EPSG:32633", transform=(0.5, 0, 500_000, 0, -0.5, 5_400_000))
    table = table_of([("a.tif", (320, 320))], [(0, k % 3, box) for k, box in enumerate(boxes)])
    options = {"chip": 64, "chip_overlap": 16, "split": (0.6, 0.2, 0.2), "block_m": 60, "seed": 4}
    made = make(path, table, tmp_path / "out", **options)
    extents, count = {}, 0
    for part in ("train", "val", "test"):
        names = (tmp_path / "out" / f"{part}.txt").read_text().split()
        rasters = [Raster.open(tmp_path / "out" / "images" / name) for name in names]
        extents[part] = shapely.union_all([raster.geobox.extent.geom for raster in rasters])
        assert made.statistics["split"][part]["pictures"] == len(names) > 0
        assert len(COCO(str(tmp_path / "out" / "instances" / f"{part}.json")).imgs) == len(names)
        count += len(names)
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        assert shapely.intersection(extents[first], extents[second]).area == 0
    assert 0 < made.statistics["split"]["left out"]["pictures"] == made.pictures - count == made.pictures_left_out


@pytest.mark.parametrize("seed", range(10))
def test_a_split_is_of_blocks_and_nears_its_shares(seed):
    rng = np.random.default_rng(seed)
    # The tiles do not overlap, and each block has 4 x 4 tiles.
    tiles = {
        f"{x},{y}": Shown("a", shapely.box(x * 10, y * 10, x * 10 + 10, y * 10 + 10)) for x in range(24) for y in range(24)
    }
    loose = {f"image {k}, {n}": Shown(f"image {k}", None) for k in range(30) for n in range(rng.integers(1, 20))}
    shares = rng.dirichlet((6, 2, 2))
    part_of = split(tiles | loose, shares, 40, seed)
    assert part_of == split(dict(sorted((tiles | loose).items())), shares, 40, seed)
    owners = {}
    for name in tiles:
        x, y = map(int, name.split(","))
        owners.setdefault((x // 4, y // 4), set()).add(part_of[name])
    for name, one in loose.items():
        owners.setdefault(one.image, set()).add(part_of[name])
    assert all(len(some) == 1 for some in owners.values())
    counts = np.array([list(part_of.values()).count(part) for part in ("train", "val", "test")])
    assert counts.sum() == len(part_of)
    # The size of each part differs from its target by at most the largest block.
    assert np.abs(counts - shares * len(part_of)).max() <= 20
    assert part_of != split(tiles | loose, shares, 40, seed + 1)


def test_without_a_georeference_an_image_is_in_one_part(tmp_path):
    images, dota = several(tmp_path, 6)
    make(images, dota, tmp_path / "out", chip=128, chip_overlap=32, min_visible=0.3, split=(0.5, 0.25, 0.25))
    owners = [
        {line[:6] for line in (tmp_path / "out" / f"{part}.txt").read_text().split()} for part in ("train", "val", "test")
    ]
    assert all(owners)
    assert sum(map(len, owners)) == len(set.union(*owners)) == 6


def test_classes_are_chosen_and_ordered(one):
    folder, table, _, masks = one
    made = make(folder / "images", table, folder / "out", prompt="rhbox", classes=["tank", "plane"])
    wanted = np.select([masks[0] | masks[2], masks[3]], [1, 0], 255)
    np.testing.assert_array_equal(gray(folder / "out", "a"), wanted)
    assert [one["name"] for one in made.statistics["classes"]] == ["tank", "plane"]
    with pytest.raises(OptionError, match="'car' is no class"):
        make(folder / "images", table, folder / "b", classes=["car"])


def test_pictures_without_masks_are_kept_on_request_where_they_have_data(tmp_path):
    # The second object has no annotation. With ``nodata=0`` there are no data around the objects.
    labels, _ = scene([turned(32, 32, 30, 20, 0), turned(96, 32, 30, 20, 0)], (64, 192))
    path, table = save(tmp_path / "a.tif", labels), table_of([("a.tif", (64, 192))], [(0, 0, (17, 22, 47, 42))])
    assert make(path, table, tmp_path / "few", chip=64).pictures == 1
    assert make(path, table, tmp_path / "all", chip=64, keep_empty=True).pictures == 3
    assert (gray(tmp_path / "all", "a_x000064_y000000") == 255).all()
    assert make(path, table, tmp_path / "some", chip=64, keep_empty=True, nodata=0).pictures == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "box"}, "prompt is 'box'"),
        ({"chip": 8}, "chip is 8"),
        ({"chip": 64, "chip_overlap": 64}, "chip_overlap is 64"),
        ({"chip_overlap": 8}, "chip_overlap needs chip"),
        ({"chip": 64, "copy_images": True}, "copy_images has no effect"),
        ({"min_visible": 1.5}, "min_visible is 1.5"),
        ({"min_box_iou": float("nan")}, "min_box_iou is nan"),
        ({"split": (0.5, 0.2, 0.2)}, "add up to 1"),
        ({"split": (0.5, 0.5)}, "shares of train, val and test"),
        ({"block_m": 5.0}, "block_m needs split"),
        ({"exports": ["pickle"]}, "exports is 'pickle'"),
        ({"exports": ["torchgeo"]}, "has no CRS, which the export torchgeo"),
        ({"workers": 0}, "workers is 0"),
        ({"format": "dota"}, "omit them for a table"),
    ],
)
def test_options_that_cannot_work_leave_nothing(one, options, message):
    folder, table, _, _ = one
    with pytest.raises(OptionError, match=message):
        make(folder / "images", table, folder / "out", **options)
    assert not (folder / "out").exists()


def test_folders_that_cannot_work(one):
    folder, table, labels, _ = one
    with pytest.raises(OptionError, match="lies in the folder of the images"):
        make(folder / "images", table, folder / "images" / "out")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="exists and is not a data set"):
        make(folder / "images", table, folder / "full")
    with pytest.raises(OptionError, match="create it first"):
        make(folder / "images", table, folder / "none" / "out")
    save(folder / "images" / "A.tif", labels)
    with pytest.raises(OptionError, match=r"would both be"):
        make(folder / "images", table, folder / "out")
    (folder / "images" / "A.tif").rename(folder / "images" / "b.tif")
    with pytest.raises(AnnotationError, match="none of the 1 annotated images"):
        make(folder / "images" / "b.tif", table, folder / "out")

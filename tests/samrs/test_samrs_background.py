"""If the annotations are complete, exactly the pixels that have data and belong to no annotation are background."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image as Picture
from samrs_scenes import save, scene, table_of

from samgeo.errors import OptionError
from samgeo.samrs import SplitWarning, make_samrs
from samgeo.samrs.drawing import BACKGROUND_COLOR, class_colors
from samgeo.testing import Oracle

SHAPE = (96, 128)
PLACE = {"crs": "EPSG:32633", "transform": (0.5, 0, 500_000, 0, -0.5, 5_400_000)}
# The boxes are horizontal, so that each mask fills its box.
BOXES = [(10, 10, 40, 30), (50, 20, 80, 40), (90, 60, 120, 80)]


def corners(box):
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)


def make(folder, rows, name="out", **options):
    labels, _ = scene([corners(box) for box in BOXES], SHAPE)
    # These columns have no data, and the oracle finds no object in them.
    labels[:, 124:] = 0
    path = save(folder / "a.tif", labels + 1, **PLACE, nodata=0)
    with rasterio.open(path, "r+") as image:
        values = image.read()
        values[:, :, 124:] = 0
        image.write(values)
    table = table_of([("a.tif", SHAPE)], rows, classes=("roof", "tank"))
    given = {"model": Oracle(128), "progress": False, "scheduler": "synchronous", "annotations_complete": True}
    return make_samrs(path, table, folder / name, **(given | options))


def picture(folder, kind="gray", name="a"):
    return np.array(Picture.open(folder / "out" / kind / f"{name}.png"))


def filled(boxes, values, background=0):
    wanted = np.full(SHAPE, background)
    wanted[:, 124:] = 255
    for (x0, y0, x1, y1), value in zip(boxes, values, strict=True):
        wanted[y0:y1, x0:x1] = value
    return wanted


def test_values_colours_counts_and_masks_say_background(tmp_path):
    made = make(tmp_path, [(0, 0, BOXES[0]), (0, 1, BOXES[1]), (0, 0, BOXES[2])], exports=["torchgeo"])
    wanted = filled(BOXES, [1, 2, 1])
    np.testing.assert_array_equal(picture(tmp_path), wanted)
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:3] = [BACKGROUND_COLOR, *class_colors(2)]
    np.testing.assert_array_equal(picture(tmp_path, "color"), colors[wanted])
    with rasterio.open(tmp_path / "out" / "masks" / "a.tif") as mask:
        np.testing.assert_array_equal(mask.read(1), wanted)
        assert mask.nodata == 255
        assert mask.colormap(1)[0][:3] == BACKGROUND_COLOR
    counted = made.statistics
    assert [one["id"] for one in counted["classes"]] == [1, 2]
    assert [one["pixels"] for one in counted["classes"]] == [(wanted == value).sum() for value in (1, 2)]
    assert counted["background_px"] == (wanted == 0).sum()
    assert counted["unlabelled_px"] == (wanted == 255).sum() == 96 * 4
    coco = json.loads((tmp_path / "out" / "instances" / "all.json").read_text())
    assert [one["id"] for one in coco["categories"]] == [1, 2]
    assert [one["category_id"] for one in coco["annotations"]] == [1, 2, 1]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| 0 | background | | | {counted['background_px']:,} |" in card
    assert "`category_id` is the value in `gray` |" in card


def test_what_is_annotated_and_has_no_mask_is_not_background(tmp_path):
    # One box contains no object, and one is far larger than its object.
    nothing, far = (20, 50, 44, 70), (48, 15, 100, 50)
    made = make(tmp_path, [(0, 0, BOXES[0]), (0, 0, nothing), (0, 1, far)], min_box_iou=0.9)
    assert made.instances == 1
    np.testing.assert_array_equal(picture(tmp_path), filled([nothing, far, BOXES[0]], [255, 255, 1]))


def test_what_a_chip_shows_too_little_of_is_not_background_there(tmp_path):
    make(tmp_path, [(0, 0, box) for box in BOXES], chip=72, min_visible=0.9, keep_empty=True)
    # Each chip of the first row shows less than nine tenths of the second object; the second chip shows 24 of 30 columns.
    left = picture(tmp_path, name="a_x000000_y000000")
    right = picture(tmp_path, name="a_x000056_y000000")
    assert (left[20:40, 50:72] == 255).all()
    assert (right[20:40, :24] == 255).all()
    assert (left == 1).sum() == 600
    assert set(np.unique(left)) == {0, 1, 255}
    assert (right[:20, :60] == 0).all()


def test_pictures_of_background_alone_are_negatives(tmp_path):
    make(tmp_path, [(0, 0, BOXES[0])], chip=48, keep_empty=True)
    empty = picture(tmp_path, name="a_x000048_y000048")
    assert (empty == 0).all()


def test_it_is_part_of_what_a_set_is(tmp_path):
    make(tmp_path, [(0, 0, BOXES[0])])
    with pytest.raises(OptionError, match="annotations_complete was true and is now false"):
        make(tmp_path, [(0, 0, BOXES[0])], annotations_complete=False)
    with pytest.raises(OptionError, match="give True or False"):
        make(tmp_path, [(0, 0, BOXES[0])], "other", annotations_complete="yes")


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # A library issues it, and pytest.warns catches all.
def test_lost_pictures_are_told(tmp_path):
    """A split of overlapping chips leaves pictures out; the message counts them, and its advice is correct."""
    boxes = [(x, y, x + 8, y + 6) for x in range(4, 124, 16) for y in range(4, 124, 16)]
    labels = np.zeros((128, 128), dtype=np.int32)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        labels[y0:y1, x0:x1] = number
    path = save(tmp_path / "a.tif", labels, **PLACE)
    table = table_of([("a.tif", (128, 128))], [(0, 0, box) for box in boxes], classes=("roof", "tank"))
    given = {"model": Oracle(128), "progress": False, "scheduler": "synchronous", "split": (0.6, 0.2, 0.2)}
    with pytest.warns(SplitWarning, match="left out of the split") as caught:
        made = make_samrs(path, table, tmp_path / "out", chip=32, chip_overlap=16, block_m=12, **given)
    assert made.pictures_left_out == made.statistics["split"]["left out"]["pictures"] > 0.3 * made.pictures == 0.3 * 49
    assert made.advice in [str(one.message) for one in caught]
    assert made.advice.startswith(
        f"{made.pictures_left_out} of 49 pictures are left out of the split: chips share 16 px or more"
    )
    assert "With chip_overlap=0 there would be 16 pictures, of which 16 would be kept" in made.advice
    apart = make_samrs(path, table, tmp_path / "apart", chip=32, block_m=12, **given)
    assert (apart.pictures, apart.pictures_left_out, apart.advice) == (16, 0, "")

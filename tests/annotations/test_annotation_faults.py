"""Faulty records are refused all together, or left out and listed; what is repaired covers what programs draw."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import yaml
from PIL import Image as Picture
from pycocotools import mask as masks
from test_read_annotations import DOTA, VOC, coco, georeferenced, write

from samgeo.annotations import read_annotations, write_annotations
from samgeo.annotations.parsing.repair import in_order, repaired
from samgeo.errors import AnnotationError, OptionError
from samgeo.testing import Oracle, encode_ids

SIZE = {"a.png": (80, 100)}
BOX = [0, 0, 4, 4]
PLAIN_VOC = VOC.partition("\n")[2]

BROKEN = {
    # file: text, its good records, its faults as they are named
    "a.txt": (
        "1 2 3 2 3 4 1 4 plane 0\n1 2 3 2 3 nan 1 4 plane 0\n1 2 3 2 3 4 1 4\n1 2 3 2 3 4 1 4 ship 0\n1 2 3 2 9e99 4 1 4 a 0\n",
        {"format": "dota"},
        ["plane", "ship"],
        ["line 2: coordinate 6", "line 3: it has 8", "line 5: "],
    ),
    "a.xml": (
        VOC.replace("<xmin>48", "<xmin>x").replace("<name>person &amp; co", "<name>"),
        {},
        [],
        ["line 8: <xmin> is 'x'", "line 12: <name> is empty"],
    ),
    "y.txt": (
        "0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 -0.1\n0 0.5 0.5 0.1\n3 0.5 0.5 0.2 0.2\n",
        {"format": "yolo-boxes", "images": {"y.png": (80, 100)}},
        ["0", "3"],
        ["line 2: its box has a negative side", "line 3: it has 3 numbers"],
    ),
    "c.json": (
        json.dumps(
            coco(
                annotations=[
                    {"id": 1, "image_id": 7, "category_id": 1, "bbox": BOX},
                    {"id": 2, "image_id": 8, "category_id": 1, "bbox": BOX},
                    {"id": 3, "image_id": 7, "category_id": 1, "bbox": [0, 0, -4, 4]},
                    [],
                    {"id": 4, "image_id": 7, "category_id": 3, "segmentation": {"size": [1, 1], "counts": [1]}},
                    {"id": 5, "image_id": 7, "category_id": 3, "bbox": BOX},
                ]
            )
        ),
        {},
        ["roof", "tree"],
        [
            "annotations[1]: its image_id is 8",
            "annotations[2]: its bbox",
            "annotations[3]: it is []",
            "annotations[4]: its mask",
        ],
    ),
    "v.geojson": (
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "properties": {"class": name}, "geometry": shapely.geometry.mapping(shape)}
                    for name, shape in (
                        ("roof", shapely.box(1, 2, 3, 4)),
                        (None, shapely.box(1, 2, 3, 4)),
                        ("tree", shapely.Point(1, 2)),
                        ("shed", shapely.box(5, 2, 8, 4)),
                    )
                ]
                + [
                    {
                        "type": "Feature",
                        "properties": {"class": "barn"},
                        "geometry": {"type": "Polygon", "coordinates": [[[10, 10], [11, 11]]]},
                    }
                ],
            }
        ),
        {"crs": "pixels"},
        ["roof", "shed"],
        ["feature 1: its class is empty", "feature 2: it is a Point", "feature 4: it is empty"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_all_faults_are_refused_together_or_left_out_and_listed(name, tmp_path):
    text, options, good, faults = BROKEN[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(AnnotationError) as refused:
        read_annotations(path, **options)
    message = str(refused.value)
    for fault in faults:
        assert f"{path}, {fault}" in message
    assert f"{len(faults)} faults" in message
    assert 'on_error="skip"' in message
    table = read_annotations(path, on_error="skip", **options)
    assert table.class_names.tolist() == good
    assert len(table.left_out) == len(faults)
    for one, fault in zip(table.left_out, faults, strict=True):
        assert one.startswith(f"{path}, {fault}")


def test_the_first_twenty_faults_are_shown_and_all_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3 2 3 4 1 4 plane 0\n" + "1 2 3\n" * 25)
    with pytest.raises(AnnotationError, match="There are 25 faults, of which these are the first 20") as refused:
        read_annotations(tmp_path / "a.txt", format="dota")
    assert str(refused.value).count("a.txt, line") == 20
    assert len(read_annotations(tmp_path / "a.txt", format="dota", on_error="skip").left_out) == 25


def test_a_file_of_one_image_is_a_record(tmp_path):
    write(tmp_path, a_txt=DOTA, c_txt="1 2 3 2 3 4 1 4 ship 0\n")
    (tmp_path / "b.txt").write_bytes(b"1 2 3 2 3 4 1 4 sch\xe4ff 0\n")
    with pytest.raises(AnnotationError, match=r"b\.txt, line 1: byte 0xe4"):
        read_annotations(tmp_path)
    table = read_annotations(tmp_path, on_error="skip")
    assert [image.name for image in table.images] == ["a", "c"]
    assert len(table.left_out) == 1


def test_what_is_faulty_as_a_whole_is_refused_either_way(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(coco())[:-20])
    (tmp_path / "b.xml").write_text(VOC.replace("<xmin>48", "<xmin>0"))
    for name, what in (("a.json", "not valid JSON"), ("b.xml", 'pixels="edges"')):
        for on_error in ("raise", "skip"):
            with pytest.raises(AnnotationError, match=what):
                read_annotations(tmp_path / name, on_error=on_error)
    with pytest.raises(OptionError, match="on_error"):
        read_annotations(tmp_path / "a.json", on_error="ignore")


def polygon_file(path, segmentation):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50], "segmentation": segmentation}
    value = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "roof"}],
        "annotations": [annotation],
    }
    path.write_text(json.dumps(value))
    return path


def drawn(segmentation):
    """The pixels that pycocotools draws of rings."""
    return int(masks.area(masks.merge(masks.frPyObjects(segmentation, 80, 100))))


# Rings of whole numbers along pixel edges, whose drawing has no rounding.
OVERLAPPING = {
    "bow tie": [[10, 10, 30, 30, 30, 10, 10, 30]],
    "two parts": [[10, 10, 30, 10, 30, 30, 10, 30], [20, 20, 40, 20, 40, 40, 20, 40]],
    "a part in another": [[10, 10, 40, 10, 40, 40, 10, 40], [20, 20, 30, 20, 30, 30, 20, 30]],
    "a ring that goes around twice": [[10, 10, 30, 10, 30, 30, 10, 30, 10, 10, 15, 15, 25, 15, 25, 25, 15, 25, 15, 15]],
    "a spike": [[10, 10, 30, 10, 50, 10, 30, 10, 30, 30, 10, 30]],
    "a point twice": [[10, 10, 10, 10, 30, 10, 30, 30, 10, 30]],
    "parts that touch": [[10, 10, 30, 10, 30, 30, 10, 30], [30, 10, 50, 10, 50, 30, 30, 30]],
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_areas_that_are_written_are_those_of_the_masks(name, tmp_path):
    segmentation = OVERLAPPING[name]
    true = drawn(segmentation)
    table = read_annotations(polygon_file(tmp_path / "in.json", segmentation))
    assert shapely.is_valid(table.shapes[0])
    is_changed = not shapely.is_valid(
        shapely.MultiPolygon([shapely.Polygon(np.reshape(ring, (-1, 2))) for ring in segmentation])
    )
    assert len(table.changed) == is_changed
    assert all("in.json, annotations[0]: its polygon" in one for one in table.changed)
    write_annotations(table, tmp_path / "out.json", format="coco")
    (written,) = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert written["area"] == true == drawn(written["segmentation"])
    write_annotations(table, tmp_path / "yolo", format="yolo-segments")
    line = (tmp_path / "yolo" / "labels" / "a.txt").read_text().split()
    ring = np.round(np.array(line[1:], float).reshape(-1, 2) * [100, 80], 6)
    assert drawn([ring.ravel().tolist()]) == true
    back = read_annotations(tmp_path / "yolo", images=SIZE, format="yolo-segments")
    assert back.shapes[0].area == pytest.approx(true)


def test_random_rings_cover_where_an_odd_number_of_turns_goes_around():
    rng = np.random.default_rng(5)
    for _ in range(25):
        ring = rng.integers(5, 75, (rng.integers(4, 9), 2)).astype(float)
        shape = repaired(shapely.Polygon(ring))
        # Where an odd number of turns goes around: tried at the centres of pixels.
        y, x = np.mgrid[:80, :100] + 0.5
        inside = np.zeros(x.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            crosses = (y0 > y) != (y1 > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        near_edge = shapely.distance(shapely.points(x, y), shapely.LinearRing(ring)) < 1e-9
        assert ((shapely.contains_xy(shape, x, y) == inside) | near_edge).all()


def test_a_polygon_without_area_keeps_its_box_or_is_a_fault(tmp_path):
    table = read_annotations(polygon_file(tmp_path / "in.json", [[10, 10, 30, 30, 20, 20]]))
    assert table.kinds.tolist() == ["box"]
    assert "its polygon has no area" in table.changed[0]
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.2 0.2 0.3 0.3\n")
    with pytest.raises(AnnotationError, match="line 1: its polygon has no area"):
        read_annotations(tmp_path / "a.txt", format="yolo-segments", images=SIZE)


def test_corners_out_of_order_are_ordered(tmp_path):
    (tmp_path / "a.txt").write_text("10 10 30 30 30 10 10 30 plane 0\n")
    table = read_annotations(tmp_path / "a.txt", images=SIZE)
    assert table.corners_px[0].tolist() == [[10, 10], [30, 10], [30, 30], [10, 30]]
    assert "its corners are not in order" in table.changed[0]
    write_annotations(table, tmp_path / "out.json", format="coco")
    assert json.loads((tmp_path / "out.json").read_text())["annotations"][0]["area"] == 400
    for corners in ([[0, 0], [2, 1], [4, 0], [2, 4]], [[5, 5], [1, 5], [1, 1], [5, 1]]):
        assert shapely.Polygon(in_order(np.array(corners, float))).is_valid


def test_layers_are_repaired_before_they_are_placed(tmp_path):
    import geopandas as gpd

    georeferenced(tmp_path / "a.tif", 500_000)
    ring = [(0, 0), (10, 8), (10, 0), (0, 8)]
    ground = shapely.Polygon([(500_000 + x / 2, 3_000_000 - y / 2) for x, y in ring])
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[ground], crs="EPSG:32645").to_file(tmp_path / "a.gpkg")
    table = read_annotations(tmp_path / "a.gpkg", images=tmp_path / "a.tif")
    assert table.shapes[0].area == 40
    assert "a.gpkg, feature 0: its polygon crosses" in table.changed[0]


def test_a_stale_name_in_xml_sends_no_box_to_another_image(tmp_path):
    images = {"tile_7.tif": (80, 100), "tile_8.tif": (80, 100)}
    plain = VOC[: VOC.index("<size>")] + VOC[VOC.index("</size>") + 7 :]
    for said in ("IMG_1.jpg", "tile_8.tif", "tile_7.tif", "tile_7"):
        (tmp_path / "tile_7.xml").write_text(plain.replace("000001.jpg", said))
        table = read_annotations(tmp_path / "tile_7.xml", images=images)
        assert [image.name for image in table.images] == ["tile_7.tif"]
        assert len(table.changed) == (not said.startswith("tile_7"))
    # The name inside counts where no image has the name of the file.
    (tmp_path / "labels.xml").write_text(plain.replace("000001.jpg", "tile_8.tif"))
    assert read_annotations(tmp_path / "labels.xml", images=images).images[0].name == "tile_8.tif"


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "gb18030", "big5", "shift_jis", "euc-kr", "utf-16", "iso-8859-1"])
def test_xml_may_say_what_it_is_in(encoding, tmp_path):
    name = {"shift_jis": "ビル", "euc-kr": "건물", "iso-8859-1": "Gebäude"}.get(encoding, "房屋")
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + PLAIN_VOC.replace("<name>dog", f"<name>{name}")
    (tmp_path / "000001.xml").write_bytes(text.encode(encoding))
    assert read_annotations(tmp_path).class_names[0] == name


def test_xml_that_is_not_in_what_it_says_is_refused_with_the_line(tmp_path):
    text = '<?xml version="1.0" encoding="GBK"?>\n' + PLAIN_VOC.replace("<name>dog", "<name>d\xffg")
    (tmp_path / "a.xml").write_bytes(text.encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"a\.xml, line 7: byte 0xff is not gbk"):
        read_annotations(tmp_path)


def test_the_root_of_roboflow_may_have_the_name_of_a_class(tmp_path):
    project = [{"id": 0, "name": "roof", "supercategory": "none"}, {"id": 1, "name": "roof", "supercategory": "roof"}]
    value = coco(categories=project, annotations=[{"id": 0, "image_id": 7, "category_id": 1, "bbox": BOX}])
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(value))
    assert read_annotations(tmp_path).classes == ("roof",)


@pytest.mark.parametrize(
    "place", ["classes.txt", "labels/classes.txt", "labels/train/classes.txt", "mytown.yaml", "labels/obj.names"]
)
def test_names_of_classes_are_found(place, tmp_path):
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.25\n")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\n")
    (tmp_path / place).write_text("names: {0: house, 1: shed}\n" if place.endswith("yaml") else "house\nshed\n")
    table = read_annotations(tmp_path, images={"train/a.png": (80, 100)})
    assert table.classes == ("house", "shed")
    assert table.class_names.tolist() == ["shed"]
    assert table.changed == ()


def test_a_set_of_label_studio_has_notes_and_classes_beside_its_labels(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.25\n")
    (tmp_path / "labels" / "predefined.txt").write_text("house\nshed\n")
    (tmp_path / "classes.txt").write_text("house\nshed\n")
    (tmp_path / "notes.json").write_text(json.dumps({"categories": [{"id": 0, "name": "house"}], "info": {"year": 2026}}))
    table = read_annotations(tmp_path, images=SIZE)
    assert table.class_names.tolist() == ["shed"]
    assert len(table.changed) == 1
    assert "predefined.txt: it has no labels" in table.changed[0]


def test_coco_is_seen_behind_long_categories(tmp_path):
    value = coco()
    more = [{"id": 100 + number, "name": f"class {number} " + "x" * 90} for number in range(1000)]
    categories = {"categories": value.pop("categories") + more}
    (tmp_path / "long.json").write_text(json.dumps(categories | value))
    (tmp_path / "readme.txt").write_text("Not a label.\n")
    assert len(read_annotations(tmp_path)) == 3


def test_classes_without_names_are_told(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.25\n")
    table = read_annotations(tmp_path, images=SIZE)
    assert table.classes == ("1",)
    assert "their numbers are used as names" in table.changed[0]
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text(f"names: [house, {name}]\n")
    with pytest.raises(AnnotationError, match="name the classes differently"):
        read_annotations(tmp_path, images=SIZE)


def test_an_image_may_be_called_as_a_list_is(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "train.txt").write_text("0 0.5 0.5 0.2 0.25\n")
    assert read_annotations(tmp_path, images={"train.png": (80, 100)}).images[0].name == "train.png"


@pytest.mark.parametrize("format", [None, "yolo-boxes"])
def test_poses_are_read_as_boxes(format, tmp_path):  # noqa: A002
    (tmp_path / "data.yaml").write_text("names: [person]\nkpt_shape: [2, 3]\n")
    pose = "0.1 0.1 2 0.2 0.2 1"
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.2 0.25 {pose}\n0 0.5 0.5 0.2 0.25 {pose} 0.75\n")
    table = read_annotations(tmp_path, images=SIZE, format=format)
    assert table.boxes_px.tolist() == [[40, 30, 60, 50]] * 2
    assert table.kinds.tolist() == ["box", "box"]
    np.testing.assert_array_equal(table.scores, [np.nan, 0.75])
    assert "kpt_shape" in table.changed[0]
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.25 0.1\n0 0.5\n")
    with pytest.raises(AnnotationError, match=r"2 faults.*\n.*line 1: it has 5 numbers"):
        read_annotations(tmp_path, images=SIZE)


def yolo_folders(folder):
    """What the yaml of a data set names, as folders of images with a label for each: as ultralytics finds them."""
    value = yaml.safe_load((folder / "data.yaml").read_text())
    assert "path" not in value
    found = {}
    for part in ("train", "val", "test"):
        if part in value:
            images = sorted((folder / value[part]).rglob("*.png"))
            labels = [str(image).replace("/images/", "/labels/").removesuffix(".png") + ".txt" for image in images]
            found[part] = [(image.name, Path(label).read_text()) for image, label in zip(images, labels, strict=True)]
    return found


def test_a_yaml_names_the_parts_that_the_images_lie_in(tmp_path):
    (tmp_path / "in").mkdir()
    parts = ("train", "val", "test")
    for part in parts:
        (tmp_path / "in" / part).mkdir()
        (tmp_path / "in" / part / f"{part}.txt").write_text("10 10 30 10 30 30 10 30 plane 0\n")
    table = read_annotations(tmp_path / "in", format="dota", images={f"{part}/{part}.png": (80, 100) for part in parts})
    write_annotations(table, tmp_path / "out", format="yolo-obb")
    for part in parts:
        (tmp_path / "out" / "images" / part).mkdir(parents=True)
        Picture.new("RGB", (100, 80)).save(tmp_path / "out" / "images" / part / f"{part}.png")
    found = yolo_folders(tmp_path / "out")
    assert {part: [name for name, _ in some] for part, some in found.items()} == {part: [f"{part}.png"] for part in parts}
    flat = replace(table, images=tuple(replace(one, name=one.name.replace("/", "-")) for one in table.images))
    write_annotations(flat, tmp_path / "flat", format="yolo-obb")
    text = (tmp_path / "flat" / "data.yaml").read_text()
    assert yaml.safe_load(text)["train"] == yaml.safe_load(text)["val"] == "images"
    assert "no images for validation" in text


def test_a_set_with_parts_exports_one_yolo_set_with_its_pictures(tmp_path):
    from samgeo.samrs import make_samrs

    (tmp_path / "im").mkdir()
    (tmp_path / "an").mkdir()
    labels = np.zeros((64, 64), dtype=np.int32)
    labels[10:40, 10:40] = 1
    for number in range(6):
        Picture.fromarray(encode_ids(labels + number * (labels > 0))).save(tmp_path / "im" / f"P{number}.png")
        (tmp_path / "an" / f"P{number}.txt").write_text("10 10 40 10 40 40 10 40 plane 0\n1 2 3\n")
    options = {"split": (0.5, 0.25, 0.25), "exports": ["yolo-segments"], "copy_images": True}
    options |= {"model": Oracle(128), "progress": False, "scheduler": "synchronous"}
    with pytest.raises(AnnotationError, match="6 faults"):
        make_samrs(tmp_path / "im", tmp_path / "an", tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()
    made = make_samrs(tmp_path / "im", tmp_path / "an", tmp_path / "set", on_error="skip", **options)
    assert len(made.left_out) == 6
    lines = (tmp_path / "set" / "reading.csv").read_text().splitlines()
    assert sum(line.startswith("left out,") and "line 2: it has 3 fields" in line for line in lines) == 6
    found = yolo_folders(tmp_path / "set" / "exports" / "yolo-segments")
    for part in ("train", "val", "test"):
        names = (tmp_path / "set" / f"{part}.txt").read_text().split()
        assert [name for name, _ in found[part]] == names
    assert sum(bool(text) for some in found.values() for _, text in some) == made.instances > 0

"""Every format is read into one table, with the pixels that its convention means."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image as Picture

from samgeo.annotations import Annotations, Image, read_annotations
from samgeo.annotations.table import safe_name
from samgeo.errors import AnnotationError, OptionError
from samgeo.segmentation.masks.rle import Rle

DOTA = """imagesource:GoogleEarth
gsd:0.146343590398
2753 2408 2861 2385 2888 2468 2805 2502 plane 0
-3.5 10.0 20 10 20 30.25 -3.5 30 large-vehicle 1
"""

VOC = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <folder>VOC2007</folder>
  <filename>000001.jpg</filename>
  <size><width>353</width><height>500</height><depth>3</depth></size>
  <object>
    <name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>
    <bndbox><xmin>48</xmin><ymin>240</ymin><xmax>195</xmax><ymax>371</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  </object>
  <object>
    <name>person &amp; co</name>
    <bndbox><xmin>8.5</xmin><ymin>12</ymin><xmax>352</xmax><ymax>498</ymax></bndbox>
  </object>
</annotation>
"""

DIOR = """<annotation>
  <filename>00011.jpg</filename><size><width>800</width><height>800</height><depth>3</depth></size>
  <object>
    <type>robndbox</type><name>airplane</name><difficult>0</difficult>
    <robndbox>
      <x_left_top>10</x_left_top><y_left_top>20</y_left_top><x_right_top>50</x_right_top><y_right_top>30</y_right_top>
      <x_right_bottom>40</x_right_bottom><y_right_bottom>70</y_right_bottom><x_left_bottom>0</x_left_bottom>
      <y_left_bottom>60</y_left_bottom>
    </robndbox><angle>0</angle>
  </object>
  <object>
    <name>ship</name><robndbox><cx>100</cx><cy>50</cy><w>20</w><h>10</h><angle>1.5707963267948966</angle></robndbox>
  </object>
</annotation>
"""

FAIR1M = """<annotation>
  <source><filename>1.tif</filename><origin>GF2/GF3</origin></source>
  <size><width>1000</width><height>900</height><depth>3</depth></size>
  <objects><object>
    <coordinate>pixel</coordinate><type>rectangle</type><description>None</description>
    <possibleresult><name>Boeing737</name></possibleresult>
    <points>
      <point>10.500000,20.000000</point><point>50,30</point><point>40,70</point><point>0,60</point><point>10.500000,20.000000</point>
    </points>
  </object></objects>
</annotation>
"""


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt").replace("_xml", ".xml").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def picture(path, width, height):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.new("RGB", (width, height)).save(path)


def test_dota_has_continuous_corners_and_difficulties(tmp_path):
    write(tmp_path, P0001_txt=DOTA, P0002_txt="", P0003_txt="1 2 3 2 3 4 1 4 ground track field 0\n1 2 3 2 3 4 1 4 plane\n")
    table = read_annotations(tmp_path)
    assert [image.name for image in table.images] == ["P0001", "P0002", "P0003"]
    assert table.classes == ("ground track field", "large-vehicle", "plane")
    assert table.kinds.tolist() == ["rbox"] * 4
    assert table.corners_px[0].tolist() == [[2753, 2408], [2861, 2385], [2888, 2468], [2805, 2502]]
    assert table.boxes_px[0].tolist() == [2753, 2385, 2888, 2502]
    assert table.boxes_px[1].tolist() == [-3.5, 10, 20, 30.25]
    assert table.difficult.tolist() == [0, 1, 0, 0]
    assert table.image.tolist() == [0, 0, 2, 2]


def test_dota_takes_names_and_sizes_from_the_images(tmp_path):
    write(tmp_path, labelTxt__P0001_txt=DOTA)
    picture(tmp_path / "images" / "P0001.png", 40, 30)
    picture(tmp_path / "images" / "P0002.png", 40, 30)
    table = read_annotations(tmp_path / "labelTxt", images=tmp_path / "images")
    assert table.images == (Image("P0001.png", 30, 40),)


def test_voc_counts_pixels_from_1_and_includes_the_last(tmp_path):
    table = read_annotations(write(tmp_path, **{"000001_xml": VOC}))
    assert table.images == (Image("000001.jpg", 500, 353),)
    assert table.class_names.tolist() == ["dog", "person & co"]
    assert table.boxes_px.tolist() == [[47, 239, 195, 371], [7.5, 11, 352, 498]]
    assert table.difficult.tolist() == [1, 0]
    assert table.kinds.tolist() == ["box", "box"]
    edges = read_annotations(tmp_path / "000001.xml", pixels="edges")
    assert edges.boxes_px[0].tolist() == [48, 240, 195, 371]


def test_voc_that_starts_at_0_says_what_to_do(tmp_path):
    write(tmp_path, a_xml=VOC.replace("<xmin>48", "<xmin>0"))
    with pytest.raises(AnnotationError, match=r'a\.xml, line 8: .*pixels="edges"'):
        read_annotations(tmp_path)
    assert read_annotations(tmp_path, pixels="edges").boxes_px[0, 0] == 0


def test_dior_has_oriented_boxes(tmp_path):
    table = read_annotations(write(tmp_path, **{"00011_xml": DIOR, "a__000001_xml": VOC}))
    assert table.images == (Image("00011.jpg", 800, 800), Image("a/000001.jpg", 500, 353))
    assert table.kinds.tolist() == ["rbox", "rbox", "box", "box"]
    assert table.corners_px[0].tolist() == [[10, 20], [50, 30], [40, 70], [0, 60]]
    # A turn by 90 degrees, clockwise on the screen: the left top corner is at the right top.
    np.testing.assert_allclose(table.corners_px[1], [[105, 40], [105, 60], [95, 60], [95, 40]])


def test_fair1m_has_closed_polygons_of_four_corners(tmp_path):
    table = read_annotations(write(tmp_path, labelXml__1_xml=FAIR1M))
    assert table.images == (Image("1.tif", 900, 1000),)
    assert table.classes == ("Boeing737",)
    assert table.corners_px[0].tolist() == [[10.5, 20], [50, 30], [40, 70], [0, 60]]
    with pytest.raises(AnnotationError, match=r"line 4: .*voc has bndbox"):
        read_annotations(tmp_path, format="voc")


def coco(**changes):
    value = {
        "info": {"year": "2024"},
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30, "extra": {"name": "a_jpg.rf.1234"}},
            {"id": 9, "file_name": "sub/b.jpg", "width": 20, "height": 10},
        ],
        "categories": [{"id": 3, "name": "tree"}, {"id": 1, "name": "roof", "supercategory": "building"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1.5, 2, 10, 4], "area": 40, "iscrowd": 0, "segmentation": []},
            {
                "id": 2,
                "image_id": 9,
                "category_id": 3,
                "bbox": [0, 0, 4, 4],
                "segmentation": [[0, 0, 4, 0, 4, 4]],
                "score": 0.5,
            },
            {
                "id": 3,
                "image_id": 9,
                "category_id": 3,
                "segmentation": {"size": [10, 20], "counts": [11, 2, 8, 2, 177]},
                "iscrowd": 1,
            },
        ],
    }
    return value | changes


def test_coco_has_boxes_polygons_and_masks(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco()))
    table = read_annotations(path)
    assert table.images == (Image("a.jpg", 30, 40), Image("sub/b.jpg", 10, 20))
    assert table.classes == ("tree", "roof")
    assert table.class_names.tolist() == ["roof", "tree", "tree"]
    assert table.boxes_px.tolist() == [[1.5, 2, 11.5, 6], [0, 0, 4, 4], [1, 1, 3, 3]]
    assert table.kinds.tolist() == ["box", "polygon", "mask"]
    assert table.shapes[1].equals(shapely.Polygon([(0, 0), (4, 0), (4, 4)]))
    assert table.shapes[2].to_mask().runs.tolist() == [[1, 1, 3], [2, 1, 3]]
    assert table.crowd.tolist() == [False, False, True]
    np.testing.assert_array_equal(table.scores, [np.nan, 0.5, np.nan])
    one = table.of_image("sub/b.jpg")
    assert (len(one), one.images) == (2, (table.images[1],))


def test_roboflow_has_a_file_in_each_part_and_a_category_that_is_the_project(tmp_path):
    project = [{"id": 0, "name": "roofs", "supercategory": "none"}, {"id": 1, "name": "roof", "supercategory": "roofs"}]
    for part in ("train", "valid"):
        value = coco(categories=project, annotations=[{"id": 0, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}])
        value["images"][1]["file_name"] = "b.jpg"
        (tmp_path / part).mkdir()
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(value))
    write(tmp_path, README_roboflow_txt="roofs\n")
    table = read_annotations(tmp_path)
    assert table.classes == ("roof",)
    assert [image.name for image in table.images] == ["train/a.jpg", "train/b.jpg", "valid/a.jpg", "valid/b.jpg"]
    assert table.image.tolist() == [0, 2]


def yolo_set(folder, lines, names="names: [roof, tree]\n", part="train"):
    write(folder, data_yaml=names, README_dataset_txt="not labels")
    write(folder, **{f"labels__{part}__a_txt": lines})
    picture(folder / "images" / part / "a.jpg", 40, 20)
    return folder


def test_yolo_boxes_are_shares_of_the_image(tmp_path):
    table = read_annotations(yolo_set(tmp_path, "1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.2 0.2 0.875\n"))
    assert table.images == (Image("train/a.jpg", 20, 40),)
    assert table.classes == ("roof", "tree")
    assert table.class_names.tolist() == ["tree", "roof"]
    assert table.boxes_px.tolist() == [[15, 5, 25, 15], [0, 0, 8, 4]]
    np.testing.assert_array_equal(table.scores, [np.nan, 0.875])


def test_yolo_oriented_boxes_and_segments_tell_themselves_apart_by_their_points(tmp_path):
    corners = "0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5"
    obb = read_annotations(yolo_set(tmp_path / "obb", corners + "\n" + corners + " 0.5\n"))
    assert obb.kinds.tolist() == ["rbox", "rbox"]
    assert obb.corners_px[1].tolist() == [[20, 2], [36, 10], [20, 18], [4, 10]]
    segments = read_annotations(
        yolo_set(tmp_path / "segments", corners + "\n1 0 0 1 0 1 1\n", "names:\n  0: roof\n  1: tree\n")
    )
    assert segments.kinds.tolist() == ["polygon", "polygon"]
    assert shapely.get_coordinates(segments.shapes[1]).tolist() == [[0, 0], [40, 0], [40, 20], [0, 0]]
    forced = read_annotations(tmp_path / "obb" / "labels", format="yolo-segments")
    assert forced.kinds.tolist() == ["polygon", "polygon"]
    assert forced.classes == ("roof", "tree")


def test_yolo_without_sizes_says_what_to_do(tmp_path):
    write(tmp_path, classes_txt="roof\n", a_txt="0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(AnnotationError, match="images="):
        read_annotations(tmp_path)
    table = read_annotations(tmp_path, images={"a.png": (20, 40)})
    assert table.images == (Image("a.png", 20, 40),)
    assert table.boxes_px.tolist() == [[16, 8, 24, 12]]


def georeferenced(path, x0, width=40, height=20):
    import rasterio
    from affine import Affine

    profile = {"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8", "crs": "EPSG:32645"}
    with rasterio.open(path, "w", **profile, transform=Affine(0.5, 0, x0, 0, -0.5, 3_000_000)) as dataset:
        dataset.write(np.zeros((3, height, width), np.uint8))


def test_a_georeferenced_layer_comes_to_the_pixels_of_each_image_that_it_meets(tmp_path):
    (tmp_path / "images").mkdir()
    georeferenced(tmp_path / "images" / "west.tif", 500_000)
    georeferenced(tmp_path / "images" / "east.tif", 500_020)
    # From 4 m to 24 m east of the first image's corner: over the border between the two.
    road = shapely.box(500_004, 2_999_995, 500_024, 2_999_999)
    elsewhere = shapely.box(500_100, 2_999_995, 500_104, 2_999_999)
    frame = gpd.GeoDataFrame({"kind_of": ["road", "roof"]}, geometry=[road, elsewhere], crs="EPSG:32645").to_crs("EPSG:4326")
    frame.to_file(tmp_path / "layer.gpkg")
    table = read_annotations(tmp_path / "layer.gpkg", images=tmp_path / "images", class_column="kind_of")
    assert table.images == (Image("east.tif", 20, 40), Image("west.tif", 20, 40))
    assert table.class_names.tolist() == ["road", "road"]
    np.testing.assert_allclose(table.boxes_px, [[-32, 2, 8, 10], [8, 2, 48, 10]], atol=0.01)
    one = read_annotations(tmp_path / "layer.gpkg", images=tmp_path / "images" / "east.tif", class_name="thing")
    assert one.classes == ("thing",)
    assert len(one) == 1


def test_a_layer_without_georeference_is_in_pixels(tmp_path):
    frame = gpd.GeoDataFrame({"class": ["roof"]}, geometry=[shapely.box(1, 2, 3, 4.125)])
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_annotations(tmp_path / "a.parquet", images={"a.png": (10, 10)})
    assert table.images == (Image("a.png", 10, 10),)
    assert table.boxes_px.tolist() == [[1, 2, 3, 4.125]]
    # Plain GeoJSON is in longitude and latitude for every reader, unless one says otherwise.
    (tmp_path / "b.geojson").write_text(frame.to_json())
    assert read_annotations(tmp_path / "b.geojson", crs="pixels").boxes_px.tolist() == [[1, 2, 3, 4.125]]
    with pytest.raises(AnnotationError, match="images="):
        read_annotations(tmp_path / "b.geojson")
    with pytest.raises(AnnotationError, match="there are: class"):
        read_annotations(tmp_path / "a.parquet", class_column="kind")


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "C:\\a.jpg", "\\\\host\\a.jpg", "x/C:/a", "", ".", "http://x/a.jpg", "a\0b"],
)
def test_no_name_leads_out_of_the_folder_of_images(tmp_path, name):
    with pytest.raises(AnnotationError):
        safe_name(name)
    value = coco()
    value["images"][1]["file_name"] = name
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(AnnotationError, match=r"a\.json, images\[1\]"):
        read_annotations(tmp_path / "a.json")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.json").rename(tmp_path / "sub" / "a.json")
    if name not in {"", "."}:
        with pytest.raises(AnnotationError, match=r"a\.json, images\[1\]"):
            read_annotations(tmp_path)


def test_names_below_the_folder_are_brought_to_one_form():
    assert safe_name("train\\.\\a//b.jpg") == "train/a/b.jpg"


def test_a_size_that_is_not_the_image_s_is_refused(tmp_path):
    write(tmp_path, a_xml=VOC)
    with pytest.raises(AnnotationError, match=r"a\.xml.*353 x 500 .*40 x 30"):
        read_annotations(tmp_path, images={"000001.jpg": (30, 40)})


def test_an_option_without_meaning_is_refused(tmp_path):
    write(tmp_path, a_txt=DOTA)
    for option in ({"class_name": "a"}, {"pixels": "edges"}, {"crs": "pixels"}, {"class_column": "class"}):
        with pytest.raises(OptionError, match="no meaning for dota"):
            read_annotations(tmp_path, **option)
    with pytest.raises(OptionError):
        read_annotations(tmp_path, format="DOTA")


def test_several_formats_in_a_folder_are_asked_about(tmp_path):
    write(tmp_path, a_txt=DOTA, b_xml=VOC)
    with pytest.raises(AnnotationError, match="format="):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, format="voc")) == len(read_annotations(tmp_path, format="dota")) == 2


def test_the_table_refuses_what_cannot_be():
    def table(**changes):
        plain = {
            "images": (Image("a", 4, 4),),
            "classes": ("b",),
            "image": np.zeros(1, int),
            "label": np.zeros(1, int),
            "boxes_px": np.array([[0, 0, 2, 2]]),
            "corners_px": np.full((1, 4, 2), np.nan),
            "shapes": np.array([None]),
            "scores": np.array([np.nan]),
            "difficult": np.zeros(1, int),
            "crowd": np.zeros(1, bool),
        }
        return Annotations(**plain | changes)

    assert table() == table()
    assert not table().boxes_px.flags.writeable
    for change in (
        {"boxes_px": [[2, 0, 0, 2]]},
        {"boxes_px": [[np.nan, 0, 0, 2]]},
        {"label": [1]},
        {"image": [-1]},
        {"classes": ("b", "b")},
        {"classes": (" ",)},
        {"scores": [np.inf]},
        {"shapes": np.array([Rle.from_coco({"size": [2, 2], "counts": [4]})])},
        {"crowd": np.zeros(2, bool)},
    ):
        with pytest.raises(AnnotationError):
            table(**change)

"""Formats of annotation programs and detectors into the table: each by its content, with classes, scores, boxes and masks."""

import gzip
import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from format_files import (
    COCO_RESULTS,
    CVAT,
    HRSC,
    LABEL_STUDIO,
    LABELME,
    OPEN_BUILDINGS_HEAD,
    SPACENET,
    TASK1,
    TASK2,
    VIA,
    VIA_CSV,
)

from samgeo.annotations import READABLE, Image, read_annotations
from samgeo.errors import AnnotationError, OptionError
from samgeo.testing.rasters import write_raster

TRIANGLE = [[1, 2], [9, 2], [9, 8]]


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def outline(shape):
    return shapely.get_coordinates(shape)[:-1].tolist()


@pytest.fixture
def place(tmp_path):
    """An image of 50 x 40 pixels of 1 m, and the way from its pixels to longitude and latitude."""
    path = tmp_path / "images" / "city.tif"
    path.parent.mkdir()
    pixels = np.zeros((40, 50, 3), np.uint8)
    write_raster(path, pixels, crs="EPSG:32645", transform=(1, 0, 500_000, 0, -1, 3_000_000))

    def to_ground(*shapes):
        moved = [shapely.transform(one, lambda xy: xy * [1, -1] + [500_000, 3_000_000]) for one in shapes]
        return gpd.GeoSeries(moved, crs="EPSG:32645").to_crs("EPSG:4326").tolist()

    return path, to_ground


def test_labelme_has_polygons_boxes_circles_masks_and_turned_boxes(tmp_path):
    table = read_annotations(put(tmp_path / "a.json", LABELME))
    assert table.images == (Image("a.png", 40, 50),)
    assert table.class_names.tolist() == ["roof", "shed", "silo", "tree", "ship"]
    assert table.kinds.tolist() == ["polygon", "box", "polygon", "mask", "rbox"]
    # Two polygons of one group are one object.
    assert [outline(part) for part in table.shapes[0].geoms] == [TRIANGLE, [[11, 2], [19, 2], [19, 8]]]
    assert table.boxes_px[1].tolist() == [1, 2, 9.5, 8]
    np.testing.assert_allclose(table.boxes_px[2], [15, 15, 25, 25])
    assert table.shapes[2].area == pytest.approx(np.pi * 25, rel=0.002)
    assert table.shapes[3].to_mask().runs.tolist() == [[5, 4, 5], [5, 6, 7], [6, 5, 7]]
    assert table.corners_px[4].tolist() == [[30, 10], [40, 20], [35, 25], [25, 15]]
    assert table.scores[4] == 0.5


def test_labelme_goes_by_the_name_of_its_file(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / f"{name}.json", LABELME)
    table = read_annotations(tmp_path, images={"a.tif": (40, 50), "b.tif": (40, 50)})
    assert [image.name for image in table.images] == ["a.tif", "b.tif"]
    assert len(table.changed) == 1
    assert "b.json: it names the image a.png" in table.changed[0]


def test_cvat_has_boxes_turned_boxes_polygons_ellipses_and_masks(tmp_path):
    table = read_annotations(put(tmp_path / "annotations.xml", CVAT))
    assert table.images == (Image("sub/a.png", 40, 50), Image("b.png", 40, 50))
    assert table.classes == ("tree", "roof")
    assert table.kinds.tolist() == ["box", "rbox", "polygon", "polygon", "mask"]
    assert table.boxes_px[0].tolist() == [1.5, 2, 9.5, 8]
    # A turn by 90 degrees around the middle: the left top corner is at the right top.
    np.testing.assert_allclose(table.corners_px[1], [[17, 7], [17, 17], [13, 17], [13, 7]], atol=1e-9)
    assert len(table.shapes[2].geoms) == 2
    np.testing.assert_allclose(table.boxes_px[3], [16, 18, 24, 22])
    assert table.shapes[4].to_mask().runs.tolist() == [[5, 4, 5], [5, 6, 7], [6, 4, 5]]


def test_cvat_of_a_video_says_what_to_export(tmp_path):
    put(tmp_path / "a.xml", CVAT.replace("<image id=", '<track id="0"/><image id=', 1))
    with pytest.raises(AnnotationError, match="CVAT for images"):
        read_annotations(tmp_path / "a.xml", on_error="skip")


def test_via_has_regions_of_projects_annotations_and_csv(tmp_path):
    table = read_annotations(put(tmp_path / "via.json", VIA))
    assert [image.name for image in table.images] == ["a.png", "b.png"]
    assert table.class_names.tolist() == ["roof", "shed", "silo", "silo"]
    assert table.boxes_px[0].tolist() == [1, 2, 9, 8]
    assert outline(table.shapes[1]) == TRIANGLE
    np.testing.assert_allclose(table.boxes_px[2:], [[15, 15, 25, 25], [16, 18, 24, 22]])
    put(tmp_path / "project.json", json.dumps({"_via_settings": {}, "_via_img_metadata": json.loads(VIA)}))
    assert read_annotations(tmp_path / "project.json") == table
    csv = read_annotations(put(tmp_path / "via.csv", VIA_CSV))
    assert csv.images == table.images
    assert csv.class_names.tolist() == ["roof", "shed"]
    assert outline(csv.shapes[1]) == TRIANGLE


def test_the_class_of_via_is_the_attribute_that_is_named(tmp_path):
    path = put(tmp_path / "via.csv", VIA_CSV.replace('{""label"":', '{""state"":""new"",""use"":'))
    with pytest.raises(AnnotationError, match="there are: state, use"):
        read_annotations(path)
    assert read_annotations(path, class_column="use").class_names.tolist() == ["roof", "shed"]
    assert read_annotations(path, class_name="thing").class_names.tolist() == ["thing"] * 2


def test_label_studio_has_percentages_of_the_image(tmp_path):
    table = read_annotations(put(tmp_path / "project-1.json", LABEL_STUDIO), images={"a.png": (40, 50), "b.png": (40, 50)})
    assert table.images == (Image("a.png", 40, 50), Image("b.png", 40, 50))
    assert table.class_names.tolist() == ["roof", "ship", "roof", "silo"]
    np.testing.assert_allclose(table.boxes_px[0], [1, 2, 9, 8])
    # A turn by 90 degrees around the left top corner at (20, 10), of a box of 10 x 4 pixels.
    np.testing.assert_allclose(table.corners_px[1], [[20, 10], [20, 20], [16, 20], [16, 10]], atol=1e-9)
    np.testing.assert_allclose(shapely.get_coordinates(table.shapes[2])[:-1], TRIANGLE)
    np.testing.assert_allclose(table.boxes_px[3], [16, 18, 24, 22])
    # Without images, the name is the one of the upload, and of an address its last part.
    assert [image.name for image in read_annotations(tmp_path / "project-1.json").images] == ["0123abcd-a.png", "b.png"]


def test_hrsc2016_has_turned_boxes(tmp_path):
    table = read_annotations(put(tmp_path / "a.xml", HRSC))
    assert table.images == (Image("a.bmp", 40, 50),)
    assert table.class_names.tolist() == ["100000013"]
    np.testing.assert_allclose(table.corners_px[0], [[22, 10], [22, 30], [18, 30], [18, 10]], atol=1e-9)
    assert table.difficult.tolist() == [1]


def test_results_of_dota_have_scores_and_a_class_for_each_file(tmp_path):
    put(tmp_path / "Task1_large-vehicle.txt", TASK1)
    put(tmp_path / "Task1_plane.txt", TASK1.splitlines()[1])
    table = read_annotations(tmp_path, images={"P0001.png": (40, 50), "P0002.png": (40, 50)})
    assert [image.name for image in table.images] == ["P0001.png", "P0002.png"]
    assert table.class_names.tolist() == ["large-vehicle"] * 3 + ["plane"]
    assert table.scores.tolist() == [0.5, 0.25, 0.125, 0.25]
    assert table.corners_px[0].tolist() == [[10, 10], [30, 12], [28, 22], [8, 20]]
    boxes = read_annotations(put(tmp_path / "other" / "Task2_ship.txt", TASK2))
    assert [image.name for image in boxes.images] == ["0007", "0008"]
    assert boxes.boxes_px.tolist() == [[10, 10, 30, 22.5], [1, 2, 3, 4]]
    assert boxes.kinds.tolist() == ["box", "box"]


def test_result_lists_of_coco_have_scores_and_the_names_of_the_truth_beside_them(tmp_path):
    path = put(tmp_path / "results.json", COCO_RESULTS)
    table = read_annotations(path, images={"0007.png": (10, 20), "b/9.png": (10, 20)})
    assert [image.name for image in table.images] == ["0007.png", "b/9.png"]
    assert table.class_names.tolist() == ["3", "1", "1"]
    assert table.scores[:2].tolist() == [0.5, 0.25]
    assert table.kinds.tolist() == ["box", "mask", "mask"]
    assert table.boxes_px.tolist() == [[1, 2, 9, 8], [1, 1, 3, 3], [0, 0, 2, 2]]
    truth = {
        "images": [{"id": 7, "file_name": "seven.png"}, {"id": 9, "file_name": "nine.png"}],
        "categories": [{"id": 3, "name": "tree"}, {"id": 1, "name": "roof"}],
        "annotations": [],
    }
    put(tmp_path / "instances.json", json.dumps(truth))
    named = read_annotations(path)
    assert [image.name for image in named.images] == ["seven.png", "nine.png"]
    assert named.class_names.tolist() == ["tree", "roof", "roof"]
    assert "instances.json" in named.changed[0]


def test_spacenet_has_polygons_in_pixels_and_images_without_any(tmp_path):
    path = put(tmp_path / "summary.csv", SPACENET)
    images = {"RGB_AOI_1_img1.tif": (40, 50), "RGB_AOI_1_img2.tif": (40, 50), "RGB_AOI_1_img11.tif": (40, 50)}
    table = read_annotations(path, images=images)
    assert [image.name for image in table.images] == ["RGB_AOI_1_img1.tif", "RGB_AOI_1_img2.tif"]
    assert table.classes == ("building",)
    assert table.boxes_px.tolist() == [[1, 2, 9, 8], [10, 2, 19, 8]]
    assert read_annotations(path, class_name="house").classes == ("house",)


def footprints(to_ground):
    """Two footprints on the image, and one far from it, in longitude and latitude."""
    return to_ground(shapely.box(1, 2, 9, 8), shapely.box(40, 30, 60, 38), shapely.box(4000, 30, 4010, 38))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_open_buildings_come_to_the_pixels_of_the_image(suffix, place, tmp_path):
    path, to_ground = place
    lines = [f'0,0,48,0.75,"{shape.wkt}",X\n' for shape in footprints(to_ground)]
    text = (OPEN_BUILDINGS_HEAD + "".join(lines)).encode()
    (tmp_path / f"tile{suffix}").write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    table = read_annotations(tmp_path / f"tile{suffix}", images=path)
    assert table.images == (Image("city.tif", 40, 50),)
    assert table.class_names.tolist() == ["building"] * 2
    assert table.scores.tolist() == [0.75, 0.75]
    np.testing.assert_allclose(table.boxes_px, [[1, 2, 9, 8], [40, 30, 60, 38]], atol=1 / 128)
    with pytest.raises(AnnotationError, match="images="):
        read_annotations(tmp_path / f"tile{suffix}")


@pytest.mark.parametrize("suffix", [".geojsonl", ".json", ".csv.gz"])
@pytest.mark.parametrize("separator", ["", "\x1e"])
def test_features_on_lines_come_to_the_pixels_of_the_image(suffix, separator, place, tmp_path):
    path, to_ground = place
    features = [
        {"type": "Feature", "properties": {"class": name, "height": 3}, "geometry": shapely.geometry.mapping(shape)}
        for name, shape in zip(("roof", "shed", "far"), footprints(to_ground), strict=True)
    ]
    text = "".join(f"{separator}{json.dumps(feature)}\n" for feature in features).encode()
    (tmp_path / f"tile{suffix}").write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    table = read_annotations(tmp_path / f"tile{suffix}", images=path)
    assert table.class_names.tolist() == ["roof", "shed"]
    np.testing.assert_allclose(table.boxes_px, [[1, 2, 9, 8], [40, 30, 60, 38]], atol=1 / 128)
    assert read_annotations(tmp_path / f"tile{suffix}", images=path, class_name="house").classes == ("house",)
    with pytest.raises(AnnotationError, match="there are: class, height"):
        read_annotations(tmp_path / f"tile{suffix}", images=path, class_column="use")


BY_CONTENT = {
    "cvat": CVAT,
    "coco-results": COCO_RESULTS,
    "dota-results": TASK1,
    "hrsc2016": HRSC,
    "label-studio": LABEL_STUDIO,
    "labelme": LABELME,
    "spacenet": SPACENET,
    "via": VIA,
}


@pytest.mark.parametrize("kind", BY_CONTENT)
def test_a_format_is_seen_by_content_whatever_the_name(kind, tmp_path):
    named = read_annotations(put(tmp_path / "named.txt", BY_CONTENT[kind]), format=kind)
    assert len(named) > 0
    seen = read_annotations(put(tmp_path / "named.unknown", BY_CONTENT[kind]))
    assert seen == named
    # In a folder too, under the suffix that the format has.
    suffix = {"<": ".xml", "{": ".json", "[": ".json", "P": ".txt", "I": ".csv"}[BY_CONTENT[kind][0]]
    put(tmp_path / "folder" / f"named{suffix}", BY_CONTENT[kind])
    assert read_annotations(tmp_path / "folder").class_names.tolist() == named.class_names.tolist()
    assert kind in READABLE


def test_options_without_meaning_are_refused(tmp_path):
    path = put(tmp_path / "a.json", LABELME)
    for option in ({"class_name": "a"}, {"class_column": "a"}, {"pixels": "edges"}, {"crs": "pixels"}):
        with pytest.raises(OptionError, match="no meaning for labelme"):
            read_annotations(path, **option)


def test_what_lies_beside_annotations_is_passed_over(tmp_path):
    put(tmp_path / "a.json", LABELME)
    put(tmp_path / "a.tif.aux.xml", "<PAMDataset/>")
    put(tmp_path / "a.tif.xml", '<?xml version="1.0"?>\n<!-- ESRI -->\n<metadata xml:lang="en"/>')
    put(tmp_path / "item.json", json.dumps({"type": "Feature", "stac_version": "1.0.0"}))
    put(tmp_path / "licence.txt", "Nothing of this is a label.\n")
    put(tmp_path / "trees.csv", "x,y\n1,2\n")
    assert len(read_annotations(tmp_path)) == 5

"""What is written comes back: all that the format can hold, and of the rest it is said that it is lost."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from pycocotools.coco import COCO

from samgeo.annotations import WRITABLE, Annotations, Image, read_annotations, write_annotations
from samgeo.errors import AnnotationError, OptionError
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import Rle
from samgeo.testing.rasters import transform, write_raster

IMAGES = (Image("a.png", 60, 100), Image("train/b.png", 40, 50), Image("train/empty.png", 8, 8))
SIZES = {image.name: image.shape for image in IMAGES}
CLASSES = ("roof", "large vehicle", "tree")
IN_FOLDER = {"dota": "out", "voc": "out", "coco": "out.json", "vectors": "out.parquet"}
DIAMOND = np.array([[30, 10], [60, 40], [50, 50], [20, 20]])


def table(rows, images=IMAGES, classes=CLASSES):
    """A table of (image, label, box, corners, shape, score, difficult, crowd)."""
    image, label, box, corners, shape, score, difficult, crowd = zip(*rows, strict=True)
    shapes = np.full(len(rows), None, dtype=object)
    shapes[:] = shape
    corners_px = np.array([np.full((4, 2), np.nan) if one is None else one for one in corners])
    return Annotations(
        images, classes, np.array(image), np.array(label), np.array(box), corners_px, shapes, score, difficult, crowd
    )


def box_row(image, label, *box, score=np.nan, difficult=0):
    return image, label, box, None, None, score, difficult, False


def rbox_row(image, label, corners, score=np.nan, difficult=0):
    corners = np.asarray(corners, dtype=float)
    return image, label, (*corners.min(axis=0), *corners.max(axis=0)), corners, None, score, difficult, False


def shape_row(image, label, shape, **more):
    rect = shape.rect if isinstance(shape, Rle) else None
    box = shapely.bounds(shape) if rect is None else (rect.x0, rect.y0, rect.x1, rect.y1)
    return image, label, tuple(box), None, shape, more.get("score", np.nan), 0, more.get("crowd", False)


def boxes():
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 30, (20, 2))
    sides = np.concatenate([low, low + rng.uniform(0.5, 10, (20, 2))], axis=1)
    rows = [box_row(n % 2, n % 3, *side) for n, side in enumerate(sides)]
    return table(sorted([*rows, box_row(0, 0, 0, 0, 100, 60), box_row(1, 2, 3, 4, 5, 6)], key=lambda row: row[0]))


def rboxes():
    rng = np.random.default_rng(2)
    turns = rng.uniform(-np.pi, np.pi, 20)
    rotations = np.stack([np.cos(turns), np.sin(turns), -np.sin(turns), np.cos(turns)], axis=1).reshape(-1, 2, 2)
    plain = np.array([[-5, -2], [5, -2], [5, 2], [-5, 2]])
    rows = [rbox_row(n // 10, n % 3, plain @ rotation + [20, 20]) for n, rotation in enumerate(rotations)]
    return table([rbox_row(0, 0, DIAMOND), *rows])


def polygons():
    rows = [shape_row(n // 10, n % 3, shapely.Point(20, 20).buffer(3 + n / 2, quad_segs=2 + n)) for n in range(20)]
    return table(rows)


def masks():
    rng = np.random.default_rng(3)
    rows = []
    for n in range(20):
        image = n // 10
        array = np.zeros(IMAGES[image].shape, dtype=np.bool_)
        array[5:30, n : n + 20] = rng.random((25, 20)) < 0.7
        rows.append(shape_row(image, n % 3, Rle.from_mask(Mask.from_array(array), array.shape), crowd=n % 5 == 0))
    return table(rows)


def round_trip(annotations, folder, format, images=SIZES, **options):  # noqa: A002
    path = folder / IN_FOLDER.get(format, "out")
    lost = write_annotations(annotations, path, format=format, **options)
    return read_annotations(path, images=images, format=format if format != "coco" else None), lost


def same(a, b, atol=0.0):
    """Whether rows say the same, whatever the order of the classes, up to a rounding of pixels."""
    assert a.images == b.images
    assert a.image.tolist() == b.image.tolist()
    assert a.class_names.tolist() == b.class_names.tolist()
    np.testing.assert_allclose(a.boxes_px, b.boxes_px, rtol=0, atol=atol)
    np.testing.assert_allclose(a.corners_px, b.corners_px, rtol=0, atol=atol)
    for one, other in zip(a.shapes, b.shapes, strict=True):
        if one is None or isinstance(one, Rle):
            assert one == other
        else:
            assert shapely.equals_exact(one, other, tolerance=atol)
    np.testing.assert_array_equal(a.scores, b.scores)
    assert a.difficult.tolist() == b.difficult.tolist()
    assert a.crowd.tolist() == b.crowd.tolist()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("make", [boxes, rboxes, polygons, masks])
def test_coco_gives_everything_back_to_the_last_bit(make, compressed, tmp_path):
    annotations = make()
    scores = np.where(np.arange(len(annotations)) % 2, 0.1, np.nan)
    annotations = replace(annotations, scores=scores, difficult=np.arange(len(annotations)))
    back, lost = round_trip(annotations, tmp_path, "coco", images=None, compressed=compressed)
    assert back == annotations
    assert lost == ()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with numpy 2
@pytest.mark.parametrize("make", [boxes, rboxes, polygons, masks])
def test_pycocotools_finds_the_same_areas_and_masks(make, tmp_path, capsys):
    annotations = make()
    write_annotations(annotations, tmp_path / "a.json", format="coco")
    theirs = COCO(tmp_path / "a.json")
    # Result lists can be laid over it, for which some versions need "info".
    assert "info" in theirs.dataset
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    assert len(theirs.loadRes([box]).anns) == 1
    loaded = theirs.loadAnns(theirs.getAnnIds())
    assert len(loaded) == len(annotations)
    for row, one in enumerate(loaded):
        assert theirs.loadImgs(one["image_id"])[0]["file_name"] == IMAGES[annotations.image[row]].name
        assert theirs.loadCats(one["category_id"])[0]["name"] == annotations.class_names[row]
        shape = annotations.shapes[row]
        if isinstance(shape, Rle):
            drawn = theirs.annToMask(one)
            assert int(drawn.sum()) == one["area"] == shape.area
            assert Mask.from_array(drawn.astype(bool)) == shape.to_mask()
        elif shape is not None:
            assert one["area"] == pytest.approx(shape.area)
            # They draw polygons with a rounding of their own, of a fraction of the outline.
            assert abs(float(theirs.annToMask(one).sum()) - shape.area) < 0.6 * shape.length
    capsys.readouterr()


LOSSLESS = [("dota", rboxes), ("voc", boxes), ("yolo-boxes", boxes), ("yolo-obb", rboxes), ("yolo-segments", polygons)]


@pytest.mark.parametrize(("format", "make"), [*LOSSLESS, *(("vectors", one) for one in (boxes, rboxes, polygons, masks))])
def test_other_formats_give_back_what_they_hold(format, make, tmp_path):  # noqa: A002
    annotations = make()
    annotations = replace(annotations, classes=("roof", "large-vehicle", "tree"))
    if format in {"dota", "voc"}:
        annotations = replace(annotations, difficult=np.arange(len(annotations)))
    back, lost = round_trip(annotations, tmp_path, format)
    if format == "vectors":  # a table of objects knows no image without any
        annotations = replace(annotations, images=annotations.images[:2])
    # Pascal VOC adds 1 to an edge, which rounds what is no whole number in its last bit.
    same(back, annotations, atol={"dota": 0, "vectors": 0, "voc": 1e-13}.get(format, 1e-9))
    allowed = ("suffixes of images", "order of the classes", "without annotations")
    assert all(any(words in sentence for words in allowed) for sentence in lost), lost


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb"])
def test_every_vector_format_gives_the_objects_back(suffix, tmp_path):
    for make in (boxes, rboxes, masks):
        annotations = make().take(slice(0, 5))
        write_annotations(annotations, tmp_path / f"{make.__name__}{suffix}", format="vectors")
        back = read_annotations(tmp_path / f"{make.__name__}{suffix}")
        order = np.argsort(back.boxes_px[:, 0], kind="stable"), np.argsort(annotations.boxes_px[:, 0], kind="stable")
        np.testing.assert_array_equal(back.boxes_px[order[0]], annotations.boxes_px[order[1]])
        assert back.kinds.tolist() == annotations.kinds.tolist()
        assert back.class_names[order[0]].tolist() == annotations.class_names[order[1]].tolist()


@pytest.mark.parametrize("name", ["north-up", "south-up", "rotated"])
def test_georeferenced_objects_come_back_through_the_image(name, tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((60, 100, 3), np.uint8), transform=transform(name))
    whole = rboxes().of_image("a.png")
    corners = np.rint(whole.corners_px * 256) / 256
    low, high = corners.min(axis=1), corners.max(axis=1)
    annotations = replace(
        whole, images=(Image("a.tif", 60, 100),), corners_px=corners, boxes_px=np.concatenate([low, high], axis=1)
    )
    lost = write_annotations(annotations, tmp_path / "a.parquet", format="vectors", images=tmp_path / "a.tif")
    assert all("order of the classes" in sentence for sentence in lost)
    same(read_annotations(tmp_path / "a.parquet", images=tmp_path / "a.tif"), annotations)


def test_what_a_format_cannot_hold_is_said(tmp_path):
    hole = shapely.Polygon([(0, 0), (20, 0), (20, 20), (0, 20)], [[(5, 5), (10, 5), (10, 10), (5, 10)]])
    two = shapely.MultiPolygon([shapely.box(0, 0, 4, 4), shapely.box(10, 10, 14, 14)])
    everything = table(
        [
            box_row(0, 1, 0, 0, 200, 10, score=0.5, difficult=1),
            rbox_row(0, 0, DIAMOND),
            shape_row(1, 0, hole),
            shape_row(1, 0, two, crowd=True),
            shape_row(0, 0, masks().shapes[0]),
            (1, 0, (0, 0, 30, 30), None, shapely.box(1, 1, 5, 5), np.nan, 0, False),
        ]
    )
    told = {
        one: " | ".join(write_annotations(everything, tmp_path / (one + IN_FOLDER.get(one, "x")[3:]), format=one))
        for one in WRITABLE
    }
    assert told["coco"] == "1 polygon with holes is cut into parts without holes that cover the same area."
    assert "5 oriented boxes, polygons and masks are written as horizontal boxes." in told["voc"]
    assert "1 score is not written." in told["voc"]
    assert "1 flag iscrowd is not written." in told["voc"]
    assert "difficult" not in told["voc"]
    assert "1 horizontal box is written as an oriented box." in told["dota"]
    assert "4 polygons and masks are written as oriented boxes." in told["dota"]
    assert "1 class has a name whose spaces are written as hyphens." in told["dota"]
    assert "2 boxes are written as polygons of four points." in told["yolo-segments"]
    assert "1 mask is written as a polygon along pixel edges." in told["yolo-segments"]
    assert "2 polygons with several parts or with holes are each joined into one ring" in told["yolo-segments"]
    assert "1 annotation that reaches past the edge of its image is cut at the edge." in told["yolo-boxes"]
    assert "1 flag difficult is not written." in told["yolo-obb"]
    assert "1 horizontal box that differs from the bounds of its shape is not written." in told["vectors"]
    assert "1 image without annotations is not written." in told["vectors"]


def test_what_is_cut_or_joined_covers_the_same(tmp_path):
    hole = shapely.Polygon([(0, 0), (20, 0), (20, 20), (0, 20)], [[(5, 5), (10, 5), (10, 10), (5, 10)]])
    two = shapely.MultiPolygon([shapely.box(0, 0, 4, 4), shapely.box(10, 10, 14, 14), shapely.box(20, 0, 24, 4)])
    annotations = table([shape_row(0, 0, hole), shape_row(0, 0, two)])
    coco, _ = round_trip(annotations, tmp_path, "coco", images=None)
    assert shapely.union_all(shapely.get_parts(coco.shapes[0])).equals(hole)
    assert coco.shapes[1] == two
    segments, _ = round_trip(annotations, tmp_path, "yolo-segments")
    for shape, expected in zip(segments.shapes, (hole, two), strict=True):
        assert shape.area == pytest.approx(expected.area)
        assert shapely.make_valid(shape).symmetric_difference(expected).area < 1e-6


def test_masks_and_polygons_become_oriented_boxes_over_pixel_edges(tmp_path):
    array = np.zeros(IMAGES[0].shape, dtype=np.bool_)
    array[10:20, 30:60] = True
    annotations = table(
        [shape_row(0, 0, Rle.from_mask(Mask.from_array(array), array.shape)), shape_row(0, 0, shapely.Polygon(DIAMOND))]
    )
    back, _ = round_trip(annotations, tmp_path, "dota")
    assert back.corners_px.tolist() == [[[30, 10], [60, 10], [60, 20], [30, 20]], DIAMOND.tolist()]


def test_voc_of_whole_edges_has_whole_numbers(tmp_path):
    write_annotations(table([box_row(0, 0, 47, 239, 195, 371)]), tmp_path / "out", format="voc")
    text = (tmp_path / "out" / "a.xml").read_text()
    assert "<xmin>48</xmin><ymin>240</ymin><xmax>195</xmax><ymax>371</ymax>" in text
    assert (tmp_path / "out" / "train" / "empty.xml").is_file()


def test_yolo_is_a_data_set_that_names_its_classes(tmp_path):
    write_annotations(boxes(), tmp_path / "out", format="yolo-boxes")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == [
        "data.yaml",
        "labels/a.txt",
        "labels/train/b.txt",
        "labels/train/empty.txt",
    ]
    assert "0: roof" in (tmp_path / "out" / "data.yaml").read_text()
    # A score in the output of a detector comes last; labels have none.
    assert {len(line.split()) for line in (tmp_path / "out" / "labels" / "a.txt").read_text().splitlines()} == {5}


def test_nothing_is_replaced_or_half_written(tmp_path):
    path = tmp_path / "a.json"
    write_annotations(boxes(), path, format="coco")
    before = path.read_bytes()
    with pytest.raises(AnnotationError, match="exists"):
        write_annotations(rboxes(), path, format="coco")
    assert path.read_bytes() == before
    write_annotations(rboxes(), path, format="coco", overwrite=True)
    assert len(json.loads(path.read_text())["annotations"]) == len(rboxes())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(AnnotationError, match="not an empty folder"):
        write_annotations(boxes(), tmp_path / "full", format="dota")
    twice = replace(boxes(), images=(Image("a.png", 60, 100), Image("a.jpg", 40, 50), Image("c.jpg")))
    with pytest.raises(AnnotationError, match=r"a\.png and a\.jpg"):
        write_annotations(twice, tmp_path / "out", format="dota")
    with pytest.raises(AnnotationError, match=r"size of c\.jpg"):
        write_annotations(twice, tmp_path / "out", format="yolo-boxes")
    with pytest.raises(AnnotationError, match=r"\.json"):
        write_annotations(boxes(), tmp_path / "a.gpkg", format="coco")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.json", "full"]


def test_options_without_meaning_are_refused(tmp_path):
    options = [("coco", {"images": SIZES}), ("dota", {"compressed": False}), ("voc", {"overwrite": True}), ("dior", {})]
    for name, option in options:
        with pytest.raises(OptionError):
            write_annotations(boxes(), tmp_path / "out", format=name, **option)
    assert not list(tmp_path.iterdir())

"""Files that nobody vouches for give an error with file and place, or a table; never a crash, and never late."""

import gzip
import json
import math
import os
import re
import time

import format_files
import numpy as np
import pytest
import shapely

from samgeo.annotations import Annotations, read_annotations
from samgeo.errors import AnnotationError, SamgeoError

SECONDS_EACH = 5.0

DOTA = "imagesource:GoogleEarth\ngsd:0.15\n" + "10 10 50 12 48 40 8 38 plane 0\n60.5 10 70 10 70 20 60 20 ship 1\n" * 3
YOLO = "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.2 0.2\n" * 3
OBB = "0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5\n" * 4
VOC = (
    "<annotation><filename>a.png</filename>\n<size><width>100</width><height>80</height><depth>3</depth></size>\n"
    + "<object><name>dog</name><difficult>0</difficult>\n"
    "<bndbox><xmin>8</xmin><ymin>2</ymin><xmax>19</xmax><ymax>31</ymax></bndbox>\n</object>\n" * 3 + "</annotation>\n"
)
FAIR1M = (
    "<annotation><source><filename>1.tif</filename></source>\n<objects>\n"
    + "<object><possibleresult><name>A220</name></possibleresult>\n"
    "<points><point>1,2</point><point>9,2</point><point>9,8</point><point>1,8</point><point>1,2</point></points></object>\n"
    * 3
    + "</objects></annotation>\n"
)
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
        "categories": [{"id": 1, "name": "roof"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 2, 3, 4],
                "segmentation": [[1, 2, 4, 2, 4, 6]],
                "iscrowd": 0,
            },
            {
                "id": 2,
                "image_id": 1,
                "category_id": 1,
                "segmentation": {"size": [10, 20], "counts": [11, 2, 8, 2, 177]},
                "iscrowd": 1,
            },
            {"id": 3, "image_id": 1, "category_id": 1, "segmentation": {"size": [10, 20], "counts": ";280Y5"}, "score": 0.5},
        ],
    },
    indent=1,
)
GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"class": "roof", "score": 0.5},
                "geometry": {"type": "Polygon", "coordinates": [[[1, 2], [4, 2], [4, 6], [1, 2]]]},
            }
        ]
        * 2,
    },
    indent=1,
)
LINES = "".join(json.dumps(feature) + "\n" for feature in json.loads(GEOJSON)["features"])
WHOLE = {
    "a.txt": (DOTA, {"format": "dota"}),
    "b.txt": (YOLO, {"format": "yolo", "images": {"b.png": (10, 20)}}),
    "c.txt": (OBB, {"images": {"c.png": (10, 20)}}),
    "a.xml": (VOC, {}),
    "b.xml": (FAIR1M, {}),
    "a.json": (COCO, {}),
    "a.geojson": (GEOJSON, {"crs": "pixels"}),
    "labelme.json": (format_files.LABELME, {"format": "labelme"}),
    "cvat.xml": (format_files.CVAT, {"format": "cvat"}),
    "via.json": (format_files.VIA, {"format": "via"}),
    "via.csv": (format_files.VIA_CSV, {"format": "via"}),
    "tasks.json": (format_files.LABEL_STUDIO, {"format": "label-studio"}),
    "hrsc.xml": (format_files.HRSC, {"format": "hrsc2016"}),
    "Task1_plane.txt": (format_files.TASK1, {"format": "dota-results"}),
    "results.json": (format_files.COCO_RESULTS, {"format": "coco-results"}),
    "spacenet.csv": (format_files.SPACENET, {"format": "spacenet"}),
    "lines.geojsonl": (LINES, {"crs": "pixels"}),
}
INSERTED = [
    b"NaN",
    b"-1e999",
    b"1e308",
    b"\0",
    b"\xff\xfe",
    b"9" * 400,
    b"<",
    b"&lol;",
    b"]]]",
    b"\xe2\x80\xae",
    b"-",
    b"[" * 50,
    b"{}",
]


def mutations(content, rng):
    """One, two or three changes of the bytes of a file."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(changed) + 1))
        match rng.integers(0, 6):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + int(rng.integers(1, 40))]
            case 2:
                changed[at:at] = INSERTED[rng.integers(0, len(INSERTED))]
            case 3:
                changed[at : at + 1] = bytes([rng.integers(0, 256)])
            case 4:
                start = int(rng.integers(0, len(changed) + 1))
                changed[at:at] = changed[start : start + int(rng.integers(1, 200))]
            case 5:
                digits = [n for n, byte in enumerate(changed) if 48 <= byte <= 57]
                if digits:
                    place = digits[rng.integers(0, len(digits))]
                    changed[place : place + 1] = [b"-", b"nan", b"1e5", b"99999999999", b""][rng.integers(0, 5)]
    return bytes(changed)


def read(path, **options):
    """Read within the time, and return the table or the error, which must have the path."""
    start = time.process_time()
    try:
        result = read_annotations(path, **options)
    except AnnotationError as error:
        result = error
    if isinstance(result, AnnotationError):
        assert str(path) in str(result)
    else:
        assert np.isfinite(result.boxes_px).all()
        assert (result.boxes_px[:, :2] <= result.boxes_px[:, 2:]).all()
        # Polygons may be repaired, and are then valid.
        assert all(shapely.is_valid(shape) for shape in result.shapes if isinstance(shape, shapely.Geometry))
    assert time.process_time() - start < SECONDS_EACH
    return result


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_files_are_read(name, tmp_path):
    content, options = WHOLE[name]
    (tmp_path / name).write_text(content)
    assert len(read_annotations(tmp_path / name, **options)) > 0


@pytest.mark.parametrize("name", WHOLE)
def test_a_hundred_changed_files_of_each_format_are_refused_or_read(name, tmp_path):
    content, options = WHOLE[name]
    rng = np.random.default_rng(list(name.encode()))
    path = tmp_path / name
    refused = 0
    for _ in range(100):
        path.write_bytes(mutations(content.encode(), rng))
        result = read(path, **options)
        refused += isinstance(result, SamgeoError)
        # What is left out is said, and what is left is what the whole would have been.
        rest = read(path, on_error="skip", **options)
        assert isinstance(result, SamgeoError) or rest == result
        if isinstance(rest, Annotations):
            assert bool(rest.left_out) == isinstance(result, SamgeoError)
    # A change in a name or a digit may still be a file; many changes are not.
    assert refused > 30


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)
COUNTS = COCO.replace("[\n     11,\n     2,\n     8,\n     2,\n     177\n    ]", "%s")
assert "%s" in COUNTS

HOSTILE = {
    "laughs.xml": (LAUGHS + VOC.replace("dog", "&j;"), "line 1: .*entity"),
    "external.xml": ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + VOC.replace("dog", "&x;"), "line 1: .*entity"),
    "dtd.xml": ('<?xml version="1.0"?>\n<!DOCTYPE annotation SYSTEM "http://127.0.0.1:1/a.dtd">\n' + VOC, "line 2: .*DOCTYPE"),
    "unknown.xml": (VOC.replace("dog", "&dog;"), "line 3: "),
    "deep.xml": ("<annotation>" + "<a>" * 200_000, "line 1: .*nested more than"),
    "many.xml": ("<annotation>" + "<object/>" * 250_000 + "</annotation>", "more than 200000 elements"),
    "attributes.xml": ("<annotation " + " ".join(f'a{n}="1"' for n in range(100_000)) + "/>", None),
    "token.xml": ("<annotation>" + "x" * 15_000_000, "line 1: .*no element found|line 1: "),
    "large.xml": (" " * (17 << 20), "bytes, more than"),
    "encoding.xml": ('<?xml version="1.0" encoding="utf-7"?>' + VOC, "line 1: .*encoding|encoding"),
    "lies.xml": ('<?xml version="1.0" encoding="utf-16"?>' + VOC, "line 1: "),
    "empty.xml": ("", "no element found"),
    "html.xml": ("<html><body/></html>", "<html>"),
    "nan.xml": (VOC.replace("<xmin>8", "<xmin>nan"), "line 4: <xmin> is 'nan'"),
    "inverted.xml": (VOC.replace("<xmin>8", "<xmin>88"), "line 3: its box has x0 > x1"),
    "size.xml": (VOC.replace("<width>100", "<width>1e300"), "line 2: <width>"),
    "no_name.xml": (VOC.replace("<name>dog</name>", ""), "line 3: .*no <name>"),
    "blank_name.xml": (VOC.replace("dog", " \n"), "line 3: "),
    "path.xml": (VOC.replace("a.png", "../../a.png"), "outside"),
    "points.xml": (FAIR1M.replace("<point>9,8</point>", ""), "line 4: .*4 points|line 4: <points>"),
    "five.xml": (FAIR1M.replace("<point>1,2</point></points>", "<point>1,3</point></points>"), "line 4: .*5 points"),
    "comma.xml": (FAIR1M.replace("9,8", "9 8"), "line 4: .*x,y"),
    "short.txt": (DOTA.replace("plane 0", ""), "line 3: .*8 fields|line 3: it is neither"),
    "nan.txt": (DOTA.replace("60.5", "nan"), "line 4: coordinate 1 is 'nan'"),
    "inf.txt": (DOTA.replace("60.5", "-inf"), "line 4: coordinate 1"),
    "far.txt": (DOTA.replace("60.5", "1e300"), "line 4: .*farther"),
    "flag.txt": (DOTA.replace("ship 1", "ship -1"), "line 4: the difficulty"),
    "null.txt": (DOTA.replace("ship", "sh\0ip"), "line 4: .*NUL"),
    "latin.txt": (DOTA.replace("ship", "sch\xe4ff").encode("latin-1"), "line 4: byte 0xe4 is not UTF-8"),
    "utf16.txt": (DOTA.encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
    "large.txt": (b"1 " * (17 << 20), "bytes, more than"),
    "binary.txt": (bytes(range(256)) * 10, "line "),
    "truncated.json": (COCO[: len(COCO) // 2], "line .*, column "),
    "nan.json": (COCO.replace("0.5", "NaN"), "NaN"),
    "inf.json": (COCO.replace("0.5", "1e999"), r"annotations\[2\]: its score is inf"),
    "long.json": (COCO.replace("0.5", "9" * 5000), "number that cannot be read"),
    "wide.json": (COCO.replace("0.5", "9" * 400), r"annotations\[2\]: its score"),
    "deep.json": ("[" * 1_000_000, "nested too deeply|not valid JSON"),
    "deep2.json": ('{"a":' * 100_000, "nested too deeply|not valid JSON"),
    "utf16.json": (COCO.encode("utf-16"), "line 1: byte 0xff"),
    "null.json": (COCO.replace("roof", "ro\0of"), "NUL"),
    "list.json": ("[]", "not a COCO file"),
    "no_list.json": ('{"images": [], "categories": [], "annotations": {}}', "annotations is {}"),
    "no_objects.json": ('{"images": [], "categories": [], "annotations": [[]]}', r"annotations\[0\]"),
    "id.json": (COCO.replace('"image_id": 1', '"image_id": [1]'), r"annotations\[0\]: its id is \[1\]"),
    "owner.json": (COCO.replace('"image_id": 1', '"image_id": 2'), r"annotations\[0\]: its image_id is 2"),
    "inverted.json": (COCO.replace("   3,\n", "   -3,\n"), r"annotations\[0\]: its bbox is .* negative"),
    "text.json": (COCO.replace('"width": 20', '"width": "wide"'), r"images\[0\]: its width is 'wide'"),
    "huge.json": (COCO.replace('"width": 20', '"width": 1e15'), r"images\[0\]: its width"),
    "frame.json": (COCO.replace('"width": 20', '"width": 21'), r"annotations\[1\]: .*frame"),
    "sum.json": (COUNTS % "[11, 2]", r"annotations\[1\]: the sum of the counts of a mask is 13"),
    "negative.json": (COUNTS % "[-11, 211]", r"annotations\[1\]: "),
    "bomb.json": (
        (COUNTS % "[0, 1125899906842624]").replace("10,\n     20", "33554432,\n     33554432"),
        r"annotations\[1\]: ",
    ),
    "code.json": (COUNTS % '"\\u00ff~~"', r"annotations\[1\]: .*compressed"),
    "odd.json": (COCO.replace("     6\n", "     6, 7\n"), r"annotations\[0\]: a polygon"),
    "no_box.json": (
        COCO.replace('"bbox"', '"box"').replace('"segmentation": [', '"s": ['),
        r"annotations\[0\]: it has neither",
    ),
    "path.json": (COCO.replace("a.png", "/etc/passwd"), r"images\[0\]: .*outside"),
    "control.json": (COCO.replace("a.png", "a\\u0000.png"), r"images\[0\]: "),
    "twice.json": (COCO.replace('"categories": [', '"categories": [{"id": 1, "name": "x"},'), r"categories\[1\]"),
    "empty.json": ("", "line 1, column 1"),
    "point.geojson": (GEOJSON.replace('"Polygon"', '"LineString"').replace("[[[", "[["), None),
    "no_class.geojson": (GEOJSON.replace('"class": "roof"', '"class": null'), "feature 0: its class is empty"),
    "far.geojson": (GEOJSON.replace("4,", "4e300,"), "feature 0: "),
    "elsewhere.geojson": (
        '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>b.gpkg</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>',
        "its first bytes are not those of a .geojson file",
    ),
    "broken.parquet": (b"PAR1" + b"\0" * 100 + b"PAR1", "cannot be read"),
    "broken.gpkg": (b"SQLite format 3\0" + b"\1" * 5000, "cannot be read"),
    "broken.fgb": (b"fgb\3fgb\0" + b"\xff" * 100, "cannot be read"),
    "broken.shp": (b"\0\0\x27\x0a" + b"\0" * 100, "cannot be read"),
    "lines.geojsonl": (LINES.replace("[[[1, 2]", "[[[[1, 2]]", 1), "line 1: its coordinates are not a polygon"),
    "deep.geojsonl": ('{"type": "Feature", "geometry": ' + "[" * 100_000 + "\n", "cannot be read|line 1"),
    "bomb.csv.gz": (gzip.compress(b"ImageId,PolygonWKT_Pix\n" + b"\n" * (1 << 26)), "compressed too much"),
    "bomb2.csv.gz": (gzip.compress(b"ImageId,PolygonWKT_Pix\n" + b"a" * (1 << 26)), "compressed too much"),
    "cut.csv.gz": (gzip.compress(format_files.SPACENET.encode())[:-20], "cannot be read"),
    "quote.csv": (format_files.SPACENET.replace('"POLYGON Z', '"""POLYGON Z', 1) + "a" * 200_000, "not valid CSV|line"),
    "fields.csv": (format_files.SPACENET.replace(",-1,", ","), "line 4: it has 3 fields"),
    "wkt.csv": (format_files.SPACENET.replace("POLYGON Z", "GEOMETRYCOLLECTION(" * 50_000), "line 2: .*not a POLYGON|CSV"),
    "wkt2.csv": (format_files.SPACENET.replace("(10 2,19 2,19 8,10 2)", "(" * 100_000), "line 3: .*not a POLYGON"),
    "laughs_cvat.xml": (LAUGHS + format_files.CVAT.partition("?>")[2], "entity"),
    "runs.xml": (format_files.CVAT.replace("0, 1, 1, 2, 2", "0, 2000000000"), "line 13: the runs of its mask"),
    "mask.xml": (format_files.CVAT.replace('width="3"', 'width="2000000000"'), "line 13: its mask has"),
    "no_mask.json": (re.sub('"mask": "[^"]*"', '"mask": "AAAA"', format_files.LABELME), r"shapes\[4\]: its mask is not a PNG"),
    "picture.json": (
        re.sub('"mask": "[^"]*"', f'"mask": "{format_files.png(np.ones((1, 60)))}"', format_files.LABELME),
        r"shapes\[4\]: its mask has 60 x 1 pixels",
    ),
    "points.json": (format_files.LABELME.replace('"rectangle"', '"line"'), r"shapes\[2\]: its shape_type is 'line'"),
    "up.json": (format_files.VIA.replace('"a.png"', '"../a.png"'), "outside"),
    "drive.json": (format_files.VIA.replace('"a.png"', '"C:\\\\a.png"'), "outside"),
    "percent.json": (
        format_files.LABEL_STUDIO.replace('"width": 16', '"width": -16'),
        r"\[0\], result\[0\]: its width and height",
    ),
    "id.json2": (format_files.COCO_RESULTS.replace('"image_id": 9', '"image_id": {}'), r"\[2\]: its image_id"),
    "pickle.pkl": (b"\x80\x04cos\nsystem\n(S'false'\ntR.", "suffix"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_file_and_place(name, tmp_path):
    content, message = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    options = {".geojson": {"crs": "pixels"}, ".geojsonl": {"crs": "pixels"}, ".txt": {"format": "dota"}}.get(path.suffix, {})
    result = read(path, **options)
    if message is not None:
        assert isinstance(result, AnnotationError)
        assert re.search(message, str(result)), str(result)
        assert len(str(result)) < 1000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0 0.5 0.5 0.2", "line 1: it has 3 numbers"),
        ("0 0.5 0.5 0.2 -0.2", "line 1: its box has a negative side"),
        ("0 50 50 20 20", "line 1: it has 50, which is not a share"),
        ("0.5 0.5 0.5 0.2 0.2", "line 1: its class is 0.5"),
        ("-1 0.5 0.5 0.2 0.2", "line 1: its class is -1"),
        ("7 0.5 0.5 0.2 0.2", "line 1: its class is 7"),
        ("0 0.5 0.5 0.2 nan", "line 1: field 5"),
        ("\n0 0.5 0.5 0.2 0.2 0.5 0.5\n", "line 2: it has 6 numbers|line 2: "),
        ("roof 0.5 0.5 0.2 0.2", "line 1: field 1"),
    ],
)
def test_lines_of_yolo_are_refused_with_their_number(text, line, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "classes.txt").write_text("roof\ntree\n")
    options = {"format": "yolo-boxes", "images": {"a.png": (10, 10)}}
    with pytest.raises(AnnotationError, match=r"a\.txt, " + line):
        read_annotations(tmp_path / "a.txt", **options)


@pytest.mark.parametrize(
    "text",
    [
        "names: !!python/object/apply:os.system ['touch owned']",
        "names: {0: a, 2: b}",
        "names: 7",
        "names: [a, a]",
        "names: [[a]]",
        "names: [1.5]",
        "a: &a [x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nnames: [*c,*c,*c,*c]",
        "names: [" + "[" * 10_000,
        "names: [a, b",
        "names: [\x00]",
        "x" * (1 << 19),
        "- names",
    ],
)
def test_a_hostile_yaml_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    start = time.process_time()
    with pytest.raises(AnnotationError, match=r"data\.yaml"):
        read_annotations(tmp_path, images={"a.png": (10, 10)})
    assert time.process_time() - start < SECONDS_EACH
    assert not (tmp_path / "owned").exists()


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(AnnotationError, match="neither a regular file nor a folder"):
        read_annotations(tmp_path / "a.xml")
    with pytest.raises(AnnotationError, match="not a regular file"):
        read_annotations(tmp_path)


def test_a_mask_of_a_whole_large_image_costs_nothing_until_it_is_drawn(tmp_path):
    # Two thousand masks of two billion pixels each in a few hundred kilobytes.
    masks = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": {"size": [46340, 46340], "counts": [0, 46340**2]}}
        for n in range(2000)
    ]
    value = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "roof"}], "annotations": masks}
    (tmp_path / "a.json").write_text(json.dumps(value))
    table = read(tmp_path / "a.json")
    assert math.isclose(sum(shape.area for shape in table.shapes), 2000 * 46340**2)

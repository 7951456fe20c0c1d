"""Data sets whose boxes a finder or a detector finds."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage

from samgeo.annotations import Annotations, Image
from samgeo.cli import main
from samgeo.errors import OptionError, RunError
from samgeo.finding import DetectorSource, detector_from
from samgeo.samrs import make_samrs
from samgeo.synthetic import town
from samgeo.testing import Oracle, decode_ids, encode_ids, write_raster

SIDE = 96


def squares(first, offset):
    """Return ids of squares, the first of them with the id ``first``."""
    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    for number, (x, y) in enumerate([(8, 8), (50, 12), (20, 60)]):
        labels[y : y + 16 + offset, x : x + 20] = first + number
    return labels


SCENES = {"a.tif": squares(1, 0), "more/b.tif": squares(2, 4), "empty.tif": np.zeros((SIDE, SIDE), dtype=np.int32)}


def boxes_of(ids):
    found = [(number, where) for number, where in enumerate(ndimage.find_objects(ids), 1) if where is not None]
    boxes = [(x.start - 1, y.start - 1, x.stop + 1, y.stop + 1) for _, (y, x) in found]
    return boxes, [0.9] * len(found), [number % 2 for number, _ in found]


def detector(calls=None, version="1"):
    """Return a detector that knows the objects; it counts its calls in a list."""

    def detect(image):
        if calls is not None:
            calls.append(None)
        return boxes_of(decode_ids(image))

    return DetectorSource(detector_from(detect, classes=["even", "odd"], version=version), max_box=1)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for name, labels in SCENES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_raster(folder / name, encode_ids(labels))
    return folder


def instances(folder):
    return json.loads((folder / "instances" / "all.json").read_text())


def make(images, output, **options):
    given = {"model": Oracle(64), "polygons": True, "progress": False, "scheduler": "synchronous"}
    return make_samrs(images, options.pop("annotations", None), output, **given | options)


def test_a_detector_takes_the_place_of_annotations(images, tmp_path):
    calls = []
    made = make(images, tmp_path / "found", finder=detector(calls))
    assert (made.pictures, made.instances, made.rejected, made.failed) == (2, 6, 0, {})
    rows = [
        (number, kind, box)
        for number, name in enumerate(SCENES)
        for box, kind in zip(*boxes_of(SCENES[name])[::2], strict=True)
    ]
    count = len(rows)
    table = Annotations(
        tuple(Image(name, SIDE, SIDE) for name in SCENES), ("even", "odd"),
        np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), np.array([row[2] for row in rows], dtype=float),
        np.full((count, 4, 2), np.nan), np.full(count, None, dtype=object), np.ones(count), np.zeros(count), np.zeros(count),
    )  # fmt: skip
    make(images, tmp_path / "annotated", annotations=table)
    for name in ("gray/a.png", "gray/more/b.png", "color/a.png"):
        assert (tmp_path / "found" / name).read_bytes() == (tmp_path / "annotated" / name).read_bytes()
    masks = [sorted((one["category_id"], one["area"]) for one in instances(tmp_path / name)["annotations"])
             for name in ("found", "annotated")]  # fmt: skip
    assert masks[0] == masks[1]
    text = (tmp_path / "found" / "README.md").read_text()
    assert "The boxes were found by `detect`" in text
    assert "were found by" not in (tmp_path / "annotated" / "README.md").read_text()
    # The same call finds nothing again; another detector is another data set.
    asked = len(calls)
    again = make(images, tmp_path / "found", finder=detector(calls))
    assert (again.instances, len(calls)) == (6, asked)
    with pytest.raises(RunError, match="finder"):
        make(images, tmp_path / "found", finder=detector(version="2"))
    only = make(images, tmp_path / "odd", finder=detector(), classes=["odd"], min_score=0.5, zoom=1.0)
    assert only.instances == 3


def test_a_stop_while_finding_is_continued(images, tmp_path):
    calls = []

    def stopping(image):
        calls.append(None)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return boxes_of(decode_ids(image))

    source = DetectorSource(detector_from(stopping, classes=["even", "odd"], name="detect", version="1"), max_box=1)
    with pytest.raises(KeyboardInterrupt):
        make(images, tmp_path / "found", finder=source)
    made = make(images, tmp_path / "found", finder=detector(calls))
    assert made.instances == 6
    windows = 4 * len(SCENES)
    assert len(calls) <= windows + 4


def test_images_that_cannot_be_read_are_listed_and_wrong_options_refused(images, tmp_path):
    (images / "broken.tif").write_bytes(b"no image")
    made = make(images, tmp_path / "found", finder=detector())
    assert (made.instances, list(made.failed)) == (6, ["broken.tif"])
    for options, told in (
        ({}, "give annotations"),
        ({"finder": detector(), "annotations": tmp_path}, "give annotations"),
        ({"finder": detector(), "class_column": "kind"}, "annotation files"),
        ({"annotations": tmp_path, "min_score": 0.5}, "belong to a finder"),
        ({"finder": detector(), "classes": ["even", "third"]}, "'third' is no class"),
    ):
        with pytest.raises(OptionError, match=told):
            make(images, tmp_path / "other", **options)


def test_the_command_finds_the_buildings_of_a_town(tmp_path):
    (tmp_path / "images").mkdir()
    town((128, 128), seed=1, resolution_m=1.0).save(tmp_path / "images" / "town.tif")
    given = ["dataset", "samrs", str(tmp_path / "images"), str(tmp_path / "out"), "--finder", "building", "--zoom", "2"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    found = instances(tmp_path / "out")
    assert [one["name"] for one in found["categories"]] == ["building"]
    assert len(found["annotations"]) > 4
    result = CliRunner().invoke(main, [*given, "--layout", "yolox"])
    assert "belong to --detector" in result.output
    result = CliRunner().invoke(main, [*given[:3], "a", "b", "c"])
    assert (result.exit_code, "more than three arguments" in result.output) == (2, True)

"""The command makes the same data set as the function, and reports what was left out."""

import json
from importlib import import_module
from typing import get_args

import pytest
from click.testing import CliRunner
from samrs_scenes import save, scene, table_of, turned

from samgeo.annotations import write_annotations
from samgeo.annotations.formats.voc import VocPixels
from samgeo.annotations.parsing.faults import OnError
from samgeo.cli import main
from samgeo.samrs import make_samrs, recipe
from samgeo.synthetic import town

command = import_module("samgeo.cli.dataset")  # In the package, this name is the group of commands.


def run(*arguments):
    return CliRunner().invoke(main, ["dataset", "samrs", *map(str, arguments)])


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Write an image of a town, and the boxes of its roofs as Pascal VOC."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "images").mkdir()
    made = town((192, 192), seed=3)
    made.save(folder / "images" / "a.tif")
    bounds = made.footprints.geometry.affine_transform((~made.geobox.affine).to_shapely()).bounds.to_numpy()
    table = table_of([("a.tif", (192, 192))], [(0, 0, box) for box in bounds], classes=("roof",))
    write_annotations(table, folder / "voc", format="voc")
    return folder


@pytest.mark.filterwarnings("ignore::samgeo.samrs.make.SplitWarning")
def test_it_makes_what_the_function_makes(boxes, tmp_path):
    options = (
        "--chip",
        128,
        "--chip-overlap",
        32,
        "--min-visible",
        0.5,
        "--split",
        "0.5,0.25,0.25",
        "--block-m",
        40,
        "--quiet",
    )
    result = run(
        boxes / "images", boxes / "voc", tmp_path / "a", "--export", "dota", "--polygons", "--license", "CC0", *options
    )
    assert (result.exit_code, result.output) == (0, "")
    make_samrs(
        boxes / "images",
        boxes / "voc",
        tmp_path / "b",
        chip=128,
        chip_overlap=32,
        min_visible=0.5,
        split=(0.5, 0.25, 0.25),
        block_m=40,
        exports=["dota"],
        polygons=True,
        license="CC0",
        progress=False,
    )
    for name in ("statistics.json", "instances/all.json", "instances/train.json", "train.txt", "README.md", "rejected.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert "Licence: CC0" in (tmp_path / "a" / "README.md").read_text()
    assert json.loads((tmp_path / "a" / "statistics.json").read_text())["instances"] > 3


def test_it_says_what_it_made_and_what_failed(tmp_path):
    labels, _ = scene([turned(40, 40, 40, 20, 0)], (96, 96))
    save(tmp_path / "images" / "a.tif", labels)
    (tmp_path / "images" / "b.tif").write_bytes(b"no raster")
    names = [(name, (96, 96)) for name in ("a.tif", "b.tif")]
    table = table_of(names, [(0, 0, (20, 30, 60, 50)), (1, 0, (20, 30, 60, 50)), (0, 1, (200, 30, 260, 50))])
    write_annotations(table, tmp_path / "all.json", format="coco")
    result = run(tmp_path / "images", tmp_path / "all.json", tmp_path / "out", "--min-box-iou", 0, "--device", "cpu")
    assert result.exit_code == 1
    assert "1 mask in 1 picture in" in result.stderr
    assert "; 1 without a mask, see rejected.csv" in result.stderr
    assert "1 image could not be used" in result.stderr


def test_boxes_from_0_and_faulty_records_can_be_read(boxes, tmp_path):
    (tmp_path / "voc").mkdir()
    text = (boxes / "voc" / "a.xml").read_text()
    end = text.index("</annotation>")
    at_0 = "<object><name>roof</name><bndbox>{}</bndbox></object>".format(
        "".join(
            f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), (0, 0, 20, 20), strict=True)
        )
    )
    bad = at_0.replace("<xmin>0", "<xmin>left")
    (tmp_path / "voc" / "a.xml").write_text(text[:end] + at_0 + bad + text[end:])
    inputs = (boxes / "images", tmp_path / "voc", tmp_path / "out")
    for options in ((), ("--on-error", "skip")):
        result = run(*inputs, *options)
        assert result.exit_code == 1
        assert "--pixels edges" in result.stderr
    result = run(*inputs, "--pixels", "edges")
    assert result.exit_code == 1
    assert "<xmin> is 'left'" in result.stderr
    assert "--on-error skip" in result.stderr
    assert not (tmp_path / "out").exists()
    result = run(*inputs, "--pixels", "edges", "--on-error", "skip", "--min-box-iou", 0)
    assert result.exit_code == 0
    assert "1 faulty record left out, see reading.csv" in result.stderr
    assert "<xmin> is 'left'" in (tmp_path / "out" / "reading.csv").read_text()


def test_wrong_usage(tmp_path):
    assert run(tmp_path, tmp_path, tmp_path / "out", "--split", "most").exit_code == 2
    assert run(tmp_path, tmp_path, tmp_path / "out", "--prompt", "dot").exit_code == 2
    result = run(tmp_path, tmp_path, tmp_path / "out")
    assert result.exit_code == 1
    assert "has no images" in result.stderr


def test_its_choices_are_the_recipes():
    for name in ("PROMPTS", "ON_TOP", "EXPORTS"):
        assert getattr(command, name) == getattr(recipe, name)
    assert get_args(VocPixels) == command.PIXELS
    assert get_args(OnError) == command.ON_ERROR

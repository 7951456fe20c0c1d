"""Detectors in ONNX files: each output layout gives known boxes, and files that are wrong are refused with a reason."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx_files import HALF, INT64, mean_network, network

import samgeo
from samgeo.cli import main
from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.finding import Detector, OnnxDetector
from samgeo.finding.detectors import onnx_detector
from samgeo.finding.detectors.letterbox import normalized, placed
from samgeo.finding.detectors.onnx_file import class_names, parsed, read_names
from samgeo.geo.vector.reading import read_vectors
from samgeo.testing import Oracle, encode_ids, write_raster

pytest.importorskip("onnxruntime", reason="detectors in ONNX files need onnxruntime")

SIDE = 64
CELLS = (SIDE // 8) ** 2 + (SIDE // 16) ** 2 + (SIDE // 32) ** 2
BOXES = np.array([[4, 8, 20, 40], [30.5, 2, 60, 12], [0, 50, 16, 64]], dtype=np.float32)
KINDS, SCORES = np.array([2, 0, 1]), np.array([0.75, 0.5, 0.9375], dtype=np.float32)
NAMES = {"names": "{0: 'car', 1: 'boat', 2: 'tree'}"}


def centred(boxes=BOXES):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def probabilities():
    table = np.full((3, 3), 0.125, dtype=np.float32)
    table[np.arange(3), KINDS] = SCORES
    return table


def logits(columns=3):
    with np.errstate(divide="ignore"):
        table = np.full((3, columns), -9, dtype=np.float32)
        table[np.arange(3), KINDS] = np.log(SCORES / (1 - SCORES))
    return table


def filled_up(rows, count, spread=0):
    """Rows in a table of ``count`` rows, of which the others have no score; at least as far apart as ``spread``."""
    table = np.zeros((count, rows.shape[1]), dtype=np.float32)
    table[:, 0] = np.linspace(0, spread, count)
    table[7 : 7 + len(rows)] = rows
    return table


def yolov5(count=3 * CELLS):
    return filled_up(np.concatenate([centred(), np.ones((3, 1)), probabilities()], axis=1).astype(np.float32), count)


def yolov8(*more):
    return filled_up(np.concatenate([centred(), probabilities(), *more], axis=1).astype(np.float32), CELLS).T


def yolox():
    """Boxes in cells of the first level, 8 x 8 of 8 pixels."""
    table = np.zeros((CELLS, 8), dtype=np.float32)
    for (x, y, width, height), scores in zip(centred(), probabilities(), strict=True):
        column, row = int(x // 8), int(y // 8)
        values = [x / 8 - column, y / 8 - row, np.log(width / 8), np.log(height / 8), 0.5, *scores * 2]
        table[row * 8 + column] = values
    return table


def chosen(boxes=BOXES, *more):
    return filled_up(np.concatenate([boxes, SCORES[:, None], KINDS[:, None], *more], axis=1).astype(np.float32), 30)


def turned(angle):
    """Centre, size and angle of boxes that a quarter turn makes to `BOXES`."""
    rows = centred()
    rows[:, 2:] = rows[:, 3:1:-1] if angle else rows[:, 2:]
    return rows, np.full((3, 1), angle, dtype=np.float32)


def detr(columns):
    table = np.full((3, columns), -30, dtype=np.float32)
    rest = (1 - SCORES) / (columns - 1)
    table[:] = np.log(rest)[:, None]
    table[np.arange(3), KINDS] = np.log(SCORES)
    return table


QUARTER, HALF_SURE = float(np.pi / 2), np.full((3, 1), 0.5)
BATCH = np.newaxis
LAYOUTS = {
    "yolov5": ({"output0": yolov5()[BATCH]}, NAMES),
    "yolov5 with raw heads": ({"output0": yolov5()[BATCH], "a": np.zeros((1, 3, 8, 8, 8), np.float32)}, NAMES),
    "yolov5 as YOLOv6": ({"output0": np.where(np.arange(8) == 4, 1, yolov5(CELLS))[BATCH].astype(np.float32)}, NAMES),
    "yolov8": ({"output0": yolov8()[BATCH]}, NAMES),
    "yolov8 in half precision": ({"output0": yolov8()[BATCH].astype(np.float16)}, NAMES),
    "yolov8 with masks": (
        {"output0": yolov8(np.ones((3, 32)))[BATCH], "output1": np.zeros((1, 32, 16, 16), np.float32)},
        NAMES | {"task": "segment"},
    ),
    "yolov8 with key points": ({"output0": yolov8(np.full((3, 51), 9))[BATCH]}, NAMES | {"task": "pose"}),
    "yolov8-obb": ({"output0": yolov8(turned(0)[1])[BATCH]}, NAMES | {"task": "obb"}),
    "yolov8-obb without task": ({"output0": yolov8(turned(0)[1])[BATCH]}, NAMES),
    "yolov10": ({"output0": chosen()[BATCH]}, NAMES),
    "yolov10-obb": ({"output0": chosen(*turned(QUARTER))[BATCH]}, NAMES | {"task": "obb"}),
    "yolox": ({"output": yolox()[BATCH]}, NAMES),
    "yolox in pixels": (
        {"output": filled_up(np.concatenate([centred(), HALF_SURE, probabilities() * 2], axis=1), CELLS, SIDE)[BATCH]},
        NAMES,
    ),
    "detr": ({"logits": detr(4)[BATCH], "pred_boxes": (centred() / SIDE)[BATCH].astype(np.float32)}, NAMES),
    "rtdetr in two outputs": ({"pred_boxes": (centred() / SIDE)[BATCH].astype(np.float32), "logits": logits()[BATCH]}, NAMES),
    "rtdetr with an unused column": ({"dets": (centred() / SIDE)[BATCH], "labels": logits(4)[BATCH]}, NAMES),
    "rtdetr in one output": ({"output0": np.concatenate([centred() / SIDE, probabilities()], axis=1)[BATCH]}, NAMES),
    "rtdetr after choosing": ({"labels": KINDS[BATCH], "boxes": BOXES[BATCH], "scores": SCORES[BATCH]}, NAMES),
}  # fmt: skip


def written(folder: Path, content: bytes, name="model.onnx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def by_score(found):
    order = np.argsort(-found.scores)
    return found[order]


@pytest.mark.parametrize("case", LAYOUTS)
def test_each_layout_gives_the_known_boxes(tmp_path: Path, case) -> None:
    outputs, metadata = LAYOUTS[case]
    outputs = {name: values if values.dtype in {np.dtype(np.int64), np.dtype(np.float16)} else values.astype(np.float32)
               for name, values in outputs.items()}  # fmt: skip
    inputs = [("orig_target_sizes", INT64, (1, 2))] if case == "rtdetr after choosing" else []
    path = written(tmp_path, network(outputs, metadata=metadata, inputs=inputs))
    detector = OnnxDetector(path)
    assert detector.layout.name == case.partition(" ")[0]
    assert (detector.classes, detector.input_size) == (("car", "boat", "tree"), (SIDE, SIDE))
    found = by_score(detector.detect(np.zeros((SIDE, SIDE, 3), dtype=np.uint8)))
    order = np.argsort(-SCORES)
    tolerance = 0.05 if "half" in case else 1e-5
    assert np.allclose(found.boxes, BOXES[order], atol=tolerance)
    assert np.allclose(found.scores, SCORES[order], atol=1e-3)
    assert found.classes.tolist() == KINDS[order].tolist()
    # An image of another shape is fitted into the input, and its boxes come back in its own pixels.
    wide = by_score(detector.detect(np.zeros((SIDE, 2 * SIDE, 3), dtype=np.uint8)))
    fit, scale = detector.layout.fit, np.array([2, 1, 2, 1]) if detector.layout.fit == "stretch" else 2
    offset = np.array([0, 16, 0, 16]) if fit == "center" else 0
    assert np.allclose(wide.boxes, (BOXES[order] - offset) * scale, atol=4 * tolerance)
    assert len(OnnxDetector(path, min_score=0.6).detect(np.zeros((SIDE, SIDE, 3), dtype=np.uint8))) == 2


def test_the_layout_can_be_named_and_must_fit(tmp_path: Path) -> None:
    path = written(tmp_path, network({"output0": yolov5()[BATCH]}))
    detector = OnnxDetector(path, layout="yolov5")
    assert detector.classes == ("class 0", "class 1", "class 2")
    assert OnnxDetector(path, classes=["a", "b", "c"]).classes == ("a", "b", "c")
    assert detector.digest != OnnxDetector(path, classes=["a", "b", "c"]).digest
    with pytest.raises(CheckpointError, match=r"is 3 .* and there are 2 class names"):
        OnnxDetector(path, classes=["a", "b"])
    with pytest.raises(CheckpointError, match="do not fit the layout detr"):
        OnnxDetector(path, layout="detr")
    strange = written(tmp_path, network({"output0": np.zeros((1, 11, 23), np.float32)}), "strange.onnx")
    with pytest.raises(CheckpointError, match=r"output0 \(1, 11, 23\), in none of the layouts"):
        OnnxDetector(strange)
    unnamed = written(tmp_path, network({"output0": chosen()[BATCH]}), "unnamed.onnx")
    with pytest.raises(OptionError, match="give classes"):
        OnnxDetector(unnamed)
    pair = network({"logits": detr(4)[BATCH], "pred_boxes": (centred() / SIDE)[BATCH].astype(np.float32)})
    with pytest.raises(OptionError, match="a column for no object"):
        OnnxDetector(written(tmp_path, pair, "pair.onnx"))
    assert len(OnnxDetector(tmp_path / "pair.onnx", layout="detr").classes) == 3
    # Outputs that look like a layout, and have other values.
    for outputs, told in (
        ({"output0": yolov5()[BATCH] / SIDE}, "boxes from 0 to 1; export it"),
        ({"output0": yolov8()[BATCH] - 1}, "scores from -1"),
        ({"boxes": BOXES[BATCH], "logits": logits()[BATCH]}, "in an input of 64 x 64"),
    ):
        with pytest.raises(CheckpointError, match=told):
            OnnxDetector(written(tmp_path, network(outputs), "other.onnx"), classes=["a", "b", "c"])
    for options in ({"layout": "yolo"}, {"device": "tpu"}, {"normalization": "x"}, {"min_score": 2.0}, {"classes": []},
                    {"input_size": 32}, {"input_size": 8}):  # fmt: skip
        with pytest.raises(OptionError, match=next(iter(options))):
            OnnxDetector(path, **options)
    with pytest.raises(OptionError, match="uint8"):
        detector.detect(np.zeros((4, 4), dtype=np.uint8))


def test_open_sizes_come_from_the_option_or_the_metadata(tmp_path: Path) -> None:
    output = {"output0": yolov8()[BATCH]}
    path = written(tmp_path, network(output, shape=("batch", 3, "height", "width"), metadata=NAMES | {"imgsz": "[64, 64]"}))
    assert OnnxDetector(path).input_size == (64, 64)
    assert OnnxDetector(path, input_size=(64, 64)).input_size == (64, 64)
    assert OnnxDetector(path, input_size=96, layout="yolov8").input_size == (96, 96)
    bare = written(tmp_path, network(output, shape=("batch", 3, "height", "width"), metadata=NAMES), "bare.onnx")
    assert OnnxDetector(bare, layout="yolov8").input_size == (640, 640)


def test_wrong_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    good = {"output0": yolov5()[BATCH]}
    cases = {
        "not an ONNX file": b"no model at all",
        "damaged": network(good)[:300],
        "external data": network(good, external=True),
        "takes 4 images": network(good, shape=(4, 3, 64, 64)),
        "input of floats": network(good, shape=(1, 64, 64, 3)),
        "input of floats of shape": network(good, kind=INT64),
        "the input mask": network(good, inputs=[("mask", INT64, (1, 64))]),
        "cannot be loaded": network(good).replace(b"Identity", b"Idontity"),
    }
    for message, content in cases.items():
        with pytest.raises(CheckpointError, match=message):
            OnnxDetector(written(tmp_path, content))
    with pytest.raises(CheckpointError, match="there is no detector"):
        OnnxDetector(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="cannot be read"):
        OnnxDetector(tmp_path)
    path = written(tmp_path, network(good), "changing.onnx")
    detector = pickle.loads(pickle.dumps(OnnxDetector(path)))  # noqa: S301
    assert isinstance(detector, Detector)
    assert len(detector.detect(np.zeros((8, 8, 3), np.uint8))) == 3
    assert len(pickle.dumps(detector)) < 2000
    loaded = onnx_detector._open.cache_info().misses
    OnnxDetector(path, min_score=0.5)
    assert onnx_detector._open.cache_info().misses == loaded  # A process loads the file once.
    onnx_detector._open.cache_clear()
    written(tmp_path, network(good, metadata=NAMES), "changing.onnx")
    with pytest.raises(CheckpointError, match="has changed"):
        detector.detect(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        OnnxDetector(path, device="cuda")


def test_names_are_read_as_data_only(tmp_path: Path) -> None:
    assert class_names(parsed("{1: 'b', 0: 'a'}")) == class_names(parsed("['a', 'b']")) == ("a", "b")
    for text in ("__import__('os').getcwd()", "{0: 'a', 2: 'b'}", "3", "[]", "(" * 5000, "['a'," * 60_000, "[['a']]"):
        assert class_names(parsed(text)) is None
    yaml = tmp_path / "data.yaml"
    yaml.write_text("names:\n  0: roof\n  1: pool\n")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"id2label": {"0": "roof", "1": "pool"}}))
    text = tmp_path / "classes.txt"
    text.write_text("roof\npool\n")
    assert read_names(yaml) == read_names(config) == read_names(text) == ("roof", "pool")
    assert OnnxDetector(written(tmp_path, network({"output0": yolov8()[BATCH][:, :6]})), classes=yaml).classes == (
        "roof",
        "pool",
    )
    yaml.write_text("!!python/object/apply:os.getcwd []")
    for path, message in ((yaml, "cannot be read"), (tmp_path / "none.txt", "cannot be read")):
        with pytest.raises(OptionError, match=message):
            read_names(path)
    yaml.write_text("nc: 3")
    with pytest.raises(OptionError, match="has no class names"):
        read_names(yaml)


def test_images_are_fitted_padded_and_normalized(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 40, 3)).astype(np.uint8)
    centre, place = placed(image, (80, 80), "center")
    assert place.scale == (2, 2)
    assert place.offset == (0, 20)
    assert (centre[:20] == 114).all()
    assert (centre[60:] == 114).all()
    assert np.array_equal(placed(image, (20, 40), "center")[0], image)
    corner, place = placed(image, (80, 40), "corner")
    assert np.array_equal(corner[:20], image)
    assert (corner[20:] == 114).all()
    assert place.to_image(np.array([[2.0, 3, 4, 5]])).tolist() == [[2, 3, 4, 5]]
    assert placed(image, (10, 10), "stretch")[1].to_image(np.array([[0.0, 0, 10, 10]])).tolist() == [[0, 0, 40, 20]]
    unit, bgr, imagenet = (normalized(image, name)[0] for name in ("unit", "bgr", "imagenet"))
    assert unit.shape == (3, 20, 40)
    assert np.allclose(unit[0] * 255, image[..., 0])
    assert np.array_equal(bgr[0], image[..., 2])
    assert np.allclose(imagenet[2], (image[..., 2] / 255 - 0.406) / 0.225, atol=1e-6)
    # The network sees these values: its score is the mean of red.
    detector = OnnxDetector(written(tmp_path, mean_network()), min_score=0.0)
    image = np.zeros((30, 30, 3), dtype=np.uint8)
    image[..., 0] = 51
    found = detector.detect(image)
    assert found.scores.tolist() == pytest.approx([0.2], abs=1e-5)
    assert found.boxes.tolist() == [[0, 0, 15, 30]]
    assert detector.detect(np.full((30, 30, 3), 255, np.uint8)).scores.tolist() == pytest.approx([1])


def test_find_takes_a_file_a_detector_and_classes(tmp_path: Path) -> None:
    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    for number, (x0, y0, x1, y1) in enumerate(BOXES.round().astype(int), 1):
        labels[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = number
    image = encode_ids(labels)
    path = written(tmp_path, network({"output0": yolov8()[BATCH]}, metadata=NAMES))
    given = {"model": Oracle(SIDE), "progress": False}
    found = samgeo.find(image, finder=path, **given)
    assert sorted(found["class"]) == ["boat", "car", "tree"]
    order = {"car": 2, "boat": 3, "tree": 1}
    for row in found.itertuples():
        assert row.area_px == (labels == order[row[found.columns.get_loc("class") + 1]]).sum()
    assert found.attrs["samgeo"]["options"]["finder"]["name"] == "model.onnx (yolov8)"
    some = samgeo.find(image, "boat, tree", finder=OnnxDetector(path), **given)
    assert sorted(some["class"]) == ["boat", "tree"]
    assert len(samgeo.find(image, finder=path, min_score=0.95, **given)) == 1
    with pytest.raises(OptionError, match="no class 'ship'"):
        samgeo.find(image, "ship", finder=path, **given)
    assert len(samgeo.find(image, finder=pickle.loads(pickle.dumps(OnnxDetector(path))), **given)) == 3  # noqa: S301


def test_half_precision_inputs_are_fed(tmp_path: Path) -> None:
    path = written(tmp_path, network({"output0": yolov8()[BATCH].astype(np.float16)}, metadata=NAMES, kind=HALF))
    assert len(OnnxDetector(path).detect(np.zeros((SIDE, SIDE, 3), np.uint8))) == 3


@pytest.mark.skipif(not os.environ.get("SAMGEO_DATA"), reason="needs YOLOX-Nano: SAMGEO_DATA is not set to its folder")
@pytest.mark.parametrize(
    ("photograph", "kind", "box"), [("chelsea", 15, (0, 0, 451, 300)), ("coffee", 41, (172, 17, 411, 303))]
)
def test_yolox_nano_finds_the_cat_and_the_cup_of_photographs(photograph, kind, box) -> None:
    data = pytest.importorskip("skimage.data")
    detector = OnnxDetector(Path(os.environ["SAMGEO_DATA"]) / "pretrained-backbones" / "yolox_nano.onnx")
    assert (detector.layout.name, detector.layout.strides, len(detector.classes)) == ("yolox", (8, 16, 32), 80)
    image = getattr(data, photograph)()
    found = by_score(detector.detect(image))
    assert found.classes[0] == kind
    assert found.scores[0] > 0.6
    best = np.clip(found.boxes[0], 0, np.tile(image.shape[1::-1], 2))
    shared = np.clip(np.minimum(best[2:], box[2:]) - np.maximum(best[:2], box[:2]), 0, None).prod()
    union = (best[2:] - best[:2]).prod() + (box[2] - box[0]) * (box[3] - box[1]) - shared
    assert shared / union > 0.85


def test_the_command_takes_a_detector_with_names_and_a_layout(tmp_path: Path) -> None:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, ["find", str(image), *map(str, arguments)])

    image = write_raster(tmp_path / "image.tif", np.zeros((128, 128, 3), dtype=np.uint8))
    rows = np.array([[32, 32, 64, 64, 0.875, 1], [64, 64, 96, 96, 0.875, 0]], dtype=np.float32)
    detector = written(tmp_path, network({"output0": rows[BATCH]}, shape=(1, 3, 512, 512)))
    names, output = tmp_path / "names.txt", tmp_path / "roofs.gpkg"
    names.write_text("car\nroof\n")
    options = ["--detector", detector, "--class-names", names]
    result = run(output, *options, "--layout", "yolov10", "--class", "roof", "--min-score", 0)
    assert result.exit_code == 0, result.output
    found = read_vectors(output)
    assert found["class"].tolist() == ["roof"]
    assert found.geometry.area.gt(0).all()
    for more, told in (
        (["--boxes", output], "--detector and --boxes are given; give one of them"),
        (["--class", "tree"], "has no class 'tree'"),
        (["--layout", "yolov5"], "in the layout yolov5 is 1"),
    ):
        result = run(tmp_path / "other.gpkg", *options, *more)
        assert (result.exit_code, told in result.stderr) == (1, True), result.stderr
    assert "belong to --detector" in run(tmp_path / "other.gpkg", "--layout", "yolox").stderr

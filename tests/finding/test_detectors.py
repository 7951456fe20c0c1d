"""Detectors as prompt sources: windows, classes, suppression, masks of the detector, and functions as detectors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import samgeo
from samgeo.errors import ModelError, OptionError, SamgeoError
from samgeo.finding import Detections, Detector, DetectorSource, detector_from
from samgeo.finding.detectors.detection import check_detections
from samgeo.geo.grid import Rect
from samgeo.segmentation.windows.proposals import PromptSource, WindowView
from samgeo.testing import Oracle, decode_ids, encode_ids


class TrueBoxes:
    """A detector that knows the objects of images of `encode_ids`: the class is that of the id, even or odd."""

    name, classes = "true boxes", ("even", "odd")

    def __init__(self, *, draw=False, grow=1.0):
        self.draw, self.grow = draw, grow
        self.digest = f"true-{draw}-{grow}"

    def detect(self, image):
        ids = decode_ids(image)
        present = [
            (number, where) for number, where in enumerate(ndimage.find_objects(ids), 1) if where is not None and number < 1000
        ]
        boxes = [(x.start - self.grow, y.start - self.grow, x.stop + self.grow, y.stop + self.grow) for _, (y, x) in present]
        logits = np.stack([np.where(ids == number, 4.0, -4.0) for number, _ in present]) if present and self.draw else None
        return Detections(
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            np.array([0.9 if number % 2 else 0.6 for number, _ in present], dtype=np.float32),
            np.array([number % 2 for number, _ in present], dtype=np.int64),
            None if logits is None else logits.astype(np.float32),
        )


def squares(shape=(200, 260), side=24, step=40) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.int32)
    number = 0
    for y in range(8, shape[0] - side, step):
        for x in range(8, shape[1] - side, step):
            number += 1
            labels[y : y + side, x : x + side] = number
    return labels


def find(labels, source, **options):
    return samgeo.find(encode_ids(labels), finder=source, model=Oracle(64), progress=False, **options)


@pytest.mark.parametrize("draw", [False, True])
def test_a_detector_gives_every_object_once_over_all_windows_with_its_class(draw) -> None:
    labels = squares()
    found = find(labels, DetectorSource(TrueBoxes(draw=draw), max_box=1))
    assert len(found) == labels.max()
    assert found["area_px"].eq(24 * 24).all()
    assert found["complete"].all()
    centre = found.geometry.centroid
    numbers = labels[-centre.y.astype(int), centre.x.astype(int)]
    assert found["class"].tolist() == [("even", "odd")[number % 2] for number in numbers]
    expected = np.where(numbers % 2, 0.9, 0.6)
    assert np.allclose(found["score"], expected if draw else np.sqrt(expected), atol=1e-6)
    assert np.allclose(found["predicted_iou"], expected if draw else 1, atol=1e-6)


def test_results_are_equal_for_any_workers_and_after_a_stop(tmp_path: Path) -> None:
    labels = squares()
    source = DetectorSource(TrueBoxes(), max_box=1)
    whole = find(labels, source, scheduler="synchronous")
    for options in ({"workers": 1}, {"workers": 3}):
        again = find(labels, source, **options)
        assert again.geometry.equals(whole.geometry)
        assert again.drop(columns="geometry").equals(whole.drop(columns="geometry"))

    class Failing(Oracle):
        left = 5

        def embed(self, images, sizes=None):
            Failing.left -= 1
            if Failing.left < 0:
                raise KeyboardInterrupt
            return super().embed(images, sizes)

    given = {"run_dir": tmp_path / "run", "scheduler": "synchronous", "progress": False}
    with pytest.raises(KeyboardInterrupt):
        samgeo.find(encode_ids(labels), finder=source, model=Failing(64), **given)
    assert samgeo.find(encode_ids(labels), finder=source, model=Oracle(64), **given).geometry.equals(whole.geometry)
    with pytest.raises(SamgeoError, match="finder"):
        samgeo.find(encode_ids(labels), finder=DetectorSource(TrueBoxes()), model=Oracle(64), **given)


def view(image, *, valid=None, size=None, core=None, zoom=1.0) -> WindowView:
    side = len(image)
    rect = Rect(0, 0, side, side)
    valid = np.ones((side, side), dtype=bool) if valid is None else valid
    return WindowView(rect, size or (side, side), valid, core or rect, 1, zoom, None, image)


def proposed(boxes, *, scores=None, kinds=None, logits=None, image=None, window=None, side=64, **options):
    """Proposals for one window of 64 pixels from a detector that returns these boxes."""
    count = len(boxes)
    found = Detections(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array([0.9] * count if scores is None else scores, dtype=np.float32),
        np.array([0] * count if kinds is None else kinds, dtype=np.int64),
        logits,
    )
    detector = detector_from(lambda _: found, classes=["a", "b"], version="1")
    image = np.zeros((64, 64, 3), np.uint8) if image is None else image
    return DetectorSource(detector, **options).propose(Oracle(side), None, window or view(image))[0]


def test_boxes_are_filtered_scaled_and_suppressed_within_a_class() -> None:
    boxes = [[0, 0, 20, 20], [1, 0, 21, 20], [1, 0, 21, 20], [-6, 30, 10, 50], [0, 0, 64, 60], [40, 40, 40, 60]]
    scores, kinds = [0.5, 0.8, 0.7, 0.9, 0.9, 0.9], [0, 0, 1, 0, 0, 0]
    found = proposed(boxes, scores=scores, kinds=kinds)
    assert found.boxes.tolist() == [[0, 30, 10, 50], [1, 0, 21, 20], [1, 0, 21, 20]]
    assert found.classes.tolist() == [0, 0, 1]
    assert np.allclose(found.scores, [0.9, 0.8, 0.7])
    assert len(proposed(boxes, scores=scores, kinds=kinds, box_nms=1.0, max_box=1)) == 5
    assert len(proposed(boxes, scores=scores, kinds=kinds, min_score=0.75)) == 2
    only = proposed(boxes, scores=scores, kinds=kinds, classes=["b"])
    assert (only.boxes.tolist(), only.classes.tolist()) == ([[1, 0, 21, 20]], [0])
    image = np.zeros((64, 64, 3), np.uint8)
    double = proposed([[2, 4, 10, 20]], window=view(image, zoom=2.0), side=128)
    assert (double.boxes.tolist(), double.points.tolist()) == ([[4, 8, 20, 40]], [[12, 24]])


def test_parts_without_data_are_filled_with_the_mean_and_their_boxes_are_dropped() -> None:
    image, valid = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), dtype=bool)
    image[:40, :50], valid[:40, :50] = (10, 100, 200), True
    image[:20, :50] = (20, 100, 200)
    seen = []

    def watching(pixels):
        seen.append(pixels)
        return [[30, 10, 58, 30], [45, 10, 62, 30], [10, 30, 20, 60]], [0.9, 0.9, 0.9], [0, 0, 0]

    source = DetectorSource(detector_from(watching, classes=["a"]))
    found, _ = source.propose(Oracle(64), None, view(image, valid=valid, size=(40, 50)))
    assert found.boxes.tolist() == [[30, 10, 50, 30]]
    assert np.unique(seen[0][40:].reshape(-1, 3), axis=0).tolist() == [[15, 100, 200]]
    assert np.array_equal(seen[0][:40, :50], image[:40, :50])


def test_a_box_at_the_border_of_two_cores_is_proposed_by_both_windows() -> None:
    window = view(np.zeros((64, 64, 3), np.uint8), core=Rect(8, 8, 40, 64))
    found = proposed([[31, 20, 51, 30], [37, 40, 47, 50]], window=window)
    assert window.responsible(found.points).tolist() == [True, False]
    # The centre of an object lies just outside the core in each window, because each window sees the object a little shifted.
    labels = squares()
    calls = []

    def shifted(image):
        calls.append(None)
        boxes = TrueBoxes().detect(image)
        return Detections(boxes.boxes + (-1) ** len(calls), boxes.scores, boxes.classes)

    source = DetectorSource(detector_from(shifted, classes=["even", "odd"], version="1"), max_box=1)
    found = find(labels, source, scheduler="synchronous")
    assert len(found) == labels.max()


def test_masks_of_a_detector_are_used_and_large_ones_reduced() -> None:
    logits = np.full((1, 128, 128), -3, dtype=np.float32)
    logits[0, 20:60, 20:40] = 3
    found = proposed([[10, 10, 20, 30]], logits=logits)
    assert found.logits is not None
    assert found.logits.shape == (1, 64, 64)
    assert np.argwhere(found.logits[0] > 0).min(0).tolist() == [10, 10]
    assert (found.logits > 0).sum() == 200
    assert len(found[np.array([False])].logits) == 0


def test_a_detector_that_returns_nonsense_is_an_error() -> None:
    bad = [
        ({"scores": [1.5]}, "scores from"),
        ({"scores": [float("nan")]}, "not finite"),
        ({"kinds": [2]}, "class number 2"),
        ({"scores": [0.5, 0.5]}, "shape"),
        ({"logits": np.zeros((2, 4, 4), np.float32)}, "mask logits"),
    ]
    for options, message in bad:
        with pytest.raises(ModelError, match=message):
            proposed([[0, 0, 9, 9]], **options)
    detector = detector_from(lambda image: ([], [], []), classes=["a"])
    for options, message in (({"classes": ["c"]}, "no class 'c'"), ({"max_box": 1.5}, "max_box")):
        with pytest.raises(OptionError, match=message):
            DetectorSource(detector, **options)
    with pytest.raises(OptionError, match="pixels"):
        DetectorSource(detector).propose(
            Oracle(64),
            None,
            view(np.zeros((64, 64, 3), np.uint8)).__class__(
                Rect(0, 0, 64, 64), (64, 64), np.ones((64, 64), dtype=bool), Rect(0, 0, 64, 64), 1, 1.0
            ),
        )
    assert isinstance(DetectorSource(detector), PromptSource)
    assert isinstance(detector, Detector)
    assert len(check_detections(detector.detect(np.zeros((4, 4, 3), np.uint8)), detector)) == 0


def first_half(image):
    return torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([0.5]), np.array(["b"])


def test_a_function_is_identified_by_its_version_or_its_code() -> None:
    def made(limit):
        return lambda image: ([[0, 0, limit, limit]], [0.9], [0])

    digests = [detector_from(made(limit), classes=["a"]).digest for limit in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
    named = [detector_from(made(limit), classes=["a"], version="7").digest for limit in (1, 2)]
    assert named[0] == named[1]
    assert detector_from(made(1), classes=["a"], version="8").digest != named[0]
    with pytest.raises(OptionError, match="give a version"):
        detector_from(len, classes=["a"])
    with pytest.raises(OptionError, match="classes is empty"):
        detector_from(first_half, classes=[])
    with pytest.raises(OptionError, match="give a function"):
        detector_from(3, classes=["a"])
    detector = pickle.loads(pickle.dumps(detector_from(first_half, classes=["a", "b"])))  # noqa: S301
    found = detector.detect(np.zeros((16, 16, 3), np.uint8))
    assert (found.boxes.tolist(), found.classes.tolist()) == ([[0, 0, 8, 8]], [1])
    for answer, message in ((None, "NoneType"), (([[0, 0, 1, 1]], [0.5], ["z"]), "class 'z'")):
        with pytest.raises(ModelError, match=message):
            detector_from(lambda image, answer=answer: answer, classes=["a"]).detect(np.zeros((4, 4, 3), np.uint8))

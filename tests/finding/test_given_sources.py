"""Prompt sources of boxes and of peaks, and what every source shares: windows, the core rule, scores, merging, and runs."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

import samgeo
from samgeo.annotations import Annotations, Image, write_annotations
from samgeo.errors import AnnotationError, OptionError, SamgeoError
from samgeo.finding import boxes_from, peaks_of
from samgeo.geo.vector.reading import read_vectors
from samgeo.testing import Oracle, encode_ids, write_raster


def squares(shape=(200, 260), side=24, step=40) -> np.ndarray:
    """Labels of squares in rows and columns."""
    labels = np.zeros(shape, dtype=np.int32)
    number = 0
    for y in range(8, shape[0] - side, step):
        for x in range(8, shape[1] - side, step):
            number += 1
            labels[y : y + side, x : x + side] = number
    return labels


def boxes_of(labels: np.ndarray, grow: float = 1.0) -> np.ndarray:
    """The boxes around the objects of labels, a little larger."""
    found = []
    for number in range(1, labels.max() + 1):
        rows, columns = np.nonzero(labels == number)
        found.append((columns.min() - grow, rows.min() - grow, columns.max() + 1 + grow, rows.max() + 1 + grow))
    return np.array(found, dtype=float)


def found_from(boxes, labels, **options):
    source = boxes_from(boxes, encode_ids(labels), crs="pixels")
    return samgeo.find(encode_ids(labels), finder=source, model=Oracle(64), progress=False, **options)


def test_every_box_gives_its_object_once_over_all_windows() -> None:
    labels = squares()
    found = found_from(boxes_of(labels), labels)
    assert len(found) == labels.max()
    assert found["area_px"].eq(24 * 24).all()
    assert found["complete"].all()
    assert found["class"].eq("object").all()
    assert found["score"].between(0.9, 1).all()


def test_only_what_is_proposed_is_found() -> None:
    labels = squares()
    some = boxes_of(labels)[[3, 8, 11]]
    found = found_from(some, labels)
    assert sorted(map(tuple, found.geometry.bounds.to_numpy())) == sorted(map(tuple, np.abs(some - [-1, -1, 1, 1])))


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2}, {"scheduler": "synchronous"}])
def test_results_do_not_depend_on_workers(options) -> None:
    labels = squares()
    first = found_from(boxes_of(labels), labels)
    again = found_from(boxes_of(labels), labels, **options)
    assert first.geometry.equals(again.geometry)
    assert first.drop(columns="geometry").equals(again.drop(columns="geometry"))


def test_classes_and_scores_come_from_columns_and_a_threshold_drops_objects(tmp_path: Path) -> None:
    labels = squares()
    boxes = boxes_of(labels)
    frame = gpd.GeoDataFrame(
        {"score": np.linspace(0.2, 1, len(boxes)), "class": ["roof", "pool"] * (len(boxes) // 2) + ["roof"] * (len(boxes) % 2)},
        geometry=shapely.box(*boxes.T),
    )
    image = encode_ids(labels)
    source = boxes_from(frame, image, crs="pixels")
    assert source.classes == ("pool", "roof")
    everything = samgeo.find(image, finder=source, model=Oracle(64), progress=False)
    assert sorted(everything["class"].unique()) == ["pool", "roof"]
    some = samgeo.find(image, finder=source, model=Oracle(64), min_score=0.8, progress=False)
    assert 0 < len(some) < len(everything)
    assert some["score"].min() >= 0.8
    file = tmp_path / "found.gpkg"
    samgeo.find(image, "object", file, finder=source, model=Oracle(64), progress=False)
    written = read_vectors(file)
    assert written["class"].tolist() == everything["class"].tolist()
    assert written["score"].tolist() == everything["score"].tolist()


def test_a_run_that_was_stopped_gives_the_same_objects(tmp_path: Path) -> None:
    labels = squares()
    image, boxes = encode_ids(labels), boxes_of(labels)
    source = boxes_from(boxes, image, crs="pixels")
    whole = samgeo.find(image, finder=source, model=Oracle(64), progress=False)

    class Failing(Oracle):
        left = 5

        def embed(self, images, sizes=None):
            Failing.left -= 1
            if Failing.left < 0:
                raise KeyboardInterrupt
            return super().embed(images, sizes)

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        samgeo.find(image, finder=source, model=Failing(64), run_dir=run, scheduler="synchronous", progress=False)
    again = samgeo.find(image, finder=source, model=Oracle(64), run_dir=run, scheduler="synchronous", progress=False)
    assert again.geometry.equals(whole.geometry)
    assert again["score"].equals(whole["score"])
    other = boxes_from(boxes[1:], image, crs="pixels")
    with pytest.raises(SamgeoError, match="finder"):
        samgeo.find(image, finder=other, model=Oracle(64), run_dir=run, progress=False)


def test_peaks_of_heights_become_points_in_another_grid(tmp_path: Path) -> None:
    labels = squares((80, 80))
    heights = np.zeros((80, 80), dtype=np.float32)
    for number in range(1, labels.max() + 1):
        rows, columns = np.nonzero(labels == number)
        heights[rows, columns] = 3 + number - 0.1 * np.hypot(rows - rows.mean(), columns - columns.mean())
    image = write_raster(tmp_path / "image.tif", encode_ids(labels))
    source = peaks_of(write_raster(tmp_path / "heights.tif", heights), image, min_distance=5)
    assert len(source) == labels.max()
    found = samgeo.find(image, finder=source, model=Oracle(64), progress=False)
    assert len(found) == labels.max()
    with pytest.raises(OptionError, match="no peak of"):
        peaks_of(tmp_path / "heights.tif", image, min_value=1000)
    with pytest.raises(OptionError, match="min_distance"):
        peaks_of(tmp_path / "heights.tif", image, min_distance=0)


def test_bad_boxes_and_options_are_refused() -> None:
    image = encode_ids(squares((80, 80)))
    with pytest.raises(OptionError, match="no box"):
        boxes_from(np.empty((0, 4)), image, crs="pixels")
    frame = gpd.GeoDataFrame({"score": [2.0]}, geometry=[shapely.box(1, 1, 5, 5)])
    with pytest.raises(OptionError, match="score of box 0"):
        boxes_from(frame, image, crs="pixels")
    source = boxes_from([[1, 1, 9, 9]], image, crs="pixels")
    for options in ({"flips": True}, {"resolution": 0.5}, {"zoom": 0.0}, {"min_score": 1.5}):
        with pytest.raises(OptionError, match=next(iter(options))):
            samgeo.find(image, finder=source, model=Oracle(64), **options)


def annotated(boxes, shape=(80, 80), names=("city.tif",), image=None) -> Annotations:
    """Annotations of two classes, with scores, of the first image by default."""
    count = len(boxes)
    return Annotations(
        images=tuple(Image(name, *shape) for name in names),
        classes=("roof", "pool"),
        image=np.zeros(count, dtype=np.int64) if image is None else image,
        label=np.arange(count) % 2,
        boxes_px=boxes,
        corners_px=np.full((count, 4, 2), np.nan),
        shapes=np.full(count, None, dtype=object),
        scores=np.linspace(0.5, 1, count),
        difficult=np.zeros(count),
        crowd=np.zeros(count),
    )


@pytest.mark.parametrize("kind", ["coco", "coco-results", "yolo-boxes", "roboflow"])
def test_boxes_come_from_annotations_in_pixels_of_the_image(tmp_path: Path, kind) -> None:
    labels = squares((80, 80))
    image = write_raster(tmp_path / "city.tif", encode_ids(labels))
    boxes = boxes_of(labels)
    names = ("other.tif", "city.tif") if kind != "yolo-boxes" else ("city.tif",)
    own = np.full(len(boxes), len(names) - 1)
    table = annotated(boxes, names=names, image=own)
    if kind == "roboflow":
        path = tmp_path / "export" / "train" / "_annotations.coco.json"
        path.parent.mkdir(parents=True)
        write_annotations(table, path, format="coco")
        path = tmp_path / "export"
    elif kind == "coco-results":
        path = tmp_path / "results.json"
        records = [
            {"image_id": "city", "category_id": int(label), "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
             "score": float(score)}
            for box, label, score in zip(boxes, table.label, table.scores, strict=True)
        ]  # fmt: skip
        path.write_text(json.dumps(records))
    else:
        path = tmp_path / ("found.json" if kind == "coco" else "labels")
        write_annotations(table, path, format=kind)
    source = boxes_from(path, image)
    assert np.allclose(source.boxes_px, boxes, atol=1e-6)
    scores = table.scores if kind != "yolo-boxes" else source.scores
    assert np.allclose(source.scores, scores)
    expected = ("0", "1") if kind == "coco-results" else ("pool", "roof")
    assert source.classes == expected
    found = samgeo.find(image, finder=source, model=Oracle(64), progress=False)
    assert len(found) == labels.max()


def test_annotations_of_other_images_are_refused(tmp_path: Path) -> None:
    labels = squares((80, 80))
    image = write_raster(tmp_path / "city.tif", encode_ids(labels))
    boxes = boxes_of(labels)
    two = tmp_path / "two.json"
    write_annotations(annotated(boxes, names=("a.tif", "b.tif")), two, format="coco")
    with pytest.raises(OptionError, match="2 images, and none of them has the name"):
        boxes_from(two, image)
    one = tmp_path / "one.json"
    write_annotations(annotated(boxes, shape=(90, 80), names=("a.tif",)), one, format="coco")
    with pytest.raises(OptionError, match="80 x 90 pixels"):
        boxes_from(one, image)
    with pytest.raises(OptionError, match="crs"):
        boxes_from(one, image, crs="pixels")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="no annotations"):
        boxes_from(tmp_path / "empty", image)
    # The only image of a file need not have the name of the raster.
    write_annotations(annotated(boxes, names=("a.tif",)), one, format="coco", overwrite=True)
    assert len(boxes_from(one, image)) == len(boxes)

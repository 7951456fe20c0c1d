"""Average precision and recall are equal to those of COCO's own code, for boxes and for masks along pixel edges."""

import contextlib
import io

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from rasterio.features import rasterize, shapes
from shapely import box
from shapely.geometry import shape

from samgeo.evaluation import evaluate
from samgeo.evaluation.average_precision import Side, curves
from samgeo.evaluation.matching import Pairs

SIZES = (32.0**2, 96.0**2)
SIDE = 512
UNLIMITED = 10**6


def coco_evaluation(truth, found, segments, sizes=SIZES):
    """Return the precision (threshold, recall, class, range) and the recall (threshold, class, range) of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    classes = sorted({*truth["kind"], *found["kind"]})
    code = {name: number for number, name in enumerate(classes, 1)}
    true, detected = COCO(), COCO()
    for coco, frame in ((true, truth), (detected, found)):
        entries = [annotation(number, row, code, segments) for number, row in enumerate(frame.itertuples(), 1)]
        coco.dataset = {
            "images": [{"id": 1, "height": SIDE, "width": SIDE}],
            "categories": [{"id": number, "name": name} for name, number in code.items()],
            "annotations": entries,
        }
        coco.createIndex()
    judge = COCOeval(true, detected, "segm" if segments else "bbox")
    judge.params.maxDets = [UNLIMITED]
    judge.params.areaRng = [[0, 1e10], [0, sizes[0]], [sizes[0], sizes[1]], [sizes[1], 1e10]]
    judge.params.areaRngLbl = ["all", "small", "medium", "large"]
    judge.evaluate()
    judge.accumulate()
    return judge.eval["precision"][..., 0], judge.eval["recall"][..., 0]


def annotation(number, row, code, segments):
    from pycocotools import mask as masks

    x0, y0, x1, y1 = (float(value) for value in row.geometry.bounds)
    entry = {"id": number, "image_id": 1, "category_id": code[row.kind], "iscrowd": 0, "area": row.geometry.area}
    entry["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    if segments:
        pixels = rasterize([row.geometry], (SIDE, SIDE), transform=Affine.identity(), dtype="uint8")
        entry["segmentation"] = masks.encode(np.asfortranarray(pixels))
        assert pixels.sum() == row.geometry.area
    return entry | ({"score": row.score} if hasattr(row, "score") else {})


def mean(values):
    known = values[values > -1]
    return known.mean() if known.size else np.nan


def boxes(rng, count):
    """Return rectangles of all sizes, and slightly different copies of many of them."""
    low = rng.integers(0, SIDE - 200, (count, 2))
    side = np.exp(rng.uniform(np.log(4), np.log(180), (count, 2))).astype(int)
    truth = [box(*one, *(one + size)) for one, size in zip(low, side, strict=True)]
    again = []
    for one, size in zip(low, side, strict=True):
        for _ in range(rng.integers(0, 4)):
            shift, grow = (rng.integers(-1 - size // 5, 2 + size // 5) for _ in range(2))
            again.append(box(*np.maximum(one + shift, 0), *(np.maximum(one + shift, 0) + np.maximum(size + grow, 1))))
    return truth, again


def blobs(rng, count):
    """Return polygons along pixel edges of random masks with holes and several parts, and the same masks with noise."""
    truth, again = [], []
    for _ in range(count):
        y, x = rng.integers(0, SIDE - 50, 2)
        side = int(rng.integers(6, 48))
        mask = rng.random((side, side)) < rng.uniform(0.7, 0.97)
        truth.append(outline(mask, x, y))
        noise = [rng.random(mask.shape) < rng.uniform(0, 0.4) for _ in range(rng.integers(0, 3))]
        again += [outline(mask ^ some, x, y) for some in noise]
    return [one for one in truth if one is not None], [one for one in again if one is not None]


def outline(mask, x, y):
    import shapely

    parts = [shape(geometry) for geometry, _ in shapes(mask.astype(np.uint8), mask, transform=Affine.translation(x, y))]
    return shapely.unary_union(parts) if parts else None


def layers(rng, make, count):
    truth, found = make(rng, count)
    found += make(rng, max(count // 4, 1))[0]
    kinds = ["car", "roof", "tree"][: rng.integers(1, 4)]
    truth, found = (gpd.GeoDataFrame({"kind": rng.choice(kinds, len(some))}, geometry=list(some)) for some in (truth, found))
    # There are only a few different scores, so that many objects have the same score.
    found["score"] = rng.integers(0, 8, len(found)) / 8
    return truth, found


def compare(truth, found, segments, sizes=SIZES):
    with contextlib.redirect_stdout(io.StringIO()):
        precision, recall = coco_evaluation(truth, found, segments, sizes)
    shared = set(truth["kind"]) & set(found["kind"])
    report = evaluate(found, truth, class_column="kind" if shared else None, sizes=sizes)
    ours = [report.overall, *report.by_size.values()]
    for number, scores in enumerate(ours):
        theirs = precision[..., number]
        expected = [mean(theirs), mean(theirs[0]), mean(theirs[5]), mean(recall[..., number])]
        np.testing.assert_allclose([scores.ap, scores.ap50, scores.ap75, scores.ar], expected, rtol=0, atol=1e-12)
    for number, name in enumerate(sorted(report.by_class)):
        np.testing.assert_allclose(report.by_class[name].ap, mean(precision[:, :, number, 0]), rtol=0, atol=1e-12)
    return len(truth) + len(found)


@pytest.mark.parametrize("seed", range(10))
def test_boxes_score_as_in_coco(seed):
    rng = np.random.default_rng(seed)
    assert sum(compare(*layers(rng, boxes, int(rng.integers(1, 60))), segments=False) for _ in range(3)) > 50


@pytest.mark.parametrize("seed", range(3))
def test_masks_score_as_in_coco(seed):
    rng = np.random.default_rng(100 + seed)
    assert compare(*layers(rng, blobs, 24), segments=True, sizes=(12.0**2, 28.0**2)) > 50


def test_precision_at_every_recall_is_that_of_coco():
    rng = np.random.default_rng(7)
    truth, found = layers(rng, boxes, 150)
    truth["kind"] = found["kind"] = "roof"
    with contextlib.redirect_stdout(io.StringIO()):
        precision, recall = coco_evaluation(truth, found, segments=False)
    a, b = found.geometry.to_numpy(), truth.geometry.to_numpy()
    i, j = (axis.ravel() for axis in np.indices((len(a), len(b))))
    shared = found.geometry.iloc[i].intersection(truth.geometry.iloc[j], align=False).area.to_numpy()
    areas = found.area.to_numpy(), truth.area.to_numpy()
    pairs = Pairs(i, j, shared / (areas[0][i] + areas[1][j] - shared))
    sides = [Side(area, np.zeros(len(area), bool), np.zeros(len(area), int)) for area in areas]
    ranges = [(0, np.inf), (0, SIZES[0]), SIZES, (SIZES[1], np.inf)]
    for number, area_range in enumerate(ranges):
        ours = curves(pairs, found["score"].to_numpy(), *sides, area_range)
        np.testing.assert_array_equal(ours[0], precision[:, :, 0, number])
        np.testing.assert_array_equal(ours[1], recall[:, 0, number])


def test_objects_at_the_limit_of_an_area_range_are_on_both_sides():
    square = box(0, 0, 32, 32)
    truth = gpd.GeoDataFrame({"kind": ["a"]}, geometry=[square])
    compare(truth, truth.assign(score=0.5), segments=False)
    report = evaluate(truth.assign(score=0.5), truth)
    assert (report.by_size["small"].ap, report.by_size["medium"].ap) == pytest.approx((1, 1))
    assert (report.by_size["small"].truth, report.by_size["medium"].truth) == (0, 1)


def test_of_two_equal_overlaps_the_later_is_taken():
    truth = gpd.GeoDataFrame({"kind": ["a", "a"]}, geometry=[box(0, 0, 10, 8), box(0, 2, 10, 10)])
    found = gpd.GeoDataFrame({"kind": ["a", "a"], "score": [0.9, 0.5]}, geometry=[box(0, 0, 10, 10), box(0, 0, 10, 7)])
    compare(truth, found, segments=False)
    compare(truth.iloc[::-1], found, segments=False)
    # The IoU of the first found object with both true objects is 0.8. The IoU of the second one with the true object that is
    # left is 0.875 or only 0.5, depending on which of the two the first one takes.
    assert evaluate(found, truth).overall.ar > evaluate(found, truth.iloc[::-1]).overall.ar


def test_objects_within_the_range_are_taken_before_better_ones_outside():
    truth = gpd.GeoDataFrame({"kind": ["a", "a"]}, geometry=[box(0, 0, 40, 26), box(0, 0, 40, 20)])
    found = gpd.GeoDataFrame({"kind": ["a"], "score": [0.9]}, geometry=[box(0, 0, 40, 24)])
    compare(truth, found, segments=False, sizes=(1000.0, 5000.0))
    report = evaluate(found, truth, sizes=(1000, 5000))
    assert report.by_size["small"].ap50 == report.by_size["medium"].ap50 == pytest.approx(1)

"""More objects like given examples are found, whatever the order of the examples and the windows."""

from __future__ import annotations

import pickle

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from shapely import affinity

from samgeo.errors import OptionError, SamgeoError
from samgeo.finding.api import find
from samgeo.finding.by_example.example_finder import AreaPrior, Evidence, ExampleFinder
from samgeo.finding.by_example.example_windows import read_outlines, zoom_for
from samgeo.finding.by_example.examples import learn_examples
from samgeo.finding.by_example.pixel_classifier import PixelClassifier, WindowCells, covered_shares, usable_cells
from samgeo.geo.grid import Lattice
from samgeo.geo.raster.raster import Raster
from samgeo.models import load_model
from samgeo.segmentation.windows.asking import Answers
from samgeo.segmentation.windows.proposals import PromptSource, Proposals

SIDE = 400
CENTRES = [(60, 60), (180, 80), (300, 70), (80, 200), (200, 210), (320, 190), (70, 320), (190, 330), (330, 320)]


@pytest.fixture(scope="module")
def model():
    return load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def scene():
    """Nine red roofs, and blue ones of the same size between them, on a green ground with noise."""
    rng = np.random.default_rng(0)
    image = np.full((SIDE, SIDE, 3), (80, 120, 70)) + rng.normal(0, 8, (SIDE, SIDE, 1))
    for x, y in CENTRES:
        image[y - 20 : y + 20, x - 16 : x + 16] = (190, 70, 50)
        image[y - 20 : y + 20, x - 16 : x] -= 25
    for x, y in [(120, 140), (250, 140), (130, 270), (260, 265)]:
        image[y - 20 : y + 20, x - 16 : x + 16] = (60, 80, 170)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def roofs():
    return [shapely.box(x - 16, y - 20, x + 16, y + 20) for x, y in CENTRES]


@pytest.fixture(scope="module")
def found(scene, roofs, model):
    return find(scene, examples=roofs[:3], model=model, progress=False)


def hits(found, roofs):
    """How many roofs have an object with an IoU of 0.6 or more."""
    outlines = found.geometry.to_numpy()
    return sum(
        bool((shapely.area(shapely.intersection(outlines, one)) > 0.6 * shapely.area(shapely.union(outlines, one))).any())
        for one in roofs
    )


def test_the_objects_like_three_examples_are_found_and_others_are_not(found, roofs):
    assert hits(found, roofs) >= 8
    assert len(found) <= 14
    assert set(found["class"]) == {"object"}
    assert found["score"].between(0.5, 1).all()


def test_the_order_of_examples_does_not_change_the_result(scene, roofs, model, found):
    again = find(scene, examples=[roofs[2], roofs[0], roofs[1], roofs[0]], model=model, progress=False)
    assert again.geometry.equals(found.geometry)
    assert again["score"].tolist() == found["score"].tolist()


def test_two_tilings_give_nearly_the_same(scene, roofs, model, found):
    moved = np.pad(scene, ((180, 150), (230, 160), (0, 0)), mode="reflect")
    examples = [affinity.translate(one, 230, 180) for one in roofs[:3]]
    aoi = shapely.box(230, 180, 230 + SIDE, 180 + SIDE)
    other = find(moved, examples=examples, aoi=aoi, model=model, progress=False)
    placed = other.set_geometry(other.translate(-230, -180))
    assert hits(placed, list(found.geometry)) >= 0.8 * len(found)


def test_rejected_examples_are_learned_and_change_the_digest(scene, roofs, model):
    raster, blue = Raster.open(scene), [shapely.box(104, 120, 136, 160)]
    lattice = Lattice(raster.shape, 512, 128)
    plain, warned = (
        learn_examples(raster, model, lattice, read_outlines(given, raster)) for given in (roofs[:3], (roofs[:3], blue))
    )
    assert plain.digest != warned.digest
    features = model.features(model.embed(np.pad(scene, ((0, 112), (0, 112), (0, 0)))[None], np.array([[SIDE, SIDE]]))[0])
    cells = features[33:37, 28:32]
    assert warned.classifier.probability(cells).mean() < plain.classifier.probability(cells).mean()


def test_a_source_is_picklable_and_names_the_class(scene, roofs, model):
    raster = Raster.open(scene)
    source = learn_examples(raster, model, Lattice(raster.shape, 512, 128), read_outlines(roofs[:1], raster), what="roof")
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - made one line above
    assert isinstance(source, PromptSource)
    assert (copy.classes, copy.digest) == (("roof",), source.digest)
    assert np.array_equal(copy.classifier.weights, source.classifier.weights)


def test_examples_of_another_raster_are_searched(scene, roofs, model):
    found = find(scene[:, 240:], "roof", examples=roofs[:3], example_image=scene, model=model, progress=False)
    assert hits(found, [affinity.translate(roofs[number], -240, 0) for number in (2, 5, 8)]) >= 2
    assert set(found["class"]) == {"roof"}


def test_a_better_measure_gives_a_higher_score():
    finder = ExampleFinder(PixelClassifier(np.zeros(1, np.float32), 0.0), AreaPrior(np.log(64.0), 0.5), "x", "")
    logits = torch.full((2, 16, 16), -5.0)
    logits[0, 4:12, 4:12], logits[1, :2] = 5.0, 5.0
    probability = torch.zeros(16, 16)
    probability[4:12, 4:12] = 0.9
    ones = torch.tensor([0.8, 0.8])
    answers, evidence = Answers(logits, logits, ones, ones, torch.zeros(2, 4)), Evidence(probability, 16)
    boxes, points = np.full((2, 4), np.nan, np.float32), np.zeros((2, 2), np.float32)
    proposals = Proposals(boxes, points, np.float32([0.7, 0.7]), np.zeros(2, np.int64))
    assert finder.measures(proposals, answers, evidence)[0] == pytest.approx([0.9, 0.95, 0.8, 1.0, 0.7], abs=1e-6)
    scores = finder.score(None, None, proposals, answers, evidence)
    assert 1 > scores[0] > 0.5 > scores[1] > 0


def test_the_candidate_of_the_right_size_is_chosen():
    finder = ExampleFinder(PixelClassifier(np.zeros(1, np.float32), 0.0), AreaPrior(np.log(64.0), 0.5), "x", "")
    logits = torch.full((1, 3, 16, 16), -5.0)
    logits[0, 0, 6:8, 6:8], logits[0, 1, 4:12, 4:12], logits[0, 2] = 5.0, 5.0, 5.0
    evidence = Evidence(torch.full((8, 8), 0.9), 16)
    assert finder.choose(evidence)(logits, torch.tensor([[0.9, 0.8, 0.9]])).tolist() == [1]


def test_the_classifier_is_the_logistic_regression_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    positive = rng.normal(0.5, 2, (60, 5)).astype(np.float32)
    negative = rng.normal(-0.5, 3, (200, 5)).astype(np.float32)
    values = np.concatenate([positive, negative]).astype(np.float64)
    middle, deviation = values.mean(0), values.std(0) + 1e-3
    reference = linear.LogisticRegression(C=0.01, class_weight="balanced", tol=1e-9, max_iter=1000)
    reference.fit((values - middle) / deviation, np.repeat([1, 0], [60, 200]))
    ours = PixelClassifier.fit(positive, negative).probability(values.astype(np.float32))
    assert np.abs(ours - reference.predict_proba((values - middle) / deviation)[:, 1]).max() < 1e-4


def test_cells_without_data_at_cut_edges_and_in_other_examples_are_left_out():
    valid = np.ones((32, 32), dtype=bool)
    valid[:, 20:] = False
    usable = usable_cells(valid, np.array([True, False, False, False]))
    assert not usable[:4].any()
    assert usable[31, 0]
    assert not usable[:, 19:].any()
    first, second = (covered_shares(shapely.box(4 * x, 40, 4 * x + 16, 56), 32, 4) for x in (6, 12))
    features = np.arange(32 * 32, dtype=np.float32).reshape(32, 32, 1)
    cells = WindowCells.of(features, usable, [first], [second], [])
    rows, columns = np.divmod(cells.around[0][:, 0].astype(int), 32)
    assert len(cells.inside[0]) == 16
    assert not (first + second)[rows, columns].any()
    assert usable[rows, columns].all()
    assert columns.min() == 1


@pytest.mark.parametrize(("size", "zoom"), [(5, 4), (14, 2), (31, 2), (32, 1), (256, 1), (300, 0.5), (600, 0.25)])
def test_the_zoom_follows_the_size_of_the_examples(size, zoom):
    assert zoom_for(size, 512) == zoom


@pytest.mark.parametrize(
    "examples",
    [
        [],
        [shapely.Point(5, 5)],
        [shapely.Polygon()],
        [shapely.box(900, 900, 950, 950)],
        gpd.GeoDataFrame({"label": [0]}, geometry=[shapely.box(5, 5, 50, 50)]),
        gpd.GeoDataFrame({"label": ["roof"]}, geometry=[shapely.box(5, 5, 50, 50)]),
        gpd.GeoDataFrame(geometry=[shapely.box(5, 5, 50, 50)], crs="EPSG:4326"),
        [shapely.box(0, 0, SIDE, SIDE)],
    ],
    ids=["none", "point", "empty", "outside", "rejected", "label", "crs", "everything"],
)
def test_bad_examples_are_refused_before_work(scene, model, tmp_path, examples):
    to = tmp_path / "found.gpkg"
    with pytest.raises(SamgeoError):
        find(scene, output=to, examples=examples, model=model, progress=False)
    assert not list(tmp_path.iterdir())


def test_examples_on_pixels_without_data_are_refused(scene, roofs, model):
    dark = scene.copy()
    dark[:200] = 0
    with pytest.raises(OptionError, match="nothing can be learned"):
        find(dark, examples=roofs[:1], nodata=0, model=model)


def test_examples_exclude_a_finder(scene, roofs, model):
    with pytest.raises(OptionError, match="no finder"):
        find(scene, examples=roofs[:1], flips=True, model=model)

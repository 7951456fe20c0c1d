"""Points that a model judges useless are not decoded."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

import samgeo
from samgeo.errors import ModelError
from samgeo.evaluation import match
from samgeo.models import Gates
from samgeo.segmentation.windows.automatic import automatic_masks
from samgeo.synthetic import town
from samgeo.testing import Oracle, encode_ids

LABELS = np.zeros((96, 96), dtype=np.int32)
LABELS[10:30, 10:30] = 1
LABELS[40:80, 45:75] = 2


@dataclass
class ScreeningOracle:
    """An oracle that leaves out the points of the left half of a window, and notes what it is asked."""

    answer: object = None
    asked: list = field(default_factory=list)
    oracle: Oracle = field(default_factory=lambda: Oracle(96))

    def __getattr__(self, name):
        return getattr(self.oracle, name)

    def screen_points(self, embedding, points, *, min_iou):
        self.asked.append(min_iou)
        return points[:, 0] >= 48 if self.answer is None else self.answer

    def decode_gated(self, embedding, *, points, **given):
        self.asked.append(points)
        return self.oracle.decode_gated(embedding, points=points, **given)

    def embed(self, images, sizes=None):
        return self.oracle.embed(images, sizes)

    def decode(self, embedding, **given):
        return self.oracle.decode(embedding, **given)


@pytest.fixture
def lattice():
    along = (np.arange(8) + 0.5) * 12
    return np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)


def masks(model, points, gates):
    embedding = model.embed(encode_ids(LABELS)[None])[0]
    return automatic_masks(model, embedding, points, gates=gates, window=96, size=(96, 96))


def test_only_the_points_that_are_worth_it_are_decoded(lattice):
    model, gates = ScreeningOracle(), Gates(pred_iou=0.5, stability=0.5)
    found = masks(model, lattice, gates)
    least, points = model.asked
    assert least == 0.5
    np.testing.assert_array_equal(points[:, 0], lattice[lattice[:, 0] >= 48].astype(np.float32))
    # A mask has the number of its point among all points.
    on_mask = LABELS[lattice[:, 1].astype(int), lattice[:, 0].astype(int)] == 2
    assert [one.prompt for one in found] == [int(np.flatnonzero(on_mask & (lattice[:, 0] >= 48))[0])]


def test_without_screening_every_point_is_decoded(lattice):
    model, gates = ScreeningOracle(), Gates(pred_iou=0.5, stability=0.5, screen_points=False)
    found = masks(model, lattice, gates)
    (points,) = model.asked
    assert len(points) == len(lattice)
    plain = masks(Oracle(96), lattice, replace(gates, screen_points=True))
    assert [(one.mask, one.prompt) for one in found] == [(one.mask, one.prompt) for one in plain]


@pytest.mark.parametrize("answer", [np.ones(64, dtype=np.int64), np.ones(3, dtype=bool), None])
def test_a_model_that_answers_something_else_is_told_so(lattice, answer):
    model = ScreeningOracle(answer="no array" if answer is None else answer)
    with pytest.raises(ModelError, match="screen_points of the model"):
        masks(model, lattice, Gates())


def test_screening_a_town_finds_what_every_point_finds():
    image = town((512, 512), seed=33).image
    screened, every = (samgeo.segment(image, screen_points=given, progress=False, dtype="float32") for given in (True, False))
    assert screened.attrs["samgeo"]["options"]["screen_points"] is True
    assert every.attrs["samgeo"]["options"]["screen_points"] is False
    both = match(screened, every)
    assert both.recall > 0.97
    assert both.precision > 0.97

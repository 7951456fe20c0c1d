import numpy as np
import pytest
import torch
from learn_scenes import squares

from samgeo.errors import OptionError
from samgeo.learn.evaluate import evaluate, evaluate_boxes, markdown


class Knowing:
    """A model that answers with the true square, and a half and a double of it, under or in whatever is shown."""

    name, digest, input_size = "knowing", "", 96

    def __init__(self, ids, order=(0.9, 0.3, 0.4)):
        self.ids, self.order = ids, order

    def embed(self, images, sizes=None):
        return [self.ids for _ in images]

    def decode(self, embedding, *, points=None, labels=None, boxes=None, masks=None, multimask=True):
        if points is None:
            points = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
        numbers = [embedding[int(y), int(x)] for x, y in points[:, 0]]
        true = np.stack([embedding == number for number in numbers])
        half = true & (np.arange(96) % 2 == 0)
        found = np.stack([true, half, np.ones_like(true)], axis=1) if multimask else true[:, None]
        predicted = torch.tensor(self.order)[: found.shape[1]].expand(len(true), -1)
        return torch.from_numpy(found * 20.0 - 10.0), predicted


@pytest.fixture
def picture():
    return squares("a")


def test_a_model_that_knows_everything_scores_one(picture):
    scores = evaluate(Knowing(picture.layers["building"]), [picture])
    assert (scores.objects, scores.click, scores.click_best, scores.three_clicks, scores.box) == (9, 1, 1, 1, 1)
    assert scores.filled_box == 1


def test_a_wrong_ranking_costs_the_pick_and_not_the_best(picture):
    scores = evaluate(Knowing(picture.layers["building"], (0.3, 0.9, 0.2)), [picture])
    assert scores.click == pytest.approx(0.5)
    assert scores.click_best == 1


def test_reliability_bins_hold_every_answer(picture):
    scores = evaluate(Knowing(picture.layers["building"]), [picture])
    assert sum(scores.reliability.count) == 9 * 4
    high = scores.reliability.predicted.index(max(scores.reliability.predicted))
    assert scores.reliability.true[high] == 1
    assert 0 < scores.reliability.error < 1


def test_objects_can_be_fewer_but_not_none(picture):
    model = Knowing(picture.layers["building"])
    assert evaluate(model, [picture], max_objects=4).objects == 4
    with pytest.raises(OptionError, match="no object"):
        evaluate(model, [picture], layer="road")


def test_boxes_alone_can_be_scored(picture):
    boxes = np.array([[6.0, 6.0, 26.0, 26.0]])
    assert evaluate_boxes(Knowing(picture.layers["building"]), picture.image, boxes) == (1, 1)


def test_the_table_has_a_row_a_set(picture):
    scores = evaluate(Knowing(picture.layers["building"]), [picture])
    lines = markdown({"here": scores, "there": scores}).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| here | 9 | 1.000 |")

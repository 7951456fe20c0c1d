import numpy as np
import pytest
import torch
from learn_scenes import squares

from samgeo.errors import OptionError
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.model import Sam, SamNetwork
from samgeo.training.assessment.click_evaluation import ObjectScores, dice, evaluate, evaluate_boxes
from samgeo.training.assessment.scores import Reliability, markdown


class Knowing:
    """A model that answers with the true square, and a half and a double of it, under or in whatever is shown."""

    name, digest = "knowing", ""

    def __init__(self, ids, order=(0.9, 0.3, 0.4)):
        self.ids, self.order, self.input_size = ids, order, len(ids)

    def embed(self, images, sizes=None):
        return [self.ids for _ in images]

    def decode(self, embedding, *, points=None, labels=None, boxes=None, masks=None, multimask=True):
        if points is None:
            points = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
        numbers = [embedding[int(y), int(x)] for x, y in points[:, 0]]
        true = np.stack([embedding == number for number in numbers])
        half = true & (np.arange(self.input_size) % 2 == 0)
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


def test_a_tile_is_enlarged_to_the_input_of_a_larger_model(picture):
    larger = Knowing(np.kron(picture.layers["building"], np.ones((2, 2), np.uint16)))
    seen = []
    embed = larger.embed
    larger.embed = lambda images, sizes=None: seen.append((images.shape, sizes.tolist())) or embed(images)
    scores = evaluate(larger, [picture], tile_px=96)
    assert (scores.objects, scores.click, scores.three_clicks, scores.box) == (9, 1, 1, 1)
    assert seen == [((1, 192, 192, 3), [[192, 192]])]


def test_sam_is_scored_at_its_own_input_size(picture):
    sizes = {"prompt_width": 32, "decoder_heads": 2, "decoder_mlp_width": 32, "decoder_inner_width": 16, "iou_width": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SamNetwork(Architecture(width=32, depth=1, heads=2, mlp_width=32, global_blocks=(), **sizes))
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    scores = evaluate(Sam(network, name="random", digest=""), [picture], tile_px=96, max_objects=2)
    assert scores.objects == 2
    assert 0 <= scores.click <= scores.click_best < 1
    assert scores.filled_box == 1


def test_the_region_under_a_click_is_a_baseline(picture):
    scores = evaluate(Knowing(picture.layers["building"]), [picture], regions=True)
    assert 0.7 < scores.region < 1
    assert np.isnan(evaluate(Knowing(picture.layers["building"]), [picture]).region)


def test_objects_can_be_fewer_but_not_none(picture):
    model = Knowing(picture.layers["building"])
    assert evaluate(model, [picture], max_objects=4).objects == 4
    with pytest.raises(OptionError, match="no object"):
        evaluate(model, [picture], layer="road")


def test_boxes_alone_can_be_scored(picture):
    boxes = np.array([[6.0, 6.0, 26.0, 26.0]])
    scores = evaluate_boxes(Knowing(picture.layers["building"]), [(picture.image, boxes)] * 2, regions=True)
    assert (scores.objects, scores.click, scores.click_best) == (2, 1, 1)
    # Blurred before it is split, the square loses its outermost pixels.
    assert 0.7 < scores.region < 1
    with pytest.raises(OptionError, match="no box"):
        evaluate_boxes(Knowing(picture.layers["building"]), [])


def test_the_table_has_a_row_a_set(picture):
    scores = evaluate(Knowing(picture.layers["building"]), [picture])
    lines = markdown({"here": scores, "there": scores}).splitlines()
    assert len(lines) == 9
    assert lines[2].startswith("| here | 9 | 1.000 |")
    assert lines[7] == "| here | 1.000 | 1.000 | 1.000 |"


def test_dice_is_the_mean_over_objects():
    iou = np.array([0.0, 0.5, 1.0])
    overlap = np.array([[0, 0], [1, 2], [3, 3]])  # shared pixels, and the union, of masks with these values of IoU
    sums = overlap[1:].sum(1)
    assert dice(iou) == pytest.approx([0, *(2 * overlap[1:, 0] / sums)])
    scores = ObjectScores(iou, iou, iou[::-1], iou, iou, float("nan"), iou, iou).means()
    assert scores.click_dice == scores.three_clicks_dice == scores.box_dice == pytest.approx((0 + 2 / 3 + 1) / 3)


def test_the_largest_gap_is_of_a_bin_with_answers_enough():
    predicted = np.array([0.05, *[0.55] * 200])
    true = np.array([0.95, *[0.5] * 200])
    found = Reliability.of(predicted, true)
    assert found.count == (1, 200)
    assert found.largest_gap == pytest.approx(0.05)

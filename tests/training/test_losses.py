import pytest
import torch

from samgeo.models.protocols import Answer
from samgeo.training.losses import LossWeights, focus, mask_losses

WEIGHTS = LossWeights()


def square(left: int = 4) -> torch.Tensor:
    truth = torch.zeros(1, 32, 32)
    truth[:, 8:20, left : left + 12] = 1
    return truth


def logits_of(truth: torch.Tensor) -> torch.Tensor:
    return (truth[:, ::2, ::2] - 0.5)[:, None] * 20


def losses(masks: torch.Tensor, predicted: list[float], *, ambiguous: bool = False, of: LossWeights = WEIGHTS):
    answer = Answer(masks, torch.tensor([predicted]))
    even = torch.full((1, 32, 32), 1 / 1024)
    return mask_losses(answer, square(), even, torch.ones(1), ambiguous=ambiguous, of=of)


def test_the_right_mask_has_an_iou_of_one_and_the_least_loss():
    right, wrong = losses(logits_of(square()), [1.0]), losses(logits_of(square(10)), [1.0])
    assert right.true_iou.item() == 1
    assert wrong.true_iou.item() == pytest.approx(1 / 3)
    assert right.loss < wrong.loss


def test_only_the_best_candidate_of_an_ambiguous_prompt_is_to_be_right():
    far = logits_of(square(20))
    near = logits_of(square())
    only_best = LossWeights(others=0, single=0, iou=0, regret=0)
    one_right = losses(torch.cat([far, far, near, far], dim=1), [0.5] * 4, ambiguous=True, of=only_best)
    all_right = losses(torch.cat([far, near, near, near], dim=1), [0.5] * 4, ambiguous=True, of=only_best)
    assert one_right.loss.item() == pytest.approx(all_right.loss.item())


def test_ranking_the_best_candidate_first_costs_nothing_and_last_costs_the_difference():
    masks = torch.cat([logits_of(square(left)) for left in (4, 4, 10, 20)], dim=1)
    regret = LossWeights(focal=0, dice=0, others=0, single=0, iou=0)
    first = losses(masks, [0.0, 1.0, 0.0, 0.0], ambiguous=True, of=regret)
    last = losses(masks, [0.0, 0.0, 0.0, 1.0], ambiguous=True, of=regret)
    assert first.loss.item() == pytest.approx(0, abs=1e-3)
    assert last.loss.item() == pytest.approx(1, abs=1e-3)


def test_objects_that_are_not_trusted_teach_nothing_about_predicted_iou():
    predicted = torch.tensor([[0.1]], requires_grad=True)
    answer = Answer(logits_of(square()), predicted)
    even = torch.full((1, 32, 32), 1 / 1024)
    mask_losses(answer, square(), even, torch.zeros(1), ambiguous=False, of=WEIGHTS).loss.sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.abs().sum() == 0


def test_foreseen_coverage_is_compared_with_the_drawn_mask():
    masks, only = logits_of(square()), LossWeights(focal=0, dice=0, iou=0)
    seen = torch.nn.functional.avg_pool2d(square()[:, None], 8).flatten(2)
    even = torch.full((1, 32, 32), 1 / 1024)
    right, wrong = (
        mask_losses(Answer(masks, torch.zeros(1, 1), cover), square(), even, torch.ones(1), ambiguous=False, of=only).loss
        for cover in ((seen - 0.5) * 20, (0.5 - seen) * 20)
    )
    assert right < wrong


def test_weights_of_pixels_sum_to_one_and_gather_around_the_object():
    weights = focus(torch.tensor([[40.0, 40.0, 60.0, 56.0]]), 256, 2)
    assert weights.shape == (1, 128, 128)
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert weights[0, 24, 25] > 50 * weights[0, 100, 100]

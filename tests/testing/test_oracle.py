"""The oracle answers every prompt with exactly the object that it means."""

import pickle
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.errors import OptionError
from samgeo.models.protocols import Segmenter
from samgeo.testing import Oracle, encode_ids, scattered

SIDE = 96


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return scattered(9, (SIDE, SIDE), seed=1, min_size=10, max_size=24)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(SIDE)


@pytest.fixture(scope="module")
def embedding(oracle: Oracle, labels: np.ndarray) -> np.ndarray:
    return oracle.embed(encode_ids(labels)[None])[0]


def inside(labels: np.ndarray, number: int) -> tuple[float, float]:
    y, x = np.argwhere(labels == number)[0]
    return x + 0.5, y + 0.5


def test_it_is_a_segmenter(oracle: Oracle) -> None:
    assert isinstance(oracle, Segmenter)
    assert (oracle.name, oracle.input_size) == ("oracle", SIDE)
    assert oracle.digest == Oracle(512).digest
    assert (oracle.gates.points_per_side, oracle.gates.pred_iou, oracle.gates.stability) == (32, 0.5, 0.5)


def test_a_batch_of_windows_has_one_embedding_each(oracle: Oracle, labels: np.ndarray) -> None:
    images = np.stack([encode_ids(labels), encode_ids(labels[::-1])])
    embedding = oracle.embed(images)
    assert len(embedding) == 2
    assert np.array_equal(embedding[0], labels)
    assert np.array_equal(embedding[1], labels[::-1])


def test_padding_is_background_whatever_its_pixels_say(oracle: Oracle) -> None:
    image = np.full((1, SIDE, SIDE, 3), 7, dtype=np.uint8)
    (ids,) = oracle.embed(image, np.array([[40, 30]]))
    assert (ids[:40, :30] > 0).all()
    assert np.count_nonzero(ids) == 40 * 30


@settings(max_examples=40, deadline=None)
@given(points=st.lists(st.tuples(st.floats(0, SIDE - 1e-3), st.floats(0, SIDE - 1e-3)), min_size=1, max_size=12))
def test_each_point_is_answered_by_the_object_under_it(points) -> None:
    labels = scattered(9, (SIDE, SIDE), seed=1, min_size=10, max_size=24)
    oracle = Oracle(SIDE)
    (embedding,) = oracle.embed(encode_ids(labels)[None])
    prompts = np.array(points, dtype=np.float32).clip(0, SIDE - 0.01)[:, None]
    logits, predicted = oracle.decode(embedding, points=prompts, labels=np.ones((len(points), 1), dtype=np.int64))
    assert logits.shape == (len(points), 1, SIDE, SIDE)
    for (x, y), mask, score in zip(prompts[:, 0], logits[:, 0], predicted[:, 0], strict=True):
        number = labels[int(y), int(x)]
        expected = (labels == number) & (number > 0)
        assert np.array_equal(mask.numpy(), np.where(expected, 10, -10))
        assert score == (number > 0)


def test_the_first_foreground_point_counts(oracle: Oracle, embedding: np.ndarray, labels: np.ndarray) -> None:
    points = np.array([[inside(labels, 1), inside(labels, 2), inside(labels, 3)]], dtype=np.float32)
    for given_labels, expected in (([1, 1, 1], 1), ([0, 1, 1], 2), ([-1, 0, 1], 3)):
        logits, _ = oracle.decode(embedding, points=points, labels=np.array([given_labels]))
        assert np.array_equal(logits[0, 0].numpy() > 0, labels == expected)


def test_points_without_foreground_or_outside_the_window_find_nothing(oracle: Oracle, embedding, labels) -> None:
    points = np.array([[inside(labels, 1)], [(-3.0, 5.0)], [(5.0, SIDE + 2.0)]], dtype=np.float32)
    logits, predicted = oracle.decode(embedding, points=points, labels=np.array([[0], [1], [1]]))
    assert (logits < 0).all()
    assert not predicted.any()


def test_a_box_means_the_object_with_most_pixels_in_it(oracle: Oracle, labels: np.ndarray) -> None:
    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    labels[10:20, 10:20], labels[10:20, 30:45] = 4, 9
    (embedding,) = oracle.embed(encode_ids(labels)[None])
    boxes = np.array([[9, 9, 46, 21], [9, 9, 36, 21], [30.4, 10, 31.4, 11], [60, 60, 90, 90]], dtype=np.float32)
    logits, predicted = oracle.decode(embedding, boxes=boxes, multimask=False)
    for mask, number in zip(logits[:, 0], (9, 4, 9, 0), strict=True):
        assert np.array_equal(mask.numpy() > 0, (labels == number) & (number > 0))
    assert predicted[:, 0].tolist() == [1, 1, 1, 0]


def test_a_mask_means_the_object_under_its_highest_logit(oracle: Oracle, embedding: np.ndarray, labels: np.ndarray) -> None:
    x, y = inside(labels, 5)
    masks = np.full((1, SIDE, SIDE), -10, dtype=np.float32)
    masks[0, int(y), int(x)] = 3
    logits, _ = oracle.decode(embedding, masks=masks)
    assert np.array_equal(logits[0, 0].numpy() > 0, labels == 5)


def test_a_point_speaks_before_a_box_and_a_box_before_a_mask(oracle: Oracle, embedding, labels) -> None:
    def around(number: int) -> list[float]:
        y, x = np.nonzero(labels == number)
        return [x.min(), y.min(), x.max() + 1, y.max() + 1]

    boxes, masks = np.array([around(2)], dtype=np.float32), (labels == 3)[None].astype(np.float32)
    points = np.array([[inside(labels, 1)]], dtype=np.float32)
    for label, expected in ((1, 1), (0, 2)):
        logits, _ = oracle.decode(embedding, points=points, labels=np.array([[label]]), boxes=boxes, masks=masks)
        assert np.array_equal(logits[0, 0].numpy() > 0, labels == expected)
    logits, _ = oracle.decode(embedding, boxes=np.full((1, 4), np.nan, dtype=np.float32), masks=masks)
    assert np.array_equal(logits[0, 0].numpy() > 0, labels == 3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(0, 30), min_iou=st.sampled_from([-1.0, 0.0, 0.5, 0.99, 1.0]))
def test_gated_answers_are_those_of_decode_that_pass(seed: int, count: int, min_iou: float) -> None:
    labels = scattered(9, (SIDE, SIDE), seed=1, min_size=10, max_size=24)
    oracle = Oracle(SIDE)
    (embedding,) = oracle.embed(encode_ids(labels)[None])
    points = np.random.default_rng(seed).uniform(0, SIDE - 0.01, (count, 1, 2)).astype(np.float32)
    ones = np.ones((count, 1), dtype=np.int64)
    all_logits, all_predicted = oracle.decode(embedding, points=points, labels=ones)
    prompt, token, logits, predicted = oracle.decode_gated(embedding, points=points, labels=ones, min_iou=min_iou)
    passing = np.flatnonzero((all_predicted[:, 0].numpy() > min_iou) & (all_predicted[:, 0].numpy() > 0))
    assert prompt.tolist() == passing.tolist()
    assert not token.any()
    assert torch.equal(logits, all_logits[passing, 0])
    assert predicted.tolist() == [1.0] * len(passing)


@pytest.mark.parametrize(
    "prompts",
    [
        {},
        {"points": np.zeros((2, 1, 2))},
        {"points": np.zeros((2, 1, 2)), "labels": np.ones((1, 1))},
        {"boxes": np.zeros((2, 4)), "masks": np.zeros((1, 4, 4))},
    ],
)
def test_prompts_that_do_not_fit_are_refused(oracle: Oracle, embedding: np.ndarray, prompts: dict) -> None:
    with pytest.raises(OptionError):
        oracle.decode(embedding, **prompts)


def test_images_of_another_size_are_refused(oracle: Oracle) -> None:
    with pytest.raises(OptionError, match=r"give \(B, 96, 96, 3\)"):
        oracle.embed(np.zeros((1, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(OptionError, match="input_size is 0"):
        Oracle(0)


def test_windows_are_counted_across_threads() -> None:
    oracle, image = Oracle(8), np.zeros((3, 8, 8, 3), dtype=np.uint8)

    def work() -> None:
        for _ in range(50):
            oracle.embed(image)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert oracle.embedded == 4 * 50 * 3


def test_it_travels_to_other_processes_and_counts_from_nothing_there() -> None:
    oracle = Oracle(8)
    oracle.embed(np.zeros((2, 8, 8, 3), dtype=np.uint8))
    copy = pickle.loads(pickle.dumps(oracle))  # noqa: S301 - our own bytes
    assert (copy.input_size, copy.digest, copy.embedded) == (8, oracle.digest, 0)

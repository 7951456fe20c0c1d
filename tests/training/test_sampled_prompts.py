import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.errors import OptionError
from samgeo.training.data.simulated_prompts import box_of, centre_click, correct, jitter_box, sample_click

SEEDS = st.integers(0, 10_000)


def blob(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((24, 32), dtype=bool)
    for _ in range(3):
        y, x = rng.integers(0, 20), rng.integers(0, 28)
        mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
    return mask


def under(mask: np.ndarray, point: np.ndarray) -> bool:
    return bool(mask[int(point[1]), int(point[0])])


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_clicks_are_on_the_object(seed):
    mask = blob(seed)
    assert under(mask, sample_click(mask, np.random.default_rng(seed)))
    assert under(mask, centre_click(mask)[0])


def test_the_centre_of_a_square_is_its_centre_pixel():
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:9, 10:15] = True
    point, depth_px = centre_click(mask)
    assert point.tolist() == [12.5, 6.5]
    assert depth_px == 3


def test_a_box_runs_along_pixel_edges():
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:9, 10:12] = True
    assert box_of(mask).tolist() == [10, 4, 12, 9]


def test_an_empty_mask_has_no_box():
    with pytest.raises(OptionError, match="empty"):
        box_of(np.zeros((4, 4), dtype=bool))


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_moved_box_stays_in_the_frame_and_keeps_a_size(seed):
    mask = blob(seed)
    x0, y0, x1, y1 = jitter_box(box_of(mask), mask.shape, np.random.default_rng(seed))
    assert 0 <= x0 <= x1 - 2 <= mask.shape[1] - 2
    assert 0 <= y0 <= y1 - 2 <= mask.shape[0] - 2


def test_a_correction_adds_what_is_missing_and_takes_away_what_is_too_much():
    truth = np.zeros((20, 20), dtype=bool)
    truth[2:12, 2:12] = True
    half = truth.copy()
    half[:, 7:] = False
    point, label = correct(half, truth)
    assert label == 1
    assert under(truth & ~half, point)
    spilt = truth | (np.arange(20) > 12)
    point, label = correct(spilt, truth)
    assert label == 0
    assert under(spilt & ~truth, point)


def test_an_answer_without_error_is_confirmed_in_its_middle():
    truth = np.zeros((20, 20), dtype=bool)
    truth[2:11, 2:11] = True
    point, label = correct(truth, truth)
    assert label == 1
    assert point.tolist() == [6.5, 6.5]

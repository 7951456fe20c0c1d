"""The biharmonic fill: equal to scikit-image inside an image, exact for polynomials, and blind to what has no data."""

import numpy as np
import pytest

from samgeo.editing import biharmonic
from samgeo.editing.biharmonic import double, fill, halve, solve


@pytest.fixture
def field():
    y, x = np.mgrid[:60, :70] / 10.0
    return np.stack([np.sin(x) * np.cos(y / 2), x * y / 40])


@pytest.fixture
def holes():
    hole = np.zeros((60, 70), dtype=bool)
    hole[10:20, 12:30] = hole[30:33, 50:53] = hole[45:50, 5:9] = True
    return hole


def test_equals_scikit_image(field, holes, monkeypatch):
    restoration = pytest.importorskip("skimage.restoration")
    monkeypatch.setattr(biharmonic, "_limit", lambda *_: None)
    filled = np.where(holes, 0, field)
    solve(filled, holes, ~holes, np.ones_like(holes))
    for band, truth in zip(filled, field, strict=True):
        low, high = truth[~holes].min(), truth[~holes].max()
        scaled = (truth - low) / (high - low)
        theirs = restoration.inpaint_biharmonic(scaled, holes) * (high - low) + low
        assert np.abs(np.clip(band, low, high) - theirs).max() < 1e-9


def test_a_harmonic_polynomial_is_continued_exactly(field, holes):
    filled = np.where(holes, -99, field)
    solve(filled, holes, ~holes, np.ones_like(holes))
    assert np.abs(filled[1] - field[1]).max() < 1e-9  # x * y
    assert np.abs(filled[0] - field[0]).max() < 0.05


def test_known_pixels_keep_every_bit_and_the_fill_stays_in_the_range_around(holes):
    noise = np.random.default_rng(1).normal(size=(1, 60, 70))
    filled = np.where(holes, 1e9, noise)
    solve(filled, holes, ~holes, np.ones_like(holes))
    assert np.array_equal(filled[:, ~holes], noise[:, ~holes])
    assert filled[0][holes].max() <= noise.max()
    assert filled[0][holes].min() >= noise.min()


def test_pixels_without_data_have_no_influence(field, holes):
    domain = np.ones_like(holes)
    domain[8:24, 27:34] = False  # touches the first hole
    unknown, known = holes & domain, ~holes & domain
    results = []
    for nothing in (0.0, 1e6, np.nan):
        filled = np.where(known, field, nothing)
        solve(filled, unknown, known, domain)
        results.append(filled[:, unknown])
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_a_hole_that_touches_nothing_known_takes_the_nearest_value():
    domain = np.zeros((20, 40), dtype=bool)
    domain[:, :10] = domain[:, 14:20] = True
    known = domain.copy()
    known[:, 14:] = False
    filled = np.where(known, 7.0, 0.0)[np.newaxis]
    assert fill(filled, known, domain)
    assert (filled[0][domain] == 7).all()


def test_a_large_hole_is_filled_from_coarse_to_fine():
    y, x = np.mgrid[:160, :200]
    truth = (np.sin(x / 60) + np.cos(y / 50))[np.newaxis]
    known = np.ones((160, 200), dtype=bool)
    known[30:120, 40:150] = False
    filled = np.where(known, truth, 0)
    assert fill(filled, known, np.ones_like(known))
    assert np.abs(filled - truth).max() < 0.35  # the hole is as wide as half a wave
    # The fill joins the pixels around it without a step.
    assert np.abs(np.diff(filled[0], axis=0)).max() < 3 * np.abs(np.diff(truth[0], axis=0)).max()


def test_nothing_is_filled_from_nothing():
    values = np.zeros((1, 8, 8))
    assert not fill(values, np.zeros((8, 8), dtype=bool), np.ones((8, 8), dtype=bool))


def test_halving_and_doubling_keep_a_constant_and_leave_out_what_is_unknown():
    known = np.ones((7, 9), dtype=bool)
    known[:4, :4] = False
    coarse, coarse_known, domain = halve(np.where(known, 5.0, 1e9)[np.newaxis], known, known)
    assert coarse.shape == (1, 4, 5)
    assert coarse_known.sum() == 4 * 5 - 4
    fine = double(coarse, domain, (7, 9))
    assert fine.shape == (1, 7, 9)
    assert np.allclose(fine[0][known], 5)

"""Numbers of a prediction without a reference, by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from napari_ssl_seg.suggestion.measures import differences, expected_dice, measure, typical_size


def probabilities(*voxels):
    """One slice with a row of voxels, each given by its probabilities."""
    return np.array(voxels, np.float32).T[:, None, None, :]


def test_entropy_is_averaged_where_a_structure_may_be():
    p = probabilities((0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.97, 0.03))
    sums = measure(p, p.argmax(axis=0), overlapping=False)
    # The first voxel has one bit of two classes, the third none; the second and fourth are background, surely enough.
    assert sums.possible.tolist() == [2]
    assert sums.entropy[0] == approx(1.0, abs=1e-4)


def test_the_expected_dice_follows_its_equation():
    p = probabilities(*[(0.2, 0.8)] * 3, *[(0.6, 0.4)] * 2, *[(1.0, 0.0)] * 4)
    sums = measure(p, p.argmax(axis=0), overlapping=False)
    # A = the three voxels at 0.8; sum of p over A = 2.4, over all = 3.2; 2 * 2.4 / (3 + 3.2).
    assert expected_dice(sums)[0, 0] == approx(4.8 / 6.2, abs=1e-5)


def test_overlapping_targets_have_an_entropy_each():
    p = np.stack([np.full((1, 2, 2), 0.5), np.full((1, 2, 2), 1.0)]).astype(np.float32)
    sums = measure(p, np.full((1, 2, 2), 2), overlapping=True)
    assert sums.entropy[0] / sums.possible[0] == approx(0.5, abs=1e-4)
    assert sums.area.tolist() == [[0, 4]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.booleans())
def test_a_sure_prediction_expects_no_error_and_sums_add_up(seed, classes, sure):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (classes, 5, 6, 6))
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    numbers = p.argmax(axis=0)
    if sure:
        p = (np.arange(classes)[:, None, None, None] == numbers).astype(np.float32)
    sums = measure(p, numbers, overlapping=False)
    dice = expected_dice(sums)
    known = dice[np.isfinite(dice)]
    assert ((known >= 0) & (known <= 1)).all()
    assert (sums.entropy <= sums.possible * (1 + 1e-6)).all()
    if sure:
        assert np.allclose(known, 1) and np.allclose(sums.entropy, 0, atol=1e-3)
    whole = sums.grouped([slice(None)])
    assert np.allclose(whole.area[0], sums.area.sum(axis=0))
    pair = sums.grouped([[1], [3, 4]])
    assert np.allclose(pair.soft[1], sums.soft[3] + sums.soft[4])


def test_a_class_that_is_nowhere_has_no_expected_dice():
    p = probabilities(*[(0.999, 0.001)] * 50)
    assert np.isnan(expected_dice(measure(p, p.argmax(axis=0), overlapping=False))).all()


def test_differences_are_those_of_dice():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 3, (2, 4, 8, 8))
    counts = differences([a, b], 2)
    for index, value in ((0, 1), (3, 2)):
        both = int(((a[index] == value) & (b[index] == value)).sum())
        dice = 2 * both / int((a[index] == value).sum() + (b[index] == value).sum())
        assert counts[index, value - 1, 0] / counts[index, value - 1, 1] == approx(dice)
    three = differences([a, b, a], 2)
    assert np.allclose(three[..., 0], 2 * counts[..., 0] + differences([a, a], 2)[..., 0])


def test_small_things_are_pulled_towards_nothing_by_a_quarter_of_the_median():
    assert typical_size(np.array([0, 4, 8, 12])) == 2
    assert typical_size(np.zeros(3)) == 1

"""Affine maps from matches of which some are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.anatomy.robust import LEAST_MATCHES, PULL, AffineMap, Consensus, fit_affine, fit_consensus

MATRIX = np.array([[1.1, 0.05, 0], [-0.05, 0.9, 0.1], [0, 0, 1.0]])
OFFSET = np.array([3.0, -7.0, 1.0])


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(1).uniform(0, 50, (200, 3))
    return points, points @ MATRIX.T + OFFSET


def test_a_third_of_wrong_matches_changes_nothing(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    points, others = pairs
    others[::3] = np.random.default_rng(2).uniform(0, 50, others[::3].shape)
    found = fit_affine(points, others, 2.0)
    assert found is not None
    assert found(points[1]) == pytest.approx(others[1], abs=0.3)
    assert found.inverse()(others[1]) == pytest.approx(points[1], abs=0.3)
    assert 133 <= found.inliers <= 140
    assert found.matches == 200


def test_matches_without_any_order_give_no_map() -> None:
    rng = np.random.default_rng(3)
    assert fit_affine(rng.uniform(0, 50, (200, 3)), rng.uniform(0, 50, (200, 3)), 2.0) is None


def test_too_few_matches_give_no_map(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    points, others = pairs
    assert fit_affine(points[: LEAST_MATCHES - 1], others[: LEAST_MATCHES - 1], 2.0) is None


def test_mirrored_or_shrunken_anatomy_is_refused(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    points, _ = pairs
    assert fit_affine(points, points * [-1, 1, 1], 2.0) is None
    assert fit_affine(points, points * 0.3, 2.0) is None


def test_points_in_one_slice_give_a_map_that_keeps_depth(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    points = pairs[0] * [0, 1, 1]
    found = fit_affine(points, points + np.array([5, 0, 0]), 2.0)
    assert found is not None
    assert found(np.array([4.0, 10, 10])) == pytest.approx([9, 10, 10], abs=0.1)


def test_one_after_the_other() -> None:
    first, second = AffineMap(MATRIX, OFFSET, 3, 5), AffineMap(2 * np.eye(3), np.ones(3), 2, 5)
    point = np.array([1.0, 2.0, 3.0])
    assert second.after(first)(point) == pytest.approx(second(first(point)))


def test_matches_near_a_point_bend_the_map_and_far_ones_do_not() -> None:
    affine = AffineMap(np.eye(3), np.zeros(3), 3, 3)
    points, residuals = np.array([(0.0, 0, 0), (0, 0, 0), (100, 0, 0)]), np.array([(1.0, 0, 0), (1, 0, 0), (0, 5, 0)])
    bent = Consensus(affine, points, residuals, width=4.0)
    # Two matches of weight 1 against the affine map's own weight.
    assert bent(np.zeros(3)) == pytest.approx([2 / (2 + PULL), 0, 0])
    assert bent(np.array([50.0, 0, 0])) == pytest.approx([50, 0, 0])


def test_a_consensus_of_exact_matches_is_their_affine_map(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    points, others = pairs
    found = fit_consensus(points, others, 4.0)
    assert found is not None
    assert found(points[7]) == pytest.approx(others[7], abs=0.1)
    assert fit_consensus(points, points * [-1, 1, 1], 2.0) is None

"""An affine map from matched points of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_MATCHES = 12
"""Fewer that agree give no map: an affine one has twelve numbers, and four points would always fit."""
LEAST_SHARE = 0.15
"""Of the matches; what fewer agree on is chance."""
DRAWS = 200
PAIRS_A_DRAW = 6
REFINEMENTS = 3
PULL = 2.0
"""Matches whose whole weight the affine map has: where few lie near a point, it decides."""
LARGEST_STRETCH = 2.0
"""Maps that make anything so much larger or smaller are no anatomy."""


@dataclass(frozen=True)
class AffineMap:
    """``other = matrix @ point + offset``."""

    matrix: np.ndarray
    offset: np.ndarray
    inliers: int
    """Matches that agree with it."""
    matches: int
    """That it was made of."""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) -> (..., 3)."""
        return np.asarray(points, float) @ self.matrix.T + self.offset

    def after(self, first: AffineMap) -> AffineMap:
        """This map of what ``first`` gives."""
        matrix = self.matrix @ first.matrix
        return AffineMap(
            matrix, self.matrix @ first.offset + self.offset, min(self.inliers, first.inliers), self.matches
        )

    def inverse(self) -> AffineMap:
        """The way back."""
        matrix = np.linalg.inv(self.matrix)
        return AffineMap(matrix, -matrix @ self.offset, self.inliers, self.matches)


@dataclass(frozen=True)
class Consensus:
    """Where all matches of two scans together put a point: their affine map, bent by those that lie near the point."""

    affine: AffineMap
    points: np.ndarray
    """(N, 3) matches of the first scan."""
    residuals: np.ndarray
    """(N, 3) how far each of them ends from where the affine map puts it."""
    width: float
    """Standard deviation of the weights around a point, in the unit of the points."""

    def __call__(self, point: np.ndarray) -> np.ndarray:
        """(3,) -> (3,)."""
        weights = np.exp(-np.square(self.points - point).sum(axis=1) / (2 * self.width**2))
        return self.affine(point) + weights @ self.residuals / (weights.sum() + PULL)

    @property
    def nbytes(self) -> int:
        return int(self.points.nbytes + self.residuals.nbytes)


def fit_consensus(points: np.ndarray, others: np.ndarray, tolerance: float) -> Consensus | None:
    """As `fit_affine`, with the matches within twice the tolerance kept to bend the map."""
    affine = fit_affine(points, others, tolerance)
    if affine is None:
        return None
    residuals = others - affine(points)
    near = np.linalg.norm(residuals, axis=1) <= 2 * tolerance
    return Consensus(affine, points[near], residuals[near], width=tolerance)


def fit_affine(points: np.ndarray, others: np.ndarray, tolerance: float, *, seed: int = 0) -> AffineMap | None:
    """The affine map that most pairs agree with.

    Random draws of a few pairs each give a map; the one with the most pairs within ``tolerance`` is refined by least
    squares of these pairs, `REFINEMENTS` times over.

    Parameters
    ----------
    points, others
        (N, 3), the same places in two scans, in one unit.
    tolerance
        How far a pair may be off, in that unit.

    Returns
    -------
    AffineMap or None
        None where fewer than `LEAST_MATCHES` or a `LEAST_SHARE` agree, or the map stretches by more than `LARGEST_STRETCH`.
    """
    count = len(points)
    if count < LEAST_MATCHES:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(count), (DRAWS, 1)), axis=1)[:, :PAIRS_A_DRAW]
    matrices, offsets = _solve(points[drawn], others[drawn])
    far = np.linalg.norm(points @ matrices.swapaxes(1, 2) + offsets[:, None] - others, axis=2)
    agreeing = np.where(_is_anatomical(matrices), (far <= tolerance).sum(axis=1), 0)
    best = far[int(agreeing.argmax())] <= tolerance
    matrix, offset = np.eye(3), np.zeros(3)
    for _ in range(REFINEMENTS):
        if best.sum() < LEAST_MATCHES:
            return None
        matrix, offset = _solve(points[best], others[best])
        best = np.linalg.norm(points @ matrix.T + offset - others, axis=1) <= tolerance
    agree = int(best.sum())
    if agree < max(LEAST_MATCHES, LEAST_SHARE * count) or not _is_anatomical(matrix):
        return None
    return AffineMap(matrix, offset, inliers=agree, matches=count)


def _solve(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares over (..., N, 3), held near a shift where the points lie in a plane or a line (thin scans)."""
    centre, target = points.mean(axis=-2), others.mean(axis=-2)
    a, b = points - centre[..., None, :], others - target[..., None, :]
    spread = np.maximum(np.square(a).sum(axis=(-2, -1)), 1e-12)
    ridge = (1e-3 * spread / 3)[..., None, None] * np.eye(3)
    turned = a.swapaxes(-1, -2)
    matrix = np.linalg.solve(turned @ a + ridge, turned @ b + ridge).swapaxes(-1, -2)
    return matrix, target - (matrix @ centre[..., None])[..., 0]


def _is_anatomical(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (...)."""
    values = np.linalg.svd(matrix, compute_uv=False)
    possible = (values[..., 0] <= LARGEST_STRETCH) & (values[..., -1] >= 1 / LARGEST_STRETCH)
    return possible & (np.linalg.det(matrix) > 0)

"""An affine map from matched points of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_MATCHES = 12
"""Fewer that agree give no map: an affine one has twelve numbers, and four points would always fit."""
DRAWS = 200
REFINEMENTS = 3
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
        None where fewer than `LEAST_MATCHES` agree, or the map stretches by more than `LARGEST_STRETCH`.
    """
    count = len(points)
    if count < LEAST_MATCHES:
        return None
    rng = np.random.default_rng(seed)
    best = np.zeros(count, bool)
    for _ in range(DRAWS):
        drawn = rng.choice(count, size=6, replace=False)
        solution = _solve(points[drawn], others[drawn])
        if solution is None or not _is_anatomical(solution[0]):
            continue
        agree = _residual(solution, points, others) <= tolerance
        if agree.sum() > best.sum():
            best = agree
    solution = None
    for _ in range(REFINEMENTS):
        solution = _solve(points[best], others[best]) if best.sum() >= LEAST_MATCHES else None
        if solution is None:
            return None
        best = _residual(solution, points, others) <= tolerance
    if solution is None or best.sum() < LEAST_MATCHES or not _is_anatomical(solution[0]):
        return None
    matrix, offset = solution
    return AffineMap(matrix, offset, inliers=int(best.sum()), matches=count)


def _solve(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Least squares, held near a shift where the points lie in a plane or a line (thin scans)."""
    centre, target = points.mean(axis=0), others.mean(axis=0)
    a, b = points - centre, others - target
    spread = max(float(np.square(a).sum()), 1e-12)
    ridge = 1e-3 * spread / 3
    matrix = np.linalg.solve(a.T @ a + ridge * np.eye(3), a.T @ b + ridge * np.eye(3)).T
    return (matrix, target - matrix @ centre) if np.isfinite(matrix).all() else None


def _residual(solution: tuple[np.ndarray, np.ndarray], points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points @ solution[0].T + solution[1] - others, axis=1)


def _is_anatomical(matrix: np.ndarray) -> bool:
    values = np.linalg.svd(matrix, compute_uv=False)
    return bool(np.linalg.det(matrix) > 0 and values[0] <= LARGEST_STRETCH and values[-1] >= 1 / LARGEST_STRETCH)

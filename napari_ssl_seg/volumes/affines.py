"""Which matrices may place voxels in the world, and what is odd about one that may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FLAT = 1e-3
"""Volume of the parallelepiped of the unit axis directions below which a matrix counts as singular (1: orthogonal)."""
SHEAR = 1e-3
"""Cosine between two axes above which they are said not to be at right angles (0.06 degrees)."""
USUAL_SPACING = (1e-3, 100.0)


def check_affine(path: Path, affine: np.ndarray, what: str = "its position matrix") -> list[str]:
    """Warnings about a RAS+ ``affine`` (4, 4) in mm.

    Raises
    ------
    VolumeError
        When it is not finite, has an axis of no length or is singular: no voxel could be placed then.
    """
    if not np.isfinite(affine).all():
        raise VolumeError(f"{path}: {what} holds values that are not finite (NaN or infinity); correct its header")
    linear = affine[:3, :3]
    norms = np.linalg.norm(linear, axis=0)
    if norms.min() <= 0 or not np.isfinite(norms).all():
        raise VolumeError(f"{path}: {what} gives a spacing of {_numbers(norms)} mm; correct its header")
    unit = linear / norms
    if abs(np.linalg.det(unit)) < FLAT:
        raise VolumeError(f"{path}: {what} is singular (two of its axes coincide); correct its header")
    warnings = []
    cosines = np.abs(unit.T @ unit - np.eye(3)).max()
    if cosines > SHEAR:
        angle = 90 - float(np.degrees(np.arccos(min(cosines, 1.0))))
        warnings.append(
            f"the axes are not at right angles (off by {angle:.2g} degrees); distances along slanting lines are inexact"
        )
    if norms.min() < USUAL_SPACING[0] or norms.max() > USUAL_SPACING[1]:
        warnings.append(f"the spacing of {_numbers(norms)} mm is unusual; check the unit in the header")
    return warnings


def orientation_codes(affine: np.ndarray) -> str:
    """Three letters: where the axes of a RAS+ ``affine`` point, for example "RAS" or "LPS"."""
    linear = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    codes = [""] * 3
    remaining = np.abs(linear)
    for _ in range(3):  # the most certain axis first, so that no letter is given twice
        world, axis = np.unravel_index(np.argmax(remaining), remaining.shape)
        codes[axis] = ("LR", "PA", "IS")[world][int(linear[world, axis] > 0)]
        remaining[world, :] = -1
        remaining[:, axis] = -1
    return "".join(codes)


def largest_corner_shift(a: np.ndarray, b: np.ndarray, shape: Sequence[int]) -> float:
    """Largest distance in voxels of ``a`` between the corners that two affines (4, 4) give a grid of ``shape``."""
    corners = np.array(np.meshgrid(*((0, max(n - 1, 1)) for n in shape[:3]), indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.abs(np.linalg.solve(a, (b - a) @ corners)).max())


def _numbers(values: np.ndarray) -> str:
    return "x".join(f"{v:.4g}" for v in values)

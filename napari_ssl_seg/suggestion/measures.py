"""Numbers about a prediction without a reference, added up over slices so that they serve slices and scans alike.

Notation: ``p_k(v)`` is the probability of class k at voxel v, ``A_k`` the voxels predicted as k.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

POSSIBLE = 0.05
"""A voxel where some structure has at least this probability may belong to it."""
NOTICEABLE = 2.0
"""Voxels (predicted, or the sum of probabilities) below which a class is taken to be absent from a slice."""


@dataclass(frozen=True)
class Sums:
    """Sums over the voxels of each slice; float64 (slices,) or (slices, classes)."""

    entropy: np.ndarray
    """Of the entropies of the mean prediction, each 0 to 1, over the voxels where a structure may be."""
    possible: np.ndarray
    """How many voxels those are."""
    overlap: np.ndarray
    """Of p_k over A_k."""
    soft: np.ndarray
    """Of p_k over the voxels where it is at least `POSSIBLE`."""
    area: np.ndarray
    """Voxels of A_k."""

    def grouped(self, groups: Sequence[slice | Sequence[int] | np.ndarray]) -> Sums:
        """Added up over groups of slices: one row a group."""
        values = [np.stack([getattr(self, part.name)[group].sum(axis=0) for group in groups]) for part in fields(self)]
        return Sums(*values)

    @staticmethod
    def joined(parts: Sequence[Sums]) -> Sums:
        """One after the other."""
        return Sums(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Sums)))


def measure(probabilities: np.ndarray, numbers: np.ndarray, *, overlapping: bool) -> Sums:
    """Sums over each slice of a scan.

    Parameters
    ----------
    probabilities
        Mean over the passes, (K, z, y, x): with the background first, or of overlapping targets.
    numbers
        What is predicted, (z, y, x): 0 background, then the classes.
    """
    p = np.asarray(probabilities, np.float32)
    structures = p if overlapping else p[1:]
    may_be = p.max(axis=0) >= POSSIBLE if overlapping else 1.0 - p[0] >= POSSIBLE
    certainty = np.clip(p, 1e-7, 1.0)
    if overlapping:
        other = np.clip(1.0 - p, 1e-7, 1.0)
        entropy = -(certainty * np.log2(certainty) + other * np.log2(other)).mean(axis=0)
    else:
        entropy = -(certainty * np.log(certainty)).sum(axis=0) / np.log(len(p))
    axes = (1, 2)
    shown = [numbers == channel + 1 for channel in range(len(structures))]
    return Sums(
        entropy=np.where(may_be, entropy, 0.0).sum(axis=axes, dtype=np.float64),
        possible=may_be.sum(axis=axes).astype(np.float64),
        overlap=np.stack(
            [(part * inside).sum(axis=axes, dtype=np.float64) for part, inside in zip(structures, shown, strict=True)],
            axis=1,
        ),
        soft=np.stack(
            [np.where(part >= POSSIBLE, part, 0).sum(axis=axes, dtype=np.float64) for part in structures], axis=1
        ),
        area=np.stack([inside.sum(axis=axes).astype(np.float64) for inside in shown], axis=1),
    )


def expected_dice(sums: Sums) -> np.ndarray:
    """Dice that the probabilities predict, (rows, classes): 2 sum_{A_k} p_k / (|A_k| + sum p_k); NaN where there is no class.

    If p_k(v) were the chance that v belongs to k, the numerator and denominator are the expectations of 2 |A and R| and
    |A| + |R| for a reference R.
    """
    there = (sums.area >= NOTICEABLE) | (sums.soft >= NOTICEABLE)
    total = sums.area + sums.soft
    return np.divide(2.0 * sums.overlap, total, out=np.full(total.shape, np.nan), where=there & (total > 0))


def typical_size(sizes: np.ndarray) -> float:
    """A quarter of the median of the sizes above zero: what small things are pulled towards nothing with.

    A mean over three voxels is mostly noise; with this in the denominator it takes a real structure to lead a ranking.
    """
    known = sizes[sizes > 0]
    return 0.25 * float(np.median(known)) if len(known) else 1.0


def differences(numbers: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """How predictions of the same slices overlap, pair by pair: (slices, classes, 2), of |A and B| and (|A| + |B|) / 2.

    Added up over the pairs; ``numbers`` are (z, y, x) with 0 for background.
    """
    depth = len(numbers[0])
    found = np.zeros((depth, classes, 2))
    for first in range(len(numbers)):
        for second in range(first + 1, len(numbers)):
            for channel in range(classes):
                a, b = numbers[first] == channel + 1, numbers[second] == channel + 1
                found[:, channel, 0] += (a & b).sum(axis=(1, 2))
                found[:, channel, 1] += (a.sum(axis=(1, 2)) + b.sum(axis=(1, 2))) / 2
    return found

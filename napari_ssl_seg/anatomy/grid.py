"""Scans on a common spacing, and the way between their voxels and that grid.

Grid and scan share their outer edges at the first voxel: the point ``v`` (voxels of the scan) is ``(v + 0.5) a / b - 0.5``
in voxels of the grid, for spacings ``a`` of the scan and ``b`` of the grid.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.study.records import Purpose

LARGEST = 96**3
"""Voxels of a typical scan on its grid; larger ones get a wider spacing."""
HELD_BYTES = 2 * 2**30
"""Memory for scans on their grids; what is forgotten is read again."""


@dataclass(frozen=True)
class Grid:
    """One scan on the common spacing."""

    case_id: str
    image: np.ndarray
    """float32 (z, y, x), about 0 to 1, read-only."""
    spacing: float
    """mm, the same along each axis."""
    scan_shape: tuple[int, int, int]
    scan_spacing: tuple[float, float, float]

    def from_scan(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) voxels of the scan -> voxels of the grid."""
        return (np.asarray(points, float) + 0.5) * self._ratio - 0.5

    def to_scan(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) voxels of the grid -> voxels of the scan."""
        return (np.asarray(points, float) + 0.5) / self._ratio - 0.5

    @property
    def _ratio(self) -> np.ndarray:
        return np.array(self.scan_spacing) / self.spacing


class Grids:
    """Scans of a study on a common spacing, kept in memory while they fit."""

    def __init__(self, study: Study, spacing: float, *, channel: int = 0, purpose: Purpose = "train") -> None:
        self.study, self.spacing, self.channel, self.purpose = study, spacing, channel, purpose
        self._held: ByteCache[Grid] = ByteCache(HELD_BYTES, lambda grid: int(grid.image.nbytes))
        self._local = threading.local()

    def get(self, case_id: str) -> Grid:
        """The scan on the grid.

        Raises
        ------
        UserError
            When it does not exist, must not be used for the purpose, cannot be read, or has not that channel.
        """
        case = self.study.allowed(case_id, self.purpose)
        return self._held.get((case_id, case.stamp), lambda: self._make(case))

    def _make(self, case: Case) -> Grid:
        if self.channel >= case.channels:
            raise UserError(
                f"{case.id} has {case.channels} channel(s), so there is no channel {self.channel} to match by"
            )
        scan = self.study.patches_source(case.id, purpose=self.purpose)
        image = resampled(scan.array[self.channel : self.channel + 1], case.spacing, self.spacing)
        image.flags.writeable = False
        return Grid(case.id, image, self.spacing, case.shape, case.spacing)


def common_spacing(cases: Sequence[Case], asked: float | None = None) -> float:
    """The spacing asked for, or the scans' own (median of the mean of the three axes), wider where scans are large, mm."""
    if asked is not None:
        return asked
    own = float(np.median([math.prod(case.spacing) ** (1 / 3) for case in cases]))
    volume = float(np.median([math.prod(extent(case)) for case in cases]))
    return float(f"{max(own, (volume / LARGEST) ** (1 / 3)):.3g}")


def extent(case: Case) -> tuple[float, float, float]:
    """Size of the field of view along z, y, x in mm."""
    z, y, x = (n * s for n, s in zip(case.shape, case.spacing, strict=True))
    return z, y, x


def resampled(array: np.ndarray, spacing: Sequence[float], wanted: float) -> np.ndarray:
    """An image (1, z, y, x), in memory or on disk, at another spacing and with intensities of about 0 to 1, float32 (z, y, x).

    Linear where the new voxels are smaller, an average where they are larger. Read slab by slab.
    """
    down, rows, columns = (weights(size, step / wanted) for size, step in zip(array.shape[1:], spacing, strict=True))
    result = np.zeros((len(down), len(rows), len(columns)), np.float32)
    slab = 16
    for start in range(0, array.shape[1], slab):
        part = np.asarray(array[0:1, start : start + slab], np.float32)[0]
        small = np.matmul(np.matmul(rows, part), columns.T)
        result += np.tensordot(down[:, start : start + slab], small, axes=1)
    return _unit_range(result)


def weights(size: int, ratio: float) -> np.ndarray:
    """(new, size) float32: what each new voxel takes of the old ones; ``ratio`` = old spacing / new spacing."""
    count = max(1, round(size * ratio))
    centres = (np.arange(count) + 0.5) / ratio - 0.5
    reach = max(1.0, 1.0 / ratio)
    distance = np.abs(np.clip(centres, 0, size - 1)[:, None] - np.arange(size)[None])
    found = np.clip(1.0 - distance / reach, 0.0, None)
    return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)


def _unit_range(image: np.ndarray) -> np.ndarray:
    """Images normalised to [-1, 1] to [0, 1]; others by their own percentiles."""
    low, high = float(image.min()), float(image.max())
    if low >= -1.01 and high <= 1.01:
        return (image + 1.0) / 2.0
    low, high = (float(value) for value in np.percentile(image, (0.5, 99.5)))
    return np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0, dtype=np.float32)

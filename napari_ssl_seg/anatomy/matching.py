"""The same anatomical point in two scans: what a match says, who can make one, and the matcher that needs no training.

Matched crops are what Alice (Jiang et al., ICCV 2023) is fed with. Its authors took a Self-supervised Anatomical eMbedding
(Yan et al., TMI 2022) for them, which has nothing to do with Segment Anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_ssl_seg.study import Study

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Match:
    """Where a point of one scan lies in another one."""

    point: Point
    """(z, y, x) in voxels of the other scan, always inside it."""
    score: float
    """Similarity of the two places, 1 = alike; NaN where the matcher has none."""
    cycle_error: float
    """How far from the point one arrives when the match is matched back, in mm; NaN where the matcher has none."""
    how: str
    """What gave the point: "embedding", "affine" or "fraction"."""
    accepted: bool
    """Whether the matcher stands by it."""
    reason: str = ""
    """Why not; empty where it is accepted."""


class PointMatcher(Protocol):
    """Finds a point of one scan in another one of the same study."""

    @property
    def name(self) -> str:
        """What records and captions call it."""
        ...

    def match(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        """The point (z, y, x) of the scan ``case_id``, in voxels, found in ``other_id``.

        Raises
        ------
        UserError
            When a case does not exist, or the point does not lie in the scan.
        """
        ...

    def fallback(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        """The best guess for a point whose match was not accepted; by what, its ``how`` says."""
        ...


class SameFieldMatcher:
    """Takes both scans to show the same field of view: a point at a third of one lies at a third of the other.

    The best of the cheap ways where scans are cut alike, and exact, so that tests can count on it; far off where they are not.
    """

    name = "same field of view"

    def __init__(self, study: Study) -> None:
        self.study = study

    def match(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        shape, other = self.study.case(case_id).shape, self.study.case(other_id).shape
        inside = check_point(point, shape, case_id)
        nan = math.nan
        return Match(fraction_of(inside, shape, other), score=nan, cycle_error=nan, how="fraction", accepted=True)

    def fallback(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        return self.match(case_id, point, other_id)


def fraction_of(point: Sequence[float], shape: Sequence[int], other: Sequence[int]) -> Point:
    """The point at the same fraction of each axis of another scan: 10 of 40 voxels is 15 of 60."""
    return inside_of([p * m / n for p, n, m in zip(point, shape, other, strict=True)], other)


def inside_of(point: Iterable[float], shape: Sequence[int]) -> Point:
    """The point itself, or the nearest one between the first and the last voxel's centre of a scan of ``shape``."""
    z, y, x = (min(max(float(p), 0.0), n - 1.0) for p, n in zip(point, shape, strict=True))
    return z, y, x


def check_point(point: Sequence[float], shape: Sequence[int], case_id: str) -> Point:
    """The point as three floats.

    Raises
    ------
    UserError
        When it has not three finite numbers, or lies outside every voxel of the scan.
    """
    values = tuple(float(value) for value in point)
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise UserError(f"a point of {case_id} is three numbers z, y, x in voxels, not {tuple(point)}")
    if not all(-0.5 <= value <= size - 0.5 for value, size in zip(values, shape, strict=True)):
        place = ", ".join(f"{value:g}" for value in values)
        size = " x ".join(str(n) for n in shape)
        raise UserError(f"the point ({place}) lies outside {case_id}, which has {size} voxels (z, y, x)")
    return values[0], values[1], values[2]

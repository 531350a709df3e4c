"""Which slices or patches of a study are embedded, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Case

What = Literal["slices", "patches"]
MOST = 5000
"""Points on a map, where no other number is asked for."""


@dataclass(frozen=True)
class Place:
    """Where a patch lies in a scan."""

    case_id: str
    split: str
    start: tuple[int, int, int]
    """Index (z, y, x) of the patch's first voxel; negative where it was padded."""
    centre: tuple[int, int, int]
    """Index (z, y, x) of the voxel in the middle of what lies within the scan."""
    height: float
    """Share of the way from the first axial slice (0) to the last (1)."""


def choose_places(
    cases: Sequence[Case], spec: NetworkSpec, what: What = "slices", *, most: int = MOST
) -> tuple[Place, ...]:
    """Every axial slice (the patch in the middle of it), or patches side by side; evenly thinned where there are too many.

    Raises
    ------
    StudyError
        When there is no case.
    """
    if not cases:
        raise StudyError("there is no scan to embed; add scans to the study")
    side = spec.patch_3d
    counts = [
        [
            _starts(length, step, axis, what)
            for axis, (length, step) in enumerate(zip(case.shape[-3:], side, strict=True))
        ]
        for case in cases
    ]
    total = sum(int(np.prod([len(part) for part in axes])) for axes in counts)
    kept = set(np.linspace(0, total - 1, min(total, most)).round().astype(int).tolist())
    places, number = [], 0
    for case, axes in zip(cases, counts, strict=True):
        for start in product(*axes):
            if number in kept:
                places.append(_place(case, start, side))
            number += 1
    return tuple(places)


def _starts(length: int, side: int, axis: int, what: What) -> list[int]:
    """Where patches begin along an axis."""
    if what == "slices":
        if axis:
            return [(length - side) // 2]
        return [index - side // 2 for index in range(length)]
    count = max(1, round(length / side))
    return (
        np.linspace(0, length - side, count).round().astype(int).tolist() if length > side else [(length - side) // 2]
    )


def _place(case: Case, start: tuple[int, ...], side: Sequence[int]) -> Place:
    shape = case.shape[-3:]
    low = [max(at, 0) for at in start]
    high = [min(at + step, length) for at, step, length in zip(start, side, shape, strict=True)]
    z = min(max(start[0] + side[0] // 2, 0), shape[0] - 1)
    centre = (z, (low[1] + high[1]) // 2, (low[2] + high[2]) // 2)
    return Place(
        case_id=case.id,
        split=case.split,
        start=(start[0], start[1], start[2]),
        centre=centre,
        height=z / max(shape[0] - 1, 1),
    )

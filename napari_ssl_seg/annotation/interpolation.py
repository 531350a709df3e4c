"""Filling the slices between labelled ones by the shapes of the classes.

Raya and Udupa, IEEE TMI 1990: the signed distances to a class's outline in two slices are interpolated in between, and the
class is where the result is positive. Each object of a class is moved so that its centres lie on a line first: else one
that shifts from slice to slice would vanish in between.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.objects import FARTHEST, matched_parts
from napari_ssl_seg.annotation.proposals import Proposal
from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


MARGIN = 6
"""Pixels around an object in which its distances are looked at."""


def fill_between(
    labels: np.ndarray,
    known_slices: Iterable[int],
    values: Collection[int] | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    case_id: str = "",
) -> Proposal:
    """Propose labels for the slices between labelled ones.

    A class that only one of two neighbouring labelled slices has shrinks to a point half way to the other one.

    Parameters
    ----------
    labels
        (z, y, x), of which only the known slices are looked at.
    known_slices
        Axial indices of slices that are labelled as a whole.
    values
        Classes to interpolate; None: all in the known slices.
    spacing
        (z, y, x) mm. Slices are evenly spaced, so z does not matter.

    Returns
    -------
    Proposal
        For the slices strictly between known ones.

    Raises
    ------
    UserError
        When fewer than two slices are known, or none lies between them.
    """
    known = sorted({int(z) for z in known_slices})
    if known and not (known[0] >= 0 and known[-1] < labels.shape[0]):
        raise UserError(f"the scan has the slices 0 to {labels.shape[0] - 1}, not {known[0]} to {known[-1]}")
    between = tuple(z for low, high in pairwise(known) for z in range(low + 1, high))
    if not between:
        raise UserError("there is nothing to fill: label two slices with others between them")
    made = np.zeros(labels.shape, labels.dtype if labels.dtype.kind == "u" else np.uint16)
    for low, high in pairwise(known):
        if high - low > 1:
            made[low + 1 : high] = _between(labels[low], labels[high], high - low, values, tuple(spacing[1:]))
    words = f"fill between {len(known)} labelled slices"
    return Proposal(case_id, made, between, words)


def _between(
    first: np.ndarray, last: np.ndarray, steps: int, values: Collection[int] | None, spacing: tuple[float, ...]
) -> np.ndarray:
    """(steps - 1, y, x) labels of the slices between two."""
    found = set(np.unique(first).tolist()) | set(np.unique(last).tolist())
    chosen = sorted((found if values is None else found & set(values)) - {0})
    made = np.zeros((steps - 1, *first.shape), np.uint16)
    if not chosen:
        return made
    box = _box(np.isin(first, chosen) | np.isin(last, chosen))
    a, b = first[box], last[box]
    shapes = [_Class(a == value, b == value, spacing) for value in chosen]
    union = _Class(np.isin(a, chosen), np.isin(b, chosen), spacing, farthest=0.0) if len(chosen) > 1 else None
    numbers = np.array(chosen, np.uint16)
    for step in range(1, steps):
        share = step / steps
        best, which = np.full(a.shape, -np.inf), np.zeros(a.shape, np.intp)
        for number, shape in enumerate(shapes):
            score = shape.at(share)
            which[score > best] = number
            np.maximum(best, score, out=best)
        inside = best > 0
        if union is not None:  # between two classes that touch neither may be positive: the nearer one has it
            whole = union.at(share)
            inside |= (whole > 0) & (best > -whole)
        made[step - 1][box] = np.where(inside, numbers[which], 0)
    return made


class _Class:
    """One class in two slices, and anywhere between them."""

    def __init__(self, a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...], farthest: float = FARTHEST) -> None:
        self.size = a.shape
        self.objects = [_Object(one, other, spacing) for one, other in matched_parts(a, b, spacing, farthest)]

    def at(self, share: float) -> np.ndarray:
        """Signed distance (y, x) in mm, positive inside; ``share`` of the way from the first slice to the second.

        Far from the class it is minus infinity.
        """
        found = np.full(self.size, -np.inf)
        for thing in self.objects:
            np.maximum(found[thing.box], thing.at(share), out=found[thing.box])
        return found


class _Object:
    """One object of a class, in the box around both its ends."""

    def __init__(self, a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> None:
        self.box = _box(a | b)
        a, b = a[self.box], b[self.box]
        self.ends = _distances(a, b, spacing)
        self.shift = _centre(b) - _centre(a) if a.any() and b.any() else np.zeros(2)

    def at(self, share: float) -> np.ndarray:
        a, b = self.ends
        if self.shift.any():
            a, b = _moved(a, share * self.shift), _moved(b, (share - 1) * self.shift)
        return (1 - share) * a + share * b


def _distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Of an empty slice: as far outside as the other is inside at most, so that nothing is left half way."""
    one = _signed(a, spacing) if a.any() else None
    other = _signed(b, spacing) if b.any() else None
    if one is None:
        assert other is not None
        return np.full(a.shape, -float(other.max())), other
    return one, np.full(a.shape, -float(one.max())) if other is None else other


def _signed(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance to the outline, which lies half a pixel outside the outermost centres; positive inside.

    Where the slice ends there is no outline: an object that is cut off there goes on.
    """
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return np.full(mask.shape, float(np.hypot(*(np.array(mask.shape) * spacing))))
    half = min(spacing) / 2
    inside = distance_transform_edt(mask, sampling=spacing)
    outside = distance_transform_edt(~mask, sampling=spacing)
    return np.where(mask, inside - half, half - outside)


def _centre(mask: np.ndarray) -> np.ndarray:
    return np.array([float(place.mean()) for place in np.nonzero(mask)])


def _moved(distance: np.ndarray, shift: np.ndarray) -> np.ndarray:
    from scipy.ndimage import shift as shifted

    return shifted(distance, shift, order=1, mode="nearest")


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    return (
        slice(max(0, int(rows[0]) - MARGIN), min(height, int(rows[-1]) + 1 + MARGIN)),
        slice(max(0, int(columns[0]) - MARGIN), min(width, int(columns[-1]) + 1 + MARGIN)),
    )

"""Two label maps made ready for scoring: checked, cut to where there is something, renumbered, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

LOOKUP_LIMIT = 2**20
"""Label values below this are renumbered by a table, larger ones by sorting."""
PART = 2**20
"""Voxels that are counted at once."""


@dataclass(frozen=True)
class LabelPair:
    """A prediction and its reference on one grid.

    ``pred`` and ``ref`` hold 0 for the background and ``i + 1`` for ``labels[i]``; they are views or copies that are
    cut to the box in which either has one of the labels, ``offset`` voxels from the corner of the whole. The cut
    changes no surface: outside the box there is none of the labels, and the edge of an array counts as surface.
    """

    pred: NDArray[Any]
    ref: NDArray[Any]
    labels: tuple[int, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, ...]
    """Of the whole arrays, not of the box."""
    offset: tuple[int, ...]


def prepare_pair(
    pred: ArrayLike, ref: ArrayLike, spacing: Sequence[float] | float, labels: Sequence[int] | None = None
) -> LabelPair:
    """Check two label maps and make a `LabelPair` of them.

    Parameters
    ----------
    pred, ref : array, (z, y, x) or (y, x)
        Whole numbers; floats are taken when they are whole.
    spacing
        mm per voxel, one number per axis, or one for all.
    labels
        Values to score; default: every value but 0 that either map holds.

    Raises
    ------
    UserError
        When the shapes differ, or either holds NaN, fractions or negative values, or the spacing is not positive.
    """
    first, second, steps = checked_maps(pred, ref, spacing)
    shape, box = first.shape, _box(first, second)
    first, second = first[box], second[box]
    wanted = present_labels(first, second) if labels is None else check_labels(labels)
    return LabelPair(
        pred=_renumber(first, wanted),
        ref=_renumber(second, wanted),
        labels=wanted,
        spacing=steps,
        shape=shape,
        offset=tuple(part.start for part in box),
    )


def checked_maps(
    pred: ArrayLike, ref: ArrayLike, spacing: Sequence[float] | float
) -> tuple[NDArray[Any], NDArray[Any], tuple[float, ...]]:
    """Two label maps as whole numbers from 0, and the spacing by axis; raises UserError as `prepare_pair` does."""
    first, second = np.asarray(pred), np.asarray(ref)
    if first.shape != second.shape:
        raise UserError(
            f"the prediction has shape {first.shape} and the reference {second.shape};"
            " both must lie on one grid, resample one of them (nearest neighbour) or check that they belong together"
        )
    if first.ndim not in (2, 3):
        raise UserError(f"label maps have 2 or 3 axes, these have {first.ndim} (shape {first.shape}); give one channel")
    first, second = whole_numbers(first, "the prediction"), whole_numbers(second, "the reference")
    steps = check_spacing(spacing, first.ndim)
    return first, second, steps


def check_labels(labels: Sequence[int]) -> tuple[int, ...]:
    """Label values without repeats; raises UserError for one that is below 1."""
    wanted = tuple(dict.fromkeys(int(value) for value in labels))
    if any(value <= 0 for value in wanted):
        raise UserError(f"labels to score are 1 or larger, not {wanted}; 0 is the background")
    return wanted


def union_maps(
    pred: ArrayLike, ref: ArrayLike, unions: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, tuple[NDArray[Any], NDArray[Any]]]]:
    """For each union of values its label and both maps as 0 and 1, checked as `prepare_pair` does."""
    first, second = whole_numbers(np.asarray(pred), "the prediction"), whole_numbers(np.asarray(ref), "the reference")
    for label, values in unions.items():
        yield label, (np.isin(first, values).view(np.uint8), np.isin(second, values).view(np.uint8))


def whole_numbers(array: NDArray[Any], what: str) -> NDArray[Any]:
    """``array`` as integers of 0 and more.

    Raises
    ------
    UserError
        When it holds NaN, infinity, fractions or negative numbers, or no numbers at all.
    """
    if array.dtype == bool:
        return array.view(np.uint8)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int64)
        odd = whole != array
        if odd.any():
            where = tuple(int(index) for index in np.argwhere(odd)[0])
            raise UserError(
                f"{what} holds {array[where]} at voxel {where}; labels are whole numbers, round it or choose another file"
            )
        array = whole
    elif array.dtype.kind not in "iu":
        raise UserError(f"{what} holds {array.dtype} values; labels are whole numbers, choose another file")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise UserError(f"{what} holds the negative label {array.min()}; labels are 0 (background) or larger")
    return array


def check_spacing(spacing: Sequence[float] | float, n_axes: int) -> tuple[float, ...]:
    """Spacing as one positive number per axis; raises UserError otherwise."""
    steps = (
        np.broadcast_to(np.asarray(spacing, dtype=float), (n_axes,)) if np.ndim(spacing) == 0 else np.asarray(spacing)
    )
    if steps.shape != (n_axes,) or not np.all(np.isfinite(steps)) or not np.all(np.asarray(steps, dtype=float) > 0):
        raise UserError(
            f"spacing {spacing} does not fit: give {n_axes} positive numbers in mm, in the order of the axes"
        )
    return tuple(float(step) for step in steps)


def count_labels(
    pair: LabelPair, axis: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Voxels of each label: in the prediction, in the reference, in both.

    Returns
    -------
    pred, ref, both : array, (labels,), or (slices of the box along ``axis``, labels)
    """
    size = len(pair.labels) + 1
    # In parts: bincount copies to 64 bit, which for a whole volume would be gigabytes.
    parts = pair.pred.shape[axis] if axis is not None else -(-pair.pred.size // PART)
    counts = np.zeros((3, parts, size), dtype=np.int64)
    flat = pair.pred.ravel(), pair.ref.ravel()
    for index in range(parts):
        if axis is None:
            first, second = (whole[index * PART : (index + 1) * PART] for whole in flat)
        else:
            first, second = pair.pred.take(index, axis).ravel(), pair.ref.take(index, axis).ravel()
        counts[0, index] = np.bincount(first, minlength=size)
        counts[1, index] = np.bincount(second, minlength=size)
        counts[2, index] = np.bincount(first[first == second], minlength=size)
    if axis is None:
        counts = counts.sum(axis=1)
    return counts[0][..., 1:], counts[1][..., 1:], counts[2][..., 1:]


def present_labels(*arrays: NDArray[Any]) -> tuple[int, ...]:
    """Every value but 0 that any of the arrays, whole numbers from 0, holds."""
    found: set[int] = set()
    for array in arrays:
        if array.size == 0:
            continue
        if array.max() < LOOKUP_LIMIT:
            seen = np.zeros(int(array.max()) + 1, dtype=bool)
            seen[array.ravel()] = True
            found.update(np.flatnonzero(seen).tolist())
        else:
            found.update(np.unique(array).tolist())
    return tuple(sorted(found - {0}))


def _box(first: NDArray[Any], second: NDArray[Any]) -> tuple[slice, ...]:
    """The smallest box outside which both are background; one empty slice per axis where both are empty."""
    box: list[slice] = []
    for axis in range(first.ndim):
        rest = tuple(other for other in range(first.ndim) if other != axis)
        cut = (*box, *[slice(None)] * (first.ndim - len(box)))  # what the earlier axes left out need not be read again
        filled = np.flatnonzero(first[cut].any(axis=rest) | second[cut].any(axis=rest))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0))
    return tuple(box)


def _renumber(array: NDArray[Any], labels: tuple[int, ...]) -> NDArray[Any]:
    dtype = np.uint8 if len(labels) < 256 else np.uint16 if len(labels) < 65536 else np.uint32
    if array.size == 0 or not labels:
        return np.zeros(array.shape, dtype=dtype)
    largest = int(array.max())
    if largest < LOOKUP_LIMIT:
        table = np.zeros(max(largest, *labels) + 1, dtype=dtype) if max(labels) < LOOKUP_LIMIT else None
        if table is None:
            table = np.zeros(largest + 1, dtype=dtype)
        for index, value in enumerate(labels, start=1):
            if value < len(table):
                table[value] = index
        return np.ascontiguousarray(table[array])
    order = np.argsort(labels)
    known = np.asarray(labels)[order]
    place = np.searchsorted(known, array).clip(max=len(known) - 1)
    return np.where(known[place] == array, order[place] + 1, 0).astype(dtype)

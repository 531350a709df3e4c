"""Giving voxels to a class without touching what must stay: the one rule that every tool here follows.

A voxel goes from one label to another only if neither is protected, and if the old one is 0 or the user said that other
labels may be overwritten. Tools return boxes with their new values; nothing is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from napari_ssl_seg.annotation.region_ladder import Region

Box = tuple[tuple[int, ...], np.ndarray]
"""Where a box starts, and the values in it as they are to be."""


def apply_region(
    labels_slice: np.ndarray,
    region: Region,
    value: int,
    *,
    protected: Collection[int] = frozenset(),
    erase: bool = False,
    overwrite: bool = False,
) -> tuple[tuple[int, int], np.ndarray]:
    """What becomes of a slice when a region is given to a class, or taken from it.

    Parameters
    ----------
    labels_slice
        (y, x) integers, as they are now; not changed.
    region
        Where; what of it lies outside the slice is left out.
    value
        The class.
    protected
        Classes that neither lose nor gain a voxel.
    erase
        Voxels of ``value`` in the region become 0; with ``overwrite`` those of every class.
    overwrite
        Voxels of other classes may change, too.

    Returns
    -------
    start, values
        The smallest box (y, x) around what changes, and its new values; of shape (0, 0) where nothing does.

    Raises
    ------
    ValueError
        When the labels are not those of a slice, or their type cannot hold the value.
    """
    if labels_slice.ndim != 2:
        raise ValueError(f"a region lies in a slice (y, x), not in an array of shape {labels_slice.shape}")
    check_fits(value, labels_slice.dtype)
    (y, x), (height, width) = region.start, region.mask.shape
    y0, x0 = min(max(y, 0), labels_slice.shape[0]), min(max(x, 0), labels_slice.shape[1])
    y1, x1 = max(y0, min(y + height, labels_slice.shape[0])), max(x0, min(x + width, labels_slice.shape[1]))
    mask = region.mask[y0 - y : y1 - y, x0 - x : x1 - x]
    part = labels_slice[y0:y1, x0:x1]
    if erase:
        changed = mask & erasable(part, None if overwrite else (value,), protected)
        new: np.ndarray | int = 0
    else:
        changed = mask & (part != value) & paintable(part, np.asarray(value), protected, overwrite)
        new = value
    start, values = shrink((y0, x0), np.where(changed, np.asarray(new, part.dtype), part), changed)
    return (start[0], start[1]), values


def paintable(current: np.ndarray, wanted: np.ndarray, protected: Collection[int], overwrite: bool) -> np.ndarray:
    """Where a label other than 0 may be put: bool, of the shape of ``current``."""
    allowed = (wanted != 0) & ~among(wanted, protected)
    if not overwrite:
        return allowed & (current == 0)
    return allowed & ~among(current, protected)


def erasable(current: np.ndarray, values: Collection[int] | None, protected: Collection[int]) -> np.ndarray:
    """Where a label of these classes (None: of any) may become 0: bool."""
    chosen = current != 0 if values is None else (current != 0) & among(current, values)
    return chosen & ~among(current, protected)


def shrink(start: tuple[int, ...], values: np.ndarray, changed: np.ndarray) -> Box:
    """The part of a box around what changed, a copy; of no size where nothing did."""
    if not changed.any():
        return start, np.zeros((0,) * values.ndim, values.dtype)
    low, high = [], []
    for axis in range(values.ndim):
        hit = np.flatnonzero(changed.any(axis=tuple(other for other in range(values.ndim) if other != axis)))
        low.append(int(hit[0]))
        high.append(int(hit[-1]) + 1)
    box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    return tuple(at + first for at, first in zip(start, low, strict=True)), values[box].copy()


def changed_voxels(labels: np.ndarray, boxes: Iterable[Box]) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The voxels that boxes change, for one step of undo: what ``layer.data_setitem(indices, values)`` takes.

    Parameters
    ----------
    labels
        As they are before.

    Returns
    -------
    indices, values
        One integer array an axis, and the new values; empty where nothing changes.
    """
    found: list[list[np.ndarray]] = [[] for _ in range(labels.ndim)]
    new = []
    for start, values in boxes:
        box = tuple(slice(at, at + side) for at, side in zip(start, values.shape, strict=True))
        places = np.nonzero(labels[box] != values)
        for axis, place in enumerate(places):
            found[axis].append(place + start[axis])
        new.append(values[places])
    if not new:
        return tuple(np.zeros(0, np.intp) for _ in found), np.zeros(0, labels.dtype)
    return tuple(np.concatenate(parts) for parts in found), np.concatenate(new)


def check_fits(value: int, dtype: np.dtype) -> None:
    """Raise ValueError where labels of a type cannot hold a value."""
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(f"a class of value {value} does not fit into labels of type {dtype}")


def among(labels: np.ndarray, values: Collection[int]) -> np.ndarray:
    """``np.isin`` for the few values that there are, without a sort."""
    found = np.zeros(labels.shape, bool)
    for value in values:
        found |= labels == value
    return found

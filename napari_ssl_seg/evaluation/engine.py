"""Counts and surface distances of all labels of two maps, in the volume or in every slice: what every score is made of.

The work is done by compiled loops (`kernels`); where numba does not load, by k-d trees (`surfaces`), slower and with the
same results.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.evaluation.pairs import LabelPair, check_labels, checked_maps, count_labels, prepare_pair

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import ArrayLike, NDArray

LOG = logging.getLogger(__name__)
NEAR = 1000
"""About as many offsets are walked before a voxel is left to the search that reaches everywhere."""
ROUNDING = 1e-9
"""A distance that equals the tolerance counts, whatever rounding did to it."""
_STATE = {"warm": False, "broken": False}


@dataclass(frozen=True)
class Measured:
    """What was counted and measured. Arrays are (units, labels); units are slices, or the one volume."""

    labels: tuple[int, ...]
    spacing: tuple[float, ...]
    pred: NDArray[np.int64]
    """Voxels of the prediction."""
    ref: NDArray[np.int64]
    both: NDArray[np.int64]
    number: NDArray[np.int64]
    """Distances, both directions pooled; 0 where one side is empty or none were asked for."""
    total: NDArray[np.float64]
    """Their sum, in mm."""
    largest: NDArray[np.float64]
    within: NDArray[np.int64]
    """How many are at most the tolerance."""
    distances: NDArray[np.float64] | None = None
    """All of them, where asked for."""
    groups: NDArray[np.int64] | None = None
    """Of each: unit * number of labels + index of the label."""


def measure(
    pred: ArrayLike,
    ref: ArrayLike,
    spacing: Sequence[float] | float,
    labels: Sequence[int] | None = None,
    *,
    axis: int | None = None,
    tolerance: float = 0.0,
    want: bool = True,
    keep: bool = False,
) -> Measured:
    """Count and measure every label of two maps.

    Parameters
    ----------
    pred, ref : array, (z, y, x) or (y, x)
        Label maps on one grid; 0 is the background.
    spacing
        mm per voxel, in the order of the axes, or one number for all.
    labels
        Values to measure; default: all but 0 that either holds.
    axis
        Take every slice along this axis as an image of its own; default: one volume (or one image).
    tolerance
        In mm, of `Measured.within`.
    want
        Whether surfaces and distances are wanted, or the counts only.
    keep
        Whether to return every distance.

    Raises
    ------
    UserError
        As `pairs.checked_maps` and `pairs.check_labels` do.
    """
    first, second, steps = checked_maps(pred, ref, spacing)
    wanted = None if labels is None else check_labels(labels)
    kernels = _kernels()
    if kernels is not None:
        try:
            return _by_kernels(kernels, first, second, steps, wanted, axis, tolerance, want, keep)[0]
        except OSError as error:  # what was compiled cannot be kept (a full disk), and numba says so by failing
            _give_up(error)
    return _by_trees(prepare_pair(first, second, steps, wanted), axis, tolerance, want, keep)


def distances_of_label(
    pred: NDArray[Any], ref: NDArray[Any], spacing: Sequence[float] | float, label: int, axis: int | None
) -> NDArray[np.float64]:
    """(z, y, x) or (y, x): at the reference's surface voxels of a label the distance to the prediction's surface, in mm.

    NaN elsewhere, and everywhere where one side is empty (``axis``: in that slice).
    """
    first, second, steps = checked_maps(pred, ref, spacing)
    result = np.full(first.shape, np.nan)
    kernels = _kernels()
    if kernels is None:
        from napari_ssl_seg.evaluation.surfaces import surface_distances

        pair = prepare_pair(first, second, steps, (label,))
        for found in surface_distances(pair, axis):
            where = [part + start for part, start in zip(found.at_ref, pair.offset, strict=True)]
            result[tuple(where)] = found.from_ref
        return result
    measured, placed = _by_kernels(kernels, first, second, steps, (label,), axis, 0.0, True, True)
    assert placed is not None and measured.distances is not None
    places, indices = placed
    result[tuple(part[~places] for part in indices)] = measured.distances[~places]
    return result


def warm_up() -> bool:
    """Load or compile what scoring needs, so that the first score does not wait for it; for a background thread.

    The first time on a computer it takes some twenty seconds of one core, afterwards about one. Returns whether the
    compiled loops are in use.
    """
    for dtype in (np.uint8, np.uint16):
        small = np.zeros((3, 4, 4), dtype)
        small[1, 1:3, 1:3] = 1
        moved = np.roll(small, 1, axis=2)
        for axis in (None, 0):
            measure(moved, small, 1.0, axis=axis, keep=axis is None)
    _STATE["warm"] = True
    return not _STATE["broken"]


def is_warm() -> bool:
    """Whether `warm_up` has been through: scoring a slice is then fast enough for the window's own thread."""
    return _STATE["warm"]


def _kernels() -> ModuleType | None:
    if not _STATE["broken"]:
        try:
            from napari_ssl_seg.evaluation import kernels

            return kernels
        except ImportError as error:  # numba trails numpy and Python by months, and says so when it is imported
            _give_up(error)
    return None


def _give_up(error: Exception) -> None:
    _STATE["broken"] = True
    LOG.warning("numba does not run here (%s): scores are the same, and take six times as long for a volume", error)


def _by_kernels(
    kernels: ModuleType,
    first: NDArray[Any],
    second: NDArray[Any],
    spacing: tuple[float, ...],
    wanted: tuple[int, ...] | None,
    axis: int | None,
    tolerance: float,
    want: bool,
    keep: bool,
) -> tuple[Measured, tuple[NDArray[np.bool_], list[NDArray[np.int64]]] | None]:
    """Also, with ``keep``, whether each distance is the prediction's, and the voxel (by axis) that it starts from."""
    n_axes, flat = first.ndim, axis is not None or first.ndim == 2
    # As they lie in memory, which is what a pass over them costs; slices come first, whatever that costs.
    order = sorted(range(n_axes), key=lambda one: (one != axis, -abs(second.strides[one])))
    first, second = (part.transpose(order) for part in (first, second))
    steps = [spacing[one] for one in order]
    if n_axes == 2:
        first, second, steps = first[None], second[None], [1.0, *steps]
    first, second, values = _as_small(first, second)
    first, second = _one_kind(first), _one_kind(second)
    size = int(np.iinfo(first.dtype).max) + 1 if values is None else len(values) + 1
    if flat and first.dtype == np.uint8 and values is None:
        # So few values that each gets a column: which of them occur, and where, need not be looked up beforehand.
        box = np.array([0, first.shape[0], 0, first.shape[1], 0, first.shape[2]], np.int64)
        filled = first.size
        present = np.arange(1, 256)
    else:
        seen_first, seen_second = np.zeros(size, bool), np.zeros(size, bool)
        box, filled = kernels.survey(first, second, seen_first, seen_second)
        present = np.flatnonzero(seen_first | seen_second)
        present = present[present > 0]
    known = present if values is None else values[present - 1]
    if wanted is not None:
        chosen = np.isin(known, wanted)
        known, present = known[chosen], present[chosen]
    n, units = len(known), first.shape[0] if flat else 1
    if n == 0 or first.size == 0:
        return _spread((), wanted or (), spacing, units, n, np.zeros((3, units, 0)), np.zeros((4, units, 0))), None
    table = np.zeros(size, first.dtype)
    table[present] = np.arange(1, n + 1)
    padding, offsets, lengths = _offsets(tuple(steps), flat, NEAR // 4 if flat else NEAR)
    row = box[5] - box[4] + 2 * padding[2]
    plane = row * (box[3] - box[2] + 2 * padding[1])
    jumps = offsets @ np.array([plane, row, 1], np.int64)
    area = int(np.prod(np.diff(box)[[2, 4] if flat else [0, 2, 4]]))
    counts, _, sums, distances, groups, places = kernels.measure(
        first, second, box, flat, table, n, want, np.array(padding, np.int64), jumps, lengths, np.array(steps),
        tolerance * (1 + ROUNDING), min(area, filled), keep,
    )  # fmt: skip
    occurs = counts[:2].any(axis=(0, 1))
    known, counts, sums = known[occurs], counts[..., occurs], sums[..., occurs]
    labels = tuple(int(value) for value in known) if wanted is None else wanted
    if not keep:
        return _spread(known, labels, spacing, units, len(known), counts, sums), None
    unit, column = groups // n, (np.cumsum(occurs) - 1)[groups % n]
    n, groups = len(known), unit * len(known) + column
    of_pred = places >= 0
    places = np.where(of_pred, places, -1 - places)
    z = box[0] - padding[0] + (unit - box[0] if flat else places // plane)
    indices = [z, places % plane // row + box[2] - padding[1], places % row + box[4] - padding[2]][3 - n_axes :]
    back = [indices[order.index(one)] for one in range(n_axes)]
    return _spread(known, labels, spacing, units, n, counts, sums, distances, groups), (of_pred, back)


def _one_kind(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: numba compiles anew for every kind of array, and that counts as one."""
    view = array.view() if array.flags.aligned else array.copy()
    view.flags.writeable = False
    return view


def _as_small(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Contiguous maps of 8 or 16 bits; larger values are renumbered, and what they were is returned, too."""
    if first.dtype == second.dtype == np.uint8:
        return np.ascontiguousarray(first), np.ascontiguousarray(second), None
    largest = max((int(part.max()) for part in (first, second) if part.size), default=0)
    if largest < 65536:
        dtype = np.uint8 if largest < 256 else np.uint16
        return np.ascontiguousarray(first, dtype), np.ascontiguousarray(second, dtype), None
    values = np.union1d(first, second)
    values = values[values > 0]
    small = np.min_scalar_type(len(values))
    found = []
    for part in (first, second):
        place = np.searchsorted(values, part)
        found.append(np.where(part > 0, place + 1, 0).astype(small, order="C"))
    return found[0], found[1], values


@lru_cache(maxsize=32)
def _offsets(
    spacing: tuple[float, ...], flat: bool, near: int
) -> tuple[tuple[int, int, int], NDArray[np.int64], NDArray[np.float64]]:
    """The offsets within a ball (a disc) of about ``near`` voxels, from the shortest, their lengths, and how far they reach."""
    in_plane = math.sqrt(near / math.pi * spacing[1] * spacing[2])
    radius = in_plane if flat else min(in_plane, (0.75 * near / math.pi * math.prod(spacing)) ** (1 / 3))
    radius = max(radius, 1.01 * min(spacing[1:] if flat else spacing))
    reach = [int(radius / step) for step in spacing]
    reach = [0 if flat else min(reach[0], near), *(min(one, near) for one in reach[1:])]
    grid = np.meshgrid(*(np.arange(-one, one + 1, dtype=np.int64) for one in reach), indexing="ij")
    offsets = np.stack([part.ravel() for part in grid], axis=1)
    lengths = np.sqrt(((offsets * np.array(spacing)) ** 2).sum(axis=1))
    # Beyond the reach nothing is walked, so nothing farther than the nearest such voxel may be taken for the nearest.
    limit = min(
        radius,
        *((one + 1) * step for axis, (one, step) in enumerate(zip(reach, spacing, strict=True)) if axis or not flat),
    )
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= limit]
    return (reach[0], reach[1], reach[2]), offsets[order], lengths[order]


def _spread(
    known: Any,
    labels: tuple[int, ...],
    spacing: tuple[float, ...],
    units: int,
    n: int,
    counts: NDArray[Any],
    sums: NDArray[Any],
    distances: NDArray[np.float64] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Measured:
    """What was measured of the labels that occur, put among all that were asked for."""
    column = {label: index for index, label in enumerate(labels)}
    place = np.array([column[int(value)] for value in known], dtype=np.int64)
    tables = np.zeros((7, units, len(labels)))
    tables[:3, :, place] = counts
    tables[3:, :, place] = sums
    if groups is not None:
        groups = groups // n * len(labels) + place[groups % n]
    pred, ref, both, number, within = (tables[one].astype(np.int64) for one in (0, 1, 2, 3, 6))
    return Measured(labels, spacing, pred, ref, both, number, tables[4], tables[5], within, distances, groups)


def _by_trees(pair: LabelPair, axis: int | None, tolerance: float, want: bool, keep: bool) -> Measured:
    from napari_ssl_seg.evaluation.surfaces import surface_distances

    units, start = (1, 0) if axis is None else (pair.shape[axis], pair.offset[axis])
    shape = (units, len(pair.labels))
    pred, ref, both = (np.zeros(shape, np.int64) for _ in range(3))
    for table, counted in zip((pred, ref, both), count_labels(pair, axis), strict=True):
        rows = np.atleast_2d(counted)
        table[start : start + len(rows)] = rows
    number, within = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    total, largest = np.zeros(shape), np.zeros(shape)
    distances, groups = [np.zeros(0)], [np.zeros(0, np.int64)]
    for found in surface_distances(pair, axis) if want else ():
        at = (start + found.slice_index, found.label_index)
        pooled = np.concatenate([found.from_pred, found.from_ref])
        number[at], total[at], largest[at] = pooled.size, pooled.sum(), pooled.max()
        within[at] = np.count_nonzero(pooled <= tolerance * (1 + ROUNDING))
        if keep:
            distances.append(pooled)
            groups.append(np.full(pooled.size, at[0] * shape[1] + at[1]))
    kept = (np.concatenate(distances), np.concatenate(groups)) if keep else (None, None)
    return Measured(pair.labels, pair.spacing, pred, ref, both, number, total, largest, within, *kept)

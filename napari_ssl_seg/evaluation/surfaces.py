"""Surface voxels, and how far each lies from the other surface, by k-d trees: for computers on which numba does not run.

The compiled loops (`kernels`) give the same, several times as fast; each is the other's test.

A surface voxel of a label is a voxel of it that has, among its neighbours by face (6 in a volume, 4 in a slice), one that is
not of the label or lies outside the image. Distances go from voxel centre to voxel centre, in mm. This is MedPy's
definition (0.5.2, connectivity 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_ssl_seg.evaluation.pairs import LabelPair


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances of one label, in mm; in one slice, or in the volume (``slice_index`` 0).

    ``from_pred`` has one distance for every surface voxel of the prediction, to the nearest one of the reference;
    ``from_ref`` the other way round. Neither is empty.
    """

    slice_index: int
    label_index: int
    from_pred: NDArray[np.float64]
    from_ref: NDArray[np.float64]
    at_ref: tuple[NDArray[np.int64], ...]
    """Voxels of the pair's box, by axis, that ``from_ref`` starts from."""


def surface_distances(pair: LabelPair, slice_axis: int | None = None) -> Iterator[SurfaceDistances]:
    """Distances for each label that is in both maps, all labels in one pass over the voxels.

    Parameters
    ----------
    pair
        From `prepare_pair`.
    slice_axis
        Take every slice along this axis as an image of its own; default: one volume.
    """
    in_plane = tuple(axis for axis in range(pair.pred.ndim) if axis != slice_axis)
    spacing = np.array([pair.spacing[axis] for axis in in_plane])
    first = _surface(pair.pred, in_plane)
    second = _surface(pair.ref, in_plane)
    shared = first & second & (pair.pred == pair.ref)  # distance 0: nothing to search
    groups = [
        _grouped(pair, surface, labels, shared, slice_axis)
        for surface, labels in ((first, pair.pred), (second, pair.ref))
    ]
    for key in np.intersect1d(groups[0].keys, groups[1].keys).tolist():
        (points, same), (others, same_too) = groups[0].at(key), groups[1].at(key)
        slice_index, label_index = divmod(key, len(pair.labels))
        at_ref = list(others.astype(np.int64).T)
        if slice_axis is not None:
            at_ref.insert(slice_axis, np.full(len(others), slice_index))
        yield SurfaceDistances(
            slice_index=slice_index,
            label_index=label_index,
            from_pred=_to_nearest(points * spacing, same, others * spacing),
            from_ref=_to_nearest(others * spacing, same_too, points * spacing),
            at_ref=tuple(at_ref),
        )


@dataclass(frozen=True)
class _Groups:
    """Surface voxels sorted by slice and label."""

    keys: NDArray[np.int64]
    starts: NDArray[np.int64]
    points: NDArray[np.float64]
    """(n, in-plane axes), voxel indices."""
    shared: NDArray[np.bool_]

    def at(self, key: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        place = int(np.searchsorted(self.keys, key))
        part = slice(int(self.starts[place]), int(self.starts[place + 1]))
        return self.points[part], self.shared[part]


def _surface(labels: NDArray[Any], in_plane: tuple[int, ...]) -> NDArray[np.bool_]:
    result = np.zeros(labels.shape, dtype=bool)
    for axis in in_plane:
        moved, out = np.moveaxis(labels, axis, 0), np.moveaxis(result, axis, 0)
        differs = moved[1:] != moved[:-1]
        out[1:] |= differs
        out[:-1] |= differs
        out[:1] = True
        out[-1:] = True
    result &= labels != 0
    return result


def _grouped(
    pair: LabelPair,
    mask: NDArray[np.bool_],
    labels: NDArray[Any],
    shared: NDArray[np.bool_],
    slice_axis: int | None,
) -> _Groups:
    flat = np.flatnonzero(mask)
    indices = np.unravel_index(flat, mask.shape)
    keys = labels.ravel()[flat].astype(np.int64) - 1
    if slice_axis is not None:
        keys += indices[slice_axis] * len(pair.labels)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    points = np.stack([part[order] for axis, part in enumerate(indices) if axis != slice_axis], axis=1).astype(float)
    starts = np.flatnonzero(np.diff(keys, prepend=-1)) if keys.size else np.zeros(0, dtype=np.int64)
    return _Groups(
        keys=keys[starts], starts=np.append(starts, keys.size), points=points, shared=shared.ravel()[flat][order]
    )


def _to_nearest(
    points: NDArray[np.float64], shared: NDArray[np.bool_], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from each point to the nearest target; points that are ``shared`` with the targets have 0."""
    from scipy.spatial import cKDTree

    distances = np.zeros(len(points))
    rest = ~shared
    if rest.any():
        # Voxel centres lie on a grid: splitting at midpoints is as good as at medians there, and needs no sorting.
        tree = cKDTree(targets, balanced_tree=False, compact_nodes=False)
        distances[rest] = tree.query(points[rest])[0]
    return distances

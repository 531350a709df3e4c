"""Scores by lesion: how many of the reference's were found, how many of the prediction's are false.

The definition is written down in ``docs/metrics.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.pairs import check_labels, checked_maps, present_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

OVERLAP = 0.1
"""Share of a lesion's voxels that the other map has to have, where none is given."""


@dataclass(frozen=True)
class LesionScores:
    """Of one label in one case."""

    n_ref: int
    """Lesions of the reference."""
    n_pred: int
    """Lesions of the prediction."""
    detected: int
    """Lesions of the reference that were found."""
    missed: int
    false: int
    """Lesions of the prediction that are none."""
    volumes: tuple[float, ...]
    """ml of each lesion of the reference, in the order of ``found``."""
    found: tuple[bool, ...]

    @property
    def sensitivity(self) -> float:
        """Detected over all of the reference; NaN where it has none."""
        return self.detected / self.n_ref if self.n_ref else float("nan")

    @property
    def precision(self) -> float:
        """Share of the prediction's lesions that are not false; NaN where it has none."""
        return (self.n_pred - self.false) / self.n_pred if self.n_pred else float("nan")

    @property
    def f1(self) -> float:
        """2 detected / (2 detected + missed + false); NaN where neither map has a lesion."""
        below = 2 * self.detected + self.missed + self.false
        return 2 * self.detected / below if below else float("nan")

    def as_metrics(self) -> dict[str, float]:
        """The counts and F1 under the names of `metrics.LESION_METRICS`."""
        return {
            "lesions_detected": float(self.detected),
            "lesions_missed": float(self.missed),
            "lesions_false": float(self.false),
            "lesion_f1": self.f1,
        }


def score_lesions(
    pred: ArrayLike,
    ref: ArrayLike,
    spacing: Sequence[float] | float,
    labels: Sequence[int] | None = None,
    *,
    overlap: float = OVERLAP,
    least_ml: float = 0.0,
) -> dict[int, LesionScores]:
    """Count lesions that were detected and missed, and false ones, for each label.

    A lesion is a connected component of a label, neighbours by face, edge or corner.

    Parameters
    ----------
    pred, ref : array, (z, y, x) or (y, x)
        Label maps on one grid.
    spacing
        mm per voxel, in the order of the axes.
    labels
        Those whose components are lesions; default: all but 0 that either map holds.
    overlap
        A lesion of the reference is detected when the prediction has the label on at least this share of its voxels (and
        on one at least); a lesion of the prediction is false when the reference has the label on less.
    least_ml
        Components that are smaller are ignored, on both sides.

    Raises
    ------
    UserError
        As `score` does, and when ``overlap`` is not between 0 and 1.
    """
    if not 0 <= overlap <= 1:
        raise UserError(f"the overlap from which a lesion counts as found is a share from 0 to 1, not {overlap}")
    first, second, steps = checked_maps(pred, ref, spacing)
    voxel = float(np.prod(steps)) / 1000
    wanted = present_labels(first, second) if labels is None else check_labels(labels)
    return {label: _score(first == label, second == label, voxel, overlap, least_ml) for label in wanted}


def _score(
    pred: NDArray[np.bool_], ref: NDArray[np.bool_], voxel: float, overlap: float, least_ml: float
) -> LesionScores:
    (sizes, shared), (pred_sizes, pred_shared) = _components(ref, pred), _components(pred, ref)
    # Whole voxels are compared, so a share that equals the threshold counts, whatever rounding did to it.
    least = least_ml / voxel * (1 - 1e-9)
    sizes, shared = sizes[large := sizes >= least], shared[large]
    pred_sizes, pred_shared = pred_sizes[large := pred_sizes >= least], pred_shared[large]
    found = shared >= np.maximum(overlap * sizes * (1 - 1e-9), 1)
    right = pred_shared >= np.maximum(overlap * pred_sizes * (1 - 1e-9), 1)
    return LesionScores(
        n_ref=len(sizes),
        n_pred=len(pred_sizes),
        detected=int(found.sum()),
        missed=int((~found).sum()),
        false=int((~right).sum()),
        volumes=tuple((sizes * voxel).tolist()),
        found=tuple(found.tolist()),
    )


def _components(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels of each connected component, and how many of them ``other`` has."""
    from scipy import ndimage

    box = ndimage.find_objects(mask.view(np.uint8))
    if not box:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbered, n = ndimage.label(mask[box[0]], np.ones((3,) * mask.ndim))
    sizes = np.bincount(numbered.ravel(), minlength=n + 1)
    shared = np.bincount(numbered[other[box[0]]], minlength=n + 1)
    return sizes[1:], shared[1:]

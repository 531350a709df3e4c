"""Dice, surface distances and friends for every label of two label maps at once.

Definitions, edge cases and whom they agree with: ``docs/metrics.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.pairs import count_labels, prepare_pair, union_maps
from napari_ssl_seg.evaluation.surfaces import surface_distances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

NAN = float("nan")
TOLERANCE_MM = 2.0
"""Of the normalised surface Dice, where none is given."""
ABSENT, MISSED, FALSE_ALARM = "absent in both", "missed", "false alarm"


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is shown and compared."""

    title: str
    unit: str
    best: float
    """The value of a perfect prediction."""
    larger_is_better: bool | None
    """None: neither, the nearer to ``best`` the better."""
    help: str


METRICS = {
    "dice": MetricInfo("Dice", "", 1.0, True, "overlap: twice the shared voxels over the voxels of both"),
    "iou": MetricInfo("IoU", "", 1.0, True, "overlap: shared voxels over voxels of either (Jaccard)"),
    "assd": MetricInfo("ASSD", "mm", 0.0, False, "mean distance between the surfaces, both directions pooled"),
    "hd": MetricInfo("HD", "mm", 0.0, False, "largest distance between the surfaces (Hausdorff)"),
    "hd95": MetricInfo("HD95", "mm", 0.0, False, "95th percentile of the surface distances, both directions pooled"),
    "nsd": MetricInfo("NSD", "", 1.0, True, "share of the surface voxels within the tolerance of the other surface"),
    "volume_difference": MetricInfo("Volume difference", "ml", 0.0, None, "volume of prediction minus reference"),
    "volume_difference_relative": MetricInfo(
        "Relative volume difference", "", 0.0, None, "volume of prediction minus reference, over the reference"
    ),
}
DISTANCE_METRICS = frozenset({"assd", "hd", "hd95", "nsd"})


def score(
    pred: ArrayLike,
    ref: ArrayLike,
    spacing: Sequence[float] | float,
    labels: Sequence[int] | None = None,
    metrics: Sequence[str] = ("dice", "assd"),
    *,
    tolerance: float = TOLERANCE_MM,
    unions: Mapping[int, Sequence[int]] | None = None,
) -> dict[int, dict[str, float | str]]:
    """Score a prediction against a reference.

    Parameters
    ----------
    pred, ref : array, (z, y, x) or (y, x)
        Label maps on one grid; 0 is the background.
    spacing
        mm per voxel, in the order of the axes.
    labels
        Values to score; default: all but 0 that either holds.
    metrics
        Names from `METRICS`.
    tolerance
        Of ``nsd``, in mm.
    unions
        Targets that may overlap, in place of ``labels``: the label under which each is returned -> its values. Each is
        scored as the union of these values in both maps.

    Returns
    -------
    dict
        ``{label: {metric: value, ..., "note": reason}}``. A value that is not defined is NaN, and ``note`` says why:
        ``absent in both`` (all NaN), ``missed`` (no voxel predicted: overlaps are 0, distances NaN) or ``false alarm``
        (no voxel in the reference: likewise). Otherwise the note is empty.

    Raises
    ------
    UserError
        When the shapes differ, a map holds anything but whole numbers from 0, or a metric is not known.
    """
    names = check_metrics(metrics)
    if unions is not None:
        return {
            label: score(*union, spacing, (1,), names, tolerance=tolerance)[1]
            for label, union in union_maps(pred, ref, unions)
        }
    pair = prepare_pair(pred, ref, spacing, labels)
    counts = count_labels(pair)
    distances = {}
    if DISTANCE_METRICS.intersection(names):
        distances = {found.label_index: (found.from_pred, found.from_ref) for found in surface_distances(pair)}
    voxel = float(np.prod(pair.spacing))
    return {
        label: measure(
            [int(part[index]) for part in counts], voxel, distances.get(index), metrics=names, tolerance=tolerance
        )
        for index, label in enumerate(pair.labels)
    }


def check_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple without repeats; raises UserError for one that is not known."""
    names = (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics))
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}; choose among {', '.join(METRICS)}")
    return names


def measure(
    counts: Sequence[int],
    voxel_mm3: float,
    distances: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    *,
    metrics: Sequence[str],
    tolerance: float = TOLERANCE_MM,
) -> dict[str, float | str]:
    """The metrics of one label from its counts and surface distances; NaN and a note where one side is empty.

    Parameters
    ----------
    counts
        Voxels of the prediction, of the reference, of both.
    voxel_mm3
        Volume of a voxel.
    distances
        mm, from the prediction's surface and from the reference's; None where one is empty or no metric needs them.
    """
    n_pred, n_ref, n_both = counts
    note = outcome(n_pred, n_ref)
    values: dict[str, float] = dict.fromkeys(METRICS, NAN)
    if note != ABSENT:
        values["dice"] = 2 * n_both / (n_pred + n_ref)
        values["iou"] = n_both / (n_pred + n_ref - n_both)
        values["volume_difference"] = (n_pred - n_ref) * voxel_mm3 / 1000
        values["nsd"] = 0.0  # where one side is empty: no surface voxel has a partner
        if n_ref:
            values["volume_difference_relative"] = (n_pred - n_ref) / n_ref
    if note == "" and distances is not None:
        pooled = np.concatenate(distances)
        values["assd"] = float(pooled.mean())
        values["hd"] = float(pooled.max())
        if "hd95" in metrics:
            values["hd95"] = float(np.percentile(pooled, 95))
        # A distance that equals the tolerance counts, whatever rounding did to it.
        values["nsd"] = float(np.count_nonzero(pooled <= tolerance * (1 + 1e-9)) / pooled.size)
    return {**{name: values[name] for name in metrics}, "note": note}


def outcome(n_pred: int, n_ref: int) -> str:
    """Why a value is not defined; empty where both sides have voxels."""
    if n_pred and n_ref:
        return ""
    return MISSED if n_ref else FALSE_ALARM if n_pred else ABSENT

"""Dice, surface distances and friends for every label of two label maps at once.

Definitions, edge cases and whom they agree with: ``docs/metrics.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.engine import measure
from napari_ssl_seg.evaluation.pairs import union_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_ssl_seg.evaluation.engine import Measured

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
LESION_METRICS = {
    "lesions_detected": MetricInfo("Detected lesions", "", math.inf, True, "lesions of the reference that were found"),
    "lesions_missed": MetricInfo("Missed lesions", "", 0.0, False, "lesions of the reference that were not found"),
    "lesions_false": MetricInfo("False lesions", "", 0.0, False, "lesions of the prediction that are none"),
    "lesion_f1": MetricInfo("Lesion F1", "", 1.0, True, "2 detected / (2 detected + missed + false) lesions"),
}
"""Of labels whose components are lesions (`score_lesions`); not for `score`."""
TABLE_METRICS = {**METRICS, **LESION_METRICS}
"""What a `ScoreTable` may hold."""
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
    measured = measure(pred, ref, spacing, labels, tolerance=tolerance, **needs(names))
    values, notes = metric_tables(measured, names)
    return {
        label: {**{name: float(values[name][0, column]) for name in names}, "note": str(notes[0, column])}
        for column, label in enumerate(measured.labels)
    }


def check_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple without repeats; raises UserError for one that is not known."""
    names = (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics))
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}; choose among {', '.join(METRICS)}")
    return names


def needs(metrics: Sequence[str]) -> dict[str, bool]:
    """What `engine.measure` has to do for these metrics."""
    return {"want": bool(DISTANCE_METRICS.intersection(metrics)), "keep": "hd95" in metrics}


def metric_tables(
    measured: Measured, metrics: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.str_]]:
    """The metrics of every unit (slice, or the volume) and label, and why a value is not defined.

    Returns
    -------
    values, notes
        By metric (units, labels), NaN where one side is empty; (units, labels), empty where both sides have voxels.
    """
    pred, ref, both = (part.astype(float) for part in (measured.pred, measured.ref, measured.both))
    voxel, number = float(np.prod(measured.spacing)), measured.number
    values: dict[str, NDArray[np.float64]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in metrics:
            if name == "dice":
                table = 2 * both / (pred + ref)
            elif name == "iou":
                table = both / (pred + ref - both)
            elif name == "volume_difference":
                table = np.where(pred + ref > 0, (pred - ref) * voxel / 1000, NAN)
            elif name == "volume_difference_relative":
                table = np.where(ref > 0, (pred - ref) / ref, NAN)
            elif name == "assd":
                table = np.where(number > 0, measured.total / number, NAN)
            elif name == "hd":
                table = np.where(number > 0, measured.largest, NAN)
            elif name == "hd95":
                table = percentile(measured, 95)
            else:  # where one side is empty no surface voxel has a partner
                table = np.where(number > 0, measured.within / number, np.where(pred + ref > 0, 0.0, NAN))
            values[name] = table
    notes = np.full(pred.shape, "", dtype="U32")
    notes[(pred == 0) & (ref == 0)] = ABSENT
    notes[(pred == 0) & (ref > 0)] = MISSED
    notes[(pred > 0) & (ref == 0)] = FALSE_ALARM
    return values, notes


def percentile(measured: Measured, percent: float) -> NDArray[np.float64]:
    """(units, labels): a percentile of the distances of each, interpolated linearly; NaN where there are none."""
    if measured.distances is None or measured.groups is None:
        return np.full(measured.number.shape, NAN)
    order = np.lexsort((measured.distances, measured.groups))
    ordered = measured.distances[order]
    number = measured.number.ravel()
    known = np.flatnonzero(number)
    begins = (np.cumsum(number) - number)[known]
    at = percent / 100 * (number[known] - 1)
    below = np.floor(at).astype(np.int64)
    low, high = ordered[begins + below], ordered[begins + np.minimum(below + 1, number[known] - 1)]
    found = np.full(number.shape, NAN)
    found[known] = low + (at - below) * (high - low)
    return found.reshape(measured.number.shape)

"""The same metrics for every slice of a volume, each slice an image of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.engine import measure
from napari_ssl_seg.evaluation.metrics import ABSENT, METRICS, TOLERANCE_MM, check_metrics, metric_tables, needs
from napari_ssl_seg.evaluation.pairs import union_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class SliceTable:
    """Slice by label. Distances are within the slice, in mm."""

    labels: tuple[int, ...]
    metrics: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    """By metric: (slices, labels); NaN where not defined."""
    notes: NDArray[np.str_]
    """(slices, labels): why a value is not defined; empty where it is."""
    axis: int = 0

    @property
    def n_slices(self) -> int:
        return self.notes.shape[0]

    def at(self, index: int, label: int) -> dict[str, float | str]:
        """One slice and label, as `score` returns it; raises KeyError for a label that is not in the table."""
        if label not in self.labels:
            raise KeyError(label)
        column = self.labels.index(label)
        found: dict[str, float | str] = {name: float(self.values[name][index, column]) for name in self.metrics}
        return {**found, "note": str(self.notes[index, column])}

    def column(self, metric: str, label: int | None = None) -> NDArray[np.float64]:
        """(slices,): the metric of one label, or the mean over labels."""
        if label is None:
            return self.mean_over_labels(metric)
        return np.asarray(self.values[metric][:, self.labels.index(label)])

    def mean_over_labels(self, metric: str) -> NDArray[np.float64]:
        """(slices,): mean over the labels for which the metric is defined; NaN where it is for none."""
        table = self.values[metric]
        known = np.isfinite(table)
        count = known.sum(axis=1)
        total = np.where(known, table, 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def worst(self, n: int | None = None, metric: str = "dice", label: int | None = None) -> list[int]:
        """Slice indices from the worst on; slices for which the metric is not defined are left out."""
        values = self.column(metric, label)
        info = METRICS[metric]
        badness = -values if info.larger_is_better else values if info.larger_is_better is False else np.abs(values)
        known = np.flatnonzero(np.isfinite(badness))
        return known[np.argsort(-badness[known], kind="stable")][:n].tolist()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return {
            "axis": self.axis,
            "labels": list(self.labels),
            "metrics": list(self.metrics),
            "values": {
                name: [[value if np.isfinite(value) else None for value in row] for row in self.values[name].tolist()]
                for name in self.metrics
            },
            "notes": self.notes.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SliceTable:
        """The inverse of `to_dict`; raises UserError for anything else."""
        try:
            labels, metrics = tuple(int(label) for label in data["labels"]), tuple(data["metrics"])
            shape = (len(data["notes"]), len(labels))
            return cls(
                labels=labels,
                metrics=metrics,
                values={name: np.array(data["values"][name], dtype=float).reshape(shape) for name in metrics},
                notes=np.array(data["notes"], dtype="U32").reshape(shape),
                axis=int(data["axis"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"this is no table of slices ({error!r}); delete it and it is made anew") from error


def score_slices(
    pred: ArrayLike,
    ref: ArrayLike,
    spacing: Sequence[float] | float,
    axis: int = 0,
    labels: Sequence[int] | None = None,
    metrics: Sequence[str] = ("dice", "assd"),
    *,
    tolerance: float = TOLERANCE_MM,
    unions: Mapping[int, Sequence[int]] | None = None,
) -> SliceTable:
    """Score every slice along ``axis`` as a 2D image of its own.

    Parameters
    ----------
    pred, ref : array, (z, y, x)
        Label maps on one grid; 0 is the background.
    spacing : (z, y, x)
        mm per voxel. Volume differences are of the slab that a slice stands for.
    axis
        0 axial, 1 coronal, 2 sagittal.
    labels, metrics, tolerance, unions
        As for `score`.

    Raises
    ------
    UserError
        As `score` does, and when the maps are not volumes.
    """
    names = check_metrics(metrics)
    if np.ndim(pred) != 3 or axis not in (-3, -2, -1, 0, 1, 2):
        raise UserError(
            f"slices need volumes of 3 axes and an axis of 0, 1 or 2, not {np.ndim(pred)} axes and axis {axis}"
        )
    axis %= 3
    if unions is not None:
        parts = [
            score_slices(*union, spacing, axis, (1,), names, tolerance=tolerance)
            for _, union in union_maps(pred, ref, unions)
        ]
        return SliceTable(
            labels=tuple(unions),
            metrics=names,
            values={name: np.concatenate([part.values[name] for part in parts], axis=1) for name in names},
            notes=np.concatenate([part.notes for part in parts], axis=1),
            axis=axis,
        )
    measured = measure(pred, ref, spacing, labels, axis=axis, tolerance=tolerance, **needs(names))
    values, notes = metric_tables(measured, names)
    return SliceTable(labels=measured.labels, metrics=names, values=values, notes=notes, axis=axis)


def rescore_slice(
    table: SliceTable,
    pred: ArrayLike,
    ref: ArrayLike,
    spacing: Sequence[float] | float,
    index: int,
    *,
    tolerance: float = TOLERANCE_MM,
    unions: Mapping[int, Sequence[int]] | None = None,
    new_labels: bool = True,
) -> SliceTable:
    """The table with one slice scored anew, as after a stroke of the brush: milliseconds, where the volume takes longer.

    Parameters
    ----------
    table
        From `score_slices`.
    pred, ref : array, (z, y, x)
        The whole maps, of which only the slice is read.
    spacing, tolerance, unions
        As the table was made with.
    index
        Of the slice, along the table's axis.
    new_labels
        Whether a label that the table lacks and the slice now has gets a column.

    Raises
    ------
    UserError
        As `score_slices` does, and when the table has no such slice.
    """
    return rescore_slices(
        [table], [pred], ref, spacing, index, tolerance=tolerance, unions=unions, new_labels=new_labels
    )[0]


def rescore_slices(
    tables: Sequence[SliceTable],
    preds: Sequence[ArrayLike],
    ref: ArrayLike,
    spacing: Sequence[float] | float,
    index: int,
    *,
    tolerance: float = TOLERANCE_MM,
    unions: Mapping[int, Sequence[int]] | None = None,
    new_labels: bool = True,
) -> list[SliceTable]:
    """As `rescore_slice`, for several predictions of one case: after a stroke on their reference.

    Parameters
    ----------
    tables, preds
        A table and the whole map of each; the tables of one axis, and of the same metrics.
    """
    table = tables[0]
    if not 0 <= index < table.n_slices:
        raise UserError(f"there is no slice {index}; the table has slices 0 to {table.n_slices - 1}")
    axis = table.axis
    one = (slice(None),) * axis + (index,)
    planes = [np.asarray(pred)[one] for pred in preds]
    given = np.broadcast_to(np.asarray(spacing, float), 3)
    steps = [given[axis], *np.delete(given, axis)]
    stack, truth = np.stack(planes), np.stack([np.asarray(ref)[one]] * len(planes))
    fresh = score_slices(stack, truth, steps, 0, None, table.metrics, tolerance=tolerance, unions=unions)
    return [_with_slice(old, fresh, place, index, new_labels) for place, old in enumerate(tables)]


def _with_slice(table: SliceTable, fresh: SliceTable, place: int, index: int, new_labels: bool) -> SliceTable:
    """The table with row ``place`` of another in place of its slice ``index``."""
    labels = table.labels
    occurs = fresh.notes[place] != ABSENT
    added = [label for label, there in zip(fresh.labels, occurs, strict=True) if there and label not in labels]
    if added and new_labels:
        ordered = list(labels) == sorted(labels)
        labels = tuple(sorted({*labels, *added})) if ordered else (*labels, *added)
    known = [label for label in fresh.labels if label in labels]
    source, target = [fresh.labels.index(label) for label in known], [labels.index(label) for label in known]
    if labels == table.labels:
        values, notes = {name: column.copy() for name, column in table.values.items()}, table.notes.copy()
    else:
        old, shape = [labels.index(label) for label in table.labels], (table.n_slices, len(labels))
        values, notes = {}, np.full(shape, ABSENT, dtype="U32")
        notes[:, old] = table.notes
        for name in table.metrics:
            values[name] = np.full(shape, np.nan)
            values[name][:, old] = table.values[name]
    for name in table.metrics:
        values[name][index] = np.nan
        values[name][index, target] = fresh.values[name][place, source]
    notes[index] = ABSENT
    notes[index, target] = fresh.notes[place, source]
    return SliceTable(labels=labels, metrics=table.metrics, values=values, notes=notes, axis=table.axis)

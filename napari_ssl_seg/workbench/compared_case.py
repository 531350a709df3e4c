"""One case as several methods segmented it: predictions, scores by slice and by volume, errors. Pure, and no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_ssl_seg.evaluation import SliceTable
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.volumes import Geometry
    from napari_ssl_seg.workbench.compared_entry import Entry

METRICS = ("dice", "assd")
METRIC_WORDS = {"dice": "Dice", "assd": "ASSD"}


@dataclass(frozen=True)
class Compared:
    """What one method made of the case. Arrays are (z, y, x)."""

    entry: Entry
    labels: NDArray[Any]
    slices: SliceTable | None = None
    """None where there is no reference."""
    volume: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Label -> metric -> value, over the whole volume."""
    errors: NDArray[np.uint8] | None = None
    """As of `evaluation.error_map`."""


@dataclass(frozen=True)
class CaseComparison:
    """Several methods on one case, along one axis."""

    case_id: str
    image: NDArray[Any]
    geometry: Geometry
    reference: NDArray[Any] | None
    classes: tuple[int, ...]
    methods: tuple[Compared, ...]
    missing: tuple[Entry, ...] = ()
    refused: tuple[tuple[Entry, str], ...] = ()
    """Methods whose prediction cannot be compared, and why."""
    axis: int = 0
    unions: Mapping[int, Sequence[int]] | None = None
    """Targets that may overlap, as for `evaluation.score`."""
    labelled: tuple[int, ...] | None = None
    """Axial slices that have labels; None: all."""

    @property
    def n_slices(self) -> int:
        return int(self.image.shape[self.axis])

    def by_slice(self, method: int, metric: str, label: int | None = None) -> NDArray[np.float64]:
        """(slices,): a metric of one label, or its mean over the labels for which it is defined; NaN elsewhere."""
        table = self.methods[method].slices
        if table is None or (label is not None and label not in table.labels):
            return np.full(self.n_slices, np.nan)
        return table.column(metric, label)

    def of_volume(self, method: int, metric: str, label: int | None = None) -> float:
        """A metric of the whole volume; without a label the mean over the labels for which it is defined."""
        scores = self.methods[method].volume
        chosen = scores.values() if label is None else [scores[label]] if label in scores else []
        values = [float(found[metric]) for found in chosen if np.isfinite(found[metric])]
        return float(np.mean(values)) if values else float("nan")

    def best(self, metric: str, label: int | None = None) -> NDArray[np.int64]:
        """(slices,): which method is best on each slice; -1 where none is, or where all are equal."""
        if len(self.methods) < 2:
            return np.full(self.n_slices, -1)
        table = self._table(metric, label)
        sign = 1.0 if metric == "dice" else -1.0
        filled = np.where(np.isfinite(table), sign * table, -np.inf)
        order = np.sort(filled, axis=0)
        clear = np.isfinite(order[-1]) & (order[-1] > order[-2] + 1e-9)
        return np.where(clear, filled.argmax(axis=0), -1)

    @cached_property
    def disagreement(self) -> NDArray[np.float64]:
        """(slices,): share of the voxels that any method labels on which not all methods agree; 0 where none labels any."""
        if len(self.methods) < 2:
            return np.zeros(self.n_slices)
        stack = [np.moveaxis(method.labels, self.axis, 0).reshape(self.n_slices, -1) for method in self.methods]
        any_, differ = np.zeros(stack[0].shape, bool), np.zeros(stack[0].shape, bool)
        for labels in stack:
            any_ |= labels != 0
            differ |= labels != stack[0]
        count = any_.sum(axis=1)
        return np.where(count > 0, differ.sum(axis=1) / np.maximum(count, 1), 0.0)

    def worst_first(self, metric: str = "dice", label: int | None = None) -> list[tuple[int, int, float]]:
        """Slices from the worst on: (slice, method that is worst there, its value); undefined ones are left out.

        Where the values are equal (a Dice of 0 at both ends of an organ), the slice with more wrong voxels comes first.
        """
        if not self.methods:
            return []
        table = self._table(metric, label)
        badness = np.where(np.isfinite(table), -table if metric == "dice" else table, -np.inf)
        worst = badness.argmax(axis=0)
        rows = [
            (index, int(worst[index]), float(table[worst[index], index]))
            for index in range(self.n_slices)
            if np.isfinite(badness[worst[index], index])
        ]
        wrong = [self._wrong(method) for method in range(len(self.methods))]
        sign = 1.0 if metric == "dice" else -1.0
        return sorted(rows, key=lambda row: (round(sign * row[2], 6), -int(wrong[row[1]][row[0]]), row[0]))

    def disagreeing_first(self) -> list[tuple[int, float]]:
        """Slices by how much the methods disagree: (slice, share); those where they agree are left out."""
        shares = self.disagreement
        order = np.argsort(-shares, kind="stable")
        return [(int(index), float(shares[index])) for index in order if shares[index] > 0]

    def differing_first(
        self, first: int, second: int, metric: str = "dice", label: int | None = None
    ) -> list[tuple[int, float]]:
        """Slices by how far two methods are apart: (slice, value of the first minus the second's), largest first."""
        apart = self.by_slice(first, metric, label) - self.by_slice(second, metric, label)
        known = np.flatnonzero(np.isfinite(apart) & (apart != 0))
        order = known[np.argsort(-np.abs(apart[known]), kind="stable")]
        return [(int(index), float(apart[index])) for index in order]

    def rows(self) -> list[dict[str, Any]]:
        """One row a method, slice and label, for a CSV file."""
        found = []
        for method in self.methods:
            table = method.slices
            if table is None:
                continue
            for index in range(table.n_slices):
                for label in table.labels:
                    found.append(
                        {
                            "run": method.entry.key,
                            "title": method.entry.title,
                            "case": self.case_id,
                            "axis": self.axis,
                            "slice": index,
                            "label": label,
                            **table.at(index, label),
                        }
                    )
        return found

    def _wrong(self, method: int) -> NDArray[np.int64]:
        """(slices,): how many voxels are wrong."""
        errors = self.methods[method].errors
        if errors is None:
            return np.zeros(self.n_slices, np.int64)
        return np.count_nonzero(np.moveaxis(errors, self.axis, 0).reshape(self.n_slices, -1), axis=1)

    def _table(self, metric: str, label: int | None) -> NDArray[np.float64]:
        return np.stack([self.by_slice(method, metric, label) for method in range(len(self.methods))])


def compare_method(
    entry: Entry,
    labels: NDArray[Any],
    reference: NDArray[Any] | None,
    spacing: Sequence[float],
    classes: Sequence[int],
    labelled: Sequence[int] | None,
    axis: int,
    unions: Mapping[int, Sequence[int]] | None = None,
) -> Compared:
    """Score one prediction against the reference, slice by slice and as a volume.

    Parameters
    ----------
    labels, reference : array, (z, y, x)
    spacing : (z, y, x), mm
    labelled
        Axial slices that have labels; None: all. On the others nothing is scored, and distances in the volume are not
        defined where some are missing.
    unions
        Targets that may overlap, as for `evaluation.score`.
    """
    if reference is None:
        return Compared(entry, labels)
    from napari_ssl_seg.evaluation import error_map, score, score_slices

    values = sorted({*classes, *(int(value) for value in np.unique(labels) if value)})
    table = score_slices(labels, reference, spacing, axis=axis, labels=values, metrics=METRICS, unions=unions)
    sparse = labelled is not None and len(labelled) < reference.shape[0]
    kept: Any = list(labelled or ()) if sparse else slice(None)
    scores = score(labels[kept], reference[kept], spacing, values, METRICS, unions=unions)
    volume = {label: dict(found) for label, found in scores.items()}
    errors = error_map(labels, reference)
    if sparse:
        unlabelled = np.setdiff1d(np.arange(reference.shape[0]), kept)
        errors[unlabelled] = 0
        for found in volume.values():
            found["assd"] = float("nan")
        for column in table.values.values():
            column[unlabelled if axis == 0 else slice(None)] = np.nan
    return Compared(entry, labels, table, volume, errors)


def read_case(study: Study, case_id: str) -> tuple[Any, NDArray[Any] | None]:
    """The image as a volume, and the reference labels (None where there are none)."""
    image = study.image(case_id, purpose="show")
    label = study.label(case_id, purpose="evaluate")
    return image, None if label is None else label.array

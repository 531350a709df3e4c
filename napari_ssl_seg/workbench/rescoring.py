"""A comparison after a stroke of the brush: one slice scored anew at once, the volumes when there is time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.workbench.compared_case import METRICS, Compared, compare_method

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ssl_seg.workbench.compared_case import CaseComparison


def rescored(case: CaseComparison, method: int | None, labels: NDArray[Any], index: int) -> CaseComparison:
    """The case with slice ``index`` of one method scored anew; of all methods where the reference was painted on.

    Parameters
    ----------
    method
        Whose labels were painted on; None: the reference's.
    labels : array, (z, y, x)
        All of them, of which only the slice is read.

    Numbers of the volume stay as they were: `volumes_rescored` brings them up to date.
    """
    reference = labels if method is None else case.reference
    changed = range(len(case.methods)) if method is None else [method]
    methods = list(case.methods)
    if method is not None:
        methods[method] = replace(methods[method], labels=labels)
    for place, compared in zip(
        changed, _slice_anew(case, [methods[i] for i in changed], reference, index, painted=method is None), strict=True
    ):
        methods[place] = compared
    return replace(case, methods=tuple(methods), reference=reference)


def volumes_rescored(case: CaseComparison) -> CaseComparison:
    """The case with everything scored anew; for a worker."""
    methods = [
        compare_method(
            method.entry,
            method.labels,
            case.reference,
            case.geometry.spacing,
            case.classes,
            case.labelled,
            case.axis,
            case.unions,
        )
        for method in case.methods
    ]
    return replace(case, methods=tuple(methods))


def _slice_anew(
    case: CaseComparison, methods: list[Compared], reference: NDArray[Any] | None, index: int, *, painted: bool
) -> list[Compared]:
    """These methods with the slice scored anew, in one go: what comes before the scoring costs as much as it does."""
    tables = [method.slices for method in methods if method.slices is not None]
    if reference is None or not methods or len(tables) < len(methods):
        return methods
    from napari_ssl_seg.evaluation import error_map, rescore_slices

    sparse = case.labelled is not None and len(case.labelled) < case.image.shape[0]
    if sparse and (case.axis != 0 or (index not in (case.labelled or ()) and not painted)):
        return methods  # there is nothing to compare with
    spacing, unions = case.geometry.spacing, case.unions
    fresh = rescore_slices(tables, [method.labels for method in methods], reference, spacing, index, unions=unions)
    one: tuple[Any, ...] = (slice(None),) * case.axis + (index,)
    truth = np.ascontiguousarray(reference[one])
    found = []
    for method, table in zip(methods, fresh, strict=True):
        assert table.metrics == METRICS
        if method.errors is not None:
            method.errors[one] = error_map(np.asarray(method.labels[one]), truth)
        found.append(replace(method, slices=table))
    return found

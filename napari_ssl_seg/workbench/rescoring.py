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
    for place in changed:
        compared = methods[place] if method is None else replace(methods[place], labels=labels)
        methods[place] = _slice_anew(case, compared, reference, index, painted=method is None)
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
    case: CaseComparison, compared: Compared, reference: NDArray[Any] | None, index: int, *, painted: bool
) -> Compared:
    if reference is None or compared.slices is None:
        return compared
    from napari_ssl_seg.evaluation import error_map, rescore_slice

    sparse = case.labelled is not None and len(case.labelled) < case.image.shape[0]
    if sparse and (case.axis != 0 or (index not in (case.labelled or ()) and not painted)):
        return compared  # there is nothing to compare with
    table = rescore_slice(compared.slices, compared.labels, reference, case.geometry.spacing, index, unions=case.unions)
    errors = compared.errors
    if errors is not None:
        one: tuple[Any, ...] = (slice(None),) * case.axis + (index,)
        errors[one] = error_map(np.asarray(compared.labels[one]), np.asarray(reference[one]))
    assert table.metrics == METRICS
    return replace(compared, slices=table, errors=errors)

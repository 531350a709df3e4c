"""Where a prediction is wrong, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.pairs import whole_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ERROR_CLASSES = {1: "missed", 2: "extra", 3: "other class"}
"""What the values of `error_map` mean; 0 is right."""


def error_map(pred: ArrayLike, ref: ArrayLike) -> NDArray[np.uint8]:
    """Mark each voxel as right or as one of three kinds of error.

    Parameters
    ----------
    pred, ref : array of one shape
        Label maps; 0 is the background.

    Returns
    -------
    array of the same shape
        0 right; 1 missed (the reference has a label, the prediction background); 2 extra (the other way round);
        3 other class (both have a label, not the same).

    Raises
    ------
    UserError
        When the shapes differ or either is no label map.
    """
    first: NDArray[Any] = np.asarray(pred)
    second: NDArray[Any] = np.asarray(ref)
    if first.shape != second.shape:
        raise UserError(
            f"the prediction has shape {first.shape} and the reference {second.shape}; both must lie on one grid"
        )
    first, second = whole_numbers(first, "the prediction"), whole_numbers(second, "the reference")
    result = np.zeros(first.shape, dtype=np.uint8)
    wrong = np.flatnonzero(first != second)  # few, as a rule, and only they are looked at again
    missed, extra = first.ravel()[wrong] == 0, second.ravel()[wrong] == 0
    result.ravel()[wrong] = np.where(missed, 1, np.where(extra, 2, 3))
    return result

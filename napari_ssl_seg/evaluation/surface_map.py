"""Where along the reference's outline a prediction goes too far or falls short, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.evaluation.engine import distances_of_label
from napari_ssl_seg.evaluation.pairs import checked_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def surface_distance_map(
    pred: ArrayLike, ref: ArrayLike, spacing: Sequence[float] | float, label: int, *, axis: int | None = None
) -> NDArray[np.float32]:
    """Signed distance from each surface voxel of the reference to the prediction's surface.

    Parameters
    ----------
    pred, ref : array, (z, y, x) or (y, x)
        Label maps on one grid.
    spacing
        mm per voxel, in the order of the axes.
    label
        Whose surface.
    axis
        Take every slice along this axis as an image of its own; default: the volume's (or the image's) surface.

    Returns
    -------
    array of the same shape
        In mm. Positive where the voxel lies within the prediction, which reaches beyond the reference there; negative
        where the prediction falls short; 0 where both surfaces have the voxel. NaN off the reference's surface, and
        where the prediction has nothing of the label (in that slice, with ``axis``).

    Raises
    ------
    UserError
        As `score` does.
    """
    first, second, steps = checked_maps(pred, ref, spacing)
    found = distances_of_label(first, second, steps, label, axis)
    return np.where(first == label, found, -found + 0.0).astype(np.float32)

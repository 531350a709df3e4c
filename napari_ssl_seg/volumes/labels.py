"""What a label map may hold: whole numbers, zero or more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.scaling import smallest_integer

if TYPE_CHECKING:
    from pathlib import Path

MANY_LABELS = 255


def as_labels(path: Path, array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """``array`` in the smallest unsigned integer type that holds it, and warnings.

    Raises
    ------
    VolumeError
        When a value is negative, a fraction or not finite.
    """
    notes: tuple[str, ...] = ()
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise VolumeError(
                f"{path}: a label map holds whole numbers, but this one has voxels that are NaN or infinite"
            )
        fractions = array != np.trunc(array)
        if fractions.any():
            raise VolumeError(
                f"{path}: a label map holds whole numbers, but this one has {np.count_nonzero(fractions)} voxels with"
                f" fractions such as {array[fractions].flat[0]:.6g}; is it an image, or was it resampled?"
            )
    least, largest = array.min(), array.max()
    if least < 0:
        raise VolumeError(f"{path}: a label map holds no negative numbers, but this one goes down to {least:g}")
    dtype = smallest_integer(0, int(largest), unsigned=True)
    if dtype is None:
        raise VolumeError(f"{path}: the label {largest:g} is too large to be one; is it an image?")
    if largest > MANY_LABELS:
        count = len(np.unique(array))
        if count > MANY_LABELS:
            notes = (f"it holds {count} different labels, which is unusual; is it an image?",)
    return array.astype(dtype, copy=False), notes

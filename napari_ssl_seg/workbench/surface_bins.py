"""The reference's outline with the signed distance to a prediction's, in steps that a layer of labels can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STEPS = 10
"""On each side of 0."""
MIDDLE = STEPS + 1
"""The value for outlines that are the same. 1 stands for far short, 2 * STEPS + 1 for far beyond, `LOST` for no prediction."""
LOST = 2 * STEPS + 2
REACHES = (2.0, 5.0, 10.0, 20.0, 50.0)
"""What the ends of the colour bar may stand for, in mm."""


def surface_bins(
    pred: NDArray[Any], ref: NDArray[Any], spacing: Sequence[float], labels: Sequence[int], axis: int, reach: float
) -> NDArray[np.uint8]:
    """Signed in-plane distance along the reference's outlines, as steps of ``reach / STEPS`` mm.

    Parameters
    ----------
    pred, ref : array, (z, y, x)
    labels
        Whose outlines.
    axis
        Slices are along it, and distances within them, as those of the slice's ASSD are.
    reach
        In mm; what is farther has the value of the end.

    Returns
    -------
    array, (z, y, x)
        0 off the outlines; `MIDDLE` + the number of steps that the prediction reaches beyond the reference there (less
        where it falls short); `LOST` where the slice has no prediction of the label.
    """
    from napari_ssl_seg.evaluation import surface_distance_map

    result = np.zeros(ref.shape, np.uint8)
    for label in labels:
        box = _box((pred == label) | (ref == label))
        if box is None:
            continue
        first, second = pred[box], ref[box]
        found = surface_distance_map(first, second, spacing, label, axis=axis)
        known = np.isfinite(found)
        part = result[box]
        steps = np.clip(np.rint(found[known] / reach * STEPS), -STEPS, STEPS)
        part[known] = (MIDDLE + steps).astype(np.uint8)
        others = tuple(one for one in range(3) if one != axis)
        nothing = ~(first == label).any(axis=others, keepdims=True)
        part[nothing & _outline(second == label, others)] = LOST
    return result


def fitting_reach(distances: Sequence[float]) -> float:
    """What the colour bar should reach to for these ASSDs, in mm: about four times the typical one."""
    known = [value for value in distances if np.isfinite(value)]
    wanted = 4 * float(np.median(known)) if known else 0.0
    return next((reach for reach in REACHES if reach >= wanted), REACHES[-1])


def step_words(reach: float) -> dict[int, str]:
    """What each value says, for the status bar."""
    size = reach / STEPS
    words = {0: "", MIDDLE: "the same outline", LOST: "nothing predicted on this slice"}
    for step in range(1, STEPS + 1):
        far = f"{step * size:g} mm" if step < STEPS else f"{reach:g} mm or more"
        words[MIDDLE + step] = f"prediction {far} beyond"
        words[MIDDLE - step] = f"prediction {far} short"
    return words


def _outline(mask: NDArray[np.bool_], axes: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels of the mask with a neighbour along ``axes`` that is not; the edge of the array counts as such."""
    inside = mask.copy()
    for axis in axes:
        for shift in (1, -1):
            moved = np.zeros_like(mask)
            source = [slice(None)] * mask.ndim
            target = [slice(None)] * mask.ndim
            source[axis], target[axis] = (slice(None, -1), slice(1, None))[::shift]
            moved[tuple(target)] = mask[tuple(source)]
            inside &= moved
    return mask & ~inside


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The box of what is set."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)

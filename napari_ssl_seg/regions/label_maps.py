"""Label maps of regions: 0 = in no region, 1..M by descending visible area."""

from __future__ import annotations

from typing import Literal

import numpy as np

from napari_ssl_seg.errors import UserError

Uncovered = Literal["region", "fill"]


def paint_masks(masks: np.ndarray) -> np.ndarray:
    """Make one label map of masks that may overlap.

    They are painted in order of descending area, so that a smaller one lies on top of a larger one; then what is visible
    of each is measured again, and what is hidden is dropped.

    Parameters
    ----------
    masks
        (M, H, W), true inside; M may be 0. Of two masks with the same area the later one lies on top.

    Returns
    -------
    ndarray
        (H, W) int32: 0 = in no mask, 1..M' by descending visible area.
    """
    masks = np.asarray(masks)
    if masks.ndim != 3:
        raise UserError(f"masks to paint have the shape (masks, height, width), not {masks.shape}")
    masks = masks.astype(bool, copy=False)
    painted = np.zeros(masks.shape[1:], np.int32)
    areas = np.count_nonzero(masks, axis=(1, 2))
    for label, position in enumerate(np.argsort(-areas, kind="stable"), start=1):
        painted[masks[position]] = label
    return relabel_by_area(painted)


def relabel_by_area(label_map: np.ndarray) -> np.ndarray:
    """The same regions numbered 1..M by descending area; what was 0 or less is 0.

    Of two regions with the same area the one whose first pixel comes first, row by row, gets the smaller number: so the
    result does not depend on how the regions were numbered before.

    Parameters
    ----------
    label_map
        Integers of any shape, numbered with or without gaps.

    Returns
    -------
    ndarray
        int32, same shape.
    """
    flat = np.maximum(_whole_numbers(label_map), 0).ravel()
    if flat.size and int(flat.max()) > 4 * flat.size + 1000:  # numbers with wide gaps: no table as long as the largest
        values, flat = np.unique(flat, return_inverse=True)
        flat = flat + (0 if values[0] == 0 else 1)
    counts = np.bincount(flat, minlength=1)
    first = np.zeros(len(counts), np.intp)
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)
    counts[0] = 0
    order = np.lexsort((first, -counts))
    number = np.zeros(len(counts), np.int32)
    number[order] = np.arange(1, len(counts) + 1)
    number[counts == 0] = 0
    return number[flat].reshape(np.shape(label_map))


def region_areas(label_map: np.ndarray, *, uncovered: Uncovered = "fill") -> np.ndarray:
    """Areas in pixels, descending: entry i belongs to label i + 1 where the map is numbered by area.

    Parameters
    ----------
    label_map
        Integers; 0 = in no region, less than 0 = outside the scan.
    uncovered
        "region" counts what is 0 as one more region, as `merge_to_anchors` and Eq. 1 do by default; then entries do not
        belong to labels.

    Returns
    -------
    ndarray
        (M,) int64.
    """
    labels = _whole_numbers(label_map)
    counts = np.unique(labels[labels >= (0 if uncovered == "region" else 1)], return_counts=True)[1]
    return np.sort(counts)[::-1].astype(np.int64)


def _whole_numbers(label_map: np.ndarray) -> np.ndarray:
    labels = np.asarray(label_map)
    if labels.dtype.kind not in "iub":
        raise UserError(f"a map of regions holds whole numbers, not {labels.dtype.name}")
    return labels.astype(np.int64, copy=False)

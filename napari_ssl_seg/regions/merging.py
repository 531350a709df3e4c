"""What becomes of the regions that are not principal: each joins the nearest anchor (FDAS, MICCAI 2025)."""

from __future__ import annotations

from math import isqrt
from typing import Literal

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.label_maps import Uncovered, relabel_by_area

Assign = Literal["submask", "pixel"]


def merge_to_anchors(
    label_map: np.ndarray, k: int, assign: Assign = "submask", uncovered: Uncovered = "region"
) -> np.ndarray:
    """Keep the ``k`` largest regions as anchors and give every other one to the nearest of them.

    How few regions behave: with no more than ``k``, nothing is merged, and the channels above the last region stay
    empty. A slice with one region becomes 0 in it and 1 around it, or the other way round where the rest is larger. A
    slice without any becomes 0 everywhere with ``uncovered="region"`` (the rest is all there is), -1 with "fill". An
    array without pixels stays one.

    Parameters
    ----------
    label_map
        (H, W) integers, 0 = in no region, numbered in any way.
    k
        Number of anchors, at least 1.
    assign
        "submask" gives a region to one anchor as a whole, the one with the smallest distance between any two of their
        pixels; if several are as near, the one with the smaller mean distance of the region's pixels, then the larger
        anchor. "pixel" gives each pixel to the anchor nearest to it, the larger of several (FDAS's released code).
    uncovered
        "region" makes all that is in no region one more region, which takes part in the sort by area; "fill" leaves it
        out (Eq. 3 as printed: such pixels are always replaced).

    Returns
    -------
    ndarray
        (H, W) int32, 0..K-1 by descending area after merging, K <= k; -1 = in no region (only with "fill").
    """
    labels = np.asarray(label_map)
    if labels.ndim != 2:
        raise UserError(f"a map of regions of one slice has the shape (height, width), not {labels.shape}")
    if labels.size and labels.dtype.kind == "i" and int(labels.min()) < 0:
        raise UserError(f"a map of regions holds 0 (in no region) and more, but this one goes down to {labels.min()}")
    if int(k) < 1:
        raise UserError(f"at least one anchor has to stay, not {k}")
    if uncovered not in ("region", "fill"):
        raise UserError(f"uncovered is 'region' or 'fill', not {uncovered!r}")
    numbered = relabel_by_area(labels)
    if uncovered == "region":
        numbered = relabel_by_area(numbered + 1)
    return relabel_by_area(assign_to_anchors(numbered, int(k), assign)) - 1


def assign_to_anchors(label_map: np.ndarray, k: int, assign: Assign = "submask") -> np.ndarray:
    """Give each region above ``k`` to the nearest of the anchors 1..k, as `merge_to_anchors` says.

    Parameters
    ----------
    label_map
        (H, W) integers, numbered 1..M without gaps; 0 = in no region. Of anchors, the one with the smaller number counts
        as the larger.

    Returns
    -------
    ndarray
        (H, W) int32 with 0..k.
    """
    if assign not in ("submask", "pixel"):
        raise UserError(f"assign is 'submask' or 'pixel', not {assign!r}")
    labels = np.asarray(label_map).astype(np.int32)
    largest = int(labels.max(initial=0))
    if largest <= k:
        return labels
    rest = labels > k
    if k == 1:
        labels[rest] = 1
        return labels
    rows, columns = np.nonzero(rest)
    squared = _squared_distance(labels, k)[rows, columns]
    if assign == "pixel":
        pixel, anchor = _anchors_at(labels, k, rows, columns, squared)
        nearest = np.full(len(rows), k, np.int32)
        np.minimum.at(nearest, pixel, anchor)
        labels[rows, columns] = nearest
        return labels
    region = labels[rows, columns]
    set_distance = np.full(largest + 1, np.iinfo(np.int64).max)
    np.minimum.at(set_distance, region, squared)
    closest = np.flatnonzero(squared == set_distance[region])
    pixel, anchor = _anchors_at(labels, k, rows[closest], columns[closest], squared[closest])
    pairs = np.unique(np.stack([region[closest][pixel], anchor]), axis=1)  # which anchors are as near, by region
    target = np.arange(largest + 1, dtype=np.int32)
    target[pairs[0]] = _break_ties(labels, pairs)
    return target[labels]


def _squared_distance(labels: np.ndarray, k: int) -> np.ndarray:
    """(H, W) int64, squared distance of each pixel to the nearest pixel of any anchor, exact."""
    from scipy.ndimage import distance_transform_edt

    free = (labels == 0) | (labels > k)
    rows, columns = distance_transform_edt(free, return_distances=False, return_indices=True)
    height, width = labels.shape
    down = rows.astype(np.int64) - np.arange(height)[:, None]
    right = columns.astype(np.int64) - np.arange(width)[None, :]
    return down * down + right * right


def _anchors_at(
    labels: np.ndarray, k: int, rows: np.ndarray, columns: np.ndarray, squared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every anchor that lies exactly at the squared distance of a pixel: positions among the pixels, and anchors.

    A distance transform names but one nearest pixel; ties need all of them. On a grid they lie at the few offsets whose
    squares add up to the distance.
    """
    height, width = labels.shape
    values, kind = np.unique(squared, return_inverse=True)
    down, right, starts = _offsets(values)
    counts = np.diff(starts)[kind]  # how many places each pixel has to look at
    pixel = np.repeat(np.arange(len(rows)), counts)
    place = np.arange(len(pixel)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts[kind], counts)
    row, column = rows[pixel] + down[place], columns[pixel] + right[place]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel, anchor = pixel[inside], labels[row[inside], column[inside]]
    right_one = (anchor >= 1) & (anchor <= k)
    return pixel[right_one], anchor[right_one]


def _offsets(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All whole (down, right) with down² + right² = one of ``squared`` (ascending), and where each one's begin and end."""
    reach = isqrt(int(squared[-1]))
    steps = np.arange(-reach, reach + 1)
    sums = (steps[:, None] ** 2 + steps[None, :] ** 2).ravel()
    wanted = np.zeros(int(sums.max()) + 1, bool)
    wanted[squared] = True
    places = np.flatnonzero(wanted[sums])
    places = places[np.argsort(sums[places], kind="stable")]
    starts = np.append(np.searchsorted(sums[places], squared), len(places))
    return places // len(steps) - reach, places % len(steps) - reach, starts


def _break_ties(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """For each pair (region, anchor) the anchor that wins its region: smaller mean distance, then smaller number.

    Parameters
    ----------
    labels
        (H, W).
    pairs
        (2, N): regions and anchors, sorted by region.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    regions, anchors = pairs
    mean = np.zeros(len(regions))
    several = np.bincount(regions)[regions] > 1
    boxes = find_objects(labels)
    for anchor in np.unique(anchors[several]):
        mine = np.flatnonzero(several & (anchors == anchor))
        # Nothing outside the anchor's box and those of the regions can change a distance between them.
        box = _hull([boxes[label - 1] for label in (anchor, *regions[mine])])
        part = labels[box]
        distance = distance_transform_edt(part != anchor)
        for position in mine:
            # Sorted before they are added: the same distances in another order have the same mean, to the last bit.
            mean[position] = np.sort(distance[part == regions[position]]).mean()
    order = np.lexsort((anchors, mean, regions))
    first = np.unique(regions[order], return_index=True)
    winner = anchors[order][first[1]]
    return winner[np.searchsorted(first[0], regions)]


def _hull(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    return tuple(  # type: ignore[return-value]
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in (0, 1)
    )

"""From the finest regions of a slice to coarser ones that each hold whole finer ones: neighbours merge, the most alike first.

Ward, J. Am. Stat. Assoc. 1963: the cost of a union is what it adds to the sum of squared distances of pixels to the mean of
their region, ``n_a n_b / (n_a + n_b) |m_a - m_b|^2``. In each round every two regions merge that are each other's cheapest
neighbour: the same unions as one at a time, of thousands of regions in a few dozen rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.regions.label_maps import relabel_by_area

if TYPE_CHECKING:
    from collections.abc import Sequence


def nested_levels(
    values: np.ndarray, labels: np.ndarray, counts: Sequence[int], *, groups: np.ndarray | None = None
) -> list[np.ndarray]:
    """Label maps with so many regions each, of which every one is a union of regions of the one before.

    Parameters
    ----------
    values
        (H, W) or (C, H, W): what is alike; an intensity, or features.
    labels
        (H, W) integers, 0 = in no region: the finest regions.
    counts
        How many regions, fine to coarse. Parts of the slice that do not touch never merge, so there may be more.
    groups
        (H, W), 0 = in none; each region lies in one. Regions of the same group merge before all others.

    Returns
    -------
    list of ndarray
        (H, W) int32 each, 0 = in no region, 1.. by descending area.
    """
    finest = relabel_by_area(labels)
    sizes, means = region_means(values, finest)
    edges = touching(finest)
    group = np.arange(len(sizes)) if groups is None else group_of(finest, groups)
    number = np.arange(len(sizes))
    left, levels = len(sizes) - 1, []
    for count in counts:
        while left > count:
            allowed = group[edges[:, 0]] == group[edges[:, 1]]
            if not allowed.any():  # every group is whole
                allowed = np.ones(len(edges), bool)
            pairs = _mutual(sizes, means, edges[allowed])[: left - count]
            if not len(pairs):
                break
            stays, goes = pairs.T
            together = sizes[stays] + sizes[goes]
            means[stays] = (sizes[stays, None] * means[stays] + sizes[goes, None] * means[goes]) / together[:, None]
            sizes[stays] = together
            parent = np.arange(len(sizes))
            parent[goes] = stays
            number = parent[number]
            edges = _unique(parent[edges], len(sizes))
            left -= len(pairs)
        levels.append(relabel_by_area(number[finest]))
    return levels


def _mutual(sizes: np.ndarray, means: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(P, 2) pairs (stays, goes) that are each other's cheapest neighbour, the cheapest first."""
    a, b = edges.T
    cost = sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * ((means[a] - means[b]) ** 2).sum(axis=1)
    order = np.argsort(cost, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    best = np.full(len(sizes), len(order))
    np.minimum.at(best, a, rank)
    np.minimum.at(best, b, rank)
    pairs = edges[order]
    found = pairs[(best[pairs[:, 0]] == np.arange(len(order))) & (best[pairs[:, 1]] == np.arange(len(order)))]
    larger = sizes[found[:, 0]] >= sizes[found[:, 1]]
    return np.where(larger[:, None], found, found[:, ::-1])


def region_means(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (M + 1,) and mean values (M + 1, C) of each region, float64."""
    stack = values[None] if values.ndim == 2 else values
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=1).astype(np.float64)
    sums = np.stack([np.bincount(flat, channel.ravel(), minlength=len(sizes)) for channel in stack], axis=1)
    return sizes, sums / np.maximum(sizes, 1)[:, None]


def touching(labels: np.ndarray) -> np.ndarray:
    """(E, 2) pairs of regions that share an edge of a pixel, each once, the smaller number first."""
    ends = []
    for one, other in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        both = (one > 0) & (other > 0)
        ends.append(np.stack([one[both], other[both]], axis=1))
    return _unique(np.concatenate(ends), int(labels.max(initial=0)) + 1)


def connected_parts(labels: np.ndarray) -> np.ndarray:
    """(H, W) int32: the connected parts of each label other than 0, numbered from 1; pixels touch along edges."""
    from skimage.measure import label

    return np.asarray(label(labels, background=0, connectivity=1), np.int32)


def group_of(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(M + 1,) the group that each region lies in."""
    found = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    found[labels.ravel()] = groups.ravel()
    return found


def _unique(edges: np.ndarray, count: int) -> np.ndarray:
    """Pairs with the smaller number first, each once, none with itself."""
    a, b = edges.T
    low, high = np.minimum(a, b)[a != b], np.maximum(a, b)[a != b]
    codes = np.unique(low.astype(np.int64) * count + high)
    return np.stack([codes // count, codes % count], axis=1)

"""From the finest regions of a slice to coarser ones that each hold whole finer ones: neighbours merge, the most alike first.

Ward, J. Am. Stat. Assoc. 1963: the cost of a union is what it adds to the sum of squared distances of pixels to the mean of
their region, ``n_a n_b / (n_a + n_b) |m_a - m_b|^2``. The tree of unions is built in rounds, in each of which every two
regions merge that are each other's cheapest neighbour; then it is cut by cost. The same as one union at a time, the cheapest
first, for thousands of regions in a few dozen rounds.
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
    merges = _in_order(*_tree(values, finest, groups))
    left = int(finest.max(initial=0))
    number, levels, done = np.arange(left + 1), [], 0
    for count in counts:
        until = min(max(done, left - count), len(merges))
        parent = np.arange(left + 1)
        for stays, goes in merges[done:until][::-1]:  # what stays may go later: by then its own parent is known
            parent[goes] = parent[stays]
        number, done = parent[number], until
        levels.append(relabel_by_area(number[finest]))
    return levels


def _tree(
    values: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All unions, in the order of the rounds: (M, 2) which region stays and which goes, between groups or not, and cost.

    A union costs at least as much as those that it is made of.
    """
    sizes, means = region_means(values, labels)
    edges = touching(labels)
    group = np.arange(len(sizes)) if groups is None else group_of(labels, groups)
    across = groups is None
    height = np.zeros(len(sizes))
    merges, crossing, costs = [np.zeros((0, 2), np.int64)], [np.zeros(0, bool)], [np.zeros(0)]
    while len(edges):
        allowed = edges if across else edges[group[edges[:, 0]] == group[edges[:, 1]]]
        if not len(allowed):  # every group is whole
            across, height[:] = True, 0.0
            continue
        pairs, cost = _mutual(sizes, means, allowed)
        stays, goes = pairs.T
        height[stays] = np.maximum(cost, np.maximum(height[stays], height[goes]))
        merges.append(pairs)
        crossing.append(np.full(len(pairs), across))
        costs.append(height[stays])
        together = sizes[stays] + sizes[goes]
        means[stays] = (sizes[stays, None] * means[stays] + sizes[goes, None] * means[goes]) / together[:, None]
        sizes[stays] = together
        parent = np.arange(len(sizes))
        parent[goes] = stays
        edges = _unique(parent[edges], len(sizes))
    return np.concatenate(merges), np.concatenate(crossing), np.concatenate(costs)


def _in_order(merges: np.ndarray, crossing: np.ndarray, costs: np.ndarray) -> list[tuple[int, int]]:
    """The cheapest first, those between groups last; of equal ones those that came first."""
    order = np.lexsort((np.arange(len(costs)), costs, crossing))
    return [(stays, goes) for stays, goes in merges[order].tolist()]


def _mutual(sizes: np.ndarray, means: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) pairs (stays, goes) that are each other's cheapest neighbour, and what each costs."""
    a, b = edges.T
    cost = sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * ((means[a] - means[b]) ** 2).sum(axis=1)
    order = np.argsort(cost, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    best = np.full(len(sizes), len(order))
    np.minimum.at(best, a, rank)
    np.minimum.at(best, b, rank)
    mutual = (best[a] == rank) & (best[b] == rank)
    found = edges[mutual]
    larger = sizes[found[:, 0]] >= sizes[found[:, 1]]
    return np.where(larger[:, None], found, found[:, ::-1]), cost[mutual]


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

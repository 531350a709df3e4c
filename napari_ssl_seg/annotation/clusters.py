"""Nested clusters of feature vectors of a slice."""

from __future__ import annotations

import numpy as np

from napari_ssl_seg.annotation.hierarchy import connected_parts, region_means, touching
from napari_ssl_seg.regions.label_maps import relabel_by_area

FINEST, COARSEST = 64, 4
"""Clusters of the finest and of the coarsest level."""
ROUNDS = 12
SMALLEST, SMALLEST_SHARE = 4, 1e-4
"""Pixels, and share of the slice; a smaller part of the finest level joins the neighbour that is most like it."""
GROWTH = 3
"""So many times larger are the smallest parts of the next coarser level."""


def nested_clusters(features: np.ndarray, levels: int, *, seed: int = 0) -> list[np.ndarray]:
    """The connected parts of 4 to 64 clusters of the pixels of a slice, coarse to fine, each inside one of the next.

    The finest clusters are those of k-means; coarser ones are made of whole finer ones by Ward's criterion, so they nest.

    Parameters
    ----------
    features
        (C, y, x) float.
    levels
        At least 1; numbers of clusters are spaced evenly on a logarithmic scale.

    Returns
    -------
    list of ndarray
        (y, x) int32, 1.. by descending area.
    """
    size = features.shape[1:]
    points = features.reshape(len(features), -1).T.astype(np.float32)
    points = (points - points.mean(axis=0)) / (points.std(axis=0) + 1e-6)
    clusters, centres = _k_means(points, FINEST, seed)
    counts = np.bincount(clusters, minlength=len(centres)).astype(np.float64)
    wanted = np.geomspace(FINEST, COARSEST, levels) if levels > 1 else [FINEST]
    parents = _ward(centres.astype(np.float64), counts, [max(1, round(float(number))) for number in wanted])
    values, smallest = points.T.reshape(-1, *size), max(SMALLEST, SMALLEST_SHARE * clusters.size)
    current, made = connected_parts(clusters.reshape(size) + 1), []
    for parent in parents:
        # what a region is, is what most of it is: a speck that joined another region goes on with it
        codes = current.ravel().astype(np.int64) * len(centres) + parent[clusters]
        table = np.bincount(codes, minlength=(int(current.max()) + 1) * len(centres)).reshape(-1, len(centres))
        current = without_specks(values, connected_parts(table.argmax(axis=1)[current] + 1), smallest)
        made.append(current)
        smallest *= GROWTH
    return made[::-1]


def without_specks(values: np.ndarray, labels: np.ndarray, smallest: float) -> np.ndarray:
    """Regions below a number of pixels merged into the neighbour that is most like them; numbered by area."""
    labels = relabel_by_area(labels)
    while True:
        sizes, means = region_means(values, labels)
        edges = touching(labels)
        both = np.concatenate([edges, edges[:, ::-1]])
        both = both[sizes[both[:, 0]] < smallest]
        if not len(both):
            return labels
        apart = ((means[both[:, 0]] - means[both[:, 1]]) ** 2).sum(axis=1)
        both = both[np.lexsort((apart, both[:, 0]))]
        small, first = np.unique(both[:, 0], return_index=True)
        target = np.arange(len(sizes))
        into = both[first, 1]
        free = (
            into < small
        )  # numbered by area: only into what is larger, so that no two join each other; the rest next time
        target[small[free]] = into[free]
        labels = relabel_by_area(_roots(target)[labels])


def _roots(target: np.ndarray) -> np.ndarray:
    while not np.array_equal(target, target[target]):
        target = target[target]
    return target


def _k_means(points: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of each point (N,) and centres (k, C); k-means++ on a sample, then Lloyd's rounds."""
    rng = np.random.default_rng(seed)
    sample = points if len(points) <= 8192 else points[rng.choice(len(points), 8192, replace=False)]
    centres = sample[:1]
    nearest = ((sample - centres[0]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        total = float(nearest.sum())
        if total <= 1e-9:
            break
        new = sample[rng.choice(len(sample), p=nearest / total)]
        centres = np.concatenate([centres, new[None]])
        nearest = np.minimum(nearest, ((sample - new) ** 2).sum(axis=1))
    for _ in range(ROUNDS):
        of = _closest(sample, centres)
        sizes = np.bincount(of, minlength=len(centres))
        sums = np.stack([np.bincount(of, channel, minlength=len(centres)) for channel in sample.T], axis=1)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres).astype(np.float32)
    return _closest(points, centres), centres


def _closest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    squared = (centres**2).sum(axis=1)
    return np.concatenate(
        [
            (squared - 2 * part @ centres.T).argmin(axis=1)
            for part in np.array_split(points, max(1, len(points) // 65536))
        ]
    )


def _ward(centres: np.ndarray, counts: np.ndarray, wanted: list[int]) -> list[np.ndarray]:
    """For each number of clusters the new number of each old one; any two may merge."""
    groups = np.arange(len(centres))
    sizes, means = counts.copy(), centres.copy()
    left = list(range(len(centres)))
    snapshots = {len(left): groups.copy()}
    while len(left) > 1:
        index = np.array(left)
        difference = ((means[index][:, None] - means[index][None]) ** 2).sum(axis=2)
        weight = sizes[index][:, None] * sizes[index][None] / np.maximum(sizes[index][:, None] + sizes[index][None], 1)
        cost = weight * difference
        np.fill_diagonal(cost, np.inf)
        a, b = (left[int(place)] for place in np.unravel_index(int(cost.argmin()), cost.shape))
        total = max(sizes[a] + sizes[b], 1)
        means[a] = (sizes[a] * means[a] + sizes[b] * means[b]) / total
        sizes[a] += sizes[b]
        groups[groups == b] = a
        left.remove(b)
        snapshots[len(left)] = groups.copy()
    return [snapshots[min(max(1, number), len(centres))] for number in wanted]

"""Choosing points that stand for all of them: typical ones first, then those that nothing chosen resembles.

Typical first is TypiClust (Hacohen, Dekel and Weinshall, ICML 2022): with few labels what lies in the middle of a crowd
teaches more than what lies apart. Then the k-centre greedy core-set (Sener and Savarese, ICLR 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NEIGHBOURS = 20
"""The mean distance to so many nearest neighbours says how typical a point is."""
ROUNDS = 30
MOST_CLUSTERS = 500
MOST_DIMENSIONS = 64


def comparable(vectors: np.ndarray) -> NDArray[np.float64]:
    """Centred, on at most `MOST_DIMENSIONS` principal axes, and scaled so that the mean squared length is 1."""
    points = np.asarray(vectors, np.float64)
    points = points - points.mean(axis=0)
    if points.shape[1] > MOST_DIMENSIONS:
        _, basis = np.linalg.eigh(points.T @ points)
        points = points @ basis[:, ::-1][:, :MOST_DIMENSIONS]
    size = float(np.sqrt((points**2).sum(axis=1).mean()))
    return points / size if size > 1e-12 else points


def distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean, (len(points), len(others))."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2.0 * points @ others.T
    return np.sqrt(np.maximum(squares, 0.0))


def nearest(points: NDArray[np.float64], chosen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point to the nearest of those chosen; infinite where there is none."""
    found = np.full(len(points), np.inf)
    for first in range(0, len(chosen), 256):
        found = np.minimum(found, distances(points, chosen[first : first + 256]).min(axis=1))
    return found


def cluster(points: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """k-means (Lloyd's rounds from a k-means++ start): the cluster of each point."""
    rng = np.random.default_rng(seed)
    count = min(count, len(points))
    centres = points[[int(rng.integers(len(points)))]]
    gap = nearest(points, centres)
    while len(centres) < count:
        weights = gap**2
        total = float(weights.sum())
        if total <= 0:
            break  # fewer different points than clusters
        index = int(rng.choice(len(points), p=weights / total))
        centres = np.concatenate([centres, points[[index]]])
        gap = np.minimum(gap, distances(points, points[[index]])[:, 0])
    member = distances(points, centres).argmin(axis=1)
    for _ in range(ROUNDS):
        for number in range(len(centres)):
            inside = points[member == number]
            if len(inside):
                centres[number] = inside.mean(axis=0)
        moved = distances(points, centres).argmin(axis=1)
        if np.array_equal(moved, member):
            break
        member = moved
    return member


def typical_first(
    points: NDArray[np.float64],
    labelled: NDArray[np.bool_],
    allowed: Callable[[int], bool],
    count: int,
    seed: int,
    weight: NDArray[np.float64] | None = None,
) -> list[tuple[int, int]]:
    """The most typical point of each of the largest clusters that hold nothing labelled; then of the others, and again.

    Parameters
    ----------
    points
        (N, D).
    labelled
        (N,), those that are.
    allowed
        Called with an index when it is about to be chosen; where it says no, the next typical one of the cluster is.

    weight
        (N,), what each point counts for in the size of its cluster; None: 1.

    Returns
    -------
    list of (index, size)
        At most ``count``, and how many points are in its cluster.
    """
    member = cluster(points, min(int(labelled.sum()) + count, MOST_CLUSTERS), seed)
    numbers, sizes = np.unique(member, return_counts=True)
    worth = np.bincount(member, weight, minlength=int(numbers[-1]) + 1)[numbers]
    covered = set(np.unique(member[labelled]).tolist())
    order = [int(numbers[place]) for place in np.argsort(-worth, kind="stable")]
    order = [number for number in order if number not in covered] + [number for number in order if number in covered]
    queues = [
        [int(index) for index in _most_typical(points, member == number) if not labelled[index]] for number in order
    ]
    size_of = dict(zip(numbers.tolist(), sizes.tolist(), strict=True))
    found: list[tuple[int, int]] = []
    while any(queues):
        for number, queue in zip(order, queues, strict=True):
            while queue and len(found) < count:
                index = queue.pop(0)
                if allowed(index):
                    found.append((index, size_of[number]))
                    break
        if len(found) == count:
            break
    return found


def _most_typical(points: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The points of a cluster, those with the nearest neighbours first."""
    members = np.flatnonzero(inside)
    near = np.sort(distances(points[members], points[members]), axis=1)[:, 1 : NEIGHBOURS + 1]
    loneliness = near.mean(axis=1) if near.shape[1] else np.zeros(len(members))
    return members[np.argsort(loneliness, kind="stable")]

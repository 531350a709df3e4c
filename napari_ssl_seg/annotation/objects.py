"""Which parts of a class in one slice are the same object as which parts in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

FARTHEST = 2.0
"""Times the sum of the radii; see `matched_parts`. 1 finds fewer objects again between slices of the torso, more changes nothing."""


def matched_parts(
    a: np.ndarray, b: np.ndarray, spacing: Sequence[float], farthest: float = FARTHEST
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The objects of a class in two slices: parts that overlap, then the nearest of what is left, one to one.

    An object that divides has several parts in one of the slices; one that ends has none.

    Parameters
    ----------
    a, b
        bool (y, x).
    spacing
        (y, x) mm.
    farthest
        Parts that do not overlap are one object if their centres are at most so many times the sum of their radii apart;
        0: only parts that overlap.

    Returns
    -------
    list of (ndarray, ndarray)
        bool (y, x) in either slice, either of which may be empty, not both.
    """
    from scipy.ndimage import center_of_mass, label

    corners = np.ones((3, 3), int)
    (of_a, count_a), (of_b, count_b) = label(a, corners), label(b, corners)
    both = (of_a > 0) & (of_b > 0)
    links = {(int(i), int(j)) for i, j in np.unique(np.stack([of_a[both], of_b[both]], axis=1), axis=0)}
    left_a = set(range(1, count_a + 1)) - {i for i, _ in links}
    left_b = set(range(1, count_b + 1)) - {j for _, j in links}
    if left_a and left_b:
        centres_a = np.array(center_of_mass(a, of_a, range(1, count_a + 1))) * spacing
        centres_b = np.array(center_of_mass(b, of_b, range(1, count_b + 1))) * spacing
        pixel = float(np.prod(spacing))
        radii_a = np.sqrt(np.bincount(of_a.ravel())[1:] * pixel / np.pi)
        radii_b = np.sqrt(np.bincount(of_b.ravel())[1:] * pixel / np.pi)
        pairs = sorted(
            (float(np.linalg.norm(centres_a[i - 1] - centres_b[j - 1])), i, j) for i in left_a for j in left_b
        )
        for apart, i, j in pairs:
            near = apart <= farthest * (radii_a[i - 1] + radii_b[j - 1])
            if near and i in left_a and j in left_b:
                links.add((i, j))
                left_a.discard(i)
                left_b.discard(j)
    return [
        (np.isin(of_a, sorted(in_a)), np.isin(of_b, sorted(in_b))) for in_a, in_b in _groups(links, count_a, count_b)
    ]


def _groups(links: set[tuple[int, int]], count_a: int, count_b: int) -> list[tuple[set[int], set[int]]]:
    """Parts that are linked, directly or through others."""
    groups: list[tuple[set[int], set[int]]] = [({i}, set()) for i in range(1, count_a + 1)]
    groups += [(set(), {j}) for j in range(1, count_b + 1)]
    for i, j in sorted(links):
        one = next(group for group in groups if i in group[0])
        other = next(group for group in groups if j in group[1])
        if one is not other:
            one[0].update(other[0])
            one[1].update(other[1])
            groups.remove(other)
    return groups

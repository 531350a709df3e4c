"""The loops over voxels and surface voxels, compiled by numba. Import this only where scores are made: it loads numba.

Arrays are C-contiguous (planes, rows, columns). With ``flat`` every plane is an image of its own; otherwise the planes are
one volume. A *place* is an index into a map that is padded on all sides, so that a walk needs no look at the edges.
"""

from __future__ import annotations

import numpy as np

from napari_ssl_seg.evaluation.compiling import compiled
from napari_ssl_seg.evaluation.far_kernels import far

BLOCK = 512
"""Voxels of a row that are looked at together for anything but background."""
NOTHING, ONE, SEVERAL = 0, 1, 2
NOT_FOUND, NO_PARTNER = -1.0, -2.0
FEW = 16
"""A label of which more voxels than this, and more than half, walk in vain is walked no further."""
UNIT, TOP = np.uint64(1), np.uint64(61)
WHICH = np.uint64(sum((byte << 5) << 8 * (7 - byte) for byte in range(8)))
"""Times the lowest 1 of a word of bytes that are 0 or 1, the first in memory the lowest (as on every machine that numba runs
on), its upper three bits are the number of that byte."""


@compiled
def _content(a, b):
    """Of a part of a row: background in both; or one value each; or several."""
    filled, several = False, False
    for k in range(len(a)):
        filled |= (a[k] != 0) | (b[k] != 0)
        several |= (a[k] != a[0]) | (b[k] != b[0])
    return SEVERAL if several else ONE if filled else NOTHING


@compiled
def survey(first, second, seen_first, seen_second):
    """Which values occur, the box outside which both are 0 ((low, high) for each axis), and voxels that are not 0."""
    planes, rows, columns = first.shape
    box = np.array([planes, 0, rows, 0, columns, 0], np.int64)
    filled = 0
    for z in range(planes):
        for y in range(rows):
            for start in range(0, columns, BLOCK):
                stop = min(start + BLOCK, columns)
                a, b = first[z, y, start:stop], second[z, y, start:stop]
                content = _content(a, b)
                if content == NOTHING:
                    continue
                low, high = stop, start
                if content == ONE:
                    seen_first[a[0]] = seen_second[b[0]] = True
                    low, high = start, stop
                    filled += stop - start
                for k in range(len(a) if content == SEVERAL else 0):
                    if a[k] != 0 or b[k] != 0:
                        seen_first[a[k]] = True
                        seen_second[b[k]] = True
                        low, high = min(low, start + k), start + k + 1
                        filled += 1
                box[4], box[5] = min(box[4], low), max(box[5], high)
                box[0] = min(box[0], z)
                box[1] = z + 1
                box[2] = min(box[2], y)
                box[3] = max(box[3], y + 1)
    return box, filled


@compiled
def _find_edges(labels, z, y, start, stop, flat, edges):
    """Mark those voxels with a label from start to stop of a row that differ from a neighbour by face, or lie at the border.

    Written for the compiler to take many voxels at once; ``edges`` is a block, of which the rest of the last
    word of eight is cleared.
    """
    planes, rows, columns = labels.shape
    edges[stop - start : -(-(stop - start) // 8) * 8] = 0
    if y == 0 or y == rows - 1 or (not flat and (z == 0 or z == planes - 1)):
        row = labels[z, y, start:stop]
        for k in range(len(row)):
            edges[k] = row[k] != 0
        return
    # Those that have a neighbour to the left and to the right first.
    low, high = max(start, 1), min(stop, columns - 1)
    row, before, behind = labels[z, y, low:high], labels[z, y - 1, low:high], labels[z, y + 1, low:high]
    left, right, inner = labels[z, y, low - 1 : high - 1], labels[z, y, low + 1 : high + 1], edges[low - start :]
    if flat:
        for k in range(len(row)):
            v = row[k]
            inner[k] = (v != 0) & ((v != before[k]) | (v != behind[k]) | (v != left[k]) | (v != right[k]))
    else:
        below, above = labels[z - 1, y, low:high], labels[z + 1, y, low:high]
        for k in range(len(row)):
            v = row[k]
            apart = (v != before[k]) | (v != behind[k]) | (v != left[k]) | (v != right[k])
            inner[k] = (v != 0) & (apart | (v != below[k]) | (v != above[k]))
    if start == 0:
        edges[0] = labels[z, y, 0] != 0
    if stop == columns:
        edges[stop - start - 1] = labels[z, y, columns - 1] != 0


@compiled
def _one_pass(first, second, box, flat, table, want, counts, surfaces, padding, first_map, second_map, places, others):
    """Count every label and find its surface voxels; returns how many the prediction has, and the reference."""
    row = box[5] - box[4] + 2 * padding[2]
    plane = row * (box[3] - box[2] + 2 * padding[1])
    n_first = n_second = 0
    width = box[5] - box[4]
    edges = np.zeros(BLOCK, np.uint8)
    words = edges.view(np.uint64)
    for z in range(box[0], box[1]):
        for y in range(box[2], box[3]):
            if _content(first[z, y, box[4] : box[5]], second[z, y, box[4] : box[5]]) == NOTHING:
                continue
            shift = (z - box[0] + padding[0]) * plane + (y - box[2] + padding[1]) * row + padding[2]
            for low in range(0, width, BLOCK):
                high = min(low + BLOCK, width)
                a, b = first[z, y, box[4] + low : box[4] + high], second[z, y, box[4] + low : box[4] + high]
                content = _content(a, b)
                if content == NOTHING:
                    continue
                if content == SEVERAL:
                    _count_runs(a, b, edges, words, table, counts)
                else:
                    _count(table[a[0]], table[b[0]], len(a), counts)
                if want:
                    at, start, stop = shift + low, box[4] + low, box[4] + high
                    _find_edges(first, z, y, start, stop, flat, edges)
                    n_first = _take(a, edges, words, table, at, first_map, places, n_first, surfaces[0])
                    _find_edges(second, z, y, start, stop, flat, edges)
                    n_second = _take(b, edges, words, table, at, second_map, others, n_second, surfaces[1])
    return n_first, n_second


@compiled
def _take(values, edges, words, table, at, surface_map, places, n, surfaces):
    """Put the surface voxels of a part of a row into the map and the list; returns the list's new length.

    ``words`` are the edges eight at a time, most of them 0.
    """
    for word in range(-(-len(values) // 8)):
        rest = words[word]
        while rest != 0:
            k = 8 * word + _first_of(rest)
            rest &= rest - UNIT
            code = table[values[k]]
            if code:
                surface_map[at + k] = code
                places[n] = at + k
                n += 1
                surfaces[code - 1] += 1
    return n


@compiled
def _first_of(word):
    """Which of the eight bytes of a word, each 0 or 1, is the first that is 1."""
    return np.int64(((word & (~word + UNIT)) * WHICH) >> TOP)


@compiled
def _count_runs(a, b, changes, words, table, counts):
    """Count a part of a row by its runs of equal values: a sum a voxel waits for the last one."""
    changes[0] = 0
    changes[len(a) : -(-len(a) // 8) * 8] = 0
    behind, before, other_behind, other_before = a[1:], a[:-1], b[1:], b[:-1]
    later = changes[1 : len(a)]
    for k in range(len(later)):
        later[k] = (behind[k] != before[k]) | (other_behind[k] != other_before[k])
    begun = 0
    for word in range(-(-len(a) // 8)):
        rest = words[word]
        while rest != 0:
            k = 8 * word + _first_of(rest)
            rest &= rest - UNIT
            _count(table[a[begun]], table[b[begun]], k - begun, counts)
            begun = k
    _count(table[a[begun]], table[b[begun]], len(a) - begun, counts)


@compiled
def _count(code, other, run, counts):
    if code:
        counts[0, code - 1] += run
        if code == other:
            counts[2, code - 1] += run
    if other:
        counts[1, other - 1] += run


@compiled
def _walk(places, own, other, partners, steps, lengths, distances):
    """Distance from each place to the nearest one of its label in ``other``, by offsets in order of their length.

    Returns whether any was not found. A bad prediction would walk all offsets for every voxel in vain, so a label with
    which that goes wrong is given up and left to `far`.
    """
    tried = np.zeros(len(partners), np.int64)
    failed = np.zeros(len(partners), np.int64)
    any_failed = False
    for i in range(len(places)):
        place = places[i]
        code = own[place]
        label = np.int64(code) - 1
        if partners[label] == 0:
            distances[i] = NO_PARTNER
            continue
        found = NOT_FOUND
        if failed[label] <= FEW or 2 * failed[label] <= tried[label]:
            tried[label] += 1
            for k in range(len(steps)):
                if other[place + steps[k]] == code:
                    found = lengths[k]
                    break
            else:
                failed[label] += 1
        distances[i] = found
        if found == NOT_FOUND:
            any_failed = True
    return any_failed


@compiled
def _sorted_by_label(places, own, n_labels):
    """Places grouped by label, in their order; where each group begins; and from where each came."""
    starts = np.zeros(n_labels + 1, np.int64)
    for place in places:
        starts[own[place]] += 1
    starts = np.cumsum(starts)
    free = starts.copy()
    grouped = np.empty(len(places), np.int64)
    origin = np.empty(len(places), np.int64)
    for i in range(len(places)):
        label = np.int64(own[places[i]]) - 1
        grouped[free[label]] = places[i]
        origin[free[label]] = i
        free[label] += 1
    return grouped, starts, origin


@compiled
def _fill_far(places, own, others, theirs, n_labels, row, plane, spacing, distances):
    """Distances that the walk did not find, label by label."""
    grouped, starts, origin = _sorted_by_label(places, own, n_labels)
    targets, target_starts, _ = _sorted_by_label(others, theirs, n_labels)
    for label in range(n_labels):
        lost = np.empty(starts[label + 1] - starts[label], np.int64)
        n = 0
        for j in range(starts[label], starts[label + 1]):
            if distances[origin[j]] == NOT_FOUND:
                lost[n] = j
                n += 1
        if n == 0:
            continue
        found = far(grouped[lost[:n]], targets[target_starts[label] : target_starts[label + 1]], row, plane, spacing)
        for j in range(n):
            distances[origin[lost[j]]] = found[j]


@compiled
def _gather(places, own, distances, tolerance, number, total, largest, within):
    for i in range(len(places)):
        distance = distances[i]
        if distance != NO_PARTNER:
            label = np.int64(own[places[i]]) - 1
            number[label] += 1
            total[label] += distance
            largest[label] = max(largest[label], distance)
            if distance <= tolerance:
                within[label] += 1


@compiled
def measure(
    first, second, box, flat, table, n_labels, want, padding, steps, lengths, spacing, tolerance, capacity, keep
):
    """Everything that scores are made of, for each label in the volume, or in each plane (``flat``).

    Parameters
    ----------
    box
        From `survey`.
    table
        Value -> label index + 1, or 0.
    want
        Whether distances are wanted, or the counts only.
    steps, lengths
        Offsets in places and their lengths in mm, from the shortest; none reaches further than ``padding``.
    capacity
        Surface voxels that either map may have in what is taken at once.
    keep
        Whether every distance is returned.

    Returns
    -------
    counts, surfaces : (3, units, labels), (2, units, labels)
        Voxels of prediction, reference and both; surface voxels of prediction and reference.
    sums : (4, units, labels)
        Number of distances, their sum, the largest, and how many are within the tolerance.
    distances, groups, origins
        With ``keep``: each distance, its unit * labels + label, and its place in the padded box: of the prediction's
        surface (places as they are), then of the reference's (-1 - place), unit after unit.
    """
    units = first.shape[0] if flat else 1
    counts = np.zeros((units, 3, n_labels), np.int64)
    surfaces = np.zeros((units, 2, n_labels), np.int64)
    sums = np.zeros((units, 4, n_labels))
    row = box[5] - box[4] + 2 * padding[2]
    plane = row * (box[3] - box[2] + 2 * padding[1])
    depth = 1 if flat else box[1] - box[0] + 2 * padding[0]
    first_map = np.zeros(plane * depth if want else 0, first.dtype)
    second_map = np.zeros(plane * depth if want else 0, first.dtype)
    places = np.empty(capacity if want else 0, np.int64)
    others = np.empty(capacity if want else 0, np.int64)
    there = np.empty(capacity if want else 0)
    back = np.empty(capacity if want else 0)
    room = 1024 if keep else 0
    all_distances, all_groups, all_places = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)
    used = 0
    part = box.copy()
    for unit in range(box[0] if flat else 0, box[1] if flat else 1):
        if flat:
            part[0], part[1] = unit, unit + 1
        n, m = _one_pass(
            first, second, part, flat, table, want, counts[unit], surfaces[unit],
            padding, first_map, second_map, places, others,
        )  # fmt: skip
        if n and m:
            lost = _walk(places[:n], first_map, second_map, surfaces[unit, 1], steps, lengths, there)
            lost_back = _walk(others[:m], second_map, first_map, surfaces[unit, 0], steps, lengths, back)
            if lost:
                _fill_far(places[:n], first_map, others[:m], second_map, n_labels, row, plane, spacing, there)
            if lost_back:
                _fill_far(others[:m], second_map, places[:n], first_map, n_labels, row, plane, spacing, back)
            number, total, largest, within = sums[unit, 0], sums[unit, 1], sums[unit, 2], sums[unit, 3]
            _gather(places[:n], first_map, there, tolerance, number, total, largest, within)
            _gather(others[:m], second_map, back, tolerance, number, total, largest, within)
            if keep:
                if used + n + m > room:
                    room = 2 * (used + n + m)
                    all_distances = _grown(all_distances, used, room)
                    all_groups = _grown(all_groups, used, room)
                    all_places = _grown(all_places, used, room)
                for i in range(n + m):
                    place = places[i] if i < n else others[i - n]
                    distance = there[i] if i < n else back[i - n]
                    if distance != NO_PARTNER:
                        code = first_map[place] if i < n else second_map[place]
                        all_distances[used] = distance
                        all_groups[used] = unit * n_labels + np.int64(code) - 1
                        all_places[used] = place if i < n else -1 - place
                        used += 1
        if flat:
            for i in range(n):
                first_map[places[i]] = 0
            for i in range(m):
                second_map[others[i]] = 0
    return (
        counts.transpose(1, 0, 2), surfaces.transpose(1, 0, 2), sums.transpose(1, 0, 2),
        all_distances[:used], all_groups[:used], all_places[:used],
    )  # fmt: skip


@compiled
def _grown(array, used, room):
    larger = np.empty(room, array.dtype)
    larger[:used] = array[:used]
    return larger

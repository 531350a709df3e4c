"""The nearest of many places, however far it is: compiled by numba, for what a walk over offsets does not reach."""

from __future__ import annotations

from functools import partial

import numpy as np

from napari_ssl_seg.evaluation.compiling import compiled

PARABOLA = 16
"""How many times as long as one distance a step of the lower envelope takes."""


@partial(compiled, finite=True)
def _nearest(z, y, x, at_z, at_y, at_x, sz, sy, sx):
    best = np.inf
    for j in range(len(at_z)):
        dz, dy, dx = (z - at_z[j]) * sz, (y - at_y[j]) * sy, (x - at_x[j]) * sx
        square = dz * dz + dy * dy + dx * dx
        best = square if square < best else best
    return best


@compiled
def far(queries, targets, row, plane, spacing):
    """Distance from each query to the nearest target, both places in scan order, however far it is.

    Few pairs are compared one by one. Otherwise the squared distance is taken apart by axis (Felzenszwalb and
    Huttenlocher 2012): along a row to the nearest target of the row; then for each plane of targets the lower envelope
    of its rows' parabolas, for those columns only in which there are queries; then the nearest plane for each query. That
    is linear in the box of queries and targets for each plane, and never depends on how far apart they are.
    """
    nq, nt = len(queries), len(targets)
    qz, qy, qx = queries // plane, queries % plane // row, queries % row
    tz, ty, tx = targets // plane, targets % plane // row, targets % row
    sz, sy, sx = spacing[0], spacing[1], spacing[2]
    best = np.full(nq, np.inf)
    x_low, y_low = qx.min(), qy.min()
    n_columns, n_rows = qx.max() - x_low + 1, qy.max() - y_low + 1
    height = ty.max() - ty.min() + 1
    by_plane = (tz[-1] - tz[0] + 1) * (PARABOLA * n_columns * (n_rows + height) + nq)
    if nq * nt <= by_plane:
        at_z, at_y, at_x = tz.astype(np.float64), ty.astype(np.float64), tx.astype(np.float64)
        for i in range(nq):
            best[i] = _nearest(float(qz[i]), float(qy[i]), float(qx[i]), at_z, at_y, at_x, sz, sy, sx)
        return np.sqrt(best)
    used = np.zeros(n_columns, np.bool_)
    for x in qx:
        used[x - x_low] = True
    along_row = np.empty((n_columns, height))
    in_plane = np.empty((n_columns, n_rows))
    ys = np.empty(height, np.int64)
    kept = np.empty(height, np.int64)
    edges = np.empty(height + 1)
    t = 0
    while t < nt:
        z, n = tz[t], 0
        while t < nt and tz[t] == z:
            y, j = ty[t], t
            while t < nt and tz[t] == z and ty[t] == y:
                t += 1
            for x in range(x_low, x_low + n_columns):
                while j + 1 < t and abs(tx[j + 1] - x) <= abs(tx[j] - x):
                    j += 1
                along_row[x - x_low, n] = ((tx[j] - x) * sx) ** 2
            ys[n] = y
            n += 1
        for x in range(n_columns):
            if used[x]:
                _envelope(along_row[x], ys, n, sy, kept, edges, y_low, in_plane[x])
        for i in range(nq):
            across = ((qz[i] - z) * sz) ** 2
            if across < best[i]:
                best[i] = min(best[i], across + in_plane[qx[i] - x_low, qy[i] - y_low])
    return np.sqrt(best)


@compiled
def _envelope(heights, ys, n, step, kept, edges, y_low, out):
    """Lower envelope of the parabolas heights[k] + (step (y - ys[k]))^2, at y_low, y_low + 1, ..."""
    last = 0
    kept[0], edges[0], edges[1] = 0, -np.inf, np.inf
    square = step * step
    for k in range(1, n):
        while True:
            other = kept[last]
            rise = (heights[k] - heights[other]) / square
            meet = (rise + ys[k] * ys[k] - ys[other] * ys[other]) / (2.0 * (ys[k] - ys[other]))
            if meet > edges[last]:
                break
            last -= 1
        last += 1
        kept[last], edges[last], edges[last + 1] = k, meet, np.inf
    at = 0
    for i in range(len(out)):
        y = y_low + i
        while edges[at + 1] < y:
            at += 1
        away = (y - ys[kept[at]]) * step
        out[i] = heights[kept[at]] + away * away

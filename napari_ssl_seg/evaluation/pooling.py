"""Repeats of one method as one row: each case has the mean over the repeats, so that a case counts once."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from napari_ssl_seg.evaluation.metrics import NAN
from napari_ssl_seg.evaluation.tables import ScoreRow, ScoreTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def pool_repeats(table: ScoreTable, groups: Mapping[str, Sequence[str]]) -> ScoreTable:
    """A table with one run a group, named after it.

    Cases are what statistics count: three repeats on 28 cases are 28 values a method, not 84. Each is the mean over the
    repeats for which it is defined. A note says in how many repeats a class was missed, where not in all.

    Parameters
    ----------
    table
        Rows of the single runs.
    groups
        Name of the method -> its runs.
    """
    rows: list[ScoreRow] = []
    for name, runs in groups.items():
        found: dict[tuple[str, int], list[ScoreRow]] = {}
        for run in runs:
            for row in table.of(run).rows:
                found.setdefault((row.case, row.label), []).append(row)
        rows += [_pooled(name, same) for same in found.values()]
    return ScoreTable(tuple(rows))


def _pooled(name: str, rows: Sequence[ScoreRow]) -> ScoreRow:
    first = rows[0]
    metrics = {}
    for metric in dict.fromkeys(key for row in rows for key in row.metrics):
        known = [row.metrics[metric] for row in rows if math.isfinite(row.metrics.get(metric, NAN))]
        metrics[metric] = fmean(known) if known else NAN
    noted = [row.note for row in rows if row.note]
    note = noted[0] if noted else ""
    if noted and (len(noted) < len(rows) or len(set(noted)) > 1):
        counted = {kind: noted.count(kind) for kind in dict.fromkeys(noted)}
        note = "; ".join(f"{kind} in {count} of {len(rows)} repeats" for kind, count in counted.items())
    return ScoreRow(name, name, first.case, first.split, first.label, first.class_name, metrics, note)

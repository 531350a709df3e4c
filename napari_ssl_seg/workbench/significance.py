"""Which method is best for each class, and from which of the others it differs by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.evaluation import ScoreTable

TOO_FEW = 6
"""With fewer cases in common nothing is claimed (see `evaluation.statistics`)."""


@dataclass(frozen=True)
class Standing:
    """One column of the table: a class, or the mean over classes."""

    best: frozenset[str] = frozenset()
    """Runs with the best mean."""
    worse: frozenset[str] = frozenset()
    """Runs that are worse than the best one in both paired tests over cases, corrected after Holm."""
    words: dict[str, str] = field(default_factory=dict)
    """Run -> what its test against the best says."""


def standing(table: ScoreTable, metric: str, label: int | None) -> Standing:
    """Compare every method with the best one, case by case.

    The p-values of both tests are corrected for the number of methods that the best one is compared with.
    """
    from napari_ssl_seg.evaluation import compare_paired, holm
    from napari_ssl_seg.evaluation.statistics import LEVEL, p_text

    values = {run: table.by_case(metric, run, label) for run in table.runs}
    means = {run: _mean(by_case) for run, by_case in values.items()}
    known = {run: mean for run, mean in means.items() if math.isfinite(mean)}
    if not known:
        return Standing()
    target = max(known.values()) if metric == "dice" else min(known.values())
    best = frozenset(run for run, mean in known.items() if mean == target)
    first = next(run for run in known if run in best)
    others = [run for run in known if run not in best]
    pairs = {run: compare_paired(values[run], values[first]) for run in others}
    t_values = dict(zip(pairs, holm([pair.t_p for pair in pairs.values()]), strict=True))
    wilcoxon = dict(zip(pairs, holm([pair.wilcoxon_p for pair in pairs.values()]), strict=True))
    worse = frozenset(
        run for run in others if pairs[run].n >= TOO_FEW and t_values[run] < LEVEL and wilcoxon[run] < LEVEL
    )
    titles = table.runs
    words = {
        run: f"{titles[run]} minus {titles[first]}: {pair.difference:+.3f}; {pair.text}"
        + (
            f"; corrected for {len(others)}: t-test p {p_text(t_values[run])}, Wilcoxon p {p_text(wilcoxon[run])}"
            if len(others) > 1 and pair.n >= TOO_FEW
            else ""
        )
        for run, pair in pairs.items()
    }
    return Standing(best, worse, words)


def standings(table: ScoreTable, metrics: Sequence[str]) -> dict[tuple[str, int | None], Standing]:
    """`standing` of every class and of the mean over classes, by metric; takes seconds: for a worker."""
    return {(metric, label): standing(table, metric, label) for metric in metrics for label in (*table.classes, None)}


def _mean(by_case: dict[str, float]) -> float:
    known = [value for value in by_case.values() if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan

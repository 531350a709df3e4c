"""More than two methods on the same cases: one test over all, then every pair, corrected for their number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.evaluation.statistics import FEWEST_FOR_WILCOXON, LEVEL, NAN, compare_paired, holm, p_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.evaluation.statistics import PairedComparison

FEWEST_METHODS = 3
"""Two are what the Wilcoxon test is for."""


@dataclass(frozen=True)
class ManyComparison:
    """Methods on the cases for which all have a value."""

    methods: tuple[str, ...]
    cases: tuple[str, ...]
    left_out: tuple[str, ...]
    """Cases that were dropped because a method has no value there."""
    mean_ranks: dict[str, float]
    """Method -> mean over cases of its rank, 1 the smallest value; equal values share their ranks."""
    statistic: float
    """Friedman's chi-squared, corrected for ties."""
    p: float
    kendall_w: float
    """Agreement of the cases on the order: 0 none, 1 the same order in every case."""
    pairs: dict[tuple[str, str], PairedComparison]
    """Every pair, on the cases that both have, which may be more than all have."""
    t_corrected: dict[tuple[str, str], float]
    """The t-tests' p-values after Holm."""
    wilcoxon_corrected: dict[tuple[str, str], float]
    text: str

    def significant(self, first: str, second: str) -> bool:
        """Whether both tests of a pair are below 5 % after correction for the number of pairs."""
        pair = (first, second) if (first, second) in self.pairs else (second, first)
        return self.t_corrected[pair] < LEVEL and self.wilcoxon_corrected[pair] < LEVEL


def compare_many(values: Mapping[str, Mapping[str, float]]) -> ManyComparison:
    """Friedman's test over methods with cases as blocks, and all pairs with both paired tests, corrected after Holm.

    Parameters
    ----------
    values
        Method -> case -> value. Cases are the units: never slices, nor classes of one case.
    """
    methods = tuple(values)
    every = tuple(dict.fromkeys(case for by_case in values.values() for case in by_case))
    cases = tuple(case for case in every if all(math.isfinite(by_case.get(case, NAN)) for by_case in values.values()))
    left_out = tuple(case for case in every if case not in cases)
    table = np.array([[values[method][case] for method in methods] for case in cases]).reshape(len(cases), len(methods))
    pairs = {(a, b): compare_paired(values[a], values[b]) for a, b in combinations(methods, 2)}
    ranks, statistic, p, agreement, text = _friedman(table)
    if left_out:
        text += f"; {len(left_out)} left out, where a method has no value"
    return ManyComparison(
        methods=methods,
        cases=cases,
        left_out=left_out,
        mean_ranks=dict(zip(methods, ranks, strict=True)),
        statistic=statistic,
        p=p,
        kendall_w=agreement,
        pairs=pairs,
        t_corrected=dict(zip(pairs, holm([pair.t_p for pair in pairs.values()]), strict=True)),
        wilcoxon_corrected=dict(zip(pairs, holm([pair.wilcoxon_p for pair in pairs.values()]), strict=True)),
        text=text,
    )


def _friedman(table: np.ndarray) -> tuple[list[float], float, float, float, str]:
    """Mean ranks, chi-squared, p, Kendall's W and a sentence, for (cases, methods)."""
    n, k = table.shape
    if n == 0:
        return [NAN] * k, NAN, NAN, NAN, "no case has a value for every method"
    from scipy import stats

    ranks = stats.rankdata(table, axis=1).mean(axis=0).tolist()
    if k < FEWEST_METHODS:
        return ranks, NAN, NAN, NAN, f"{k} methods: Friedman's test needs {FEWEST_METHODS}"
    if n < FEWEST_FOR_WILCOXON:
        return ranks, NAN, NAN, NAN, f"{n} cases are too few for Friedman's test, so no difference is claimed"
    if np.all(table == table[:, :1]):
        return ranks, NAN, NAN, NAN, f"the same values for all methods in all {n} cases"
    found = stats.friedmanchisquare(*table.T)
    statistic, p = float(found.statistic), float(found.pvalue)
    shown = p_text(p) if p < 0.001 else f"= {p_text(p)}"
    text = f"n = {n}, {k} methods, Friedman's test p {shown}"
    return ranks, statistic, p, statistic / (n * (k - 1)), text

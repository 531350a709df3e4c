"""Statistics over cases: spread, paired comparison of two methods, correction for many.

Never over slices or classes as if they were independent: what is counted is a case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

NAN = float("nan")
LEVEL = 0.05
FEWEST_FOR_WILCOXON = 6
"""With five pairs the two-sided exact test cannot fall below 0.0625, however large the effect."""


FEWEST_FOR_INTERVAL = 6
"""Resampling fewer cases gives intervals that are much too narrow."""


@dataclass(frozen=True)
class Spread:
    """Of the values that are defined; NaN for what ``n`` is too small for."""

    n: int
    mean: float
    sd: float
    """Sample standard deviation (n - 1)."""
    median: float
    lower: float
    """First quartile."""
    upper: float
    """Third quartile."""
    n_undefined: int


@dataclass(frozen=True)
class PairedComparison:
    """Two methods on the same cases, one value a case and method."""

    n: int
    """Cases for which both have a value."""
    n_left_out: int
    """Cases for which only one has, or neither."""
    difference: float
    """Mean of first minus second."""
    sd: float
    effect: float
    """Cohen's d of paired differences: their mean over their standard deviation."""
    t_p: float
    wilcoxon_p: float
    text: str
    """What may be said, in a sentence; also where a test has no answer."""
    rank_biserial: float = NAN
    """Effect size of the Wilcoxon test, matched pairs (Kerby 2014): (W+ - W-) / (W+ + W-), from -1 to 1."""
    differences: tuple[float, ...] = ()
    """First minus second, case by case."""
    left_out: tuple[str, ...] = ()
    """The cases for which only one has a value, or neither."""

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap confidence interval of the mean difference, over cases (`mean_interval`)."""
        return mean_interval(self.differences)  # when it is asked for: it takes longer than all the rest

    @property
    def significant(self) -> bool:
        """Whether the t-test and, from six cases on, the Wilcoxon test are below the level of 5 %."""
        return self.n >= FEWEST_FOR_WILCOXON and self.t_p < LEVEL and self.wilcoxon_p < LEVEL


def spread(values: Iterable[float]) -> Spread:
    """Describe values, leaving out those that are not defined and counting them."""
    given = np.fromiter(values, dtype=float)
    known = given[np.isfinite(given)]
    n = len(known)
    if n == 0:
        return Spread(0, NAN, NAN, NAN, NAN, NAN, len(given))
    lower, median, upper = (float(part) for part in np.percentile(known, [25, 50, 75]))
    sd = float(known.std(ddof=1)) if n > 1 else NAN
    return Spread(n, float(known.mean()), sd, median, lower, upper, len(given) - n)


def compare_paired(first: Mapping[str, float], second: Mapping[str, float]) -> PairedComparison:
    """Paired t-test and Wilcoxon signed-rank test (both two-sided), case by case.

    Parameters
    ----------
    first, second
        Case -> value; cases that either lacks, or for which either is NaN, are left out and counted.
    """
    cases = [case for case in first if case in second and math.isfinite(first[case]) and math.isfinite(second[case])]
    lacking = tuple(case for case in dict.fromkeys([*first, *second]) if case not in cases)
    differences = np.array([first[case] - second[case] for case in cases], dtype=float)
    found = _compare(differences, len(lacking))
    return replace(found, left_out=lacking, differences=tuple(differences.tolist()))


def _compare(differences: NDArray[np.float64], left_out: int) -> PairedComparison:
    n = len(differences)
    if n == 0:
        return PairedComparison(0, left_out, NAN, NAN, NAN, NAN, NAN, "no case has a value for both")
    mean = float(differences.mean())
    if n == 1:
        return PairedComparison(1, left_out, mean, NAN, NAN, NAN, NAN, "a single case: nothing can be tested")
    sd = float(differences.std(ddof=1))
    if np.all(differences == 0):
        return PairedComparison(n, left_out, 0.0, 0.0, NAN, NAN, NAN, f"the same value in all {n} cases", 0.0)
    from scipy import stats

    wilcoxon = float(stats.wilcoxon(differences).pvalue) if n >= FEWEST_FOR_WILCOXON else NAN
    ranks = rank_biserial(differences)
    if sd <= 1e-12 * abs(mean):  # up to rounding the difference is one number, and the t-test would divide by nothing
        text = f"the same difference in all {n} cases: no t-test"
        return PairedComparison(n, left_out, mean, sd, NAN, NAN, wilcoxon, text, ranks)
    t_p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    text = f"n = {n}, paired t-test p {_compared(t_p)}"
    if n < FEWEST_FOR_WILCOXON:
        text += f"; {n} cases are too few for a Wilcoxon test at 5 %, so no difference is claimed"
    else:
        text += f", Wilcoxon p {_compared(wilcoxon)}"
    if left_out:
        text += f"; {left_out} left out, where one has no value"
    return PairedComparison(n, left_out, mean, sd, mean / sd, t_p, wilcoxon, text, ranks)


def rank_biserial(differences: Iterable[float]) -> float:
    """Matched-pairs rank-biserial correlation: (W+ - W-) / (W+ + W-), W the sums of the ranks that Wilcoxon's test uses.

    1 where every difference is positive, -1 where every one is negative. Differences of 0 are dropped, as the test does;
    0 where nothing is left.
    """
    from scipy.stats import rankdata

    given = np.fromiter(differences, dtype=float)
    given = given[given != 0]
    if not given.size:
        return 0.0
    ranks = rankdata(np.abs(given))
    return float((np.sign(given) * ranks).sum() / ranks.sum())


def mean_interval(
    values: Iterable[float], level: float = 0.95, *, seed: int = 0, resamples: int = 9999
) -> tuple[float, float]:
    """Bootstrap confidence interval of the mean over cases (bias-corrected and accelerated; Efron 1987).

    The same values, seed and number of resamples give the same interval. Values that are not defined are left out; with
    fewer than six that are, or where all are equal, there is none: (NaN, NaN).
    """
    given = np.fromiter(values, dtype=float)
    given = given[np.isfinite(given)]
    if len(given) < FEWEST_FOR_INTERVAL or np.ptp(given) <= 1e-12 * np.abs(given).max():
        return NAN, NAN
    from scipy import stats

    found = stats.bootstrap(
        (given,), np.mean, confidence_level=level, n_resamples=resamples, batch=1000,
        random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979); NaN stays NaN and does not count."""
    values = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    raised = values[order] * np.arange(len(order), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(order) else raised
    return values.tolist()


def _compared(p: float) -> str:
    return p_text(p) if p < 0.001 else f"= {p_text(p)}"


def p_text(p: float) -> str:
    """A p-value as papers write it."""
    return "not defined" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"

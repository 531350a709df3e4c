"""Statistics over cases: spread, paired comparison of two methods, correction for many.

Never over slices or classes as if they were independent: what is counted is a case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAN = float("nan")
LEVEL = 0.05
FEWEST_FOR_WILCOXON = 6
"""With five pairs the two-sided exact test cannot fall below 0.0625, however large the effect."""


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
    n, left_out = len(cases), len({*first, *second}) - len(cases)
    differences = np.array([first[case] - second[case] for case in cases])
    if n == 0:
        return PairedComparison(0, left_out, NAN, NAN, NAN, NAN, NAN, "no case has a value for both")
    mean = float(differences.mean())
    if n == 1:
        return PairedComparison(1, left_out, mean, NAN, NAN, NAN, NAN, "a single case: nothing can be tested")
    sd = float(differences.std(ddof=1))
    if np.all(differences == 0):
        return PairedComparison(n, left_out, 0.0, 0.0, NAN, NAN, NAN, f"the same value in all {n} cases")
    from scipy import stats

    wilcoxon = float(stats.wilcoxon(differences).pvalue) if n >= FEWEST_FOR_WILCOXON else NAN
    if sd <= 1e-12 * abs(mean):  # up to rounding the difference is one number, and the t-test would divide by nothing
        text = f"the same difference in all {n} cases: no t-test"
        return PairedComparison(n, left_out, mean, sd, NAN, NAN, wilcoxon, text)
    t_p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    text = f"n = {n}, paired t-test p {_compared(t_p)}"
    if n < FEWEST_FOR_WILCOXON:
        text += f"; {n} cases are too few for a Wilcoxon test at 5 %, so no difference is claimed"
    else:
        text += f", Wilcoxon p {_compared(wilcoxon)}"
    if left_out:
        text += f"; {left_out} left out, where one has no value"
    return PairedComparison(n, left_out, mean, sd, mean / sd, t_p, wilcoxon, text)


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

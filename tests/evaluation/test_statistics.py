"""Against scipy and by hand; where a test has no answer there is a sentence, not a number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from napari_ssl_seg.evaluation import compare_paired, holm, spread


def numbered(values: object) -> dict[str, float]:
    return {f"case {i}": float(value) for i, value in enumerate(values)}  # type: ignore[call-overload]


def test_spread_counts_what_is_not_defined() -> None:
    found = spread([1, 2, 3, 6, math.nan])
    assert (found.n, found.n_undefined, found.mean, found.median) == (4, 1, 3, 2.5)
    assert found.sd == pytest.approx(np.std([1, 2, 3, 6], ddof=1))
    assert (found.lower, found.upper) == (1.75, 3.75)
    assert math.isnan(spread([2.0]).sd) and spread([2.0]).mean == 2
    assert spread([]).n == 0 and math.isnan(spread([math.nan]).mean)


@pytest.mark.parametrize("n", [6, 9, 30])
def test_p_values_are_scipys(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.8, 0.1, n), rng.normal(0.75, 0.1, n)
    found = compare_paired(numbered(first), numbered(second))
    assert found.t_p == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-12)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(first, second).pvalue, rel=1e-12)
    assert found.difference == pytest.approx((first - second).mean())
    assert found.effect == pytest.approx((first - second).mean() / (first - second).std(ddof=1))
    assert f"n = {n}" in found.text


def test_five_cases_claim_nothing_however_large_the_effect() -> None:
    found = compare_paired(numbered([5.0, 6.1, 7.2, 8.1, 9.3]), numbered([1, 2, 3, 4, 5]))
    assert found.t_p < 0.05 and math.isnan(found.wilcoxon_p) and not found.significant
    assert "too few for a Wilcoxon test" in found.text
    assert compare_paired(numbered([5.0, 6.1, 7.2, 8.1, 9.3, 9]), numbered([1, 2, 3, 4, 5, 6])).significant


def test_edge_cases_are_said_in_words() -> None:
    six = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    equal = compare_paired(numbered(six), numbered(six))
    assert "the same value in all 6 cases" in equal.text and math.isnan(equal.t_p) and not equal.significant
    shifted = compare_paired(numbered(np.array(six) + 0.1), numbered(six))
    assert "the same difference in all 6 cases" in shifted.text and math.isnan(shifted.t_p)
    assert compare_paired({"a": 1.0}, {"b": 1.0}).text == "no case has a value for both"
    assert "single case" in compare_paired({"a": 1.0}, {"a": 0.5}).text
    gaps = compare_paired(numbered([*six, math.nan, 0.4]), numbered([0.4, 0.61, 0.5, 0.7, 0.9, 0.8, 0.7, math.nan]))
    assert (gaps.n, gaps.n_left_out) == (6, 2) and "2 left out" in gaps.text


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    found = holm([0.02, math.nan, 0.03])
    assert found[0] == pytest.approx(0.04) and math.isnan(found[1]) and found[2] == pytest.approx(0.04)
    assert holm([]) == []

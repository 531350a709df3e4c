"""Against scipy and by hand; where a test has no answer there is a sentence, not a number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from napari_ssl_seg.evaluation import (
    ScoreRow,
    ScoreTable,
    compare_many,
    compare_paired,
    holm,
    mean_interval,
    rank_biserial,
    spread,
)


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


class TestEffects:
    def test_rank_biserial_by_hand(self) -> None:
        # ranks of |d|: 1, 2, 3, 4; negative is only the smallest: (9 - 1) / 10
        assert rank_biserial([-1, 2, 3, 4]) == pytest.approx(0.8)
        # ties share ranks (1.5, 1.5, 3) and zeros are dropped: (3 - 1.5 + 1.5) / 6
        assert rank_biserial([1, -1, 0, 2]) == pytest.approx(0.5)
        assert rank_biserial([2, 5]) == 1 and rank_biserial([-2, -5]) == -1 and rank_biserial([0, 0]) == 0

    @pytest.mark.parametrize("n", [6, 15, 40])
    def test_it_follows_from_scipys_statistic(self, n: int) -> None:
        rng = np.random.default_rng(n)
        first, second = rng.normal(0.8, 0.1, n), rng.normal(0.75, 0.1, n)
        found = compare_paired(numbered(first), numbered(second))
        positive = stats.wilcoxon(first, second, alternative="greater").statistic  # the sum of positive ranks
        assert found.rank_biserial == pytest.approx(2 * positive / (n * (n + 1) / 2) - 1)

    def test_which_cases_were_left_out_is_named(self) -> None:
        first = {"a": 1.0, "b": math.nan, "c": 3.0, "d": 1.0}
        found = compare_paired(first, {"a": 0.5, "b": 2.0, "c": 2.0, "e": 1.0})
        assert found.left_out == ("b", "d", "e") and found.n_left_out == 3


class TestIntervals:
    def test_it_is_scipys_and_the_same_every_time(self) -> None:
        values = np.random.default_rng(1).gamma(2, 1, 25)
        theirs = stats.bootstrap((values,), np.mean, random_state=np.random.default_rng(0)).confidence_interval
        found = mean_interval(values)
        assert found == pytest.approx((theirs.low, theirs.high), rel=1e-2)
        assert mean_interval(values) == found != mean_interval(values, seed=1)
        low, high = mean_interval(values, 0.5)
        assert found[0] < low < values.mean() < high < found[1]

    def test_it_holds_the_mean_about_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(2)
        held = [
            low <= 5 <= high for low, high in (mean_interval(rng.normal(5, 1, 30), resamples=499) for _ in range(200))
        ]
        assert 0.88 <= np.mean(held) <= 0.99

    def test_it_is_of_the_difference_and_over_cases(self) -> None:
        rng = np.random.default_rng(3)
        first, second = rng.normal(0.8, 0.1, 12), rng.normal(0.7, 0.1, 12)
        assert compare_paired(numbered(first), numbered(second)).interval == mean_interval(first - second)

    def test_there_is_none_where_it_would_mislead(self) -> None:
        for values in ([1.0, 2, 3, 4, 5], [2.0] * 9, [1.0, 2, 3, math.nan, 4, 5], []):
            assert all(math.isnan(bound) for bound in mean_interval(values))


class TestMany:
    @pytest.fixture
    def values(self) -> dict[str, dict[str, float]]:
        rng = np.random.default_rng(5)
        case = rng.normal(0.7, 0.1, 12)
        return {
            name: numbered(case + rng.normal(shift, 0.03, 12))
            for name, shift in (("a", 0.0), ("b", 0.02), ("c", 0.1), ("d", 0.1))
        }

    def test_friedman_and_pairs_are_scipys(self, values: dict[str, dict[str, float]]) -> None:
        found = compare_many(values)
        columns = [list(by_case.values()) for by_case in values.values()]
        theirs = stats.friedmanchisquare(*columns)
        assert (found.statistic, found.p) == pytest.approx((theirs.statistic, theirs.pvalue))
        assert found.kendall_w == pytest.approx(theirs.statistic / (12 * 3))
        assert list(found.mean_ranks.values()) == pytest.approx(stats.rankdata(columns, axis=0).mean(axis=1))
        assert list(found.pairs) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
        for (first, second), pair in found.pairs.items():
            theirs = stats.wilcoxon(list(values[first].values()), list(values[second].values()))
            assert pair.wilcoxon_p == pytest.approx(theirs.pvalue)
        assert list(found.t_corrected.values()) == holm([pair.t_p for pair in found.pairs.values()])
        assert list(found.wilcoxon_corrected.values()) == holm([pair.wilcoxon_p for pair in found.pairs.values()])
        assert found.significant("a", "c") and found.significant("c", "a") and not found.significant("c", "d")
        assert "n = 12, 4 methods, Friedman's test p < 0.001" in found.text

    def test_friedman_by_hand(self) -> None:
        # every case has the order a < b < c: 12 / (n k (k + 1)) * sum of squared rank sums - 3 n (k + 1)
        values = {name: numbered(np.arange(6) + shift) for name, shift in (("a", 0), ("b", 0.1), ("c", 0.2))}
        found = compare_many(values)
        assert found.statistic == pytest.approx(12 / (6 * 3 * 4) * (6**2 + 12**2 + 18**2) - 3 * 6 * 4) == 12
        assert found.kendall_w == pytest.approx(1) and found.mean_ranks == {"a": 1, "b": 2, "c": 3}

    def test_cases_that_one_lacks_are_dropped_and_named(self, values: dict[str, dict[str, float]]) -> None:
        values["b"]["case 3"] = math.nan
        del values["d"]["case 7"]
        found = compare_many(values)
        assert found.left_out == ("case 3", "case 7") and len(found.cases) == 10
        assert "2 left out" in found.text
        assert found.pairs["a", "c"].n == 12 and found.pairs["b", "d"].n == 10

    def test_where_it_has_no_answer_it_says_why(self, values: dict[str, dict[str, float]]) -> None:
        two = {name: values[name] for name in ("a", "b")}
        assert "needs 3" in compare_many(two).text and math.isnan(compare_many(two).p)
        few = {name: dict(list(by_case.items())[:5]) for name, by_case in values.items()}
        assert "5 cases are too few" in compare_many(few).text
        equal = dict.fromkeys("abc", values["a"])
        assert "the same values for all methods" in compare_many(equal).text
        assert math.isnan(compare_many({"a": {"x": 1.0}, "b": {"y": 1.0}, "c": {}}).mean_ranks["a"])


def test_a_summary_has_quartiles_and_names_what_was_missed() -> None:
    rows = [
        ScoreRow("run", "Run", f"case {place}", "test", 1, "organ", {"dice": value}, note)
        for place, (value, note) in enumerate(
            [(0.5, ""), (0.7, ""), (0.8, ""), (0.0, "missed"), (math.nan, "absent in both")]
        )
    ]
    table = ScoreTable(tuple(rows))
    line = table.summary(["dice"])[0]
    quartiles = np.percentile([0.5, 0.7, 0.8, 0.0], [25, 50, 75])
    assert [line[f"dice_{name}"] for name in ("lower", "median", "upper")] == pytest.approx(quartiles)
    assert (line["dice_n"], line["missed"], line["absent"]) == (4, 1, 1)
    assert table.cases_noted("missed", "run") == ("case 3",)
    assert table.cases_noted("absent in both", "run", 1) == ("case 4",)

"""Repeats pooled by case, the LaTeX table, and the charts of a comparison, against numbers by hand."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from napari_ssl_seg.evaluation import ScoreTable
from napari_ssl_seg.evaluation.comparison_charts import box_numbers, case_boxes, efficiency_curves, value_range
from napari_ssl_seg.evaluation.latex import escape, latex_table
from napari_ssl_seg.evaluation.metrics import NAN
from napari_ssl_seg.evaluation.pooling import pool_repeats
from napari_ssl_seg.evaluation.report_tables import daggers, result_table
from tests.evaluation.test_tables import row


def test_a_case_counts_once_with_its_mean_over_the_repeats():
    table = ScoreTable(
        (
            row("r0", "one", 1, 0.8, 1.0),
            row("r0", "two", 1, 0.0, NAN, "missed"),
            row("r1", "one", 1, 0.6, 3.0),
            row("r1", "two", 1, 0.5, 4.0),
            row("other", "one", 1, 0.9, 1.0),
        )
    )
    pooled = pool_repeats(table, {"simmim": ["r0", "r1"], "scratch": ["other"]})
    assert pooled.runs == {"simmim": "simmim", "scratch": "scratch"}
    dice = pooled.spread_of("dice", "simmim")
    assert (dice.n, dice.mean) == (2, pytest.approx((0.7 + 0.25) / 2))
    assert dice.sd == pytest.approx(0.45 / math.sqrt(2))
    assert pooled.by_case("assd", "simmim") == {"one": pytest.approx(2.0), "two": pytest.approx(4.0)}
    assert [part.note for part in pooled.of("simmim", case="two")] == ["missed in 1 of 2 repeats"]
    assert pooled.summary()[0]["missed"] == 1


def test_a_note_of_every_repeat_stays_as_it_is():
    table = ScoreTable((row("a", "one", 1, NAN, NAN, "absent in both"), row("b", "one", 1, NAN, NAN, "absent in both")))
    (pooled,) = pool_repeats(table, {"m": ["a", "b"]})
    assert pooled.note == "absent in both"
    assert math.isnan(pooled.metrics["dice"])


@pytest.fixture
def ten_cases() -> ScoreTable:
    """Class 1 improves in every case, by amounts that differ; class 2 is the same but for noise about 0."""
    rows = []
    for number in range(10):
        rows += [
            row("scratch", str(number), 1, 0.7, 2.0),
            row("scratch", str(number), 2, 0.5, 1.0),
            row("better_one", str(number), 1, 0.75 + 0.005 * number, 1.5 - 0.01 * number),
            row("better_one", str(number), 2, 0.5 + 0.01 * (-1) ** number, 1.0 + 0.01 * (-1) ** number),
        ]
    return ScoreTable(tuple(rows))


def test_daggers_stand_where_the_class_differs_and_nowhere_else(ten_cases: ScoreTable):
    against = {"better_one": "scratch"}
    assert daggers(ten_cases, "dice", against) == {("better_one", 1), ("better_one", None)}
    page = result_table(ten_cases, "dice", against)
    cells = re.findall(r"<td>(.*?)</td>", page.split("better_one")[-1])
    assert [("†" in cell) for cell in cells[:3]] == [True, False, True]


def test_the_latex_table_says_what_the_table_says(ten_cases: ScoreTable):
    text = latex_table(ten_cases, {"better_one": "scratch"}, caption="5 % of scans & more")
    lines = text.splitlines()
    assert lines[2] == r"\caption{5 \% of scans \& more}"
    assert lines[3] == r"\begin{tabular}{lcccccc}"
    better = next(line for line in lines if line.startswith("Method better"))
    assert better.startswith(r"Method better\_one & \textbf{0.772}$^{\dagger}$\,{\scriptsize$\pm$0.015} & ")
    assert better.count("&") == 6
    scratch = next(line for line in lines if line.startswith("Method scratch"))
    assert scratch.startswith(r"Method scratch & 0.700\,{\scriptsize$\pm$0.000} & \textbf{0.500}")
    assert text.count("{") == text.count("}")
    assert escape("a_b#1") == r"a\_b\#1"


def test_boxes_have_quartiles_and_whiskers_after_tukey():
    values = np.array([0.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 40.0])
    assert box_numbers(values) == (10.0, 11.0, 13.0, 15.0, 16.0)
    assert box_numbers(np.array([3.0])) == (3.0, 3.0, 3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("values", "high", "expected"),
    [
        ([0.66, 0.85], 1.0, (0.6, 0.9)),
        ([0.0, 1.0], 1.0, (0.0, 1.0)),
        ([1.0, 1.0], 1.0, (1.0, 1.1)),
        ([], 1.0, (0.0, 1.0)),
        ([0.59, 1.41], None, (0.4, 1.6)),
    ],
)
def test_axes_begin_and_end_at_round_numbers_about_the_values(values, high, expected):
    assert value_range([*values, NAN], high) == pytest.approx(expected)


def test_charts_are_well_formed_and_hold_every_repeat():
    curves = efficiency_curves(
        {"scratch": {2: [0.7, 0.72, NAN], 5: [0.8]}, "a <b>": {2: [0.75], 5: [0.81]}},
        title="t",
        y_title="Dice",
        high=1.0,
    )
    chart = ElementTree.fromstring(curves.split("</svg>")[0] + "</svg>")
    assert len(chart.findall("circle")) == 5
    assert len([path for path in chart.findall("path") if path.get("fill") == "none"]) == 2
    assert "a &lt;b&gt;" in curves
    boxes = case_boxes({"scratch": [0.7, 0.8, 0.9], "none": [NAN]}, title="t", y_title="Dice", high=1.0)
    assert len(ElementTree.fromstring(boxes.split("</svg>")[0] + "</svg>").findall("rect")) == 1

"""The tables of the report: results by class, tests, cases."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.evaluation.charts import method_color
from napari_ssl_seg.evaluation.collecting import unique_titles
from napari_ssl_seg.evaluation.many import compare_many
from napari_ssl_seg.evaluation.metrics import FALSE_ALARM, MISSED, TABLE_METRICS
from napari_ssl_seg.evaluation.statistics import LEVEL, compare_paired, holm, p_text
from napari_ssl_seg.evaluation.tables import AVERAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.evaluation.statistics import PairedComparison, Spread
    from napari_ssl_seg.evaluation.tables import ScoreTable

MANY_CLASSES = 8
"""From more on the average stands before the classes, where it is seen without scrolling."""


def result_table(table: ScoreTable, metric: str, baselines: Mapping[str, str]) -> str:
    """Methods by classes: mean ± standard deviation over cases, the best of each column in bold.

    A dagger stands where a method differs from its baseline (run -> run that it is compared with): see `daggers`.
    """
    info = TABLE_METRICS[metric]
    classes: list[tuple[int | None, str]] = [*table.classes.items()]
    many = len(classes) > MANY_CLASSES
    shown = [(None, AVERAGE), *classes] if many else [*classes, (None, AVERAGE)]
    labels, names = [label for label, _ in shown], [name for _, name in shown]
    cells = {run: [table.spread_of(metric, run, label) for label in labels] for run in table.runs}
    best = [best_of([row[place].mean for row in cells.values()], info.larger_is_better) for place in range(len(labels))]
    marked = daggers(table, metric, baselines)
    lines = []
    for order, (run, title) in enumerate(unique_titles(table).items()):
        rows = table.of(run).rows
        values = "".join(
            _value(part, best[place], metric, dagger=(run, labels[place]) in marked)
            for place, part in enumerate(cells[run])
        )
        missed, alarms = (sum(row.note.startswith(kind) for row in rows) for kind in (MISSED, FALSE_ALARM))
        lines.append(f"<tr>{_method(title, order)}{values}<td>{missed}</td><td>{alarms}</td></tr>")
    arrow = {True: "↑", False: "↓", None: "→ 0"}[info.larger_is_better]
    unit = f" in {info.unit}" if info.unit else ""
    caption = f"{info.title}{unit} {arrow}, mean ± standard deviation over cases"
    if marked:
        others = {unique_titles(table)[base] for base in baselines.values()}
        name = escape(others.pop()) if len(others) == 1 else "its baseline"
        caption += f"; † differs from {name} (p &lt; 0.05 in both tests, t-test corrected after Holm)"
    head = "".join(f"<th>{escape(name)}</th>" for name in [*names, "missed", "false alarms"])
    return _table(caption, f"<th>Method</th>{head}", lines)


def test_table(table: ScoreTable, metric: str, baselines: Mapping[str, str]) -> str:
    """Each method against its baseline, case by case."""
    info, titles = TABLE_METRICS[metric], unique_titles(table)
    order = {run: place for place, run in enumerate(table.runs)}
    lines = []
    for run, (test, corrected) in tests(table, metric, baselines).items():
        cells = "".join(
            f"<td>{number}</td>"
            for number in (
                escape(titles[baselines[run]]),
                _signed(test.difference),
                _interval(test.interval),
                _number(test.sd),
                _signed(test.effect),
                _signed(test.rank_biserial),
                _p(test.t_p),
                _p(corrected),
                _p(test.wilcoxon_p),
            )
        )
        lines.append(f'<tr>{_method(titles[run], order[run])}{cells}<td class="words">{escape(test.text)}</td></tr>')
    unit = f" in {info.unit}" if info.unit else ""
    caption = f"{info.title}{unit}: average over classes, paired by case"
    columns = ["against", "difference", "95 % interval", "sd", "effect (d)", "rank-biserial"]
    columns += ["t-test p", "p after Holm", "Wilcoxon p", ""]
    many = ""
    if len(table.runs) > 2:
        found = compare_many({titles[run]: table.by_case(metric, run) for run in table.runs})
        order_text = ", ".join(f"{name} {rank:.2f}" for name, rank in sorted(found.mean_ranks.items(), key=_by_rank))
        many = (
            f"<p>All methods at once: {escape(found.text)}. Mean ranks (1 = smallest value): {escape(order_text)}.</p>"
        )
    return _table(caption, "<th>Method</th>" + "".join(f"<th>{name}</th>" for name in columns), lines) + many


def daggers(table: ScoreTable, metric: str, baselines: Mapping[str, str]) -> set[tuple[str, int | None]]:
    """Runs and labels (None: the average) that differ from their baseline: both tests below 5 %, the t-test corrected.

    The correction is for the number of methods; each column is a question of its own.
    """
    return {
        (run, label)
        for label in (*table.classes, None)
        for run, (test, p) in tests(table, metric, baselines, label).items()
        if test.significant and p < LEVEL
    }


def tests(
    table: ScoreTable, metric: str, baselines: Mapping[str, str], label: int | None = None
) -> dict[str, tuple[PairedComparison, float]]:
    """Run -> its comparison with its baseline over cases, and the t-test's p-value corrected for their number.

    Of one class, or of the average over classes.
    """
    found = {
        run: compare_paired(table.by_case(metric, run, label), table.by_case(metric, base, label))
        for run, base in baselines.items()
    }
    corrected = holm([test.t_p for test in found.values()])
    return {run: (test, p) for (run, test), p in zip(found.items(), corrected, strict=True)}


def one_baseline(table: ScoreTable) -> dict[str, str]:
    """Every other run is compared with the first called scratch, or else with the first."""
    base = next((run for run, title in table.runs.items() if "scratch" in title.lower()), next(iter(table.runs)))
    return {run: base for run in table.runs if run != base}


def case_table(table: ScoreTable) -> str:
    """Dice of each case by method, shaded by its value; the worst case first."""
    titles = unique_titles(table)
    dice = {run: table.by_case("dice", run) for run in table.runs}

    def mean(case: str) -> float:
        known = [part[case] for part in dice.values() if math.isfinite(part.get(case, math.nan))]
        return sum(known) / len(known) if known else math.inf

    lines = []
    for case in sorted(table.cases, key=mean):
        cells = "".join(_shaded(dice[run].get(case, math.nan)) for run in titles)
        lines.append(f"<tr><th>{escape(case)}</th>{cells}</tr>")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles.values())
    return _table("Dice of each case, average over classes, worst case first", f"<th>Case</th>{head}", lines)


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as mappings of column to value."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["<tr>" + "".join(f"<td>{_plain(row.get(name))}</td>" for name in columns) + "</tr>" for row in rows]
    return _table("", "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns), lines)


def _value(part: Spread, best: float, metric: str, *, dagger: bool) -> str:
    if part.n == 0:
        return '<td title="not defined for any case">–</td>'
    digits = 3 if TABLE_METRICS[metric].best == 1 else 2
    mean = f"{part.mean:.{digits}f}"
    if mean == f"{best:.{digits}f}":
        mean = f"<b>{mean}</b>"
    spread = f' <span class="sd">± {part.sd:.{digits}f}</span>' if math.isfinite(part.sd) else ""
    fewer = f"<br><small>n = {part.n} of {part.n + part.n_undefined}</small>" if part.n_undefined else ""
    return f"<td>{mean}{'†' if dagger else ''}{spread}{fewer}</td>"


def best_of(values: Sequence[float], larger: bool | None) -> float:
    """The best of the values that are defined, by ``larger`` or (None) by the nearest to 0; NaN of fewer than two."""
    known = [value for value in values if math.isfinite(value)]
    if not known or len(values) < 2:
        return math.nan
    return max(known) if larger else min(known, key=None if larger is False else abs)


def _method(title: str, order: int) -> str:
    return f'<th><i class="swatch" style="background:{method_color(order)}"></i>{escape(title)}</th>'


def _shaded(dice: float) -> str:
    if not math.isfinite(dice):
        return "<td>–</td>"
    return f'<td style="background:rgb(0 114 178 / {0.05 + 0.45 * dice:.2f})">{dice:.3f}</td>'


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else "–"


def _by_rank(item: tuple[str, float]) -> float:
    return item[1]


def _interval(limits: tuple[float, float]) -> str:
    low, high = limits
    return f"{_signed(low)} to {_signed(high)}" if math.isfinite(low) and math.isfinite(high) else "–"


def _p(value: float) -> str:
    return escape(p_text(value)) if math.isfinite(value) else "–"


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _table(caption: str, head: str, lines: Sequence[str]) -> str:
    title = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )

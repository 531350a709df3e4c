"""The table of a paper as LaTeX: methods by classes, mean ± standard deviation, the best in bold, daggers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_ssl_seg.evaluation.collecting import unique_titles
from napari_ssl_seg.evaluation.metrics import TABLE_METRICS
from napari_ssl_seg.evaluation.report_tables import best_of, daggers
from napari_ssl_seg.evaluation.tables import AVERAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.evaluation.statistics import Spread
    from napari_ssl_seg.evaluation.tables import ScoreTable

DAGGER = r"$^{\dagger}$"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_table(
    table: ScoreTable,
    baselines: Mapping[str, str],
    *,
    metrics: Sequence[str] = ("dice", "assd"),
    caption: str = "",
) -> str:
    r"""A ``table*`` that needs ``\usepackage{booktabs}``.

    Columns are the classes and their average, once for each metric; a dagger stands where a method differs from its
    baseline as in the report.
    """
    shown = [name for name in metrics if name in table.metrics]
    labels = [*table.classes, None]
    names = [escape(name) for name in [*table.classes.values(), AVERAGE]]
    titles = unique_titles(table)
    width = len(labels)
    heads, rules = [], []
    for place, metric in enumerate(shown):
        info = TABLE_METRICS[metric]
        arrow = {True: r"$\uparrow$", False: r"$\downarrow$", None: ""}[info.larger_is_better]
        unit = f" ({info.unit})" if info.unit else ""
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{info.title}{unit} {arrow}}}")
        rules.append(rf"\cmidrule(lr){{{2 + place * width}-{1 + (place + 1) * width}}}")
    lines: dict[str, list[str]] = {run: [] for run in titles}
    for metric in shown:
        info, marked = TABLE_METRICS[metric], daggers(table, metric, baselines)
        for label in labels:
            spreads = {run: table.spread_of(metric, run, label) for run in titles}
            best = best_of([part.mean for part in spreads.values()], info.larger_is_better)
            for run, part in spreads.items():
                lines[run].append(_cell(part, best, 3 if info.best == 1 else 2, (run, label) in marked))
    body = "\n".join(rf"{escape(titles[run])} & {' & '.join(cells)} \\" for run, cells in lines.items())
    return (
        "\\begin{table*}\n\\centering\n"
        f"\\caption{{{escape(caption)}}}\n"
        f"\\begin{{tabular}}{{l{'c' * width * len(shown)}}}\n\\toprule\n"
        f" & {' & '.join(heads)} \\\\\n{''.join(rules)}\n"
        f"Method & {' & '.join(names * len(shown))} \\\\\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table*}\n"
    )


def escape(text: str) -> str:
    """``text`` with what LaTeX would take for its own made plain."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _cell(part: Spread, best: float, digits: int, dagger: bool) -> str:
    if not part.n:
        return "--"
    mean = f"{part.mean:.{digits}f}"
    if mean == f"{best:.{digits}f}":
        mean = rf"\textbf{{{mean}}}"
    spread = rf"\,{{\scriptsize$\pm${part.sd:.{digits}f}}}" if math.isfinite(part.sd) else ""
    return f"{mean}{DAGGER if dagger else ''}{spread}"

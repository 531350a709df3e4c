"""What a comparison leaves behind: one HTML report, and its tables as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.contenders import SCRATCH, parse_contender
from napari_ssl_seg.evaluation.metrics import TABLE_METRICS
from napari_ssl_seg.evaluation.pooling import pool_repeats
from napari_ssl_seg.evaluation.tables import ScoreTable
from napari_ssl_seg.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_ssl_seg.protocol import Outcome, Protocol
    from napari_ssl_seg.study import Study

PLOTTED = ("dice", "assd")


def write_comparison_report(study: Study, protocol: Protocol, outcome: Outcome, folder: Path) -> Path:
    """Write ``report.html``, ``scores.csv`` (every case and class of every run), ``summary.csv`` and ``tables.tex``.

    The tables have one row a method: each case counts once, with its mean over the repeats. The report's first tables,
    tests and pictures are of the largest number of labelled scans; the others follow.

    Returns
    -------
    Path
        The report.
    """
    from napari_ssl_seg.evaluation.collecting import collect_slices, describe_runs, hardware
    from napari_ssl_seg.evaluation.latex import latex_table
    from napari_ssl_seg.evaluation.report import write_report

    pooled = {budget: pool_repeats(outcome.table, outcome.groups(budget)) for budget in outcome.budgets}
    largest = outcome.budgets[-1]
    baselines, foreign = fair_baselines(study, outcome.groups(largest))
    outcome.table.to_csv(folder / "scores.csv")
    _write_summary(folder / "summary.csv", pooled)
    write_text(
        folder / "tables.tex",
        "\n".join(
            latex_table(table, baselines, caption=_caption(study, protocol, budget)) for budget, table in pooled.items()
        ),
    )
    pictures, curves, said = collect_slices(study, _first_repeat(outcome, largest), outcome.folders)
    said += [
        f"{folder.id}: predictions from {folder.folder.name}, made elsewhere; what they were trained on is not known here"
        for folder in outcome.folders
    ]
    if protocol.repeats > 1:
        said.append("pictures and curves by slice are of the first repeat")
    said += [
        f"{method} is compared with {baselines[method]}, which is another network: {network}"
        for method, network in foreign
    ]
    report = write_report(
        folder / "report.html",
        study_name=study.name,
        table=pooled[largest],
        runs=describe_runs(study, outcome.table),
        pictures=pictures,
        curves=curves,
        notes=[*_notes(study, protocol, largest), *said],
        facts={
            **hardware(),
            "data fingerprint": study.fingerprint(list(outcome.table.cases)),
            "seed": study.settings.seed,
        },
        baselines=baselines,
        sections=[
            _efficiency(outcome),
            _boxes(pooled[largest]),
            *(_budget_tables(pooled[budget], baselines, budget) for budget in outcome.budgets[:-1]),
        ],
        tables=[("By number of labelled scans", outcome.summary()), ("Time", time_rows(study, outcome))],
    )
    return report


def fair_baselines(study: Study, groups: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Method -> the row from scratch that it is tested against, on the same network where there is one.

    Returns also the methods, with the networks of both, for which there is none on the same network.
    """
    known = {run.id for run in study.runs()}
    ours = {method: runs for method, runs in groups.items() if runs[0] in known}
    networks = {method: study.run(runs[0]).record.network["name"] for method, runs in ours.items()}
    plain = [
        contender.text
        for contender in map(parse_contender, ours)
        if contender.start == SCRATCH and contender.joint is None
    ]
    found, foreign = {}, []
    for method in groups:
        if method in plain or not plain:
            continue
        same = [other for other in plain if networks[other] == networks.get(method)]
        found[method] = same[0] if same else plain[0]
        if not same and method in networks:
            foreign.append((method, f"{networks[method]} against {networks[plain[0]]}"))
    return found, foreign


def time_rows(study: Study, outcome: Outcome) -> list[dict[str, Any]]:
    """What each method cost: hours of pretraining, mean minutes of a fine-tuning, on which device; GPU hours in all."""
    from napari_ssl_seg.evaluation.collecting import run_seconds

    rows = []
    for method in dict.fromkeys(entry.method for entry in outcome.entries):
        mine = [entry for entry in outcome.entries if entry.method == method]
        tuned = [study.run(entry.run) for entry in mine]
        parents = [study.run(parent) for parent in dict.fromkeys(e.parent for e in mine) if parent is not None]
        before = sum(run_seconds(run) or 0.0 for run in parents)
        after = [run_seconds(run) or 0.0 for run in tuned]
        on_gpu = [run for run in (*parents, *tuned) if str(run.record.device).startswith("cuda")]
        rows.append(
            {
                "method": method,
                "pretraining (h)": round(before / 3600, 3) if parents else None,
                "fine-tuning, mean (min)": round(sum(after) / len(after) / 60, 2),
                "in all (h)": round((before + sum(after)) / 3600, 3),
                "GPU hours": round(sum(run_seconds(run) or 0.0 for run in on_gpu) / 3600, 3),
                "device": ", ".join(dict.fromkeys(str(run.record.device) for run in (*parents, *tuned))),
            }
        )
    return rows


def _first_repeat(outcome: Outcome, budget: int) -> ScoreTable:
    """The rows of the first repeat, each run under its method's name."""
    names = {folder.id: folder.id for folder in outcome.folders} | {
        entry.run: entry.method
        for entry in reversed(outcome.entries)
        if entry.budget == budget and entry.repeat == min(e.repeat for e in outcome.entries)
    }
    return ScoreTable(tuple(replace(row, title=names[row.run]) for row in outcome.table.rows if row.run in names))


def _efficiency(outcome: Outcome) -> str:
    from napari_ssl_seg.evaluation.comparison_charts import efficiency_curves

    if len(outcome.budgets) < 2:
        return ""
    charts = []
    for metric in PLOTTED:
        values: dict[str, dict[int, list[float]]] = {}
        for entry in outcome.entries:
            values.setdefault(entry.method, {}).setdefault(entry.budget, []).append(getattr(entry, metric))
        title, y_title, high = _axis(metric)
        drawn = efficiency_curves(values, title=f"{title} by number of labelled scans", y_title=y_title, high=high)
        charts.append(f"<figure>{drawn}<figcaption>{y_title}: line = mean, dot = one repeat.</figcaption></figure>")
    return f'<h2>Label efficiency</h2><div class="pair">{"".join(charts)}</div>'


def _boxes(table: ScoreTable) -> str:
    from napari_ssl_seg.evaluation.comparison_charts import case_boxes

    charts = []
    for metric in PLOTTED:
        title, y_title, high = _axis(metric)
        values = {run: list(table.by_case(metric, run).values()) for run in table.runs}
        drawn = case_boxes(values, title=f"{title} by method, over cases", y_title=y_title, high=high)
        charts.append(
            f"<figure>{drawn}<figcaption>{y_title}, average over classes: box = quartiles, line = median, whiskers = last"
            " case within 1.5 quartile ranges, ring = case beyond.</figcaption></figure>"
        )
    return f'<h2>Spread over cases</h2><div class="pair">{"".join(charts)}</div>'


def _budget_tables(table: ScoreTable, baselines: Mapping[str, str], budget: int) -> str:
    from napari_ssl_seg.evaluation.report_tables import result_table

    tables = "".join(result_table(table, metric, baselines) for metric in PLOTTED)
    return f"<h2>With {_scans(budget)}</h2>{tables}"


def _axis(metric: str) -> tuple[str, str, float | None]:
    info = TABLE_METRICS[metric]
    return info.title, f"{info.title} ({info.unit})" if info.unit else info.title, 1.0 if metric == "dice" else None


def _notes(study: Study, protocol: Protocol, largest: int) -> list[str]:
    counts = study.counts()
    pretrained = "one per method and repeat" if protocol.pretrain_every_repeat else "one per method"
    notes = [
        f"Every method fine-tuned on the same {_listing(protocol.budgets)} labelled scans of the {counts['train']} in the"
        f" train split, with the same number of steps; {protocol.repeats} draw(s) of labels, each with its own"
        f" seed. Pretraining ({pretrained}) saw the scans of the train split without their labels.",
        f"The checkpoint was chosen on the {counts['validation']} scans of the validation split; every number is of the"
        f" {counts['test']} scans of the test split, which no training has seen.",
    ]
    if len(protocol.budgets) > 1:
        notes.append(f"The first tables, the tests and the pictures are of {_scans(largest)}.")
    if protocol.repeats == 1:
        notes.append(
            "One repeat says nothing about the spread between draws of labels; take three or more for a claim."
        )
    else:
        notes.append("In the tables each case counts once, with its mean over the repeats; ± is over cases.")
    return notes


def _caption(study: Study, protocol: Protocol, budget: int) -> str:
    repeats = f", mean of {protocol.repeats} draws of labels" if protocol.repeats > 1 else ""
    return (
        f"{study.name}: {_scans(budget)}{repeats}; mean and standard deviation over {study.counts()['test']} test cases."
        " A dagger: differs from scratch (p < 0.05 in the paired t-test, corrected after Holm, and in"
        " Wilcoxon's test)."
    )


def _write_summary(path: Path, pooled: Mapping[int, ScoreTable]) -> None:
    rows = [{"labelled_cases": budget, **row} for budget, table in pooled.items() for row in table.summary()]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value != value else value for name, value in row.items()} for row in rows)
    write_text(path, stream.getvalue())


def _scans(budget: int) -> str:
    return "1 labelled scan" if budget == 1 else f"{budget} labelled scans"


def _listing(numbers: Iterable[int]) -> str:
    known = [str(number) for number in numbers]
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"

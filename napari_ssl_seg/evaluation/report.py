"""One HTML file with everything that a comparison found; it needs no other file, no network and no script."""

from __future__ import annotations

import base64
import math
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.charts import class_bars, legend, method_color, slice_curves
from napari_ssl_seg.evaluation.collecting import (
    collect_slices,
    describe_runs,
    hardware,
    matching_baselines,
    unique_titles,
)
from napari_ssl_seg.evaluation.metrics import FALSE_ALARM, METRICS, MISSED
from napari_ssl_seg.evaluation.report_style import STYLE
from napari_ssl_seg.evaluation.report_tables import case_table, one_baseline, plain_table, result_table, test_table
from napari_ssl_seg.evaluation.tables import FIRST_METRICS, ScoreTable
from napari_ssl_seg.files import write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.evaluation.collecting import Curve
    from napari_ssl_seg.evaluation.pictures import Picture
    from napari_ssl_seg.study import Study

MOST_PICTURED = 8
"""Methods side by side in a picture."""
FEW_CLASSES = 4
"""Up to this many, charts by class stand side by side."""
LESIONS_SHOWN = ("lesion_f1", "lesions_missed", "lesions_false")
"""Tables of the classes whose components are lesions."""


def write_study_report(
    path: str | os.PathLike[str],
    study: Study,
    table: ScoreTable,
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    tables: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
) -> Path:
    """Collect what a report shows of a study's runs, and write it.

    Parameters
    ----------
    path
        The file, ``.html``.
    table
        From `evaluate`.
    title, notes, tables
        As for `write_report`.
    """
    shown = _pictured(table)
    pictures, curves, said = collect_slices(study, shown)
    if len(shown.runs) < len(table.runs):
        said.append(
            f"{len(shown.runs)} of {len(table.runs)} runs are in the charts and pictures, the first of each title"
        )
    return write_report(
        path,
        study_name=study.name,
        table=table,
        runs=describe_runs(study, table),
        pictures=pictures,
        curves=curves,
        notes=[*notes, *said],
        facts={**hardware(), "data fingerprint": study.fingerprint(list(table.cases)), "seed": study.settings.seed},
        title=title,
        tables=tables,
        baselines=matching_baselines(study, table),
    )


def write_report(
    path: str | os.PathLike[str],
    *,
    study_name: str,
    table: ScoreTable,
    runs: Sequence[Mapping[str, Any]] = (),
    pictures: Sequence[Picture] = (),
    curves: Sequence[Curve] = (),
    notes: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    title: str | None = None,
    tables: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
    baselines: Mapping[str, str] | None = None,
    sections: Sequence[str] = (),
) -> Path:
    """Write a report.

    Parameters
    ----------
    path
        The file, ``.html``.
    study_name
        In the heading.
    table
        The scores.
    runs
        One mapping a run: ``title``, ``seconds``, ``device``, ``settings``, ``versions`` ... ; whatever is in it is shown.
    pictures, curves
        From `collect_slices`.
    notes
        Sentences on how this was made.
    facts
        Hardware, data fingerprint and the like.
    title
        Default: made of the study's name.
    tables
        More tables: a heading, and rows as mappings of column to value.
    baselines
        Run -> the run that it is tested against; default: all against the one called scratch, or else the first.
    sections
        More parts of the page, each a piece of HTML, after the results.

    Raises
    ------
    UserError
        When the table is empty, or the file cannot be written.
    """
    if not table.rows:
        raise UserError(f"{path}: there are no scores to report; evaluate a run first")
    heading = title or f"Comparison on {study_name}"
    order = {title: place for place, title in enumerate(unique_titles(table).values())}
    compared = one_baseline(table) if baselines is None else baselines
    parts = [
        _results(table, compared, order),
        *sections,
        *(f"<h2>{escape(name)}</h2>{plain_table(rows)}" for name, rows in tables if rows),
        _tests(table, compared),
        _pictures(pictures, order),
        _curves(curves, order),
        _cases(table),
        _runs(runs),
        _notes(notes, facts or {}),
        DEFINITIONS,
    ]
    made = time.strftime("%Y-%m-%d %H:%M")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(heading)}</title>'
        f"<style>{STYLE}</style></head><body><main>"
        f'<header><p class="kicker">napari-ssl-seg · {made}</p><h1>{escape(heading)}</h1>'
        f'<p class="lead">{escape(_finding(table))}</p>{_tiles(table)}</header>'
        f"{''.join(f'<section>{section}</section>' for section in parts if section)}"
        "</main></body></html>\n"
    )
    write_text(path, page)
    return Path(path)


DEFINITIONS = """<h2>Definitions</h2>
<p>Surfaces are voxels with a face neighbour outside the class (or the image); distances go from voxel centre to voxel centre,
in mm. <b>ASSD</b> is the mean, <b>HD95</b> the 95th percentile of the distances of both directions pooled (as MedPy 0.5.2 with
connectivity 1). The average over classes is taken within a case first, then over cases; ± is the sample standard deviation
over cases. A class that the prediction misses altogether has Dice 0 and no distance: read distances together with the
number missed. A class that is in neither counts for nothing.</p>"""


def _pictured(table: ScoreTable) -> ScoreTable:
    """The first run of each title; of runs that share one title, all."""
    first: dict[str, str] = {}
    for run, title in table.runs.items():
        first.setdefault(title, run)
    chosen = list(first.values()) if len(first) > 1 else list(table.runs)
    return ScoreTable(tuple(row for row in table.rows if row.run in chosen[:MOST_PICTURED]))


def _finding(table: ScoreTable) -> str:
    """The result in a sentence."""
    titles = unique_titles(table)
    dice = {run: table.spread_of("dice", run) for run in table.runs}
    known = {run: part for run, part in dice.items() if part.n}
    if not known:
        return f"{len(table.cases)} cases; no Dice is defined, see the notes beside the values."
    best = max(known, key=lambda run: known[run].mean)
    part = known[best]
    spread = f" ± {part.sd:.3f}" if math.isfinite(part.sd) else ""
    cases = "1 case" if part.n == 1 else f"{part.n} cases"
    if len(table.runs) == 1:
        return f"{titles[best]}: mean Dice {part.mean:.3f}{spread} over {cases}."
    return f"{titles[best]} has the highest mean Dice of {len(known)} {_methods(table)}: {part.mean:.3f}{spread} over {cases}."


def _methods(table: ScoreTable) -> str:
    """Where titles repeat, what stands in a line is a run of a method."""
    titles = list(table.runs.values())
    return "methods" if len(set(titles)) == len(titles) else "runs"


def _tiles(table: ScoreTable) -> str:
    split = ", ".join(dict.fromkeys(row.split for row in table.rows if row.split))
    counts = [
        (len(table.runs), _methods(table)),
        (len(table.cases), f"{split} cases".strip()),
        (len(table.classes), "classes"),
        (sum(row.note.startswith(MISSED) for row in table), "missed"),
        (sum(row.note.startswith(FALSE_ALARM) for row in table), "false alarms"),
    ]
    one = {"classes": "class"}
    tiles = [
        f"<li><b>{n}</b> {escape(one.get(name, name.removesuffix('s')) if n == 1 else name)}</li>" for n, name in counts
    ]
    return f'<ul class="tiles">{"".join(tiles)}</ul>'


def _results(table: ScoreTable, baselines: Mapping[str, str], order: Mapping[str, int]) -> str:
    parts = ["<h2>Results</h2>"]
    for metric in (name for name in (*FIRST_METRICS, *LESIONS_SHOWN) if name in table.metrics):
        parts.append(result_table(table, metric, baselines))
    titles, shown = unique_titles(table), _pictured(table)
    charts = []
    for metric in ("dice", "assd"):
        if metric not in table.metrics:
            continue
        info = METRICS[metric]
        values = {
            name: {titles[run]: list(table.by_case(metric, run, label).values()) for run in shown.runs}
            for label, name in table.classes.items()
        }
        unit = f"{info.title} ({info.unit})" if info.unit else info.title
        chart = class_bars(
            values,
            title=f"{info.title} by class and method",
            y_title=unit,
            high=1.0 if metric == "dice" else None,
            order=order,
        )
        charts.append(
            f"<figure>{chart}<figcaption>{unit}: bar = mean, whisker = standard deviation, dot = case.</figcaption></figure>"
        )
    return (
        "".join(parts)
        + f'<div class="{"wide" if len(table.classes) > FEW_CLASSES else "pair"}">{"".join(charts)}</div>'
    )


def _tests(table: ScoreTable, baselines: Mapping[str, str]) -> str:
    if not baselines:
        return ""
    shown = [test_table(table, metric, baselines) for metric in ("dice", "assd") if metric in table.metrics]
    return f"<h2>Is the difference real?</h2>{''.join(shown)}"


def _pictures(pictures: Sequence[Picture], order: Mapping[str, int]) -> str:
    if not pictures:
        return ""
    parts = [
        "<h2>Slices</h2><p>Filled with a solid contour: the label map named above the picture. Dotted white contour:"
        " the reference.</p>"
    ]
    for picture in pictures:
        cells = []
        for cell in picture.cells:
            color = method_color(order[cell.title]) if cell.title in order else "transparent"
            source = f"data:image/png;base64,{base64.b64encode(cell.png).decode()}"
            words = f"<b>{escape(cell.title)}</b>{escape(cell.caption)}"
            alt = escape(f"{picture.title}, {picture.caption}: {cell.title}", quote=True)
            cells.append(
                f'<figure style="--frame:{color}"><figcaption>{words}</figcaption><img src="{source}" alt="{alt}"></figure>'
            )
        parts.append(
            f"<h3>{escape(picture.title)} <small>{escape(picture.caption)}</small></h3>"
            f'<div class="cells">{"".join(cells)}</div>'
        )
    return "".join(parts)


def _curves(curves: Sequence[Curve], order: Mapping[str, int]) -> str:
    if not curves:
        return ""
    parts = [
        "<h2>By slice</h2><p>Mean over classes in each slice taken as an image of its own; ▲ marks pictured slices.</p>"
    ]
    for curve in curves:
        info = METRICS[curve.metric]
        unit = f"{info.title} ({info.unit})" if info.unit else info.title
        drawn = slice_curves(
            curve.series,
            title=f"{info.title} by slice, {curve.title}",
            y_title=unit,
            high=1.0 if curve.metric == "dice" else None,
            marks=curve.marks,
            order=order,
        )
        parts.append(f"<figure><figcaption><b>{escape(curve.title)}</b> {unit}</figcaption>{drawn}</figure>")
    methods = list(dict.fromkeys(name for curve in curves for name in curve.series))
    return f'{parts[0]}{legend(methods, order=order)}<div class="pair">{"".join(parts[1:])}</div>'


def _cases(table: ScoreTable) -> str:
    if "dice" not in table.metrics:
        return ""
    titles = unique_titles(table)
    odd = sorted({f"{row.case}, {row.class_name}: {row.note} ({titles[row.run]})" for row in table if row.note})
    count = "1 value" if len(odd) == 1 else f"{len(odd)} values"
    items = "".join(f"<li>{escape(line)}</li>" for line in odd)
    listed = f"<details><summary>{count} with a note</summary><ul>{items}</ul></details>"
    return f"<h2>Case by case</h2>{case_table(table)}{listed if odd else ''}"


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return ""
    parts = ["<h2>Runs</h2>"]
    for run in runs:
        simple = {name: value for name, value in run.items() if not isinstance(value, dict) and name != "title"}
        nested = {name: value for name, value in run.items() if isinstance(value, dict) and value}
        took = run.get("seconds")
        brief = f"{took:.0f} s" if isinstance(took, int | float) else ""
        inner = _definitions(simple) + "".join(
            f"<h4>{escape(name)}</h4>{_definitions(value)}" for name, value in nested.items()
        )
        parts.append(
            f"<details><summary><b>{escape(str(run.get('title', '')))}</b> {escape(str(run.get('device', '')))} {brief}"
            f"</summary>{inner}</details>"
        )
    return "".join(parts)


def _notes(notes: Sequence[str], facts: Mapping[str, Any]) -> str:
    listed = f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""
    return f"<h2>How this was made</h2>{listed}{_definitions(facts)}" if notes or facts else ""


def _definitions(values: Mapping[str, Any]) -> str:
    lines = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(_shown(value))}</dd>" for name, value in values.items())
    return f"<dl>{lines}</dl>" if lines else ""


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value) or "–"
    return str(value)

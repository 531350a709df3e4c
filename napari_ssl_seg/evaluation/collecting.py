"""What a report shows of a study: curves by slice, and the best, median and worst slices as pictures."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.evaluation.pictures import Cell, Picture, draw_slice, frame_labels
from napari_ssl_seg.evaluation.slices import SliceTable, score_slices
from napari_ssl_seg.study.targets import unions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_ssl_seg.evaluation.folders import PredictionFolder
    from napari_ssl_seg.evaluation.tables import ScoreTable
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

MOST_CASES = 24
"""Cases that are looked at slice by slice: more would take minutes and change no picture much."""
LEAST_AREA = 0.25
"""Slices whose reference is smaller than this share of the case's largest are not pictured: ends are always worst."""


@dataclass(frozen=True)
class Curve:
    """A metric against the slice, one line a method."""

    title: str
    metric: str
    series: dict[str, NDArray[np.float64]]
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Slice:
    case: str
    index: int
    dice: tuple[float, ...]
    """Mean over classes, one a run."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.dice))

    @property
    def range(self) -> float:
        return max(self.dice) - min(self.dice)


def collect_slices(
    study: Study, table: ScoreTable, folders: Sequence[PredictionFolder] = ()
) -> tuple[list[Picture], list[Curve], list[str]]:
    """Pictures of the best, median and worst slices, curves of their cases, and what was left out.

    Slices are ranked by Dice, the mean over classes and runs. Nothing is drawn for cases of which a run has no prediction.
    Rows of the table that are named after a folder are its predictions, the others those of the study's runs.
    """
    beside = {folder.id: folder for folder in folders}
    runs = [beside.get(run) or study.run(run) for run in table.runs]
    titles = unique_titles(table)
    cases, notes = _chosen_cases(table, runs)
    tables = {case: [_slices(study, run, case) for run in runs] for case in cases}
    ranked = sorted((found for case in cases for found in _ranked(study, case, tables[case])), key=lambda s: -s.mean)
    if not ranked:
        return [], [], [*notes, "no case has a prediction of every run: there are no pictures"]
    wanted = {"Best slice": ranked[0], "Median slice": ranked[len(ranked) // 2], "Worst slice": ranked[-1]}
    if len(runs) > 1:
        wanted["Slice with the largest difference between methods"] = max(ranked, key=lambda s: s.range)
    pictures = [_picture(study, runs, titles, kind, found, tables[found.case]) for kind, found in wanted.items()]
    curves = []
    for case in dict.fromkeys(found.case for found in wanted.values()):
        marks = tuple(sorted({found.index for found in wanted.values() if found.case == case}))
        for metric in ("dice", "assd"):
            series = {
                titles[run.id]: part.mean_over_labels(metric) for run, part in zip(runs, tables[case], strict=True)
            }
            curves.append(Curve(f"Case {case}", metric, series, marks))
    notes.append(
        f"slices are ranked by Dice (mean over classes and methods); those whose reference is smaller than"
        f" {LEAST_AREA:.0%} of the largest of its case are not pictured"
    )
    return pictures, curves, notes


def describe_runs(study: Study, table: ScoreTable) -> list[dict[str, Any]]:
    """What a report says about each run: title, settings, versions, seconds, and where its weights came from."""
    titles = unique_titles(table)
    found = []
    known = {run.id for run in study.runs()}
    for run in (study.run(run) for run in table.runs if run in known):
        record = run.record
        parent = study.run(record.parent) if record.parent in known else None
        found.append(
            {
                "run": run.id,
                "title": titles[run.id],
                "started from": f"{parent.record.title or parent.id}" if parent else record.parent or "scratch",
                "seconds": run_seconds(run),
                "pretraining seconds": run_seconds(parent) if parent else None,
                "device": record.device,
                "seed": record.seed,
                "cases": {use: ", ".join(cases) for use, cases in record.cases.items()},
                "network": record.network,
                "settings": {**record.config, **record.settings},
                "pretraining": {**parent.record.config, **parent.record.settings} if parent else {},
                "versions": record.versions,
                "fingerprint": record.fingerprint,
            }
        )
    return found


def matching_baselines(study: Study, table: ScoreTable) -> dict[str, str]:
    """Run -> the plain run from scratch that had the same labelled cases, and the same seed where there is one.

    Runs from scratch, and those that have no such counterpart in the table, are not in it.
    """
    records = {run: study.run(run).record for run in table.runs}
    found = {}
    for run, record in records.items():
        if record.parent is None and record.joint is None:
            continue
        fair = [
            other
            for other, its in records.items()
            if its.parent is None
            and its.joint is None
            and its.cases.get("train") == record.cases.get("train")
            and its.slices == record.slices
        ]
        fair.sort(key=lambda other: records[other].seed != record.seed)
        if fair:
            found[run] = fair[0]
    return found


def hardware() -> dict[str, str]:
    """The machine that this runs on; devices of a run are in its own record."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "Python": platform.python_version(),
    }


def unique_titles(table: ScoreTable) -> dict[str, str]:
    """Run id -> title; where two runs share a title, its number in brackets tells them apart."""
    seen: dict[str, int] = {}
    result = {}
    for run, title in table.runs.items():
        seen[title] = seen.get(title, 0) + 1
        result[run] = title if seen[title] == 1 else f"{title} ({seen[title]})"
    return result


def run_seconds(run: Run) -> float | None:
    """How long the run was at work, pauses and stops left out; None where it never began."""
    total, since = 0.0, None
    for event in run.events():
        if event.kind == "state":
            running = event.data.get("state") == "running"
            if since is not None and not running:
                total += event.time - since
                since = None
            elif since is None and running:
                since = event.time
    return total or None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _chosen_cases(table: ScoreTable, runs: Sequence[Run | PredictionFolder]) -> tuple[list[str], list[str]]:
    """Cases that every run has predicted: all, or an even choice from best to worst."""
    whole = [case for case in table.cases if all(run.prediction_path(case).exists() for run in runs)]
    dice = {case: np.mean([table.by_case("dice", run.id).get(case, math.nan) for run in runs]) for case in whole}
    known = sorted((case for case in whole if math.isfinite(dice[case])), key=lambda case: -dice[case])
    notes = []
    if len(whole) < len(table.cases):
        notes.append(f"{len(table.cases) - len(whole)} cases lack a prediction of some run and are not pictured")
    if len(known) > MOST_CASES:
        notes.append(f"{MOST_CASES} of {len(known)} cases, evenly from best to worst, were looked at slice by slice")
        places = np.linspace(0, len(known) - 1, MOST_CASES).round().astype(int)
        known = [known[place] for place in places]
    return known, notes


def _labels(study: Study, case: str) -> Any:
    reference = study.label(case, purpose="evaluate")
    assert reference is not None  # only labelled cases are in a table of scores
    return reference


def _slices(study: Study, run: Run | PredictionFolder, case: str) -> SliceTable:
    reference = _labels(study, case)
    unions = unions_of(study.settings.targets) or None
    return score_slices(_predicted(run, case), reference.array, reference.spacing, unions=unions)


def _predicted(run: Run | PredictionFolder, case: str) -> NDArray[Any]:
    from napari_ssl_seg.volumes import read_volume

    return np.asarray(read_volume(run.prediction_path(case), role="label").array)


def _ranked(study: Study, case: str, tables: Sequence[SliceTable]) -> list[_Slice]:
    reference = _labels(study, case).array
    area = np.count_nonzero(reference, axis=(1, 2))
    large = area >= max(LEAST_AREA * area.max(), 1)
    labelled = study.case(case).labelled_slices
    if labelled is not None:
        large &= np.isin(np.arange(len(area)), labelled)
    dice = np.stack([part.mean_over_labels("dice") for part in tables])
    where = np.flatnonzero(large & np.isfinite(dice).all(axis=0))
    return [_Slice(case, int(index), tuple(dice[:, index].tolist())) for index in where]


def _picture(
    study: Study,
    runs: Sequence[Run | PredictionFolder],
    titles: dict[str, str],
    kind: str,
    found: _Slice,
    tables: Sequence[SliceTable],
) -> Picture:
    volume = study.image(found.case, purpose="show")
    image = np.asarray(volume.array if volume.array.ndim == 3 else volume.array[0])
    reference = _labels(study, found.case)
    truth = reference.array[found.index]
    predictions = [_predicted(run, found.case)[found.index] for run in runs]
    box = frame_labels([truth, *predictions])
    finite = image[np.isfinite(image)]
    window = tuple(float(value) for value in np.percentile(finite, [1, 99.5])) if finite.size else (0.0, 1.0)
    colors = {info.value: info.color for info in study.classes}
    spacing = (reference.spacing[1], reference.spacing[2])
    shown: dict[str, Any] = {"colors": colors, "window": window, "box": box}
    cells = [
        Cell("Scan", "", draw_slice(image[found.index], spacing, None, **shown)),
        Cell("Reference", "", draw_slice(image[found.index], spacing, truth, **shown)),
    ]
    for run, prediction, part in zip(runs, predictions, tables, strict=True):
        dice, assd = (part.mean_over_labels(name)[found.index] for name in ("dice", "assd"))
        caption = f"Dice {dice:.3f}, ASSD " + (f"{assd:.2f} mm" if math.isfinite(assd) else "–")
        png = draw_slice(image[found.index], spacing, prediction, truth, **shown)
        cells.append(Cell(titles[run.id], caption, png))
    return Picture(kind, f"case {found.case}, slice {found.index}", tuple(cells))

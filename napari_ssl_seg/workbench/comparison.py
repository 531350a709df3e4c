"""Which methods are compared, and what is known about them. Evented, no Qt; the slow parts are for a worker."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_ssl_seg.errors import UserError, VolumeError
from napari_ssl_seg.evaluation.charts import METHOD_COLORS, method_color
from napari_ssl_seg.study.targets import unions_of
from napari_ssl_seg.workbench.compared_case import (
    METRICS,
    CaseComparison,
    Compared,
    Entry,
    compare_method,
    predictions_in,
    read_case,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    import numpy as np

    from napari_ssl_seg.evaluation import ScoreRow, ScoreTable
    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

KEPT = 24
"""Compared predictions held in memory."""


class Comparison:
    """Methods of one study, the chosen ones among them, and their scores.

    Signals
    -------
    changed()
        Methods were added or removed, or others are chosen.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._study: Study | None = None
        self._entries: dict[str, Entry] = {}
        self._chosen: tuple[str, ...] = ()
        self._folders: list[Path] = []
        self._kept: OrderedDict[tuple[Any, ...], Compared] = OrderedDict()
        self._case: tuple[Any, Any, Any] | None = None
        self._lock = threading.Lock()
        self.table: ScoreTable | None = None

    # -- methods --------------------------------------------------------------------------------------------------
    @property
    def study(self) -> Study | None:
        return self._study

    def open(self, study: Study | None) -> None:
        """Compare the runs of another study."""
        self._study, self._folders, self._chosen, self.table = study, [], (), None
        with self._lock:
            self._kept.clear()
            self._case = None
        self._entries = {}
        self.refresh()

    def refresh(self) -> None:
        """Look for runs again. A method keeps its colour as long as the study is open."""
        entries: dict[str, Entry] = {}
        for run in self._study.runs() if self._study is not None else []:
            if can_predict(run):
                entries[run.id] = self._entries.get(run.id) or Entry(run.id, "", "", run=run)
        for folder in self._folders:
            entries[str(folder)] = self._entries.get(str(folder)) or Entry(str(folder), "", "", folder=folder)
        titles = _unique([_title(entry) for entry in entries.values()])
        used = {entry.color for entry in entries.values()}
        for (key, entry), title in zip(entries.items(), titles, strict=True):
            color = entry.color or next(
                (name for name in METHOD_COLORS if name not in used), method_color(len(entries))
            )
            used.add(color)
            entries[key] = replace(entry, title=title, color=color)
        chosen = tuple(key for key in self._chosen if key in entries)
        if entries != self._entries or chosen != self._chosen:
            self._entries, self._chosen = entries, chosen
            self.changed.emit()

    @property
    def entries(self) -> list[Entry]:
        """Every method, oldest first."""
        return list(self._entries.values())

    @property
    def chosen(self) -> list[Entry]:
        """The methods to compare, in the order of `entries`."""
        return [entry for entry in self.entries if entry.key in self._chosen]

    def choose(self, keys: Iterable[str]) -> None:
        """Compare these methods, and no others; unknown keys are left out."""
        chosen = tuple(key for key in dict.fromkeys(keys) if key in self._entries)
        if chosen != self._chosen:
            self._entries = _told_apart(self._entries, chosen)
            self._chosen = chosen
            self.changed.emit()

    def add_folder(self, folder: str | Path) -> Entry:
        """Compare predictions that were made elsewhere: files named after the cases.

        Raises
        ------
        UserError
            When no file in the folder has the name of a case.
        """
        path = Path(folder).resolve()
        ids = {case.id for case in self._study.cases()} if self._study is not None else set()
        if not path.is_dir() or ids.isdisjoint(predictions_in(path)):
            raise UserError(f"no file in {path} has the name of a case of this study; name them CASE.nii.gz")
        if path not in self._folders:
            self._folders.append(path)
        self.refresh()
        self.choose([*self._chosen, str(path)])
        return self._entries[str(path)]

    def missing(self, cases: Sequence[str]) -> dict[str, list[str]]:
        """For each chosen run, those of the cases that it has not predicted; runs that have all are left out."""
        found = {}
        for entry in self.chosen:
            if entry.run is not None:
                lacking = [case for case in cases if entry.prediction(case) is None]
                if lacking:
                    found[entry.key] = lacking
        return found

    # -- slow: for a worker ---------------------------------------------------------------------------------------
    def read(self, case_id: str, entries: Sequence[Entry], axis: int = 0) -> CaseComparison:
        """Read a case and what the methods made of it, and score it slice by slice along ``axis`` of (z, y, x).

        Raises
        ------
        UserError
            When a file cannot be read, or a prediction does not lie on the grid of the case.
        """
        study = self._study
        if study is None:
            raise UserError("no study is open; open one in the tab 1 Study")
        image, reference = self._read_case(study, case_id)
        array = image.array if image.array.ndim == 3 else image.array[0]
        case, classes = study.case(case_id), [info.value for info in study.classes]
        unions = unions_of(study.settings.targets) or None
        methods, missing = [], []
        for entry in entries:
            path = entry.prediction(case_id)
            if path is None:
                missing.append(entry)
                continue
            stat = path.stat()
            key = (str(study.folder), entry.key, case_id, axis, stat.st_mtime_ns, stat.st_size)
            compared = self._recall(key)
            if compared is None:
                labels = _read_prediction(path, image.geometry, case_id)
                compared = compare_method(
                    entry, labels, reference, image.geometry.spacing, classes, case.labelled_slices, axis, unions
                )
                self._keep(key, compared)
            methods.append(replace(compared, entry=entry))
        return CaseComparison(
            case_id, array, image.geometry, reference, tuple(classes), tuple(methods), tuple(missing), axis
        )

    def score_all(self, entries: Sequence[Entry], split: str = "test") -> Generator[Event, None, ScoreTable]:
        """Scores of every case of the split that a method has predicted; what is known is not computed again."""
        from napari_ssl_seg.evaluation import ScoreTable, evaluate

        study = self._study
        if study is None:
            return ScoreTable()
        cases = [case for case in study.cases(labelled=True) if split in ("all", case.split)]
        tables = []
        for entry in entries:
            predicted = [case for case in cases if entry.prediction(case.id) is not None]
            if not predicted:
                continue
            if entry.run is None:
                tables.append(ScoreTable(tuple(self._score_folder(entry, predicted))))
                continue
            table = _known_scores(entry.run, [case.id for case in cases])
            if table is None:
                table = yield from evaluate(study, [entry.run], split=split)
            tables.append(_only(table, {case.id for case in predicted}, entry.title))
        return ScoreTable.merged(tables)

    def _read_case(self, study: Study, case_id: str) -> tuple[Any, Any]:
        """As `read_case`; the last one is held, for ticking one method more."""
        with self._lock:
            held = self._case
        if held is None or held[0] != (study.folder, case_id):
            held = ((study.folder, case_id), *read_case(study, case_id))
            with self._lock:
                self._case = held
        return held[1], held[2]

    def _score_folder(self, entry: Entry, cases: Sequence[Case]) -> list[ScoreRow]:
        from napari_ssl_seg.evaluation import ScoreRow

        study = self._study
        assert study is not None
        names = {info.value: info.name for info in study.scored}
        rows = []
        for case in cases:
            compared = self.read(case.id, [entry]).methods[0]
            for label, values in compared.volume.items():
                numbers = {name: float(values[name]) for name in METRICS}
                name, note = names.get(label, f"label {label}"), str(values.get("note", ""))
                rows.append(ScoreRow(entry.key, entry.title, case.id, case.split, label, name, numbers, note))
        return rows

    def _recall(self, key: tuple[Any, ...]) -> Compared | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: tuple[Any, ...], compared: Compared) -> None:
        with self._lock:
            self._kept[key] = compared
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def can_predict(run: Run) -> bool:
    """Whether the run is a fine-tuned one that has weights or predictions."""
    try:
        fine = run.record.kind == "finetune"
    except UserError:
        return False
    return fine and (run.weights_path.exists() or run.predictions.is_dir())


def mean_scores(table: ScoreTable | None, key: str, label: int | None = None) -> dict[str, float]:
    """Mean over the cases of Dice and ASSD of one method; NaN where not known."""
    if table is None or key not in table.runs:
        return dict.fromkeys(METRICS, float("nan"))
    return {metric: table.spread_of(metric, key, label).mean for metric in METRICS}


def _read_prediction(path: Path, geometry: Any, case_id: str) -> np.ndarray:
    from napari_ssl_seg.volumes import geometry_mismatch, read_volume

    volume = read_volume(path, role="label")
    mismatch = geometry_mismatch(volume.geometry, geometry)
    if mismatch is not None:
        raise VolumeError(f"{path} does not lie on the grid of case {case_id}: {mismatch}; predict that scan again")
    return volume.array


def _known_scores(run: Run, cases: Sequence[str]) -> ScoreTable | None:
    """The run's own table, where it is newer than every prediction and covers the cases that have one."""
    from napari_ssl_seg.evaluation import ScoreTable

    try:
        written = run.scores_path.stat().st_mtime
        table = ScoreTable.from_json(run.scores_path)
    except (OSError, UserError):
        return None
    paths = {case: run.prediction_path(case) for case in cases}
    fresh = all(path.stat().st_mtime <= written for path in paths.values() if path.exists())
    covered = all(case in table.cases for case, path in paths.items() if path.exists())
    return table if fresh and covered else None


def _only(table: ScoreTable, cases: set[str], title: str) -> ScoreTable:
    from napari_ssl_seg.evaluation import ScoreTable

    return ScoreTable(tuple(replace(row, title=title) for row in table.rows if row.case in cases))


def _title(entry: Entry) -> str:
    if entry.run is not None:
        return entry.run.record.title or entry.run.id
    return entry.folder.name if entry.folder is not None else entry.key


def _told_apart(entries: Mapping[str, Entry], chosen: Sequence[str]) -> dict[str, Entry]:
    """With more methods than colours, two of those compared might share one: the later takes a free one."""
    told, taken = dict(entries), set[str]()
    for key in chosen:
        if told[key].color in taken:
            free = next((color for color in METHOD_COLORS if color not in taken), told[key].color)
            told[key] = replace(told[key], color=free)
        taken.add(told[key].color)
    return told


def _unique(titles: Sequence[str]) -> list[str]:
    """Titles told apart by a number where they repeat."""
    seen: dict[str, int] = {}
    result = []
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
        result.append(title if seen[title] == 1 else f"{title} ({seen[title]})")
    return result

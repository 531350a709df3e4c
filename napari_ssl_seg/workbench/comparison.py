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
    compare_method,
    read_case,
)
from napari_ssl_seg.workbench.compared_entry import (
    MOST,
    REFERENCE,
    Entry,
    OpenLabels,
    pair_by_name,
    predictions_in,
)
from napari_ssl_seg.workbench.compared_files import known_scores, open_labels, read_prediction
from napari_ssl_seg.workbench.edits import Edits

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

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
        self._others: dict[str, Entry] = {}
        self._resampled: set[str] = set()
        self.edits = Edits()
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
        self._study, self._others, self._chosen, self.table = study, {}, (), None
        self._resampled, self.edits = set(), Edits()
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
        for key, other in self._others.items():
            known = self._entries.get(key)
            entries[key] = other if known is None else replace(other, color=known.color)
        titles = _unique([_title(self._others.get(key, entry)) for key, entry in entries.items()])
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
        """Compare these methods, and no others; unknown keys are left out, and so are those beyond the eighth."""
        chosen = tuple(key for key in dict.fromkeys(keys) if key in self._entries)
        if len(chosen) > MOST:  # those that were compared already stay
            ranked = sorted(chosen, key=lambda key: key not in self._chosen)[:MOST]
            chosen = tuple(key for key in chosen if key in ranked)
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
        ids = [case.id for case in self._study.cases()] if self._study is not None else []
        files = pair_by_name(predictions_in(path), ids) if path.is_dir() else {}
        if not files:
            raise UserError(f"no file in {path} has the name of a case of this study; name them CASE.nii.gz")
        return self._add(Entry(str(path), path.name, "", folder=path, files=files))

    def add_files(self, paths: Sequence[str | Path], case_id: str | None = None) -> Entry:
        """Compare prediction files; those that are not named after a case are of ``case_id``, where there is one alone.

        Raises
        ------
        UserError
            When a file is no volume, or it is not known of which case it is.
        """
        from napari_ssl_seg.volumes import is_volume_file, volume_stem

        given = [Path(path).resolve() for path in paths]
        for path in given:
            if not is_volume_file(path):
                raise UserError(f"{path.name} is no volume that can be read; choose NIfTI, NRRD or MetaImage files")
        ids = [case.id for case in self._study.cases()] if self._study is not None else []
        files = pair_by_name({volume_stem(path): path for path in given}, ids)
        if not files and len(given) == 1 and case_id is not None:
            files = {case_id: given[0]}
        if not files:
            names = ", ".join(path.name for path in given[:3])
            raise UserError(f"{names}: no case of this study has that name; open the scan, and drop its file alone")
        first = given[0]
        title = volume_stem(first) if len(given) == 1 else f"{first.parent.name} ({len(files)} files)"
        return self._add(Entry(str(first), title, "", files=files))

    def add_layer(self, name: str, labels: OpenLabels, case_id: str) -> Entry:
        """Compare labels that are open in the viewer with the reference of a case; a layer of that name is replaced."""
        key = f"layer:{name}"
        known = self._others.get(key)
        return self._add(Entry(key, name, "", layers={**(known.layers if known else {}), case_id: labels}))

    def remove(self, key: str) -> None:
        """No longer offer what was added."""
        if self._others.pop(key, None) is not None:
            self.refresh()

    def bring_to_grid(self, keys: Iterable[str]) -> None:
        """Let predictions on a grid of their own be brought to the scan's, each voxel the nearest one's."""
        self._resampled.update(keys)
        self.changed.emit()

    def is_resampled(self, key: str) -> bool:
        """Whether `bring_to_grid` was asked for a method."""
        return key in self._resampled

    def forget_edits(self, case_id: str | None = None) -> None:
        """Go back to what is on disk, of one case or of all."""
        self.edits.forget(case_id)
        with self._lock:  # large volumes are painted on where they are held
            self._kept.clear()
            self._case = None
        self.changed.emit()

    def _add(self, entry: Entry) -> Entry:
        if len(self._chosen) >= MOST and entry.key not in self._chosen:
            raise UserError(f"{MOST} methods are compared already; untick one, then add {entry.title}")
        self._others[entry.key] = entry
        self.refresh()
        self.choose([*self._chosen, entry.key])
        return self._entries[entry.key]

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
        edit = self.edits.get(case_id, REFERENCE)
        reference = reference if edit is None else edit.labels
        array = image.array if image.array.ndim == 3 else image.array[0]
        case, classes = study.case(case_id), [info.value for info in study.classes]
        methods: list[Compared] = []
        missing, refused = [], []
        for entry in entries:
            if not entry.has(case_id):
                missing.append(entry)
                continue
            try:
                compared = self._compared(study, entry, case, image, reference, classes, axis)
            except VolumeError as error:
                refused.append((entry, str(error)))
            else:
                methods.append(replace(compared, entry=entry))
        return CaseComparison(
            case_id=case_id,
            image=array,
            geometry=image.geometry,
            reference=reference,
            classes=tuple(classes),
            methods=tuple(methods),
            missing=tuple(missing),
            refused=tuple(refused),
            axis=axis,
            unions=unions_of(study.settings.targets) or None,
            labelled=case.labelled_slices,
        )

    def _compared(
        self, study: Study, entry: Entry, case: Case, image: Any, reference: Any, classes: Sequence[int], axis: int
    ) -> Compared:
        """What a method made of a case, scored; a file is read and scored once."""
        unions = unions_of(study.settings.targets) or None
        rest = (reference, image.geometry.spacing, classes, case.labelled_slices, axis, unions)
        edit, of_reference = self.edits.get(case.id, entry.key), self.edits.get(case.id, REFERENCE)
        if edit is not None:
            return compare_method(entry, edit.labels, *rest)
        if case.id in entry.layers:
            return compare_method(entry, open_labels(entry, case.id, image.geometry), *rest)
        path = entry.prediction(case.id)
        assert path is not None
        stat, resample = path.stat(), entry.key in self._resampled
        version = 0 if of_reference is None else of_reference.version
        key = (str(study.folder), entry.key, case.id, axis, stat.st_mtime_ns, stat.st_size, resample, version)
        compared = self._recall(key)
        if compared is None:
            labels = read_prediction(path, image.geometry, case.id, resample)
            compared = compare_method(entry, labels, *rest)
            self._keep(key, compared)
        return compared

    def score_all(self, entries: Sequence[Entry], split: str = "test") -> Generator[Event, None, ScoreTable]:
        """Scores of every case of the split that a method has predicted; what is known is not computed again."""
        from napari_ssl_seg.evaluation import ScoreTable, evaluate

        study = self._study
        if study is None:
            return ScoreTable()
        cases = [case for case in study.cases(labelled=True) if split in ("all", case.split)]
        tables = []
        for entry in entries:
            predicted = [case for case in cases if entry.has(case.id)]
            if not predicted:
                continue
            if entry.run is None:
                tables.append(ScoreTable(tuple(self._score_folder(entry, predicted))))
                continue
            table = known_scores(entry.run, [case.id for case in cases])
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
            read = self.read(case.id, [entry])
            if not read.methods:  # refused: said where the case is looked at
                continue
            compared = read.methods[0]
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


def _only(table: ScoreTable, cases: set[str], title: str) -> ScoreTable:
    from napari_ssl_seg.evaluation import ScoreTable

    return ScoreTable(tuple(replace(row, title=title) for row in table.rows if row.case in cases))


def _title(entry: Entry) -> str:
    return entry.title if entry.run is None else entry.run.record.title or entry.run.id


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

"""From prediction files to a table of scores: the runs of a study, or two folders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError, StudyError, UserError, VolumeError
from napari_ssl_seg.evaluation.folders import PredictionFolder
from napari_ssl_seg.evaluation.lesions import score_lesions
from napari_ssl_seg.evaluation.metrics import (
    DISTANCE_METRICS,
    METRICS,
    NAN,
    TOLERANCE_MM,
    check_metrics,
    score,
)
from napari_ssl_seg.evaluation.pairs import present_labels, union_maps
from napari_ssl_seg.evaluation.tables import ScoreRow, ScoreTable
from napari_ssl_seg.study.drawn import publish_labels
from napari_ssl_seg.study.targets import read_targets, unions_of
from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_ssl_seg.evaluation.lesions import LesionScores
    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.study.targets import Targets
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.volumes import Volume

NO_FILE = "no prediction file"
RESAMPLED = "resampled to the reference's grid (nearest neighbour)"


def evaluate(
    study: Study,
    runs: Sequence[Run | str] | None = None,
    split: str | None = "test",
    metrics: Sequence[str] = tuple(METRICS),
    *,
    tolerance: float = TOLERANCE_MM,
    lesions: Sequence[int] | None = None,
    resample: bool = False,
    folders: Sequence[PredictionFolder] = (),
) -> Generator[Event, None, ScoreTable]:
    """Score the predictions of runs against the study's labels.

    Yields a ``score`` event for each row and a ``progress`` event for each case; writes each run's ``scores.json``.
    A case without a prediction file counts as missed, and its note says so. Where only some slices of a case are
    labelled, overlap is counted on those, and distances are not defined.

    Parameters
    ----------
    runs
        Runs or their ids; default: every fine-tuned run that has predictions for the split, none where there are folders.
    split
        ``train``, ``validation``, ``test``; ``all`` or None for every labelled case.
    metrics, tolerance
        As for `score`.
    lesions
        Labels whose connected components are lesions: `LESION_METRICS` are given for them, too (`score_lesions`). None:
        the classes that the study marks as such (`Study.set_class`), where its classes are what is scored.
    resample
        Bring a prediction on another grid to that of its reference (nearest neighbour) and say so in the note, instead of
        refusing it.
    folders
        Predictions of other frameworks (`open_prediction_folder`), scored after the runs.

    Returns
    -------
    ScoreTable
        One row a run or folder, case and class of the study, or target where the study has targets that may overlap.

    Raises
    ------
    UserError
        When there is nothing to score, or a prediction does not lie on the grid of its reference.
    """
    names = check_metrics(metrics)
    publish_labels(study)  # what was drawn until now is what is compared with
    cases = study.cases(split=None if split in (None, "all") else split, labelled=True)
    if not cases:
        raise StudyError(f"{study.folder} has no labelled case in split {split}; choose another split or add labels")
    chosen: list[Run | PredictionFolder] = list(folders)
    if runs is not None or not folders:
        chosen[:0] = _with_predictions(study, runs, cases, split)
    classes = {info.value: info.name for info in study.scored}
    unions = unions_of(study.settings.targets) or None
    if lesions is None:
        lesions = [] if unions else [info.value for info in study.classes if info.lesion]
    clock = _Clock("evaluate", len(chosen) * len(cases))
    tables = []
    for run in chosen:
        title = run.id if isinstance(run, PredictionFolder) else run.record.title or run.id
        rows: list[ScoreRow] = []
        for case in cases:
            reference = study.label(case.id, purpose="evaluate")
            if reference is None:
                raise StudyError(f"the label of case {case.id} is gone; put the file back or remove the case")
            prediction, moved = _prediction(
                run.prediction_path(case.id), reference, f"case {case.id}, run {run.id}", resample
            )
            if moved:
                yield Event("warning", {"message": moved}, run.id)
            found = _score_case(
                prediction,
                reference,
                tuple(classes),
                case.labelled_slices,
                names,
                tolerance,
                unions,
                lesions,
                moved=bool(moved),
            )
            for label, values in found.items():
                rows.append(_row(run.id, title, case.id, case.split, label, classes, values))
                yield Event("score", {**rows[-1].to_dict(), "done": clock.done + 1, "total": clock.total}, run.id)
            yield clock.tick(run.id)
        table = ScoreTable(tuple(rows))
        tables.append(table)
        if isinstance(run, PredictionFolder):
            continue
        table.to_json(
            run.scores_path,
            run=run.id,
            split=split or "all",
            tolerance_mm=tolerance,
            created=time.time(),
            fingerprint=study.fingerprint([case.id for case in cases]),
        )
    return ScoreTable.merged(tables)


def evaluate_folders(
    pred: str | os.PathLike[str],
    ref: str | os.PathLike[str],
    *,
    labels: Sequence[int] | None = None,
    classes: Mapping[int, str] | None = None,
    metrics: Sequence[str] = tuple(METRICS),
    tolerance: float = TOLERANCE_MM,
    title: str | None = None,
    targets: Targets = None,
    lesions: Sequence[int] = (),
    resample: bool = False,
) -> Generator[Event, None, ScoreTable]:
    """Score a folder of predictions, from any framework, against a folder of references.

    Files are paired by their name without extension. A reference without a prediction counts as missed; a prediction
    without a reference is left out with a warning.

    Parameters
    ----------
    pred, ref
        Folders with label maps.
    labels
        Values to score in every case; default: those that occur in any of the references or predictions of a case.
    classes
        Names by label value.
    title
        What tables call the predictions; default: the folder's name.
    targets
        Unions of label values, scored in place of ``labels`` (`study.targets.read_targets`).
    lesions, resample
        As for `evaluate`; no study says which labels are lesions.

    Raises
    ------
    UserError
        When no name is in both folders, or a pair does not lie on one grid.
    """
    from napari_ssl_seg.volumes import read_volume

    names, named = check_metrics(metrics), read_targets(targets)
    unions = unions_of(named) or None
    classes = {target.written: target.name for target in named} or classes
    predictions, references = _by_stem(pred), _by_stem(ref)
    shared = [stem for stem in references if stem in predictions]
    if not shared:
        raise UserError(
            f"no label map in {pred} has the name of one in {ref};"
            " predictions are paired with references by file name, without extension: rename one or the other"
        )
    run = Path(pred).resolve().name
    extra = [stem for stem in predictions if stem not in references]
    if extra:
        yield Event("warning", {"message": f"no reference for {_some(extra)}: left out"}, run)
    lacking = [stem for stem in references if stem not in predictions]
    if lacking:
        yield Event("warning", {"message": f"no prediction for {_some(lacking)}: counted as missed"}, run)
    clock = _Clock("evaluate", len(references))
    rows: list[ScoreRow] = []
    for stem, path in references.items():
        reference = read_volume(path, role="label")
        prediction, moved = _prediction(predictions.get(stem), reference, f"case {stem}", resample)
        if moved:
            yield Event("warning", {"message": moved}, run)
        try:
            found = _score_case(
                prediction, reference, labels, None, names, tolerance, unions, lesions, moved=bool(moved)
            )
        except UserError as error:
            raise UserError(f"{predictions.get(stem, path)}: {error}") from error
        for label, values in found.items():
            rows.append(_row(run, title or run, stem, "", label, classes or {}, values))
            yield Event("score", {**rows[-1].to_dict(), "done": clock.done + 1, "total": clock.total}, run)
        yield clock.tick(run)
    return ScoreTable(tuple(rows))


def _with_predictions(
    study: Study, runs: Sequence[Run | str] | None, cases: Sequence[Case], split: str | None
) -> list[Run]:
    def predicted(run: Run) -> bool:
        return any(run.prediction_path(case.id).exists() for case in cases)

    if runs is None:
        chosen = [run for run in study.runs() if run.record.kind == "finetune" and predicted(run)]
        if not chosen:
            raise RunError(
                f"no run of {study.folder} has predictions for split {split};"
                " make them with `napari-ssl-seg predict STUDY --run RUN`"
            )
        return chosen
    chosen = [study.run(run) if isinstance(run, str) else run for run in runs]
    for run in chosen:
        if not predicted(run):
            raise RunError(
                f"run {run.id} has no predictions for split {split};"
                f" make them with `napari-ssl-seg predict STUDY --run {run.id}`"
            )
    return chosen


def _prediction(path: Path | None, reference: Volume, what: str, resample: bool) -> tuple[Volume | None, str]:
    """The prediction, on the reference's grid, and what had to be done for that; None where there is no file."""
    from napari_ssl_seg.volumes import geometry_mismatch, read_volume

    if path is None or not path.exists():
        return None, ""
    prediction = read_volume(path, role="label")
    mismatch = geometry_mismatch(prediction.geometry, reference.geometry)
    if mismatch is None:
        return prediction, ""
    if not resample:
        raise VolumeError(
            f"{path} does not lie on the grid of its reference ({what}): {mismatch};"
            " predict on the scan that was labelled, or resample with nearest neighbour"
        )
    from napari_ssl_seg.evaluation.grids import onto_grid

    return onto_grid(prediction, reference.geometry), f"{path} ({what}) was resampled, nearest neighbour: {mismatch}"


def _score_case(
    prediction: Volume | None,
    reference: Volume,
    labels: Sequence[int] | None,
    labelled_slices: Sequence[int] | None,
    metrics: Sequence[str],
    tolerance: float,
    unions: Mapping[int, Sequence[int]] | None = None,
    lesions: Sequence[int] = (),
    *,
    moved: bool = False,
) -> dict[int, dict[str, float | str]]:
    second = reference.array
    first = np.zeros_like(second) if prediction is None else prediction.array
    if (
        labels is not None and unions is None
    ):  # a class that the study does not know is an error of the prediction, and is shown
        labels = sorted({*labels, *present_labels(first, second)})
    sparse = labelled_slices is not None and len(labelled_slices) < second.shape[0]
    kept = list(labelled_slices or ()) if sparse else slice(None)
    found = score(first[kept], second[kept], reference.spacing, labels, metrics, tolerance=tolerance, unions=unions)
    counted = _lesions(first, second, reference.spacing, lesions, unions) if lesions and not sparse else {}
    for label, values in found.items():
        notes = [str(values["note"])]
        if prediction is None:
            notes = [f"{notes[0]} ({NO_FILE})"]
        if moved:
            notes.append(RESAMPLED)
        if label in counted:
            values.update(counted[label].as_metrics())
        if sparse:
            values.update(dict.fromkeys(DISTANCE_METRICS.intersection(metrics), NAN))
            notes.append(f"{len(first[kept])} of {len(second)} slices labelled: no distances")
        values["note"] = "; ".join(note for note in notes if note)
    return found


def _lesions(
    pred: NDArray[Any],
    ref: NDArray[Any],
    spacing: Sequence[float],
    labels: Sequence[int],
    unions: Mapping[int, Sequence[int]] | None,
) -> dict[int, LesionScores]:
    if unions is None:
        return score_lesions(pred, ref, spacing, labels)
    chosen = {label: values for label, values in unions.items() if label in labels}
    return {label: score_lesions(*maps, spacing, (1,))[1] for label, maps in union_maps(pred, ref, chosen)}


def _row(
    run: str,
    title: str,
    case: str,
    split: str,
    label: int,
    classes: Mapping[int, str],
    values: Mapping[str, Any],
) -> ScoreRow:
    numbers = {name: float(value) for name, value in values.items() if name != "note"}
    return ScoreRow(run, title, case, split, label, classes.get(label, f"label {label}"), numbers, str(values["note"]))


def _by_stem(folder: str | os.PathLike[str]) -> dict[str, Path]:
    from napari_ssl_seg.volumes import find_volumes, volume_stem

    if not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder; give the one that holds the label maps")
    found: dict[str, Path] = {}
    for path in find_volumes(folder):
        stem = volume_stem(path)
        if stem in found:
            raise UserError(f"{found[stem]} and {path} have one name; keep one of them, pairs are made by name")
        found[stem] = path
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


class _Clock:
    """Counts what is done and guesses what is left."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.start = what, total, 0, time.monotonic()

    def tick(self, run: str | None) -> Event:
        self.done += 1
        left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
        data = {"what": self.what, "done": self.done, "total": self.total, "seconds_left": round(left, 1)}
        return Event("progress", data, run)

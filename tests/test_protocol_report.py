"""What `compare` leaves behind: the report, the summary and the LaTeX tables of several budgets and repeats."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.cli import whole_numbers
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import evaluate
from napari_ssl_seg.evaluation.folders import open_prediction_folder
from napari_ssl_seg.protocol import Entry, Outcome, Protocol
from napari_ssl_seg.protocol_report import fair_baselines, time_rows, write_comparison_report
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.training.runs import Run, RunRecord
from napari_ssl_seg.volumes import write_volume
from tests.evaluation.conftest import add_run
from tests.evaluation.conftest import study as study  # a fixture

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study


@pytest.fixture
def outcome(study: Study) -> Outcome:
    """Two methods, two budgets, two repeats; 'simmim' is right, scratch is one voxel off."""
    entries, runs = [], []
    for repeat in range(2):
        for method in ("scratch", "simmim"):
            for budget in (1, 2):
                parent = "simmim-pretraining" if method == "simmim" else None

                def change(number: int, reference: np.ndarray, method: str = method) -> np.ndarray:
                    return reference if method == "simmim" else np.roll(reference, 1, axis=2)

                run = add_run(study, f"{method}, {budget} scans", change, cases=budget, parent=parent)
                runs.append(run)
                table = drain(evaluate(study, [run]))
                dice, assd = (table.spread_of(name, run.id).mean for name in ("dice", "assd"))
                entries.append(Entry(method, budget, repeat, run.id, None, dice, assd, 0, 60.0))
    return Outcome(tuple(entries), drain(evaluate(study, runs)))


def test_it_writes_report_scores_summary_and_latex(study: Study, outcome: Outcome, tmp_path: Path) -> None:
    protocol = Protocol(methods=("scratch", "simmim"), budgets=(1, 2), repeats=2)
    page = write_comparison_report(study, protocol, outcome, tmp_path / "out").read_text(encoding="utf-8")
    for words in ("Label efficiency", "Spread over cases", "With 1 labelled scan", "Time", "GPU hours", "first repeat"):
        assert words in page
    assert "simmim has the highest mean Dice of 2 methods: 1.000" in page
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").open()))
    assert len(rows) == 2 * 2 * 3  # budgets, methods, two classes and their average
    best = [row for row in rows if row["run"] == "simmim" and row["class"] == "average"]
    assert [(row["labelled_cases"], float(row["dice"]), row["n"]) for row in best] == [("1", 1.0, "3"), ("2", 1.0, "3")]
    assert len(list(csv.DictReader((tmp_path / "out" / "scores.csv").open()))) == 8 * 3 * 2
    latex = (tmp_path / "out" / "tables.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{table*}") == 2
    assert r"\textbf{1.000}" in latex


def test_the_time_counts_each_run_once(study: Study, outcome: Outcome) -> None:
    scratch, simmim = time_rows(study, outcome)
    assert scratch["fine-tuning, mean (min)"] == 1.0
    assert scratch["in all (h)"] == round(4 * 60 / 3600, 3)
    assert simmim["GPU hours"] == 0.0


def test_a_method_is_tested_against_scratch_on_its_own_network(study: Study) -> None:
    names = {"scratch": "unet", "scratch@unetr": "unetr", "mae": "unetr", "simmim": "unet", "lrc": "unet_pair"}
    groups = {}
    for method, network in names.items():
        record = RunRecord(kind="finetune", title=method, network={"name": network}, settings={}, versions={})
        groups[method] = [Run.create(study.runs_folder, record).id]
    against, foreign = fair_baselines(study, groups)
    assert against == {"mae": "scratch@unetr", "simmim": "scratch", "lrc": "scratch"}
    assert foreign == [("lrc", "unet_pair against unet")]


def test_budgets_are_read_as_a_list() -> None:
    import argparse

    assert whole_numbers("2,5,10") == (2, 5, 10)
    for wrong in ("", "2,x", "0", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError, match="2,5,10"):
            whole_numbers(wrong)


def test_another_frameworks_predictions_are_a_row_like_any_other(
    study: Study, outcome: Outcome, tmp_path: Path
) -> None:
    folder = tmp_path / "nnunet"
    for case in study.cases(split="test"):
        reference = study.label(case.id, purpose="evaluate")
        assert reference is not None
        write_volume(folder / f"{case.id}_0000.nii.gz", reference)
    (folder / "notes.txt").write_text("no label map")
    opened = open_prediction_folder(study, "nnU-Net", folder)
    assert set(opened.files) == {case.id for case in study.cases(split="test")}
    both = drain(evaluate(study, [entry.run for entry in outcome.entries], folders=[opened]))
    assert both.spread_of("dice", "nnU-Net").mean == 1.0
    with_folder = Outcome(outcome.entries, both, (opened,))
    protocol = Protocol(methods=("scratch", "simmim"), budgets=(1, 2), repeats=2)
    page = write_comparison_report(study, protocol, with_folder, tmp_path / "out").read_text(encoding="utf-8")
    assert "nnU-Net: predictions from nnunet, made elsewhere" in page
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").open()))
    assert [row["labelled_cases"] for row in rows if row["run"] == "nnU-Net" and row["class"] == "average"] == [
        "1",
        "2",
    ]
    against, _ = fair_baselines(study, with_folder.groups(1))
    assert against["nnU-Net"] == "scratch"


def test_folders_that_hold_no_predictions_are_refused_in_a_sentence(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        open_prediction_folder(study, "x", tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="named after a case"):
        open_prediction_folder(study, "x", tmp_path / "empty")
    case = study.cases()[0]
    reference = study.label(case.id, purpose="evaluate")
    assert reference is not None
    for name in (case.id, f"{case.id}_0000"):
        write_volume(tmp_path / "twice" / f"{name}.nii.gz", reference)
    with pytest.raises(UserError, match="keep one of them"):
        open_prediction_folder(study, "x", tmp_path / "twice")

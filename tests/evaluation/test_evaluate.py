"""From files to a table: the runs of a study, and two folders."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg.errors import RunError, StudyError, UserError
from napari_ssl_seg.evaluation import ScoreTable, evaluate, evaluate_folders
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain
from tests.evaluation.conftest import add_run, save, two_boxes

if TYPE_CHECKING:
    from pathlib import Path


def without_two(number: int, reference: np.ndarray) -> np.ndarray:
    """Right but for the first case, where label 2 is missed."""
    return np.where(reference == 2, 0, reference).astype(np.uint8) if number == 0 else reference


class TestStudy:
    def test_rows_scores_file_and_events(self, study: Study) -> None:
        run = add_run(study, "Scratch", without_two)
        events = []
        generator = evaluate(study, [run])
        while True:
            try:
                events.append(next(generator))
            except StopIteration as end:
                table = end.value
                break
        test = [case.id for case in study.cases(split="test")]
        assert len(table) == len(test) * 2 == 6
        assert [row.case for row in table][::2] == test
        first = table.of(run.id, case=test[0])
        assert [(row.metrics["dice"], row.note) for row in first] == [(1.0, ""), (0.0, "missed")]
        assert {row.title for row in table} == {"Scratch"} and {row.split for row in table} == {"test"}
        assert all(row.metrics["assd"] == 0 for row in table if row.note == "")
        assert ScoreTable.from_json(run.scores_path).to_csv() == table.to_csv()
        stored = json.loads(run.scores_path.read_text())
        assert stored["split"] == "test" and stored["tolerance_mm"] == 2.0 and stored["fingerprint"]
        scores = [event for event in events if event.kind == "score"]
        assert len(scores) == 6 and scores[1].data["note"] == "missed" and scores[1].data["assd"] is None
        progress = [event.data for event in events if event.kind == "progress"]
        assert [part["done"] for part in progress] == [1, 2, 3] and progress[-1]["total"] == 3

    def test_a_case_without_a_file_is_missed_and_said(self, study: Study) -> None:
        run = add_run(study, "Holes", lambda number, reference: None if number == 1 else reference)
        table = drain(evaluate(study, [run]))
        rows = table.of(case=study.cases(split="test")[1].id).rows
        assert {row.note for row in rows} == {"missed (no prediction file)"}
        assert all(row.metrics["dice"] == 0 and math.isnan(row.metrics["assd"]) for row in rows)
        assert table.summary()[-1]["missed"] == 2

    def test_runs_are_found_and_named(self, study: Study) -> None:
        with pytest.raises(RunError, match=r"no run of .* has predictions"):
            drain(evaluate(study))
        empty = add_run(study, "Empty", lambda number, reference: None)
        with pytest.raises(RunError, match=f"run {empty.id} has no predictions for split test"):
            drain(evaluate(study, [empty.id]))
        run = add_run(study, "Right", lambda number, reference: reference)
        assert list(drain(evaluate(study)).runs) == [run.id]
        everywhere = add_run(study, "All", lambda number, reference: reference, split=None)
        assert len(drain(evaluate(study, [everywhere.id], split="all")).cases) == 9

    def test_a_split_without_labels_is_refused(self, tmp_path: Path) -> None:
        for number in range(4):
            save(tmp_path / "images" / f"{number}.nii.gz", two_boxes(number).astype(np.float32))
        study = Study.create(tmp_path / "study", images=tmp_path / "images")
        with pytest.raises(StudyError, match="no labelled case in split test"):
            drain(evaluate(study))

    def test_a_prediction_on_another_grid_is_refused_with_both(self, study: Study) -> None:
        run = add_run(study, "Shifted", lambda number, reference: reference)
        path = run.prediction_path(study.cases(split="test")[0].id)
        file = nib.load(path)
        voxels, moved = np.array(file.dataobj), file.affine.copy()
        moved[2, 3] += 7
        nib.save(nib.Nifti1Image(voxels, moved), path)
        with pytest.raises(UserError, match=r"does not lie on the grid.*12.*12.*8"):
            drain(evaluate(study, [run]))
        assert not run.scores_path.exists()

    def test_a_class_that_the_study_does_not_know_is_shown(self, study: Study) -> None:
        run = add_run(study, "Odd", lambda number, reference: np.where(reference == 1, 9, reference).astype(np.uint8))
        table = drain(evaluate(study, [run], metrics=["dice"]))
        assert table.classes[9] == "label 9"
        assert {row.note for row in table.of(label=9)} == {"false alarm"}

    def test_sparse_labels_are_scored_where_they_are(self, tmp_path: Path) -> None:
        for number in range(6):
            labels = two_boxes(number)
            save(tmp_path / "images" / f"{number}.nii.gz", labels.astype(np.float32))
            labels[4:] = 0
            save(tmp_path / "labels" / f"{number}.nii.gz", labels)
        study = Study.create(
            tmp_path / "s",
            images=tmp_path / "images",
            labels=tmp_path / "labels",
            sparse_labels=True,
            split=(34, 33, 33),
        )

        def spilled(number: int, reference: np.ndarray) -> np.ndarray:
            predicted = reference.copy()
            predicted[4:] = 1  # on slices that nobody labelled: neither right nor wrong
            return predicted

        run = add_run(study, "Sparse", spilled)
        for row in drain(evaluate(study, [run])):
            assert row.metrics["dice"] == 1.0
            assert math.isnan(row.metrics["assd"]) and math.isnan(row.metrics["nsd"])
            assert "of 8 slices labelled: no distances" in row.note


class TestFolders:
    def test_pairs_by_name_whatever_the_format_and_orientation(self, tmp_path: Path) -> None:
        labels = two_boxes(0)
        save(tmp_path / "ref" / "one.nii.gz", labels)
        file = nib.load(tmp_path / "ref" / "one.nii.gz")
        turned = file.as_reoriented(nib.orientations.axcodes2ornt("SLP"))
        (tmp_path / "pred").mkdir()
        nib.save(turned, tmp_path / "pred" / "one.nii")
        assert turned.shape != file.shape
        table = drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref", classes={1: "left box"}))
        assert [row.metrics["dice"] for row in table] == [1.0, 1.0]
        assert [row.class_name for row in table] == ["left box", "label 2"]
        assert table.rows[0].run == "pred" and table.rows[0].split == ""

    def test_what_has_no_partner_is_said(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            save(tmp_path / "ref" / f"{name}.nii.gz", two_boxes(0))
        for name in ("one", "three"):
            save(tmp_path / "pred" / f"{name}.nii.gz", two_boxes(0))
        events = list(evaluate_folders(tmp_path / "pred", tmp_path / "ref"))
        warnings = [event.data["message"] for event in events if event.kind == "warning"]
        assert warnings == ["no reference for three: left out", "no prediction for two: counted as missed"]
        table = drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref", title="nnU-Net", metrics=["dice", "iou"]))
        assert table.runs == {"pred": "nnU-Net"}
        assert [row.note for row in table.of(case="two")] == ["missed (no prediction file)"] * 2
        assert table.metrics == ("dice", "iou")

    def test_mistakes_are_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "ref" / "one.nii.gz", two_boxes(0))
        save(tmp_path / "pred" / "uno.nii.gz", two_boxes(0))
        with pytest.raises(UserError, match=r"no label map in .* has the name"):
            drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref"))
        with pytest.raises(UserError, match="not a folder"):
            drain(evaluate_folders(tmp_path / "nowhere", tmp_path / "ref"))
        save(tmp_path / "pred" / "one.nii.gz", two_boxes(0))
        save(tmp_path / "pred" / "one.nii", two_boxes(0))
        with pytest.raises(UserError, match="have one name"):
            drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref"))
        (tmp_path / "pred" / "one.nii").unlink()
        save(tmp_path / "pred" / "one.nii.gz", two_boxes(0)[:, :, :-1])
        with pytest.raises(UserError, match=r"12.*11|11.*12"):
            drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref"))

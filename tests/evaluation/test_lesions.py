"""Lesions detected, missed and false: numbers by hand."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import ScoreTable, evaluate, evaluate_folders, score_lesions, write_report
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain
from tests.evaluation.conftest import add_run, save

if TYPE_CHECKING:
    from pathlib import Path


def maps() -> tuple[np.ndarray, np.ndarray]:
    """Reference: lesions of 20, 10 and 1 voxels. Prediction: 2 of the 20, none of the 10, the 1, and one elsewhere."""
    pred, ref = np.zeros((3, 12, 12), np.uint8), np.zeros((3, 12, 12), np.uint8)
    ref[0, 0:4, 0:5], ref[0, 8:10, 0:5], ref[2, 11, 11] = 1, 1, 1
    pred[0, 0, 0:2], pred[2, 10:12, 11], pred[0, 0:2, 9:12] = 1, 1, 1
    return pred, ref


def test_counts_by_hand() -> None:
    found = score_lesions(*maps(), (2, 5, 5))[1]
    assert (found.n_ref, found.detected, found.missed) == (3, 2, 1)
    assert (found.n_pred, found.false) == (3, 1)
    assert found.volumes == pytest.approx((1.0, 0.5, 0.05)) and found.found == (True, False, True)
    assert found.sensitivity == found.precision == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(4 / 6)


def test_the_threshold_counts_when_it_is_reached() -> None:
    detected = {share: score_lesions(*maps(), 1, overlap=share)[1].detected for share in (0, 0.1, 0.11, 1)}
    assert detected == {0: 2, 0.1: 2, 0.11: 1, 1: 1}
    assert score_lesions(*maps(), 1, overlap=0.5)[1].false == 1 and score_lesions(*maps(), 1, overlap=0.6)[1].false == 2
    with pytest.raises(UserError, match="a share from 0 to 1, not 10"):
        score_lesions(*maps(), 1, overlap=10)


def test_small_ones_can_be_left_out_on_both_sides() -> None:
    found = score_lesions(*maps(), (2, 5, 5), least_ml=0.3)[1]
    assert (found.n_ref, found.n_pred) == (2, 1)
    assert score_lesions(*maps(), (2, 5, 5), least_ml=0.5)[1].n_ref == 2, "one of just that size counts"


def test_neighbours_by_a_corner_are_one_lesion() -> None:
    ref = np.zeros((2, 2, 2), int)
    ref[0, 0, 0] = ref[1, 1, 1] = 4
    assert score_lesions(ref, ref, 1)[4].n_ref == 1


def test_empty_sides() -> None:
    pred, ref = maps()
    alarm = score_lesions(pred, ref * 0, 1)[1]
    assert (alarm.n_ref, alarm.false) == (0, 3) and np.isnan(alarm.sensitivity) and alarm.f1 == 0
    missed = score_lesions(pred * 0, ref, 1)[1]
    assert (missed.missed, missed.false) == (3, 0) and np.isnan(missed.precision) and missed.f1 == 0
    neither = score_lesions(pred * 0, ref * 0, 1, labels=[1])[1]
    assert (neither.n_ref, neither.n_pred) == (0, 0) and np.isnan(neither.f1)


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_counts_add_up(seed: int, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    pred, ref = (rng.random((4, 7, 8)) < 0.1 for _ in range(2))
    found = score_lesions(pred, ref, 1, labels=[1], overlap=overlap)[1]
    assert found.detected + found.missed == found.n_ref == ndimage.label(ref, np.ones((3, 3, 3)))[1]
    assert 0 <= found.false <= found.n_pred == ndimage.label(pred, np.ones((3, 3, 3)))[1]
    perfect = score_lesions(ref, ref, 1, labels=[1], overlap=overlap)[1]
    assert perfect.missed == perfect.false == 0


def test_they_stand_in_the_table_of_the_labels_that_are_marked(tmp_path: Path) -> None:
    pred, ref = maps()
    pred[1, 5:8, 5:8] = ref[1, 5:8, 5:8] = 2
    save(tmp_path / "pred" / "a.nii.gz", pred)
    save(tmp_path / "ref" / "a.nii.gz", ref)
    table = drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref", metrics=["dice"], lesions=[1]))
    rows = {row.label: row.metrics for row in table}
    assert {name: rows[1][name] for name in rows[1] if name != "dice"} == {
        "lesions_detected": 2, "lesions_missed": 1, "lesions_false": 1, "lesion_f1": pytest.approx(2 / 3)
    }  # fmt: skip
    assert list(rows[2]) == ["dice"]
    assert "lesions_missed" in table.to_csv().splitlines()[0]
    table.to_json(tmp_path / "scores.json")
    assert ScoreTable.from_json(tmp_path / "scores.json").to_csv() == table.to_csv()
    assert table.summary(["lesions_missed"])[0]["lesions_missed"] == 1


def test_unions_can_be_marked_too(tmp_path: Path) -> None:
    pred, ref = maps()
    ref[ref == 1] = 4
    save(tmp_path / "pred" / "a.nii.gz", pred)
    save(tmp_path / "ref" / "a.nii.gz", ref)
    targets = {"lesion": [1, 4]}
    table = drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref", targets=targets, lesions=[1, 4]))
    assert table.rows[0].metrics["lesions_detected"] == 2


def test_classes_that_a_study_marks_are_counted_without_being_asked_for(study: Study) -> None:
    assert not any(info.lesion for info in study.classes)
    run = add_run(study, "moved", lambda _n, label: np.roll(label, 1, axis=2))
    plain = drain(evaluate(study, [run]))
    assert "lesion_f1" not in plain.metrics

    name = study.classes[1].name
    assert study.set_class(2, lesion=True) == study.classes[1] and study.classes[1].lesion
    with Study.open(study.folder) as again:
        assert [info.lesion for info in again.classes] == [False, True] and again.classes[1].name == name
    study.set_class(2, color="#112233")
    assert study.classes[1].lesion, "another colour leaves the mark"
    table = drain(evaluate(study, [run]))
    rows = {row.label: row for row in table if row.case == table.cases[0]}
    assert rows[2].metrics["lesions_detected"] == 1 and "lesion_f1" not in rows[1].metrics
    assert "lesion_f1" not in drain(evaluate(study, [run], lesions=())).metrics, "unless something else is asked for"
    report = write_report(study.folder / "report.html", study_name="lesions", table=table).read_text(encoding="utf-8")
    assert "Lesion F1" in report and "Missed lesions" in report
    study.set_class(2, lesion=False)
    assert not study.classes[1].lesion


def test_a_study_of_an_earlier_version_opens_and_can_be_marked(study: Study) -> None:
    with closing(sqlite3.connect(study.folder / "study.db")) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == {"settings", "cases", "classes", "problems"}, "as they were before there were marks"
    study.set_class(1, lesion=True)
    assert [info.lesion for info in study.classes] == [True, False]

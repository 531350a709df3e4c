"""Ranks and words by slice, a slice scored anew, notes, tests between methods, steps along the outline. No window."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.evaluation import ScoreRow, ScoreTable, score_slices
from napari_ssl_seg.study import Study
from napari_ssl_seg.workbench.compared_case import CaseComparison, compare_method
from napari_ssl_seg.workbench.compared_entry import Entry
from napari_ssl_seg.workbench.rescoring import rescored, volumes_rescored
from napari_ssl_seg.workbench.significance import standing, standings
from napari_ssl_seg.workbench.slice_notes import SliceNote, SliceNotes
from napari_ssl_seg.workbench.slice_numbers import SliceNumbers, numbers, ranks
from napari_ssl_seg.workbench.surface_bins import LOST, MIDDLE, STEPS, fitting_reach, step_words, surface_bins
from tests.workbench.compare_study import SHAPE, SPACING, make_study, reference


def compared(*shifts: int, axis: int = 0) -> CaseComparison:
    """Methods that are the reference moved by so many voxels along x."""
    truth = reference(0)
    methods = tuple(
        compare_method(
            Entry(f"m{place}", f"method {place}", "#123456"),
            np.roll(truth, shift, axis=2),
            truth,
            SPACING,
            (1, 2),
            None,
            axis,
        )
        for place, shift in enumerate(shifts)
    )
    geometry = SimpleNamespace(spacing=SPACING, shape=SHAPE)
    return CaseComparison("c", np.zeros(SHAPE), geometry, truth, (1, 2), methods, axis=axis)  # type: ignore[arg-type]


def test_ranks_share_places_and_leave_out_what_is_not_defined():
    nan = float("nan")
    table = np.array([[0.9, 0.5, nan, 0.7, nan], [0.8, 0.5, nan, nan, 0.2], [0.9, 0.5, nan, 0.6, 0.1]])
    expected = [[1, 0, 0, 1, 0], [3, 0, 0, 0, 1], [1, 0, 0, 2, 2]]
    np.testing.assert_array_equal(ranks(table, larger_is_better=True), expected)
    np.testing.assert_array_equal(ranks(-table, larger_is_better=False), expected)
    assert ranks(np.zeros((0, 4)), larger_is_better=True).shape == (0, 4)


def test_words_name_the_rank_the_slice_and_the_volume():
    case = compared(3, 0, 1)
    words = SliceNumbers.of(case, "dice", 1)
    assert words.text(1, 4) == "★ method 1\nDice 1.000  ASSD 0.00 mm\nvolume 1.000  0.00 mm"
    assert words.text(2, 4).startswith("2nd · method 2\n") and words.text(0, 4).startswith("3rd · method 0\n")
    assert words.text(0, 0).startswith("method 0\nDice –  ASSD –\nvolume 0.")
    assert numbers(float("nan"), 1.234) == "Dice –  ASSD 1.23 mm"


def test_differences_are_ordered_by_their_size_and_keep_their_sign():
    case = compared(3, 0)
    rows = case.differing_first(0, 1)
    apart = case.by_slice(0, "dice") - case.by_slice(1, "dice")
    assert [row[1] for row in rows] == pytest.approx([apart[row[0]] for row in rows])
    sizes = [abs(row[1]) for row in rows]
    assert sizes == sorted(sizes, reverse=True) and all(row[1] < 0 for row in rows)
    assert case.differing_first(1, 1) == []


@pytest.mark.parametrize("axis", [0, 2])
def test_a_slice_scored_anew_is_as_if_everything_were(axis):
    case = compared(3, 1, axis=axis)
    painted = case.methods[0].labels.copy()
    one = (slice(None),) * axis + (4,)
    painted[one] = case.reference[one]
    fresh = rescored(case, 0, painted, 4)
    expected = score_slices(painted, case.reference, SPACING, axis, (1, 2))
    for metric in ("dice", "assd"):
        np.testing.assert_allclose(fresh.methods[0].slices.values[metric], expected.values[metric])
    assert not fresh.methods[0].errors[one].any() and fresh.methods[1] is case.methods[1]
    assert fresh.of_volume(0, "dice") == case.of_volume(0, "dice") < volumes_rescored(fresh).of_volume(0, "dice")


def test_painting_on_the_reference_scores_every_method_and_new_labels_count():
    case = compared(3, 0)
    truth = case.reference.copy()
    truth[4] = np.where(truth[4] == 1, 7, truth[4])
    fresh = rescored(case, None, truth, 4)
    assert fresh.by_slice(1, "dice", 7)[4] == 0.0 and fresh.by_slice(1, "dice", 1)[4] == 0.0
    assert np.isnan(np.delete(fresh.by_slice(1, "dice", 7), 4)).all()
    assert fresh.reference is truth


def test_on_a_slice_without_labels_there_is_nothing_to_score_until_the_reference_is_painted_on():
    case = compared(2)
    sparse = CaseComparison(**{**vars(case), "labelled": (3,)})
    sparse.methods[0].slices.values["dice"][4] = np.nan
    assert np.isnan(rescored(sparse, 0, case.methods[0].labels, 4).by_slice(0, "dice")[4])
    assert np.isfinite(rescored(sparse, None, case.reference, 4).by_slice(0, "dice")[4])


def test_steps_along_the_outline_have_the_sign_and_size_of_the_distance():
    truth, pred = np.zeros((2, 9, 16), np.uint8), np.zeros((2, 9, 16), np.uint8)
    truth[0, 2:7, 4:9] = 1
    pred[0, 2:7, 4:11] = 1  # two voxels of 1.5 mm beyond, on one side
    truth[1, 3:6, 3:6] = 1  # nothing predicted
    found = surface_bins(pred, truth, (5.0, 2.0, 1.5), (1,), 0, reach=6.0)
    assert found[0, 4, 8] == MIDDLE + round(3.0 / 6.0 * STEPS) and found[0, 4, 4] == MIDDLE
    assert found[0, 4, 6] == 0, "the inside is no outline"
    np.testing.assert_array_equal(found[1] == LOST, truth[1].astype(bool) & ~_eroded(truth[1]))
    short = surface_bins(truth, pred, (5.0, 2.0, 1.5), (1,), 0, reach=1.0)
    assert short[0, 4, 10] == MIDDLE - STEPS, "what is farther has the value of the end"
    words = step_words(6.0)
    assert words[MIDDLE + 5] == "prediction 3 mm beyond" and words[MIDDLE - STEPS] == "prediction 6 mm or more short"
    assert fitting_reach([0.4, float("nan"), 1.0]) == 5.0 and fitting_reach([]) == 2.0 and fitting_reach([90.0]) == 50.0


def _eroded(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    return binary_erosion(mask.astype(bool))


def test_notes_are_on_disk_when_they_are_written_and_go_when_they_are_emptied(tmp_path):
    study = make_study(tmp_path, cases=2)
    notes = SliceNotes(study.folder)
    assert notes.of_case("case_0") == {}
    notes.write("case_0", 4, SliceNote(True, "leaks; drop table slice_notes;--"))
    notes.write("case_0", 2, SliceNote(text="ok"))
    notes.write("case_0", 4, SliceNote(True), axis=2)
    again = SliceNotes(study.folder)
    assert list(again.of_case("case_0").items()) == [
        (2, SliceNote(False, "ok")),
        (4, SliceNote(True, "leaks; drop table slice_notes;--")),
    ]
    again.write("case_0", 4, SliceNote())
    assert list(again.of_case("case_0")) == [2] and again.of_case("case_0", 2) == {4: SliceNote(True)}
    assert [case.id for case in Study.open(study.folder).cases()] == ["case_0", "case_1"], "the study opens as before"
    with pytest.raises(StudyError, match="not kept"):
        SliceNotes(tmp_path / "nowhere").write("case_0", 1, SliceNote(True))


def test_a_write_that_cannot_begin_leaves_the_notes_as_they_were(tmp_path, monkeypatch):
    study = make_study(tmp_path, cases=2)
    notes = SliceNotes(study.folder)
    notes.write("case_0", 1, SliceNote(True))
    monkeypatch.setattr("napari_ssl_seg.workbench.slice_notes.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(study.folder / "study.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StudyError, match="locked"):
        notes.write("case_0", 1, SliceNote(text="later"))
    other.execute("ROLLBACK")
    other.close()
    assert notes.of_case("case_0") == {1: SliceNote(True)}


def table_of(**values: list[float]) -> ScoreTable:
    """Method -> Dice by case."""
    return ScoreTable(
        tuple(
            ScoreRow(name, name.title(), f"case {place}", "test", 1, "organ", {"dice": value, "assd": 1 - value})
            for name, column in values.items()
            for place, value in enumerate(column)
        )
    )


def test_a_dagger_needs_both_tests_after_holm():
    rng = np.random.default_rng(0)
    good = rng.uniform(0.8, 0.9, 12)
    much, hardly = good - rng.uniform(0.02, 0.06, 12), good - rng.normal(0.002, 0.02, 12)
    table = table_of(good=list(good), much=list(much), hardly=list(hardly))
    found = standing(table, "dice", 1)
    assert found.best == {"good"} and found.worse == {"much"}
    p = {
        name: (stats.ttest_rel(column, good).pvalue, stats.wilcoxon(column - good).pvalue)
        for name, column in (("much", much), ("hardly", hardly))
    }
    assert max(2 * part for part in p["much"]) < 0.05 <= max(p["hardly"])
    assert "Much minus Good: -0.0" in found.words["much"] and "corrected for 2" in found.words["much"]
    assert standing(table, "assd", None).best == {"good"}
    assert set(standings(table, ["dice"])) == {("dice", 1), ("dice", None)}


def test_with_few_cases_nothing_is_claimed():
    table = table_of(a=[0.9, 0.9, 0.9, 0.91, 0.9], b=[0.1, 0.2, 0.1, 0.1, 0.15])
    assert standing(table, "dice", 1).best == {"a"} and not standing(table, "dice", 1).worse
    assert standing(ScoreTable(), "dice", None).best == frozenset()

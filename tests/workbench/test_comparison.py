"""Comparing methods on a case: scores by slice and volume, best, worst, disagreement; all without a window."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import score, score_slices
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.volumes import Volume, read_volume, write_volume
from napari_ssl_seg.workbench.compared_case import compare_method
from napari_ssl_seg.workbench.compared_entry import Entry, OpenLabels, pair_by_name
from napari_ssl_seg.workbench.comparison import Comparison, mean_scores
from tests.workbench.compare_study import SHAPE, SPACING, add_run, make_study, reference, write_prediction


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    study = make_study(folder)
    add_run(study, "scratch", shift=3)
    add_run(study, "scratch", shift=0)
    return study


@pytest.fixture
def comparison(study):
    comparison = Comparison()
    comparison.open(study)
    return comparison


def test_methods_have_titles_and_colours_of_their_own(comparison):
    assert [entry.title for entry in comparison.entries] == ["scratch", "scratch (2)"]
    assert len({entry.color for entry in comparison.entries}) == 2


def test_scores_are_those_of_the_evaluation(comparison, study):
    comparison.choose([entry.key for entry in comparison.entries])
    case = comparison.read("case_1", comparison.chosen)
    moved = np.roll(reference(1), 3, axis=2)
    table = score_slices(moved, reference(1), SPACING, labels=(1, 2))
    np.testing.assert_allclose(case.by_slice(0, "dice", 2), table.column("dice", 2))
    np.testing.assert_allclose(case.by_slice(0, "assd"), table.mean_over_labels("assd"))
    whole = score(moved, reference(1), SPACING, labels=(1, 2))
    assert case.of_volume(0, "dice") == pytest.approx(np.mean([whole[label]["dice"] for label in (1, 2)]))
    assert case.of_volume(1, "dice", 1) == 1.0 and case.of_volume(1, "assd", 1) == 0.0


def test_best_worst_and_disagreement(comparison):
    case = comparison.read("case_0", comparison.entries)
    labelled = np.flatnonzero(reference(0).any(axis=(1, 2)))
    np.testing.assert_array_equal(np.flatnonzero(case.best("dice") == 1), labelled)
    assert (case.best("assd") != 0).all()
    worst = case.worst_first("dice")
    assert [row[2] for row in worst] == sorted(row[2] for row in worst)
    assert {row[0] for row in worst} == set(labelled) and {row[1] for row in worst} == {0}
    wrong = np.count_nonzero(case.methods[0].errors, axis=(1, 2))
    for (first, _, low), (second, _, high) in pairwise(worst):
        assert low < high - 1e-7 or wrong[first] >= wrong[second]
    first, moved = reference(0), np.roll(reference(0), 3, axis=2)
    shares = [
        ((first[z] != moved[z]).sum() / max(1, ((first[z] != 0) | (moved[z] != 0)).sum())) for z in range(SHAPE[0])
    ]
    np.testing.assert_allclose(case.disagreement, shares)
    assert case.disagreeing_first()[0][0] == int(np.argmax(shares))


def test_other_axes_and_a_cached_second_reading(comparison, monkeypatch):
    case = comparison.read("case_0", comparison.entries, axis=2)
    assert case.n_slices == SHAPE[2] and len(case.by_slice(0, "dice")) == SHAPE[2]
    monkeypatch.setattr("napari_ssl_seg.workbench.comparison.compare_method", None)
    again = comparison.read("case_0", comparison.entries, axis=2)
    assert again.methods[0].slices is case.methods[0].slices


def test_new_prediction_is_read_again(study, comparison):
    run = add_run(study, "later", shift=1, cases=["case_0"])
    comparison.refresh()
    comparison.choose([run.id])
    assert comparison.missing(["case_0", "case_1"]) == {run.id: ["case_1"]}
    before = comparison.read("case_0", comparison.chosen)
    assert comparison.read("case_1", comparison.chosen).missing == tuple(comparison.chosen)
    write_prediction(study, run, "case_0", 0)
    after = comparison.read("case_0", comparison.chosen)
    assert before.of_volume(0, "dice") < 1 == after.of_volume(0, "dice")


def test_table_of_all_cases_is_computed_once(study, comparison):
    entries = comparison.entries[:2]
    table = drain(comparison.score_all(entries, "test"))
    test_cases = {case.id for case in study.cases(split="test")}
    assert set(table.cases) == test_cases and list(table.runs.values()) == ["scratch", "scratch (2)"]
    assert mean_scores(table, entries[1].key)["dice"] == 1.0
    assert np.isnan(mean_scores(table, "nobody")["dice"])
    assert [event.kind for event in comparison.score_all(entries, "test")] == []


def test_predictions_from_elsewhere(study, comparison, tmp_path):
    for case in study.cases():
        label = study.label(case.id, purpose="evaluate")
        write_volume(tmp_path / f"{case.id}.nii.gz", Volume(label.array.copy(), label.geometry))
    entry = comparison.add_folder(tmp_path)
    assert entry in comparison.chosen
    table = drain(comparison.score_all([entry], "test"))
    assert mean_scores(table, entry.key)["dice"] == 1.0
    with pytest.raises(UserError, match="name of a case"):
        comparison.add_folder(study.runs_folder)


def test_prediction_on_another_grid_is_refused(study, comparison, tmp_path):
    label = study.label("case_0", purpose="evaluate")
    path = tmp_path / "case_0.nii.gz"
    write_volume(path, Volume(label.array[:, :-4].copy(), read_volume(_cropped(tmp_path, label)).geometry))
    entry = comparison.add_folder(tmp_path)
    run = comparison.entries[0]
    case = comparison.read("case_0", [run, entry])
    assert [method.entry for method in case.methods] == [run], "the others are shown all the same"
    ((refused, reason),) = case.refused
    assert refused == entry and "grid of case case_0" in reason and f"{SHAPE[1] - 4}" in reason and "24" in reason
    comparison.bring_to_grid([entry.key])
    brought = comparison.read("case_0", [entry]).methods[0]
    np.testing.assert_array_equal(brought.labels[:, :-4], label.array[:, :-4])
    assert brought.labels.shape == SHAPE and not brought.labels[:, -4:].any()


def test_unlabelled_slices_count_for_nothing():
    moved, truth = np.roll(reference(0), 2, axis=2), reference(0)
    found = compare_method(Entry("a", "a", "#fff"), moved, truth, SPACING, (1, 2), [3, 4], 0)
    assert np.isfinite(found.slices.column("dice")[[3, 4]]).all()
    assert np.isnan(np.delete(found.slices.column("dice"), [3, 4])).all()
    assert np.isnan(found.volume[1]["assd"]) and not np.delete(found.errors, [3, 4], axis=0).any()
    expected = score(moved[[3, 4]], truth[[3, 4]], SPACING, (1, 2))[2]["dice"]
    assert found.volume[2]["dice"] == pytest.approx(expected)


def test_without_a_reference_there_are_predictions_and_no_scores():
    found = compare_method(Entry("a", "a", "#fff"), reference(0), None, SPACING, (1, 2), None, 0)
    assert found.slices is None and found.errors is None


def _cropped(folder, label):
    from napari_ssl_seg.study import Study

    study = Study.create_from_arrays(folder / "other", [("case_0", label.array[:, :-4].astype(float), None, SPACING)])
    return study.case("case_0").images[0]


def test_files_are_paired_by_whole_words_of_their_names():
    files = {
        name: Path(f"{name}.nii.gz") for name in ("case_1_pred", "unet-case_10", "case_2", "case_2_old", "b_3", "3_b")
    }
    paired = pair_by_name(files, ["case_1", "case_10", "case_2", "case_0", "sub/case_2", "3"])
    assert paired == {"case_1": files["case_1_pred"], "case_10": files["unet-case_10"]}, (
        "of two that fit, none is taken"
    )
    assert pair_by_name(files, ["case_2"]) == {"case_2": files["case_2"]}


def test_single_files_are_of_the_open_case_or_of_the_one_they_are_named_after(study, comparison, tmp_path):
    label = study.label("case_0", purpose="evaluate")
    other, named = tmp_path / "result.nii.gz", tmp_path / "case_2_unet.nii.gz"
    for path in (other, named):
        write_volume(path, Volume(label.array.copy(), label.geometry))
    assert comparison.add_files([named], "case_0").files == {"case_2": named}
    entry = comparison.add_files([other], "case_0")
    assert comparison.read("case_0", [entry]).of_volume(0, "dice") == 1.0 and entry.title == "result"
    with pytest.raises(UserError, match="no case of this study"):
        comparison.add_files([other], None)
    with pytest.raises(UserError, match="no volume"):
        comparison.add_files([tmp_path], "case_0")
    comparison.remove(entry.key)
    assert entry.key not in [one.key for one in comparison.entries]


def test_open_layers_are_scored_as_they_are_now_and_have_to_fit(comparison):
    array = reference(0)
    entry = comparison.add_layer("mine", OpenLabels(array, spacing=SPACING), "case_0")
    assert comparison.read("case_0", [entry]).of_volume(0, "dice") == 1.0
    array[:] = np.roll(array, 2, axis=2)
    assert comparison.read("case_0", [entry]).of_volume(0, "dice") < 1.0
    assert comparison.read("case_1", [entry]).missing == (entry,)
    for wrong in (OpenLabels(array[:, 1:]), OpenLabels(array, spacing=(9.0, 1.5, 1.5))):
        entry = comparison.add_layer("mine", wrong, "case_0")
        assert "case_0" in comparison.read("case_0", [entry]).refused[0][1]


def test_at_most_eight_methods_are_compared(study):
    comparison = Comparison()
    comparison.open(study)
    for number in range(9):
        labels = OpenLabels(reference(0))
        if number < 8:
            comparison.add_layer(f"layer {number}", labels, "case_0")
    assert len(comparison.chosen) == 8 and len({entry.color for entry in comparison.chosen}) == 8
    with pytest.raises(UserError, match="8 methods"):
        comparison.add_layer("one more", labels, "case_0")
    kept = [entry.key for entry in comparison.chosen]
    comparison.choose([*(entry.key for entry in comparison.entries)])
    assert [entry.key for entry in comparison.chosen] == kept

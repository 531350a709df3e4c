"""Tab 1: from a folder to a study, and from the table to a case in the viewer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ssl_seg.gui import layers
from napari_ssl_seg.gui.case_table import CASE, FLAGS, SIZE, SPLIT, CaseModel, labelled_share, labels_sentence
from napari_ssl_seg.gui.dock import STUDY
from tests.workbench.fakes import FakeCase

if TYPE_CHECKING:
    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.study_tab import StudyTab
    from napari_ssl_seg.study import Study


@pytest.fixture
def tab(dock: SSLDock) -> StudyTab:
    return dock.tab(STUDY)


def test_empty_it_offers_three_ways(tab: StudyTab) -> None:
    assert tab.pages.currentWidget() is tab.empty
    shown = [tab.empty.scans_button, tab.empty.study_button, tab.empty.sample_button]
    assert all(button.isVisible() for button in shown)
    assert not tab.empty.layers_button.isVisible()


def test_a_folder_is_asked_about_once_and_becomes_a_study(
    tab: StudyTab, dock: SSLDock, scans: Path, tmp_path: Path, settle: Any
) -> None:
    folder = shutil.copytree(scans, tmp_path / "head")
    (folder / "images" / "torn.nii.gz").write_bytes(b"\x1f\x8b not a scan")
    tab.take_folder(folder)
    settle(lambda: tab.pages.currentWidget() is tab.form)
    form = tab.form
    assert form.scans_count.text() == "7 scans found"
    assert form.labels_edit.text() == str(folder / "labels") and form.labels_count.text().startswith("5 scans labelled")
    assert form.name_edit.text() == "head" and form.where_edit.text() == str(tmp_path / "head-study")
    form.create_button.click()
    settle(lambda: dock.workbench.study is not None)
    assert tab.pages.currentWidget() is tab.filled
    assert dock.workbench.study.name == "head"
    assert tab.filled.table.cases.rowCount() == 6
    assert tab.filled.problems.count() == 1 and "torn.nii.gz" in tab.filled.problems.item(0).text()
    assert tab.filled.problems.isVisible() and "1 file left out" in dock.messages.text


def test_labels_can_be_left_out(tab: StudyTab, dock: SSLDock, scans: Path, tmp_path: Path, settle: Any) -> None:
    folder = shutil.copytree(scans, tmp_path / "head")
    tab.take_folder(folder)
    settle(lambda: tab.pages.currentWidget() is tab.form)
    tab.form.labels_edit.clear()
    assert "enough for pretraining" in tab.form.labels_count.text()
    tab.form.create_button.click()
    settle(lambda: dock.workbench.study is not None)
    assert not any(case.labelled for case in dock.workbench.cases)


def test_a_split_that_does_not_add_up_is_said_in_the_panel(
    tab: StudyTab, dock: SSLDock, scans: Path, tmp_path: Path, settle: Any
) -> None:
    tab.take_folder(shutil.copytree(scans, tmp_path / "head"))
    settle(lambda: tab.pages.currentWidget() is tab.form)
    tab.form.split_boxes[0].setValue(90)
    tab.form.create_button.click()
    assert "adds up to 120 %" in dock.messages.text
    assert tab.pages.currentWidget() is tab.form and not (tmp_path / "head-study").exists()


def test_a_folder_without_scans_is_said_in_the_panel(tab: StudyTab, dock: SSLDock, tmp_path: Path, settle: Any) -> None:
    tab.take_folder(tmp_path)
    settle(lambda: bool(dock.messages.text))
    assert "no scans" in dock.messages.text and tab.pages.currentWidget() is tab.empty


def test_making_a_study_can_be_cancelled(
    tab: StudyTab, dock: SSLDock, scans: Path, tmp_path: Path, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ssl_seg.workbench.importing import ImportJob, plan_import

    folder = shutil.copytree(scans, tmp_path / "head")
    report = ImportJob.report

    def cancelling(job: Any, *args: Any) -> None:
        job.cancel()  # as if the user had clicked while the first scan was read
        report(job, *args)

    monkeypatch.setattr(ImportJob, "report", cancelling)
    tab.create_study(plan_import(folder))
    assert tab.pages.currentWidget() is tab.busy and tab.busy.cancel_button.isVisible()
    settle(lambda: not tab.working)
    assert dock.workbench.study is None and not (tmp_path / "head-study").exists()
    assert tab.pages.currentWidget() is tab.empty


def test_a_folder_with_a_study_is_opened(tab: StudyTab, dock: SSLDock, made_study: Path, settle: Any) -> None:
    tab.take_folder(made_study)
    settle(lambda: dock.workbench.study is not None)
    assert tab.filled.name_label.text() == "head-study"
    assert tab.filled.split_label.text().startswith("train ")


def test_a_double_click_opens_image_and_labels_in_place(
    dock: SSLDock, tab: StudyTab, study: Study, settle: Any
) -> None:
    dock.workbench.set_study(study)
    table = tab.filled.table
    index = next(i for i in (table.cases.index(row, CASE) for row in range(6)) if i.data() == "head_002")
    table.doubleClicked.emit(index)
    settle(lambda: not dock.case_view.busy and len(dock.viewer.layers) == 2)
    image, labels = dock.viewer.layers
    assert (image.name, labels.name) == ("head_002 | image", "head_002 | labels")
    assert image.data.shape == labels.data.shape == (10, 32, 24)
    assert tuple(image.scale) == (3.0, 1.5, 1.5) and dock.viewer.dims.axis_labels == ("z", "y", "x")
    assert np.allclose(labels.get_color(1)[:3], np.array([230, 159, 0]) / 255, atol=1e-3)
    assert dock.workbench.slice_index in range(3, 8), "a slice with labels is looked at first"
    assert dock.viewer.dims.current_step[0] == dock.workbench.slice_index


def test_the_filled_button_is_the_next_step(dock: SSLDock, tab: StudyTab, study: Study, settle: Any) -> None:
    dock.workbench.set_study(study)
    button = tab.filled.open_button
    assert button.text() == "Open case" and button.isEnabled()
    button.click()
    assert dock.workbench.case_id == "head_000" and button.text() == "Next: look at pretexts"
    button.click()
    assert dock.tabs.currentIndex() == 1
    tab.filled.table.selectRow(3)
    assert button.text() == "Open case"
    settle(lambda: not dock.case_view.busy and not dock.tab(1).busy)


def test_another_case_takes_the_place_of_the_first_and_the_users_layers_stay(
    dock: SSLDock, study: Study, settle: Any
) -> None:
    dock.workbench.set_study(study)
    dock.workbench.open_case("head_000")
    settle(lambda: not dock.case_view.busy and len(dock.viewer.layers) == 2)
    users = dock.viewer.add_points(np.zeros((1, 3)), name="mine")
    dock.workbench.open_case("head_005")
    settle(lambda: not dock.case_view.busy and len(dock.viewer.layers) == 2)
    assert {layer.name for layer in dock.viewer.layers} == {"mine", "head_005 | image"}
    dock.workbench.set_study(None)
    assert list(dock.viewer.layers) == [users]


def test_slider_and_workbench_follow_each_other(dock: SSLDock, study: Study, settle: Any) -> None:
    dock.workbench.set_study(study)
    dock.workbench.open_case("head_001")
    settle(lambda: not dock.case_view.busy and len(dock.viewer.layers) == 2)
    dock.viewer.dims.set_current_step(0, 2)
    settle(lambda: dock.workbench.slice_index == 2)
    dock.workbench.set_slice(7)
    assert dock.viewer.dims.current_step[0] == 7


def test_the_filter_takes_words_splits_and_states(dock: SSLDock, tab: StudyTab, study: Study) -> None:
    dock.workbench.set_study(study)
    rows = tab.filled.table.cases

    def shown(text: str) -> int:
        tab.filled.filter_edit.setText(text)
        return rows.rowCount()

    assert shown("") == 6 and shown("head_00") == 6 and shown("HEAD_004") == 1
    assert shown("unlabelled") == 1 and shown("labelled") == 5
    assert shown("train") == len(study.cases(split="train"))
    assert shown("head nothing") == 0


def test_rows_say_size_spacing_split_and_flags() -> None:
    model = CaseModel()
    model.set_cases(
        [
            FakeCase("a", label=Path("a.nii.gz"), labelled_slices=(1, 2, 3)),  # type: ignore[list-item]
            FakeCase("b", split="test", warnings=("oblique",)),  # type: ignore[list-item]
        ]
    )
    texts = [[model.index(row, column).data() for column in (CASE, SIZE, SPLIT, FLAGS)] for row in (0, 1)]
    assert texts == [["a", "12×20×16 · 3×1", "train", ""], ["b", "12×20×16 · 3×1", "test", "⚠"]]
    first, second = model.case_at(0), model.case_at(1)
    assert labelled_share(first) == 0.25 and labels_sentence(first) == "3 of 12 slices labelled: a.nii.gz"
    assert labelled_share(second) == 0.0 and labels_sentence(second) == "no labels"
    assert model.row_of("b") == 1 and model.row_of("c") is None


def test_layers_of_the_users_can_become_a_study(
    dock: SSLDock, tab: StudyTab, settle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtpy.QtWidgets import QFileDialog

    rng = np.random.default_rng(1)
    for number in range(3):
        dock.viewer.add_image(rng.normal(size=(4, 8, 9)).astype(np.float32), name=f"scan {number}", scale=(2, 1, 1))
    dock.viewer.add_labels(np.ones((4, 8, 9), np.uint8), scale=(2, 1, 1))
    assert tab.empty.layers_button.isVisible() and tab.empty.layers_button.text() == "Use 3 scans open in the viewer"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "mine"), ""))
    tab.empty.layers_button.click()
    settle(lambda: not tab.working)
    study = dock.workbench.study
    assert study is not None, dock.messages.text
    assert len(study.cases()) == 3 and sum(case.labelled for case in study.cases()) == 1
    assert study.cases()[0].spacing == (2.0, 1.0, 1.0)


def test_samples_are_listed_with_size_and_licence_before_anything_is_fetched(tab: StudyTab) -> None:
    tab.empty.sample_button.click()
    page = tab.samples
    titles = [page.list.item(row).text() for row in range(page.list.count())]
    assert titles[:2] == ["Cardiac MR phantom", "Abdominal CT phantom"] and len(titles) >= 5
    page.list.setCurrentRow(2)
    assert "Licence:" in page.about.text() and page.use_button.text().startswith("Download ")
    page.cancel_button.click()
    assert tab.pages.currentWidget() is tab.empty


def test_a_scan_that_lies_obliquely_is_said_to_be_shown_squared(dock: SSLDock, tmp_path: Path, settle: Any) -> None:
    import nibabel

    from napari_ssl_seg.study import Study

    turn = np.deg2rad(10)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    image = np.random.default_rng(0).integers(0, 99, (8, 9, 5)).astype(np.int16)
    (tmp_path / "scans").mkdir()
    nibabel.save(nibabel.Nifti1Image(image, affine), tmp_path / "scans" / "tilted.nii.gz")
    dock.workbench.set_study(Study.create(tmp_path / "s", images=tmp_path / "scans"))
    dock.workbench.open_case("tilted")
    settle(lambda: bool(dock.messages.text))
    assert dock.messages.text.startswith("tilted lies obliquely")
    shown = dock.case_view.image_layer()
    assert not np.allclose(shown.metadata["affine"][:3, :3], np.diag(np.diag(shown.metadata["affine"][:3, :3])))


def test_a_case_that_cannot_be_read_is_said_in_the_panel(dock: SSLDock, study: Study, settle: Any) -> None:
    study.close()
    dock.workbench.set_study(study)
    case = study.case("head_003")
    image = case.images[0]
    kept = image.read_bytes()
    try:
        image.write_bytes(b"broken")
        dock.workbench.open_case("head_003")
        settle(lambda: bool(dock.messages.text))
        assert "head_003" in dock.messages.text
        assert layers.own_layers(dock.viewer) == []
    finally:
        image.write_bytes(kept)

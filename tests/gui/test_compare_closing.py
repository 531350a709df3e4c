"""Leaving a comparison that was painted on: the window, the panel, the scan, the study; asked once, and nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QCloseEvent

from napari_ssl_seg.gui import compare_tab as module
from napari_ssl_seg.gui.layers import layer_tag
from napari_ssl_seg.volumes import read_volume
from napari_ssl_seg.workbench import Workbench
from tests.workbench.compare_study import add_run, make_study

pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


class UserClose(QCloseEvent):
    """A close that the window system reports, as after a click on the frame."""

    def spontaneous(self) -> bool:
        return True


@pytest.fixture
def painted(make_napari_viewer, tmp_path, qtbot, monkeypatch):
    """A tab in a viewer on case_1, a voxel of whose first method was painted on."""
    study = make_study(tmp_path / "one")
    add_run(study, "scratch", shift=3)
    viewer = make_napari_viewer(show=True)
    bench = Workbench()
    tab = module.CompareTab(bench, viewer)
    tab.said = []
    bench.message.connect(lambda text, level: tab.said.append((level, text)))
    viewer.window.add_dock_widget(tab, area="right", name="panel")
    bench.set_study(study)
    bench.open_case("case_1")
    qtbot.waitUntil(lambda: tab.view.shown and not tab._reader.busy and tab.work.warm, timeout=60_000)
    tab.go_to(4)
    paint(viewer, 2)
    qtbot.waitUntil(lambda: tab.edited.isVisible(), timeout=20_000)
    tab.asked = []
    tab.answer = "stay"
    monkeypatch.setattr(tab.unsaved, "ask", lambda: tab.asked.append(1) or tab.answer)
    monkeypatch.setattr(tab.edited, "ask_folder", lambda: tmp_path / "saved")
    return tab, bench, viewer


def paint(viewer, value):
    method = [layer for layer in viewer.layers if (layer_tag(layer) or {}).get("role") == "labels"][1]
    method.data_setitem((np.full(5, 4), np.full(5, 1), np.arange(5)), value)


def close_by_user(tab) -> bool:
    """Whether the close was held back."""
    return tab.unsaved.eventFilter(tab.window(), UserClose())


def test_closing_the_window_asks_once(painted, tmp_path, qtbot):
    tab, _bench, viewer = painted
    assert close_by_user(tab) and tab.asked == [1], "Stay holds the window"
    tab.answer = "save"
    assert not close_by_user(tab) and tab.asked == [1, 1]
    saved = read_volume(tmp_path / "saved" / "case_1_scratch_edited.nii.gz", role="label")
    assert (saved.array[4, 1, :5] == 2).all()
    assert not close_by_user(tab) and tab.asked == [1, 1], "saved: nothing to ask"
    assert "saved" in tab.edited.text.text() and not tab.edited.save_button.isEnabled()

    paint(viewer, 1)  # painted on again: another question
    qtbot.waitUntil(lambda: tab.comparison.edits.unsaved != [], timeout=5000)
    tab.edited.ask_folder = lambda: None
    assert close_by_user(tab), "no folder was chosen: it stays"
    tab.answer = "discard"
    assert not close_by_user(tab) and tab.asked == [1, 1, 1, 1]
    # something else held the window: what is shown is what is on disk
    qtbot.waitUntil(lambda: not tab.edited.isVisible() and not tab._reader.busy, timeout=20_000)
    qtbot.waitUntil(lambda: tab._case is not None and not tab._case.methods[0].labels[4, 1, :5].any(), timeout=20_000)


def test_a_script_that_closes_the_window_finds_the_labels_in_the_study(painted, caplog):
    tab, bench, viewer = painted
    viewer.close()
    assert tab.asked == []
    found = bench.study.folder / "edited" / "case_1_scratch_edited.nii.gz"
    assert (read_volume(found, role="label").array[4, 1, :5] == 2).all() and str(found) in caplog.text


def test_taking_the_panel_out_asks_and_may_put_it_back(painted, qtbot):
    tab, _bench, viewer = painted
    viewer.window.remove_dock_widget(tab)
    qtbot.waitUntil(lambda: tab.asked == [1] and tab.isVisible(), timeout=20_000)
    assert tab.window() is viewer.window._qt_window and tab.parent().name == "panel"
    assert len(tab.comparison.edits.unsaved) == 1
    tab.answer = "discard"
    viewer.window.remove_dock_widget(tab)
    qtbot.waitUntil(lambda: tab.asked == [1, 1], timeout=20_000)
    qtbot.wait(50)
    assert tab.parent() is None and tab.comparison.edits.unsaved == []
    tab.close()
    tab.deleteLater()


def test_another_scan_keeps_what_was_painted_and_another_study_asks(painted, tmp_path, qtbot):
    tab, bench, _viewer = painted
    bench.open_case("case_2")
    qtbot.waitUntil(lambda: tab._case is not None and tab._case.case_id == "case_2", timeout=20_000)
    assert tab.asked == [] and "Not saved yet: case_1 (scratch)" in tab.edited.text.text()
    assert tab.edited.isVisible() and not tab.edited.discard_button.isVisible()
    bench.open_case("case_1")
    qtbot.waitUntil(lambda: tab._case is not None and tab._case.case_id == "case_1", timeout=20_000)
    assert (tab._case.methods[0].labels[4, 1, :5] == 2).all()

    before, other = bench.study, make_study(tmp_path / "two")
    with pytest.raises(Exception, match="stays open: save or discard"):
        bench.set_study(other)
    assert bench.study is before and tab.asked == [1] and len(tab.comparison.edits.unsaved) == 1
    tab.answer = "save"
    bench.set_study(other)
    assert bench.study is other and tab.asked == [1, 1] and tab.comparison.edits.unsaved == []
    assert (tmp_path / "saved" / "case_1_scratch_edited.nii.gz").exists() and not tab.edited.isVisible()
    bench.set_study(None)
    assert tab.asked == [1, 1]

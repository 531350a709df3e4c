"""The Label tab in a real viewer: what is drawn by the mouse is in the store at once, comes back, and can be undone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_ssl_seg.annotation import SliceState, open_labels
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui import label_closing
from napari_ssl_seg.gui.label_regions import on_the_way
from tests.gui.label_mouse import SHIFT, Hand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.label_tab import LabelTab
    from napari_ssl_seg.study import Study

CASE, LABELLED_CASE = "head_005", "head_000"
"""The one without a label, and one with."""
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def tab(labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock) -> LabelTab:
    """The tab in a real viewer, on the case without labels, at slice 5."""
    made = labelling_tab(shown, CASE)
    shown.workbench.set_slice(5)
    return made


@pytest.fixture
def hand(tab: LabelTab, shown: SSLDock) -> Hand:
    return Hand(shown.viewer, tab.layer.layer)


def stored(study: Study, case_id: str = CASE) -> np.ndarray:
    """What another process would read from the disk now."""
    with open_labels(study, write=False) as store:
        return store.labels(case_id)


def stored_states(study: Study, case_id: str = CASE) -> list[int]:
    with open_labels(study, write=False) as store:
        return [int(state) for state in store.states(case_id)]


def labels(tab: LabelTab) -> np.ndarray:
    assert tab.layer.layer is not None
    return np.asarray(tab.layer.layer.data)


def test_opening_the_tab_makes_one_editable_layer_placed_as_the_scan(tab: LabelTab, shown: SSLDock) -> None:
    layer = tab.layer.layer
    assert layer is not None and layer.name == f"{CASE} | labels" and layer.data.dtype == np.uint8
    image = shown.viewer.layers[f"{CASE} | image"]
    assert layer.editable and np.allclose(layer.scale, image.scale) and np.allclose(layer.translate, image.translate)
    assert "affine" in layer.metadata and layer.units == image.units
    assert [found for found in shown.viewer.layers if found.name.endswith("labels")] == [layer]
    assert shown.viewer.layers.selection.active is layer
    assert tab.page.classes.values == [1, 2] and not tab.page.read_only.isVisible()
    assert max(widget.width() for widget in (tab.page.classes, tab.page.tools, tab.page.next)) <= tab.width()


def test_a_stroke_of_the_mouse_is_stored_and_ctrl_z_takes_it_back(tab: LabelTab, hand: Hand, study: Study) -> None:
    layer = tab.layer.layer
    assert layer is not None
    layer.mode, layer.brush_size = "paint", 3
    hand.drag([(5, 10, 10), (5, 14, 10), (5, 14, 16)])
    painted = labels(tab).copy()
    assert painted[5, 10, 10] == painted[5, 14, 16] == 1 and not painted[[4, 6]].any()
    assert tab.labelling.flush(5) and np.array_equal(stored(study), painted)
    assert stored_states(study)[5] == SliceState.LABELLED
    assert tab.labelling.saved_words().startswith("saved ")
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert not labels(tab).any()
    assert tab.labelling.flush(5) and not stored(study).any()
    assert stored_states(study)[5] == SliceState.UNLABELLED, "a first stroke that was undone is no label"
    hand.key(Qt.Key.Key_Z, CONTROL | SHIFT)
    assert tab.labelling.flush(5) and np.array_equal(stored(study), painted)
    layer.mode = "erase"
    hand.drag([(5, 10, 10), (5, 14, 10)])
    layer.mode = "fill"
    hand.click((5, 0, 0))
    layer.paint_polygon(np.array([(5.0, 2, 2), (5, 2, 9), (5, 9, 9), (5, 9, 2)]), 2)
    assert tab.labelling.flush(5) and np.array_equal(stored(study), labels(tab))
    layer.data_setitem(
        (np.array([2, 8]), np.array([3, 4]), np.array([5, 6])), 2, refresh=False
    )  # by a script, elsewhere
    tab.finish()
    assert tab.labelling.flush(5) and stored(study)[2, 3, 5] == stored(study)[8, 4, 6] == 2


def test_regions_light_up_and_are_given_and_taken(tab: LabelTab, hand: Hand, shown: SSLDock, settle: Any) -> None:
    hand.canvas.setFocus()
    hand.key(Qt.Key.Key_W)
    assert tab.region.in_hand and tab.page.tools.region.isChecked()
    settle(lambda: tab.region.ladder is not None)
    ladder = tab.region.ladder
    assert ladder is not None

    def lit() -> bool:  # the window may still be laying itself out
        hand.move((5, 12, 12))
        hand.move((5, 10, 16))
        return tab.region.region is not None

    settle(lit)
    region = tab.region.region
    assert region is not None and f"{CASE} | region" in [layer.name for layer in shown.viewer.layers]
    assert shown.viewer.layers.selection.active is tab.layer.layer
    level = tab.region.level
    hand.key(Qt.Key.Key_Period)
    assert tab.region.level == ladder.finer(level, 10, 16)
    hand.key(Qt.Key.Key_Comma)
    hand.click((5, 10, 16))
    region = tab.region.region
    assert region is not None
    assert labels(tab)[5].sum() == region.voxels and labels(tab)[5, 10, 16] == 1
    hand.click((5, 10, 16), SHIFT)
    assert not labels(tab).any()
    center = tuple(shown.viewer.scene.camera.center)
    places = [(4, 4), (12, 16), (20, 22)]
    hand.drag([(5, y, x) for y, x in places])

    def under(spots: Any) -> np.ndarray:
        found = np.zeros(labels(tab).shape[1:], bool)
        for y, x in spots:
            region = ladder.at(y, x, tab.region.level)
            if region is not None:
                (top, left), (height, width) = region.start, region.mask.shape
                found[top : top + height, left : left + width] |= region.mask
        return found

    swept = labels(tab)[5] == 1
    legs = [on_the_way(np.array(a, float), np.array(b, float)) for a, b in itertools.pairwise([places[0], *places])]
    # A pixel of the screen is not the middle of a voxel: the way may pass a voxel beside.
    beside = [leg + shift for leg in legs for shift in itertools.product((-1, 0, 1), repeat=2)]
    assert (swept >= under(places)).all(), "what was pointed at"
    assert (swept <= under(np.concatenate(beside))).all(), "and nothing that was not on the way"
    assert tuple(shown.viewer.scene.camera.center) == center, "a sweep does not move the view"
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert not labels(tab).any(), "one sweep is one stroke"
    hand.key(Qt.Key.Key_2)  # napari's brush
    assert not tab.region.in_hand and f"{CASE} | region" not in [layer.name for layer in shown.viewer.layers]


def test_classes_have_keys_locks_and_names(tab: LabelTab, hand: Hand, shown: SSLDock, study: Study) -> None:
    layer, page = tab.layer.layer, tab.page.classes
    assert layer is not None
    hand.canvas.setFocus()
    hand.key(Qt.Key.Key_2, CONTROL)
    assert tab.labelling.value == 2 and layer.selected_label == 2
    layer.mode, layer.brush_size = "paint", 5
    hand.click((5, 10, 10))
    item = page.item(2)
    assert item is not None
    item.setCheckState(4, Qt.CheckState.Checked)
    assert tab.labelling.protected == {2}
    held = labels(tab).copy()
    tab.labelling.take(1)
    tab.labelling.set_overwrite(True)
    assert not layer.preserve_labels
    hand.drag([(5, 10, 7), (5, 10, 14)])
    now = labels(tab)
    assert (now[held == 2] == 2).all() and (now == 1).any(), "what is locked stays, what is beside it is drawn"
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(labels(tab), held)
    tab.labelling.take(2)
    hand.drag([(5, 20, 7), (5, 20, 14)])
    assert np.array_equal(labels(tab), held), "nor does a locked class gain a voxel"
    item.setCheckState(4, Qt.CheckState.Unchecked)
    tab.labelling.set_overwrite(False)
    tab.labelling.take(1)
    hand.drag([(5, 10, 7), (5, 10, 14)])
    assert (labels(tab)[held == 2] == 2).all(), "other classes are not drawn over unless asked"
    page.add_button.click()
    assert [info.name for info in study.classes][-1] == "class 3" and tab.labelling.value == 3
    added = page.item(3)
    assert added is not None
    added.setText(0, "lesion")
    assert [info.name for info in study.classes][-1] == "lesion"
    added.setText(0, "class 1")  # another's name
    assert "two classes are called" in shown.messages.text and added.text(0) == "lesion"
    counted = page.menu_of(2).actions()[-1]
    assert not counted.isChecked()
    counted.trigger()
    assert [info.value for info in study.classes if info.lesion] == [2]
    assert page.menu_of(2).actions()[-1].isChecked() and "lesions" in page.item(2).toolTip(0)
    item = page.item(2)
    assert item is not None
    item.setCheckState(5, Qt.CheckState.Unchecked)
    assert layer.colormap.color_dict[2][3] == 0, "hidden"
    assert tab.labelling.flush(5) and np.array_equal(stored(study), labels(tab))


def test_between_is_proposed_accepted_and_refused(tab: LabelTab, hand: Hand, shown: SSLDock, settle: Any) -> None:
    layer = tab.layer.layer
    assert layer is not None
    layer.brush_size = 6
    for z in (2, 7):
        layer.paint((z, 12, 12 + z), 1)
    hand.canvas.setFocus()
    tab.page.tools.between.click()
    settle(lambda: tab.actions.proposing.proposal is not None)
    assert tab.actions.proposing.slices == (3, 4, 5, 6)
    assert tab.labelling.states[3:7].tolist() == [1, 1, 1, 1]
    proposed = shown.viewer.layers[f"{CASE} | proposal"]
    assert proposed.contour == 1 and not proposed.editable and proposed.data[5].any() and not labels(tab)[5].any()
    hand.key(Qt.Key.Key_U)
    assert labels(tab)[5].any() and not proposed.data[5].any()
    assert tab.actions.proposing.slices == (3, 4, 6) and tab.labelling.states[5] == 2
    hand.key(Qt.Key.Key_Z, CONTROL)
    assert not labels(tab)[5].any(), "the same Ctrl+Z"
    shown.workbench.set_slice(4)
    hand.key(Qt.Key.Key_U, SHIFT)
    assert tab.actions.proposing.slices == (3, 6) and tab.labelling.states[4] == 0
    tab.page.proposal.buttons["all"].click()
    assert labels(tab)[3].any() and labels(tab)[6].any()
    assert not tab.page.proposal.isVisible() and f"{CASE} | proposal" not in [x.name for x in shown.viewer.layers]


def test_states_are_set_by_keys_and_shown_in_the_strip(tab: LabelTab, hand: Hand, shown: SSLDock, study: Study) -> None:
    from qtpy.QtTest import QTest

    hand.canvas.setFocus()
    hand.key(Qt.Key.Key_Return, SHIFT)
    assert tab.labelling.states[5] == SliceState.CHECKED and tab.page.slice.check.isChecked()
    band = tab.strip.band
    assert band.isVisible()
    QTest.mouseClick(band, Qt.MouseButton.LeftButton, pos=band.cell(8).center())
    assert shown.workbench.slice_index == 8
    hand.key(Qt.Key.Key_Q)
    assert tab.labelling.states[8] == SliceState.FLAGGED
    assert "flagged 1" in tab.strip.legend.labels[4].text()
    assert tab.labelling.flush(5)
    assert [stored_states(study)[z] for z in (5, 8)] == [SliceState.CHECKED, SliceState.FLAGGED]
    hand.key(Qt.Key.Key_Q)
    assert tab.labelling.states[8] == SliceState.UNLABELLED


def test_own_labels_come_in_and_scans_are_left_without_loss(
    labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock, study: Study, settle: Any
) -> None:
    tab = labelling_tab(shown, LABELLED_CASE)
    own = study.label(LABELLED_CASE, purpose="show")
    assert own is not None and np.array_equal(labels(tab), own.array)
    assert tab.labelling.states.tolist() == [SliceState.LABELLED] * 10
    layer = tab.layer.layer
    assert layer is not None
    layer.data[1, 2, 3] = 2  # a script that tells nobody
    drawn = layer.data.copy()
    shown.workbench.open_case(CASE)
    settle(lambda: tab.labelling.case is not None and tab.labelling.case.case_id == CASE and not tab.busy)
    assert not labels(tab).any()
    assert tab.labelling.flush(5) and np.array_equal(stored(study, LABELLED_CASE), drawn)
    shown.workbench.open_case(LABELLED_CASE)
    settle(lambda: tab.labelling.case is not None and tab.labelling.case.case_id == LABELLED_CASE and not tab.busy)
    assert np.array_equal(labels(tab), drawn)
    assert not tab.labelling.overwrite and tab.layer.layer is not None and tab.layer.layer.preserve_labels
    shown.viewer.layers.remove(tab.layer.layer)
    assert tab.labelling.case is None
    shown.show_tab(0)
    shown.show_tab(4)
    settle(lambda: tab.labelling.case is not None and tab.layer.alive)
    assert np.array_equal(labels(tab), drawn), "a layer that was deleted loses nothing"


def test_a_second_window_reads_and_takes_over(
    labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock, study: Study, settle: Any
) -> None:
    first = open_labels(study)
    tab = labelling_tab(shown, CASE)
    layer = tab.layer.layer
    assert layer is not None and not layer.editable and tab.page.read_only.isVisible()
    assert "labels in this study" in tab.page.why.text() and shown.foot.note_label.text() == "read-only"
    tab.page.take_over.click()
    assert not tab.labelling.writable, "the other still lives"
    first.put(CASE, (5, 3, 3), np.ones((1, 2, 2), np.uint8))
    first.close()
    tab.page.take_over.click()
    settle(lambda: tab.labelling.writable and not tab.busy)
    assert tab.layer.layer is not None and tab.layer.layer.editable and not tab.page.read_only.isVisible()
    assert labels(tab)[5].sum() == 4, "what the other drew last is there"


def test_a_disk_that_takes_nothing_is_told_and_waited_for(
    tab: LabelTab, shown: SSLDock, settle: Any, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, opened = tab.layer.layer, tab.labelling.opened
    assert layer is not None and opened is not None and opened.writer is not None
    real = type(opened.store).apply

    def full(*_: Any) -> None:
        raise UserError("the disk of the study is full; free some of it")

    monkeypatch.setattr(type(opened.store), "apply", full)
    layer.paint((5, 10, 10), 1)
    settle(lambda: shown.foot.note_label.text() == "not saved")
    assert "full" in shown.messages.text and tab.labelling.pending > 0
    layer.paint((6, 10, 10), 1)
    monkeypatch.setattr(label_closing, "WAIT_SECONDS", 0.2)
    asked: list[bool] = []
    monkeypatch.setattr(tab.closing, "ask", lambda: bool(asked.append(True)))
    assert not tab.window().close() and asked, "closing waits for an answer, and Stay keeps all as it is"
    layer.paint((7, 10, 10), 1)
    monkeypatch.setattr(type(opened.store), "apply", real)
    assert tab.labelling.flush(10)
    settle(lambda: shown.foot.note_label.text().startswith("saved"))
    assert np.array_equal(stored(study), labels(tab))


def test_effort_is_counted_exported_and_deleted(
    tab: LabelTab, hand: Hand, shown: SSLDock, tmp_path: Path, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tab.layer.layer
    assert layer is not None
    layer.mode, layer.brush_size = "paint", 3
    for place in ((5, 8, 8), (5, 12, 12), (5, 16, 16)):
        hand.click(place)
    drawn = int(np.count_nonzero(labels(tab)))
    tab.effort.keep()
    assert tab.labelling.flush(5) and tab.labelling.opened is not None
    efforts = [item for item in tab.labelling.opened.store.effort() if item.tool == "paint"]
    assert sum(item.clicks for item in efforts) == 3 and sum(item.voxels for item in efforts) == drawn
    assert {(item.case_id, item.slice_index) for item in efforts} == {(CASE, 5)}
    assert 0 < sum(item.seconds for item in efforts) < 60
    tab.strip.tabs.setCurrentIndex(1)
    tab.effort.show()
    settle(lambda: tab.strip.effort.table.topLevelItemCount() > 0)
    monkeypatch.setattr(tab.effort, "ask_path", lambda: tmp_path / "effort.csv")
    tab.strip.effort.export_button.click()
    lines = (tmp_path / "effort.csv").read_text().splitlines()
    assert lines[0] == "case,slice,tool,seconds,clicks,voxels,time" and any(",paint," in line for line in lines)
    monkeypatch.setattr(tab.effort, "confirm", lambda: True)
    tab.strip.effort.delete_button.click()
    assert tab.labelling.opened.store.effort() == [] and labels(tab).any()


def test_labels_are_exported_and_an_earlier_state_comes_back(
    tab: LabelTab, shown: SSLDock, study: Study, tmp_path: Path, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ssl_seg.volumes import read_volume

    layer = tab.layer.layer
    assert layer is not None
    layer.paint((5, 10, 10), 1)
    first = labels(tab).copy()
    layer.paint((6, 12, 12), 2)
    monkeypatch.setattr(tab.page.files, "ask_path", lambda _case: tmp_path / "out.nii.gz")
    tab.page.files.export_button.click()
    settle(lambda: "wrote" in shown.messages.text)
    assert np.array_equal(read_volume(tmp_path / "out.nii.gz", role="label").array, labels(tab))
    asked: list[int] = []

    def choose(entries: Any) -> int:
        asked.extend(entry.number for entry in entries)
        return asked[0]

    monkeypatch.setattr(tab.page.files, "choose", choose)
    tab.page.files.history_button.click()
    settle(lambda: tab.layer.alive and tab.layer.layer is not layer and not tab.busy)
    assert asked == [1, 2] and np.array_equal(labels(tab), first)
    assert tab.layer.layer is not None
    tab.layer.layer.undo()
    assert np.array_equal(labels(tab), first) and np.array_equal(stored(study), first)


def test_closing_the_window_writes_everything_and_gives_the_labels_free(
    tab: LabelTab, shown: SSLDock, study: Study, settle: Any
) -> None:
    layer = tab.layer.layer
    assert layer is not None
    for z in range(10):
        layer.paint((z, 10, 10 + z), 1)
    drawn = layer.data.copy()
    shown.viewer.close()
    assert np.array_equal(stored(study), drawn)
    settle(lambda: tab.labelling.opened is None)
    with open_labels(study) as store:
        assert store.writable and store.restored is None, "nobody was killed: nothing is to be restored"

"""The Compare tab by its keys and the mouse: outlines, blinking, painting, notes, drops, boxes, and the matrix of scans."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication

from napari_ssl_seg.gui import compare_tab as module
from napari_ssl_seg.gui.compare_boxes import BoxPlot
from napari_ssl_seg.gui.compare_cases import CaseMatrix
from napari_ssl_seg.gui.compare_text import cell_text
from napari_ssl_seg.gui.layers import layer_tag
from napari_ssl_seg.gui.score_table import ScoreTableView
from napari_ssl_seg.volumes import Volume, write_volume
from napari_ssl_seg.workbench import Workbench
from napari_ssl_seg.workbench.significance import standings
from napari_ssl_seg.workbench.slice_notes import SliceNote, SliceNotes
from napari_ssl_seg.workbench.surface_bins import MIDDLE
from tests.workbench.compare_study import SPACING, add_run, make_study, reference
from tests.workbench.test_slice_numbers import table_of

pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


# A viewer takes seconds to build in software OpenGL: each test goes through several things in one.
@pytest.fixture
def window(make_napari_viewer, tmp_path, qtbot):
    """A tab in a viewer that shows case_1 of a study with two runs."""
    study = make_study(tmp_path)
    add_run(study, "scratch", shift=3)
    add_run(study, "pretrained", shift=1)
    viewer = make_napari_viewer(show=True)
    bench = Workbench()
    tab = module.CompareTab(bench, viewer)
    tab.said = []
    bench.message.connect(lambda text, level: tab.said.append((level, text)))
    viewer.window.add_dock_widget(tab, area="right")
    bench.set_study(study)
    bench.open_case("case_1")
    qtbot.waitUntil(lambda: tab.view.shown and not tab._reader.busy and tab.work.warm, timeout=60_000)
    return tab, bench, viewer


def labels_of(viewer):
    return [layer for layer in viewer.layers if (layer_tag(layer) or {}).get("role") == "labels"]


def press(qtbot, tab, key):
    """A key in the window, as the canvas has the focus."""
    qtbot.keyClick(tab.window(), key)


def test_keys_arrange_outline_blink_step_and_flag(window, qtbot, tmp_path):
    tab, bench, viewer = window
    QApplication.setActiveWindow(tab.window())  # without a window manager nobody else does
    qtbot.waitUntil(tab.window().isActiveWindow, timeout=20_000)
    press(qtbot, tab, Qt.Key.Key_W)
    qtbot.waitUntil(lambda: [layer.contour for layer in labels_of(viewer)] == [1, 1, 1], timeout=5000)
    press(qtbot, tab, Qt.Key.Key_W)
    assert [layer.contour for layer in labels_of(viewer)] == [0, 0, 0]
    press(qtbot, tab, Qt.Key.Key_G)
    assert tab.controls.mode == "overlay" and not viewer.canvas.grid.enabled
    press(qtbot, tab, Qt.Key.Key_H)
    assert tab.controls.mode == "blink" and tab.view.front == "scratch"
    press(qtbot, tab, Qt.Key.Key_H)
    assert tab.view.front == "pretrained"
    press(qtbot, tab, Qt.Key.Key_H)
    assert tab.view.front == "scratch", "between two, and the reference is not one of them"
    assert not tab._blink.isActive(), "whoever presses the key sets the pace"

    press(qtbot, tab, Qt.Key.Key_J)
    first, second = tab.order.slices[:2]
    assert viewer.dims.current_step[0] == first
    press(qtbot, tab, Qt.Key.Key_J)
    press(qtbot, tab, Qt.Key.Key_K)
    assert viewer.dims.current_step[0] == first
    press(qtbot, tab, Qt.Key.Key_Q)
    assert tab.order.flag.isChecked() and tab.order.list.item(0).text().startswith("⚑ slice")
    tab.order.note.setFocus()
    qtbot.keyClicks(tab.order.note, "leaks into the wall, jk")
    qtbot.keyClick(tab.order.note, Qt.Key.Key_Return)
    assert viewer.dims.current_step[0] == first, "letters of a note are no keys"
    kept = SliceNotes(bench.study.folder).of_case("case_1")
    assert kept == {first: SliceNote(True, "leaks into the wall, jk")}
    assert "leaks" in tab.order.list.item(0).text()
    tab.go_to(second)
    qtbot.waitUntil(lambda: not tab.order.flag.isChecked() and tab.order.note.text() == "", timeout=5000)
    tab.order.order.set_value("noted")
    assert tab.order.slices == [first]
    bench.open_case("case_2")
    qtbot.waitUntil(lambda: tab._case is not None and tab._case.case_id == "case_2", timeout=20_000)
    assert tab.order.slices == []
    tab.order.order.set_value("difference")
    case = tab._case
    apart = np.abs(case.by_slice(0, "dice") - case.by_slice(1, "dice"))
    assert tab.order.slices[0] == int(np.nanargmax(apart)) and tab.controls.pair_row.isVisible()
    assert "pretrained is better" in tab.order.list.item(0).text()


def test_painting_scores_the_slice_at_once_and_the_volume_when_the_hand_rests(window, qtbot, tmp_path, monkeypatch):
    tab, _bench, viewer = window
    tab.go_to(4)
    method = labels_of(viewer)[1]
    before = (tab._case.by_slice(0, "dice")[4], tab._case.of_volume(0, "dice"))
    viewer.layers.selection.active = method
    method.mode = "paint"
    method.brush_size, method.selected_label = 40, 0
    _stroke(viewer, method, [(4, 12, 10), (4, 12, 14)])
    qtbot.waitUntil(lambda: tab._case.by_slice(0, "dice")[4] == 0.0, timeout=5000)
    assert "Dice 0.000" in cell_text(method).text and before[0] > 0
    assert np.isfinite(tab._case.by_slice(0, "dice")[3]) and tab._case.by_slice(0, "dice")[3] > 0
    qtbot.waitUntil(lambda: tab._case.of_volume(0, "dice") < before[1], timeout=20_000)
    assert tab.edited.isVisible() and "scratch" in tab.edited.text.text()
    assert tab.strip.plot.lines[0].y[4] == 0.0

    method.undo()
    qtbot.waitUntil(lambda: tab._case.by_slice(0, "dice")[4] == pytest.approx(before[0]), timeout=5000)
    method.redo()
    qtbot.waitUntil(lambda: tab._case.by_slice(0, "dice")[4] == 0.0, timeout=5000)

    # what was painted is there after other ways of looking, and is saved beside what is there
    tab.controls.what.set_value("errors")
    tab.controls.what.set_value("labels")
    assert not labels_of(viewer)[1].data[4].any()
    monkeypatch.setattr(tab.edited, "ask_folder", lambda: tmp_path)
    tab.edited.save()
    tab.edited.save()
    written = sorted(path.name for path in tmp_path.glob("*edited*"))
    assert written == ["case_1_scratch_edited.nii.gz"], "once"
    method.undo()
    qtbot.waitUntil(lambda: tab.comparison.edits.unsaved != [], timeout=5000)
    method.redo()
    qtbot.waitUntil(lambda: tab._case.by_slice(0, "dice")[4] == 0.0, timeout=5000)
    tab.edited.save()
    written = sorted(path.name for path in tmp_path.glob("*edited*"))
    assert written == ["case_1_scratch_edited.nii.gz", "case_1_scratch_edited_2.nii.gz"], "nothing is written over"

    # painting on the reference scores all
    truth = labels_of(viewer)[0]
    truth.data_setitem((np.full(5, 4), np.full(5, 12), np.arange(8, 13)), 2)
    qtbot.waitUntil(lambda: tab._case.by_slice(1, "dice", 1)[4] < 1, timeout=5000)
    tab.edited.discard_button.click()
    qtbot.waitUntil(lambda: tab._case.by_slice(0, "dice")[4] == pytest.approx(before[0]), timeout=20_000)
    assert not tab.edited.isVisible() and labels_of(viewer)[1].data[4].any()


def _stroke(viewer, layer, places):
    """Press, drag and release of the mouse on the layer, at voxels."""
    from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

    class Mouse:
        def __init__(self, kind, place):
            self.type, self.button, self.buttons, self.modifiers = kind, 1, [1], []
            self.position = tuple(layer.data_to_world(place))
            self.is_dragging, self.handled = kind == "mouse_move", False
            self.dims_displayed, self.dims_point = list(viewer.dims.displayed), viewer.dims.point
            self.view_direction = self.up_direction = None

    mouse_press_callbacks(layer, Mouse("mouse_press", places[0]))
    for place in places[1:]:
        mouse_move_callbacks(layer, Mouse("mouse_move", place))
    mouse_release_callbacks(layer, Mouse("mouse_release", places[-1]))


def test_files_and_layers_from_elsewhere_and_the_distance_along_the_outline(window, qtbot, tmp_path):
    tab, bench, viewer = window
    truth = bench.study.label("case_1", purpose="evaluate")
    folder = tmp_path / "unet"
    folder.mkdir()
    for name, part in (("case_1_pred", truth.array), ("result", truth.array[:, :-4])):
        write_volume(folder / f"{name}.nii.gz", Volume(part.copy(), _geometry(truth, part.shape)))
    _drop(tab, [folder])
    qtbot.waitUntil(lambda: tab.view.titles == ["reference", "scratch", "pretrained", "unet"], timeout=20_000)
    assert tab._case.of_volume(2, "dice") == 1.0 and ("info", "unet: 1 scan of this study") in tab.said
    _drop(tab, [folder / "result.nii.gz"])
    qtbot.waitUntil(lambda: tab.refused.isVisible(), timeout=20_000)
    assert "does not lie on the grid of case case_1" in tab.refused.text.text()
    assert len(tab._case.methods) == 3, "the others are compared all the same"
    tab.refused.button.click()
    qtbot.waitUntil(lambda: tab._case is not None and len(tab._case.methods) == 4, timeout=20_000)
    assert not tab.refused.isVisible()
    _drop(tab, [tmp_path / "nothing.txt"])
    assert tab.said[-1][0] == "error" and "no volume" in tab.said[-1][1]

    mine = viewer.add_labels(np.roll(reference(1), 2, axis=2), name="mine", scale=SPACING, units=("mm",) * 3)
    assert tab.add_button.list_layers() == ["mine"]
    tab.add_button.add_layer(mine)
    qtbot.waitUntil(lambda: "mine" in tab.view.titles and not tab._reader.busy, timeout=20_000)
    assert 0.3 < tab._case.of_volume(4, "dice") < 1

    tab.controls.what.set_value("distances")
    qtbot.waitUntil(lambda: tab.view.cells[1].extra is not None and tab.view.cells[1].extra.visible, timeout=20_000)
    cells = {group.cell.title: group for group in tab.view.cells}
    assert not cells["reference"].extra.visible and cells["reference"].labels.visible
    assert set(np.unique(cells["unet"].extra.data)) == {0, MIDDLE}, "the same outline everywhere"
    found = cells["scratch"].extra.data[4]
    assert found.min() == 0 and (found[found > 0] < MIDDLE).any() and (found > MIDDLE).any()
    says = dict(zip(cells["scratch"].extra.features["index"], cells["scratch"].extra.features["says"], strict=True))
    assert says[MIDDLE] == "the same outline" and f"{tab.controls.bar.reach:g} mm" in tab.controls.bar.words[2]
    assert tab.controls.bar.isVisible() and not tab.controls.legend.isVisible()

    # a click on a scan of the matrix opens it
    qtbot.waitUntil(lambda: tab.strip.cases.grid.rowCount() > 0, timeout=20_000)
    tab.strip.tabs.setCurrentIndex(3)
    grid = tab.strip.cases.grid
    line = next(row for row in range(grid.rowCount()) if grid.item(row, 0).text() != "case_1")
    wanted = grid.item(line, 0).text()
    spot = grid.visualItemRect(grid.item(line, 1)).center()
    qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert bench.case_id == wanted


def _geometry(volume, shape):
    from dataclasses import replace

    if volume.array.shape == shape:
        return volume.geometry
    return replace(volume.geometry, shape=shape, source=replace(volume.geometry.source, shape=tuple(reversed(shape))))


def _drop(tab, paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    tab.dropEvent(QDropEvent(QPointF(5, 5), copy, mime, left, none))


def test_daggers_boxes_and_scans_of_a_table(qtbot):
    rng = np.random.default_rng(0)
    good = rng.uniform(0.8, 0.9, 12)
    table = table_of(good=list(good), much=list(good - rng.uniform(0.02, 0.06, 12)))
    view, boxes, cases = ScoreTableView(), BoxPlot(), CaseMatrix()
    for widget in (view, boxes, cases):
        qtbot.addWidget(widget)
        widget.resize(500, 300)
        widget.show()
    view.set_table(table)
    assert [row[1].endswith("†") for row in view.cells()[1:]] == [False, False], "not before it was tested"
    view.set_standings(standings(table, ("dice", "assd")))
    rows = {row[0]: row for row in view.cells()[1:]}
    assert not rows["Good"][1].endswith("†") and rows["Much"][1].endswith("†")

    colors = {"good": "#8F6FE8", "much": "#D6457F"}
    boxes.show_table(table, "dice", None, "all classes", colors)
    assert [box.title for box in boxes.boxes] == ["Good", "Much"]
    assert boxes.boxes[0].quartiles == pytest.approx(tuple(np.percentile(good, [25, 50, 75])))
    qtbot.waitUntil(lambda: boxes.place_of("case 3", "Much") is not None, timeout=5000)
    asked = []
    boxes.case_asked.connect(asked.append)
    cases.case_asked.connect(asked.append)
    qtbot.mouseClick(boxes, Qt.MouseButton.LeftButton, pos=boxes.place_of("case 3", "Much").toPoint())
    assert asked == ["case 3"]
    cases.show_table(table, "dice", 1, "organ", {"much": "#D6457F"})
    assert cases.grid.columnCount() == 2 and cases.grid.rowCount() == 12, "of those that are compared"
    cases.grid.cellClicked.emit(0, 1)
    assert asked[-1] == cases.grid.item(0, 0).text()

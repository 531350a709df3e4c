"""The Compare tab in a real viewer: cells, captions, curves, slices to step through, predictions, files."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_ssl_seg.gui import compare_tab as module
from napari_ssl_seg.gui import predict_bar
from napari_ssl_seg.gui.compare_captions import Letters, grid_shape
from napari_ssl_seg.gui.compare_cells import ERROR_COLORS
from napari_ssl_seg.gui.compare_files import slices_csv
from napari_ssl_seg.gui.compare_text import cell_text
from napari_ssl_seg.gui.layers import layer_tag
from napari_ssl_seg.workbench import Workbench
from napari_ssl_seg.workbench.predicting import PredictionProgress
from tests.workbench.compare_study import SPACING, add_run, make_study, reference, write_prediction

pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


@pytest.fixture
def study(tmp_path):
    study = make_study(tmp_path)
    add_run(study, "scratch", shift=3)
    add_run(study, "pretrained", shift=0)
    return study


# A viewer with nine layers takes seconds to build in software OpenGL: each test goes through several things in one.
@pytest.fixture
def window(make_napari_viewer, study, qtbot):
    """A tab in a viewer that shows case_1 of the study with both runs."""
    viewer = make_napari_viewer(show=True)
    bench = Workbench()
    tab = module.CompareTab(bench, viewer)
    tab.said = []
    bench.message.connect(lambda text, level: tab.said.append((level, text)))
    viewer.window.add_dock_widget(tab, area="right")
    bench.set_study(study)
    bench.open_case("case_1")
    qtbot.waitUntil(lambda: tab.view.shown and not tab._reader.busy, timeout=20_000)
    return tab, bench, viewer


def own(viewer, role):
    return [layer for layer in viewer.layers if (layer_tag(layer) or {}).get("role") == role]


def test_without_a_study_it_says_what_to_do(make_napari_viewer):
    viewer = make_napari_viewer()
    tab = module.CompareTab(Workbench(), viewer)
    viewer.window.add_dock_widget(tab)
    assert "Open a study" in tab.empty.text() and not tab.body.isVisibleTo(tab)


def test_cells_captions_curve_and_slices(window, qtbot):
    tab, bench, viewer = window
    # one cell a method, the reference first
    assert tab.view.titles == ["reference", "scratch", "pretrained"]
    grid = viewer.canvas.grid
    assert grid.enabled and grid.stride == 2 and np.prod(grid.shape) >= 3
    labels = own(viewer, "labels")
    np.testing.assert_array_equal(labels[2].data, labels[0].data)
    assert (labels[1].data != labels[0].data).any()
    colours = [tuple(np.round(layer.colormap.map(2), 3)) for layer in labels]
    assert len(set(colours)) == 1, "a class has one colour in every cell"
    assert tuple(labels[1].scale) == SPACING and bench.shown_runs == tuple(
        entry.key for entry in tab.comparison.entries
    )

    # the words in the cells follow the slider
    tab.go_to(4)
    assert viewer.dims.current_step[0] == 4
    words = [cell_text(layer) for layer in labels]
    assert words[0].text == "reference\nslice 4" and "scratch\nDice 0." in words[1].text
    assert words[2].text.startswith("★ pretrained\nDice 1.000") and str(words[2].color) != str(words[1].color)
    viewer.dims.set_current_step(0, 0)
    assert words[0].text == "reference\nslice 0" and words[1].text.startswith("scratch\nDice –")

    # the curve's cursor and clicks are tied to the slider
    assert [line.name for line in tab.strip.plot.lines] == ["scratch", "pretrained"]
    viewer.dims.set_current_step(0, 3)
    qtbot.waitUntil(lambda: tab.strip.plot.cursor == 3, timeout=5000)
    qtbot.waitUntil(lambda: tab.strip.plot.drawings > 0, timeout=20_000)
    tab.strip.plot.click(5.2)
    assert viewer.dims.current_step[0] == 5

    # worst slices are stepped through
    expected = [row[0] for row in tab._case.worst_first("dice")]
    assert tab.order.slices == expected
    tab.order.step(1)
    assert viewer.dims.current_step[0] == expected[0]
    tab.order.step(1)
    assert viewer.dims.current_step[0] == expected[1]
    tab.order.step(-1)
    assert viewer.dims.current_step[0] == expected[0]
    tab.order.order.set_value("disagreement")
    assert tab.order.slices[0] == int(np.argmax(tab._case.disagreement))


def test_errors_overlay_blink_classes_and_metrics(window):
    tab, _bench, viewer = window
    # errors, overlay, blink
    tab.controls.what.set_value("errors")
    errors = own(viewer, "errors")
    assert [layer.visible for layer in errors] == [False, True, True] and viewer.canvas.grid.stride == 3
    values = set(np.unique(errors[1].data)) - {0}
    assert values == set(ERROR_COLORS), "shifted balls are missed, extra and of another class somewhere"
    tab.controls.what.set_value("labels")
    assert own(viewer, "errors") == []
    tab.controls.set_mode("overlay")
    assert not viewer.canvas.grid.enabled
    assert [layer.contour for layer in own(viewer, "labels")] == [0, 1, 1]
    assert sum(layer.visible for layer in own(viewer, "image")) == 1
    tab.blink()
    assert [layer.visible for layer in own(viewer, "labels")] == [False, True, False], "the first of the two"
    tab.blink()
    assert [layer.visible for layer in own(viewer, "labels")] == [False, False, True]
    tab.blink()
    assert [layer.visible for layer in own(viewer, "labels")] == [False, True, False]
    tab.controls.first.set_value("reference")
    assert own(viewer, "labels")[0].visible and tab.view.front == "reference"
    assert own(viewer, "labels")[1].contour == 0
    tab.toggle_grid()
    assert viewer.canvas.grid.enabled

    # class and metric choose the numbers
    tab.controls.label.setCurrentIndex(1)
    tab.controls.metric.setCurrentIndex(1)
    np.testing.assert_allclose(tab.strip.plot.lines[0].y, tab._case.by_slice(0, "assd", 1))
    assert "ASSD" in tab.order.list.item(0).text() and "mm" in tab.order.list.item(0).text()
    volume = tab._case.of_volume(0, "dice", 1)
    assert f"{volume:.3f}" in tab.view.cells[1].cell.text(0)


def test_other_layers_come_back_and_axes_can_be_turned(window, qtbot):
    tab, _bench, viewer = window
    # other layers are hidden and come back
    mine = viewer.add_image(np.zeros((4, 4, 4)), name="mine", scale=SPACING, units=("mm",) * 3)
    tab.controls.label.setCurrentIndex(1)
    assert not mine.visible
    tab.hide()
    qtbot.waitUntil(lambda: not tab.view.shown, timeout=20_000)
    assert list(viewer.layers) == [mine] and mine.visible and not viewer.canvas.grid.enabled
    tab.show()
    qtbot.waitUntil(lambda: tab.view.shown, timeout=20_000)
    assert not mine.visible

    # turned axes are scored along the new slider
    viewer.dims.order = (2, 0, 1)
    qtbot.waitUntil(lambda: tab._case is not None and tab._case.axis == 2, timeout=20_000)
    assert len(tab.strip.plot.lines[0].x) == reference(0).shape[2]
    tab.go_to(7)
    assert viewer.dims.current_step[2] == 7


def test_ticks_table_missing_predictions_and_files(window, study, qtbot, monkeypatch, tmp_path):
    tab, bench, _viewer = window
    # files
    rows = list(csv.DictReader(io.StringIO(slices_csv(tab._case))))
    assert len(rows) == 2 * reference(1).shape[0] * 2
    assert {row["title"] for row in rows} == {"scratch", "pretrained"}
    target = tmp_path / "slices.csv"
    monkeypatch.setattr(tab.export, "ask_path", lambda _name: target)
    tab.export.export_slices()
    assert target.read_text().startswith("run,title,case,axis,slice,label,dice,assd,note")
    tab.add_button.add_folder(tmp_path)
    assert tab.said[-1][0] == "error" and "name of a case" in tab.said[-1][1]

    # ticks choose the methods and the table has them all
    qtbot.waitUntil(lambda: len(tab.strip.table.cells()) == 3, timeout=20_000)
    heading, *rows = tab.strip.table.cells()
    assert heading == ["Method", "inner", "outer", "mean", "cases", "missed"]
    assert {row[0] for row in rows} == {"scratch", "pretrained"}
    assert next(row for row in rows if row[0] == "pretrained")[3].startswith("1.000")
    first = tab.comparison.entries[0]
    tab.list.topLevelItem(1).setCheckState(0, Qt.CheckState.Unchecked)
    assert [entry.key for entry in tab.comparison.chosen] == [first.key] == list(bench.shown_runs)
    qtbot.waitUntil(lambda: tab.view.titles == ["reference", "scratch"], timeout=20_000)
    bench.show_runs([entry.key for entry in tab.comparison.entries])
    qtbot.waitUntil(lambda: len(tab.view.titles) == 3, timeout=20_000)

    # missing predictions are made by one button
    run = add_run(study, "new", shift=1, cases=[])

    def fake(given, missing):
        for run_id, cases in missing.items():
            for number, case_id in enumerate(cases):
                write_prediction(given, given.run(run_id), case_id, 1)
                yield PredictionProgress("new", number + 1, len(cases), 0.0)

    monkeypatch.setattr(predict_bar, "predict_missing", fake)
    bench.refresh_runs()
    bench.show_runs([run.id])
    qtbot.waitUntil(lambda: tab.predicting.here.isVisible() and not tab._reader.busy, timeout=20_000)
    assert tab.predicting.here.text() == "Predict this scan · 1 method"
    qtbot.waitUntil(lambda: tab.view.titles == ["reference", "new"], timeout=20_000)
    tab.predicting.here.click()
    qtbot.waitUntil(lambda: tab._case is not None and len(tab._case.methods) == 1, timeout=20_000)
    assert not tab.predicting.here.isVisible() and bench.job is None
    assert "missing" in tab.predicting.all.text()


@pytest.mark.parametrize(
    ("cells", "canvas", "shape"),
    [
        (1, (600, 800), (1, 1)),
        (4, (580, 520), (2, 2)),
        (3, (300, 1200), (1, 3)),
        (3, (1200, 300), (3, 1)),
        (9, (900, 900), (3, 3)),
    ],
)
def test_the_grid_shows_images_as_large_as_the_canvas_allows(cells, canvas, shape):
    assert grid_shape(cells, canvas, (35.0, 35.0)) == shape


def test_many_cells_never_make_a_column_that_is_all_captions():
    rows, columns = grid_shape(31, (600, 370), (50.0, 35.0))
    assert rows * columns >= 31 and 1 < columns < 31


def test_captions_say_their_numbers_whole_and_shorten_names(qapp):
    letters = Letters(96.0)
    caption = "Volume Fusion, 10 scans (3)\nDice 0.763  ASSD 1.23 mm\nvolume 0.779  0.82 mm"
    assert letters.wrapped(caption, 1000) == caption
    room = letters.width("volume 0.000")
    narrow = letters.wrapped(caption, room).split("\n")
    assert all(letters.width(line) <= room + 1 for line in narrow)
    assert "…" in narrow[0] and narrow[0].endswith("(3)")
    assert narrow[1:] == ["Dice 0.763", "ASSD 1.23", "volume 0.779", "0.82 mm"]
    line = letters.one_line(caption, letters.width("Dice 0.763  ASSD 1.23 mm") * 1.5)
    assert "…" in line and line.endswith("  Dice 0.763  ASSD 1.23 mm")


def test_an_outline_keeps_its_method_s_colour_when_the_case_is_drawn_again(window):
    tab, _bench, viewer = window
    tab.controls.set_mode("overlay")
    frame = own(viewer, "image")[0].bounding_box
    tab._draw()
    assert [set(layer.colormap.color_dict) <= {None, 0} for layer in own(viewer, "labels")] == [False, True, True]
    assert own(viewer, "image")[0].bounding_box is frame, "nothing was arranged anew"
    tab.controls.set_mode("side by side")
    assert [set(layer.colormap.color_dict) <= {None, 0} for layer in own(viewer, "labels")] == [False] * 3
    assert [layer.contour for layer in own(viewer, "labels")] == [0, 0, 0]
    new = own(viewer, "image")[0].bounding_box
    assert new is not frame and new.visible, "a frame is clipped to the cell it was made in"

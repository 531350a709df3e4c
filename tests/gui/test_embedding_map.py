"""The map of an embedding in a real viewer: made in the background, coloured, pointed at, clicked."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_ssl_seg.embedding.colours import CIVIDIS
from napari_ssl_seg.gui.embedding_map import HELP, EmbeddingMap, show_map
from napari_ssl_seg.gui.scatter import Scatter
from napari_ssl_seg.workbench import Workbench
from tests.embedding.test_vectors import run as run  # fixtures
from tests.embedding.test_vectors import study as study

pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


@pytest.fixture
def scatter(qtbot):
    widget = Scatter()
    qtbot.addWidget(widget)
    widget.resize(432, 232)
    widget.show()
    qtbot.waitExposed(widget)
    widget.set_points(np.array([[0.0, 0.0], [2.0, 1.0], [1.0, 0.5]]), ["#ff0000", "#00ff00", "#ff0000"])
    return widget


def test_points_fill_the_picture_with_the_second_axis_up(scatter):
    # 400 x 200 pixels within the margins of 16, 2 x 1 units: 200 pixels a unit.
    assert scatter.positions() == pytest.approx(np.array([[16, 216], [416, 16], [216, 116]]))
    image = scatter.grab().toImage()
    assert image.pixelColor(16, 216).name() == "#ff0000"
    assert image.pixelColor(416, 16).name() == "#00ff00"


def test_a_click_chooses_the_dot_and_a_drag_moves_the_map(scatter, qtbot):
    chosen, pointed = [], []
    scatter.chosen.connect(chosen.append)
    scatter.pointed.connect(pointed.append)
    for place in (QPoint(5, 5), QPoint(214, 114)):  # a pointer that is there already would not be told of
        qtbot.mouseMove(scatter, place)
        qtbot.wait(20)
    qtbot.mouseClick(scatter, Qt.MouseButton.LeftButton, pos=QPoint(414, 18))
    qtbot.mouseClick(scatter, Qt.MouseButton.LeftButton, pos=QPoint(300, 200))  # nothing there
    assert chosen == [1]
    assert next(place for place in pointed if place is not None and place >= 0) == 2
    qtbot.mousePress(scatter, Qt.MouseButton.LeftButton, pos=QPoint(216, 116))
    qtbot.mouseMove(scatter, QPoint(246, 106))
    qtbot.mouseRelease(scatter, Qt.MouseButton.LeftButton, pos=QPoint(246, 106))
    assert chosen == [1]
    assert scatter.positions()[2] == pytest.approx([246, 106])
    qtbot.mouseDClick(scatter, Qt.MouseButton.LeftButton, pos=QPoint(100, 20))
    assert scatter.positions()[2] == pytest.approx([216, 116])


@pytest.fixture
def panel(make_napari_viewer, study, run, qtbot):
    viewer = make_napari_viewer(show=True)
    bench = Workbench()
    bench.set_study(study)
    panel = show_map(bench, viewer, run.id, "scratch")
    qtbot.waitUntil(lambda: panel.made is not None and not panel.work.busy, timeout=60_000)
    return panel, bench, viewer, run


def test_the_map_has_a_dot_a_slice_and_a_click_opens_it(panel):
    shown, bench, _, _ = panel
    assert "24 slices" in shown.axes.text()
    assert shown.place.text() == HELP
    places = shown.made.embedding.places
    index = next(number for number, place in enumerate(places) if (place.case_id, place.centre[0]) == ("scan_2", 4))
    shown.scatter.chosen.emit(index)
    assert (bench.case_id, bench.slice_index) == ("scan_2", 4)
    shown.scatter.pointed.emit(index)
    assert "scan_2 · slice 4" in shown.place.text()
    bench.set_slice(1)
    assert places[shown.scatter._marked].centre[0] == 1


def test_colours_and_dots_can_be_chosen(panel, qtbot):
    shown, _, _, _ = panel
    assert CIVIDIS[0] in shown.legend.text()
    shown.colour.set_value("label")
    shown.colour.edited.emit()
    assert "no label" in shown.legend.text()
    shown.what.set_value("patches")
    shown.what.edited.emit()
    qtbot.waitUntil(lambda: shown.made.request.what == "patches", timeout=60_000)
    assert "patches" in shown.axes.text()


def test_another_run_uses_the_map_that_is_open(panel, qtbot):
    shown, bench, viewer, run = panel
    assert show_map(bench, viewer, run.id, "again") is shown
    qtbot.waitUntil(lambda: not shown.work.busy, timeout=60_000)
    assert shown.title.text() == "again"
    assert len(viewer.window._qt_window.findChildren(EmbeddingMap)) == 1

"""The comparison as volumes: turned in 3D with the grid on, and back."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.gui import compare_tab as module
from napari_ssl_seg.gui.compare_text import cell_text
from napari_ssl_seg.workbench import Workbench
from tests.workbench.compare_study import add_run, make_study

pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


def test_volumes_in_3d(make_napari_viewer, tmp_path, qtbot, recwarn):
    study = make_study(tmp_path)
    add_run(study, "scratch", shift=3)
    viewer = make_napari_viewer(show=True)
    bench = Workbench()
    tab = module.CompareTab(bench, viewer)
    viewer.window.add_dock_widget(tab, area="right")
    bench.set_study(study)
    bench.open_case("case_1")
    qtbot.waitUntil(lambda: tab.view.shown and not tab._reader.busy, timeout=60_000)
    tab.controls.outlines.setChecked(True)
    tab.go_to(4)
    text = "scratch\nDice 0.467"
    assert cell_text(tab.view.cells[1].labels).text.startswith(text)
    assert [group.labels.contour for group in tab.view.cells] == [1, 1]

    viewer.dims.ndisplay = 3
    assert [group.labels.contour for group in tab.view.cells] == [0, 0], "napari draws no outlines of volumes"
    assert viewer.canvas.grid.enabled and all(group.labels.visible for group in tab.view.cells)
    assert cell_text(tab.view.cells[1].labels).text.startswith(text)
    shown = viewer.screenshot(canvas_only=True, flash=False)
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) > 20, "something is drawn"

    tab.controls.what.set_value("errors")
    assert set(np.unique(tab.view.cells[1].extra.data)) >= {0, 1, 2} and tab.view.cells[1].extra.visible
    viewer.screenshot(canvas_only=True, flash=False)
    tab.controls.what.set_value("distances")
    qtbot.waitUntil(lambda: tab.view.cells[1].extra is not None and tab.view.cells[1].extra.data.any(), timeout=20_000)
    viewer.screenshot(canvas_only=True, flash=False)
    for mode in ("overlay", "blink", "side by side"):
        tab.controls.set_mode(mode)
        viewer.screenshot(canvas_only=True, flash=False)
        assert all(group.labels.contour == 0 for group in tab.view.cells)
    tab.controls.what.set_value("labels")

    viewer.dims.ndisplay = 2
    assert [group.labels.contour for group in tab.view.cells] == [1, 1], "outlines again"
    tab.go_to(4)
    assert cell_text(tab.view.cells[1].labels).text.startswith(text)
    assert not [str(found.message) for found in recwarn if "contour" in str(found.message)]

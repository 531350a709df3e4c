"""The panel: opens fast and light, shows what the workbench says, and takes folders."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QWidget

from napari_ssl_seg.gui import dock as dock_
from napari_ssl_seg.gui.style import mix, sheet
from napari_ssl_seg.workbench import JobLine

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.study import Study


def test_the_tabs_are_numbered_in_the_order_of_the_work(dock: SSLDock) -> None:
    titles = ["1 Study", "2 Pretext", "3 Train", "4 Compare", "5 Label"]
    assert [dock.tabs.tabText(index) for index in range(dock.tabs.count())] == titles
    assert type(dock.tab(dock_.STUDY)).__name__ == "StudyTab"


@pytest.mark.parametrize("index", range(5))
def test_every_tab_opens_in_a_window_and_follows_the_study(
    docked: SSLDock, study: Study, index: int, qtbot: Any
) -> None:
    docked.show_tab(index)
    qtbot.wait(20)
    docked.workbench.set_study(study)
    qtbot.wait(20)
    assert docked.messages.text == ""
    docked.workbench.set_study(None)
    qtbot.wait(20)


@pytest.mark.parametrize("index", (0, 1))
def test_no_tab_is_wider_than_the_panel(dock: SSLDock, study: Study, index: int, qtbot: Any) -> None:
    dock.workbench.set_study(study)
    dock.resize(380, 700)
    tab = dock.show_tab(index)
    qtbot.wait(50)
    assert dock.width() == 380
    page = tab.parentWidget()
    assert tab.width() <= page.width()
    too_wide = [
        widget
        for widget in tab.findChildren(QWidget)
        if widget.isVisible() and widget.mapTo(tab, QPoint(widget.width(), 0)).x() > tab.width()
    ]
    assert too_wide == []


def test_opening_the_panel_imports_nothing_heavy() -> None:
    code = """
        import sys
        from napari_ssl_seg.gui import dock, study_tab, pretext_tab
        heavy = ("torch", "monai", "SimpleITK", "nibabel", "lightning_fabric", "skimage")
        print([name for name in heavy if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_foot_shows_the_study_and_what_goes_on(dock: SSLDock, study: Study) -> None:
    foot = dock.foot
    assert foot.study_label.text() == "no study open" and not foot.job_row.isVisible()
    dock.workbench.set_study(study)
    assert foot.study_label.text() == "head-study · 6 scans · 5 labelled"
    stopped: list[bool] = []
    dock.workbench.set_job(JobLine("pretrain simmim", 0.48, 190, stop=lambda: stopped.append(True)))
    assert foot.job_row.isVisible()
    assert (foot.job_label.text(), foot.job_numbers.text()) == ("pretrain simmim", "48%  3:10 left")
    assert foot.bar.value() == 480
    foot.stop_button.click()
    assert stopped == [True] and "stopping" in foot.job_numbers.text() and not foot.stop_button.isEnabled()
    dock.workbench.set_job(None)
    assert not foot.job_row.isVisible()


def test_messages_are_sentences_that_can_be_put_away(dock: SSLDock) -> None:
    dock.workbench.say("head_003 cannot be read; copy it again", "error")
    assert dock.messages.isVisible() and dock.messages.text == "head_003 cannot be read; copy it again"
    dock.messages.close_button.click()
    assert not dock.messages.isVisible() and dock.messages.text == ""


def test_a_study_that_is_not_there_is_said_in_the_panel(dock: SSLDock, tmp_path: Path, settle: Any) -> None:
    dock.open_study(tmp_path / "nothing")
    settle(lambda: bool(dock.messages.text))
    assert "nothing" in dock.messages.text


def test_a_theme_change_restyles_the_panel(dock: SSLDock) -> None:
    before = dock.styleSheet()
    dock.viewer.theme = "light"
    assert dock.styleSheet() != before


def test_a_larger_font_reaches_the_tables(dock: SSLDock) -> None:
    from napari.settings import get_settings

    appearance = get_settings().appearance
    before, sheet_before = appearance.font_size, dock.styleSheet()
    try:
        appearance.font_size = before + 5
        assert f"font-size: {before + 5}pt" in dock.styleSheet() != sheet_before
    finally:
        appearance.font_size = before


def test_a_closed_panel_follows_nothing_any_more(docked: SSLDock, study: Study, settle: Any, qtbot: Any) -> None:
    viewer = docked.viewer
    docked.workbench.set_study(study)
    docked.workbench.open_case("head_000")
    settle(lambda: not docked.case_view.busy)
    index, sheet_before = docked.workbench.slice_index, docked.styleSheet()
    viewer.window.remove_dock_widget(docked)  # what the cross of a dock does
    viewer.theme = "light"
    viewer.dims.set_current_step(0, 1)
    qtbot.wait(100)
    assert (docked.workbench.slice_index, docked.styleSheet()) == (index, sheet_before)
    viewer.window.add_dock_widget(docked)
    image = docked.case_view.image_layer()
    assert image is not None
    viewer.dims.set_point(0, image.translate[0] + 2 * image.scale[0])
    settle(lambda: docked.workbench.slice_index == 2)


def test_the_panel_opens_in_less_than_half_a_second_of_work(qtbot: Any) -> None:
    from napari.components import ViewerModel

    from napari_ssl_seg.gui.dock import SSLDock

    begin = time.process_time()
    widget = SSLDock(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    assert time.process_time() - begin < 0.5
    widget.close()


def test_the_sheet_is_made_for_dark_and_light() -> None:
    dark = {"background": "#262930", "foreground": "#414851", "primary": "#5a626c", "text": "#f0f1f2"}
    light = {"background": "#efebe9", "foreground": "#d6d0ce", "primary": "#bcaba6", "text": "#3b3a39"}
    assert sheet(dark) != sheet(light)
    assert mix("#000000", "#ffffff", 0.5) == "#808080"


def test_the_next_case_is_one_call_away(dock: SSLDock, study: Study) -> None:
    dock.workbench.set_study(study)
    dock._next_case(1)
    assert dock.workbench.case_id == "head_000"
    dock.workbench.set_study(None)
    dock._next_case(1)  # nothing to open, nothing said
    assert dock.workbench.case_id is None

"""At 150 % font and with long names: choices say their words, names give way and are told by tooltips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtWidgets import QAbstractItemView

from napari_ssl_seg.gui import dock as panel
from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.curves import PlotLine
from napari_ssl_seg.gui.eliding import ElidingButton, ElidingCombo
from napari_ssl_seg.gui.method_list import MethodList, MethodRow
from napari_ssl_seg.gui.plot_legend import legend
from napari_ssl_seg.gui.run_list import AGE, RunList, RunRow
from napari_ssl_seg.gui.strip import StripDock
from napari_ssl_seg.workbench.state import JobLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.study import Study

LONG = "Volume Fusion with strong augmentation, second try on the workstation in the reading room, seed 2"


@pytest.fixture
def large(qtbot: Any) -> Iterator[None]:
    """Napari's font size at 15 points, and back."""
    from napari.settings import get_settings

    appearance = get_settings().appearance
    before = appearance.font_size
    appearance.font_size = 15
    yield
    appearance.font_size = before


@pytest.fixture
def narrow(large: None, dock: SSLDock, study: Study, monkeypatch: pytest.MonkeyPatch) -> SSLDock:
    """The panel as wide as it is in a window of 1280 pixels, with Qt's letters as large as napari's."""
    monkeypatch.setattr(StripDock, "update", lambda _self: None)  # there is no window to dock a strip in
    dock.setStyleSheet(dock.styleSheet() + "QWidget { font-size: 15pt; }")
    dock.resize(400, 700)
    dock.workbench.set_study(study)
    return dock


@pytest.mark.parametrize("tab", [panel.TRAIN, panel.COMPARE])
def test_no_choice_of_few_words_is_cut(narrow: SSLDock, tab: int, settle: Any) -> None:
    widget = narrow.show_tab(tab)
    if tab == panel.TRAIN:
        settle(lambda: widget._choices is not None)
        widget.pretrain_card.set_open(True)
        widget.finetune_card.set_open(True)
    settle(lambda: widget.width() > 0)
    combos = [
        combo for combo in widget.findChildren(ElidingCombo) if combo.isVisible() and len(combo.currentText()) < 14
    ]
    assert len(combos) >= (5 if tab == panel.TRAIN else 0)
    settle(lambda: all(combo.shown_text() == combo.currentText() for combo in combos))
    for combo in combos:
        assert combo.geometry().right() <= combo.parentWidget().width()


def test_a_long_name_is_elided_in_a_choice_and_told_by_its_tooltip(qtbot: Any) -> None:
    combo = ElidingCombo()
    qtbot.addWidget(combo)
    refill(combo, [(LONG, 1), ("scratch", 2)])
    combo.resize(combo.minimumSizeHint())
    combo.show()
    assert combo.width() < combo.fontMetrics().horizontalAdvance(LONG)
    assert combo.shown_text().startswith("Vol") and "…" in combo.shown_text() and combo.currentText() == LONG
    combo.setCurrentIndex(1)
    assert combo.shown_text() == "scratch"


def test_a_button_becomes_narrower_than_its_words(qtbot: Any) -> None:
    button = ElidingButton("Predict this scan · 3 methods")
    qtbot.addWidget(button)
    button.resize(button.sizeHint())
    button.show()
    assert button.shown_text() == button.text()
    button.resize(button.minimumSizeHint())
    assert button.shown_text().endswith("…") and button.width() < button.sizeHint().width()


def test_thirty_runs_scroll_and_the_age_gives_way_to_names(qtbot: Any) -> None:
    runs = RunList()
    qtbot.addWidget(runs)
    rows = [RunRow(f"run-{n}", f"Volume Fusion, {n} scans", "finished", 0.8, "44 min", f"run-{n}") for n in range(30)]
    rows[0] = RunRow("run-0", LONG, "failed", None, "3 d", "out of memory; make the batch smaller")
    runs.resize(900, 200)
    runs.show()
    runs.set_rows(rows)
    assert not runs.isColumnHidden(AGE)
    runs.resize(260, 200)
    assert runs.isColumnHidden(AGE) and runs.topLevelItemCount() == 30
    tip = runs.topLevelItem(0).toolTip(0)
    assert LONG in tip and "failed · 3 d" in tip and "make the batch smaller" in tip
    assert runs.verticalScrollMode() in QAbstractItemView.ScrollMode and runs.verticalScrollBar().maximum() > 0


def test_a_method_s_whole_name_is_in_its_tooltip(qtbot: Any) -> None:
    methods = MethodList()
    qtbot.addWidget(methods)
    methods.resize(300, 200)
    methods.set_rows([MethodRow("key", LONG, "#1E8FA6", True, 0.8, 0.7, "key")])
    assert methods.topLevelItem(0).toolTip(0) == f"{LONG}\nkey"


def test_a_long_job_keeps_its_numbers_and_sizes_give_way_to_names(narrow: SSLDock, settle: Any) -> None:
    narrow.workbench.set_job(JobLine(LONG, 0.27, 198))
    foot = narrow.foot
    assert foot.job_label.toolTip() == LONG and foot.job_numbers.text() == "27%  3:18 left"
    settle(lambda: foot.job_numbers.width() >= foot.job_numbers.sizeHint().width())
    table = narrow.show_tab(panel.STUDY).filled.table
    size, name = 1, 0
    tip = table.model().index(0, name).data(3)
    assert "head_000" in tip and "voxels" in tip
    assert table.isColumnHidden(size) or table.columnWidth(size) >= table.sizeHintForColumn(size) - 8


def test_a_legend_shows_whole_entries_and_how_many_more(qtbot: Any) -> None:
    from qtpy.QtGui import QFont, QFontMetrics

    metrics = QFontMetrics(QFont())
    lines = [PlotLine(f"scratch, {n} scans", "#1E8FA6", np.arange(3), np.arange(3)) for n in range(6)]
    assert legend("Loss", lines, None, metrics, 4000).count("━") == 6
    text = legend("Loss", lines, None, metrics, 360)
    shown = text.count("━")
    assert 1 <= shown < 6 and text.endswith(f"+&nbsp;{6 - shown}")

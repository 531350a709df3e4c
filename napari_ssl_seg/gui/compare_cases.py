"""A table of scan x method: which scans are hard, and for whom; a click opens the scan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.run_list import swatch
from napari_ssl_seg.gui.score_table import NumberItem
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.evaluation import ScoreTable

GOOD, BAD = "#2166AC", "#B2182B"
STRONGEST = 150
"""Of 255: the numbers have to be read on it."""


class CaseMatrix(QWidget):
    """One line a scan, one column a method.

    Signals
    -------
    case_asked(str)
        Open that scan.
    """

    case_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.head = QWidget()
        """The title; may be shown elsewhere."""
        self.title = QLabel()
        mark(self.title, "hint")
        row = QHBoxLayout(self.head)
        row.setContentsMargins(4, 0, 4, 0)
        row.addWidget(self.title, 1)
        self.grid = QTableWidget()
        self.grid.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.grid.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.grid.verticalHeader().hide()
        self.grid.verticalHeader().setMinimumSectionSize(0)
        self.grid.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.grid.setAccessibleName("Scores by scan and method")
        self.grid.cellClicked.connect(self._clicked)
        self._case: str | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.grid, 1)
        self.show_table(None, "dice", None, "", {})

    def show_table(
        self, table: ScoreTable | None, metric: str, label: int | None, class_name: str, colors: Mapping[str, str]
    ) -> None:
        """Show one metric of one class (None: the mean over classes) of the methods that have a colour."""
        runs = {run: title for run, title in (table.runs if table is not None else {}).items() if run in colors}
        values = {run: table.by_case(metric, run, label) for run in runs} if table is not None else {}
        cases = list(dict.fromkeys(case for by_case in values.values() for case in by_case))
        self.title.setText(
            f"{METRIC_WORDS[metric]}{' (mm)' if metric == 'assd' else ''}, {class_name}; click to open the scan"
            if cases
            else "No scores yet: tick methods, and predict labelled scans."
        )
        self.grid.setSortingEnabled(False)
        self.grid.clear()
        self.grid.setRowCount(len(cases))
        self.grid.setColumnCount(1 + len(runs))
        self.grid.setHorizontalHeaderItem(0, QTableWidgetItem("Scan"))
        for column, (run, title) in enumerate(runs.items(), start=1):
            item = QTableWidgetItem(swatch(colors[run]), title)
            item.setToolTip(title)
            self.grid.setHorizontalHeaderItem(column, item)
        known = [value for by_case in values.values() for value in by_case.values() if math.isfinite(value)]
        ends = (min(known), max(known)) if known else (0.0, 1.0)
        for line, case in enumerate(cases):
            self._fill(line, case, metric, [values[run].get(case, math.nan) for run in runs], ends)
        self.grid.setSortingEnabled(True)
        header = self.grid.horizontalHeader()
        for column in range(self.grid.columnCount()):
            header.setSectionResizeMode(
                column, QHeaderView.ResizeMode.Stretch if column else QHeaderView.ResizeMode.ResizeToContents
            )
        self.set_case(self._case)

    def set_case(self, case_id: str | None) -> None:
        """Mark the line of the open scan."""
        self._case = case_id
        for line in range(self.grid.rowCount()):
            item = self.grid.item(line, 0)
            font = item.font()
            font.setBold(item.text() == case_id)
            item.setFont(font)

    def _fill(self, line: int, case: str, metric: str, values: list[float], ends: tuple[float, float]) -> None:
        self.grid.setItem(line, 0, QTableWidgetItem(case))
        known = [value for value in values if math.isfinite(value)]
        best = (max(known) if metric == "dice" else min(known)) if len(known) > 1 else None
        for column, value in enumerate(values, start=1):
            item = NumberItem(_text(value, metric), value if math.isfinite(value) else -math.inf)
            item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            if value == best and max(known) > min(known):
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            if math.isfinite(value):
                item.setBackground(_tint(value, ends, metric))
            self.grid.setItem(line, column, item)

    def _clicked(self, line: int, _column: int) -> None:
        self.case_asked.emit(self.grid.item(line, 0).text())


def _text(value: float, metric: str) -> str:
    return "–" if not math.isfinite(value) else f"{value:.3f}" if metric == "dice" else f"{value:.2f}"


def _tint(value: float, ends: tuple[float, float], metric: str) -> Any:
    """Blue the better half of the range, red the worse; strongest at its ends."""
    low, high = ends
    share = 0.5 if high <= low else (value - low) / (high - low)
    share = share if metric == "dice" else 1 - share
    color = QColor(GOOD if share >= 0.5 else BAD)
    color.setAlpha(round(STRONGEST * abs(2 * share - 1)))
    return color

"""The strip of the Compare tab: a metric against the slice, one line a method; the table of scores, boxes, and scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from napari_ssl_seg.gui.compare_boxes import BoxPlot
from napari_ssl_seg.gui.compare_cases import CaseMatrix
from napari_ssl_seg.gui.curves import CurvePlot, PlotLine
from napari_ssl_seg.gui.score_table import ScoreTableView
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.workbench.compared_case import CaseComparison

MARKED = 5
"""So many of the worst slices are marked on the axis."""
LEAST_LINES = 8
"""Height of the tables and boxes, in lines of text."""


class CompareStrip(QWidget):
    """Pages: the curve of the open case; of all cases the table, the box plots, and the matrix of scan and method.

    Signals
    -------
    case_asked(str)
        Open that scan.
    """

    case_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plot = CurvePlot(
            x_label="slice", y_range=(0.0, 1.0), whole_x=True, empty_text="Tick methods that have predicted this scan."
        )
        self.table = ScoreTableView()
        self._table: ScoreTable | None = None
        self.tabs, heads, pages = QTabBar(), QStackedWidget(), QStackedWidget()
        # Legend, or metric and Copy, stand beside the tabs: the strip is low, and lower still where letters are large.
        self.boxes, self.cases = BoxPlot(), CaseMatrix()
        pages_named: list[tuple[str, Any]] = [
            ("By slice", self.plot),
            ("Table", self.table),
            ("Boxes", self.boxes),
            ("Scans", self.cases),
        ]
        for name, page in pages_named:
            heads.addWidget(page.head)
            pages.addWidget(page)
            self.tabs.addTab(name)
        self.tabs.currentChanged.connect(heads.setCurrentIndex)
        self.tabs.currentChanged.connect(pages.setCurrentIndex)
        # A table or boxes of three lines are of no use; the curve is, on a low screen.
        self.tabs.currentChanged.connect(
            lambda page: pages.setMinimumHeight(LEAST_LINES * self.fontMetrics().height() if page else 0)
        )
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(False)
        for asker in (self.boxes, self.cases):
            asker.case_asked.connect(self.case_asked)
        row = QHBoxLayout()
        row.addWidget(self.tabs)
        row.addWidget(heads, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(row)
        layout.addWidget(pages, 1)

    def show_case(self, case: CaseComparison | None, metric: str, label: int | None, class_name: str) -> None:
        """Draw the curves of a case; None: nothing is compared."""
        lines = []
        if case is not None:
            steps = np.arange(case.n_slices)
            for index, method in enumerate(case.methods):
                values = case.by_slice(index, metric, label)
                if np.isfinite(values).any():
                    lines.append(PlotLine(method.entry.title, method.entry.color, steps, values))
        self.plot.set_title(f"{METRIC_WORDS[metric]}, {class_name}" if lines else "")
        self.plot.set_y_range((0.0, 1.03) if metric == "dice" else None)
        self.plot.set_marks(np.array([row[0] for row in case.worst_first(metric, label)[:MARKED]] if case else []))
        self.plot.set_lines(lines, now=True)

    def show_table(
        self, table: ScoreTable | None, metric: str, label: int | None, class_name: str, colors: Mapping[str, str]
    ) -> None:
        """Show the scores of all cases; boxes and scans of those methods that have a colour."""
        if table is not self._table:
            self._table = table
            self.table.set_table(table)
        for page in (self.boxes, self.cases):
            page.show_table(table, metric, label, class_name, colors)

    def set_case(self, case_id: str | None) -> None:
        """Mark the open scan."""
        self.boxes.set_case(case_id)
        self.cases.set_case(case_id)

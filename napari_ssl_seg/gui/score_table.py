"""The table of scores: method x class, mean and standard deviation over the cases. Sorted by a click, copied, saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_ssl_seg.gui.eliding import ElidingCombo
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.workbench.significance import Standing

AVERAGE_WORD = "mean"
DAGGER = "†"


class ScoreTableView(QWidget):
    """One line a method; one column a class, and their mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table: ScoreTable | None = None
        self._summary: list[dict[str, Any]] = []
        self._standings: Mapping[tuple[str, int | None], Standing] = {}
        self.metric = ElidingCombo()
        for name, word in METRIC_WORDS.items():
            self.metric.addItem(word if name == "dice" else f"{word} (mm)", name)
        self.metric.setToolTip("What the table shows")
        self.metric.currentIndexChanged.connect(lambda _index: self._fill())
        self.note = QElidingLabel()
        mark(self.note, "hint")
        self.copy_button = QPushButton("Copy")
        self.copy_button.setToolTip("Copy the table, for a spreadsheet (Ctrl+C)")
        self.copy_button.clicked.connect(self.copy)
        self.grid = QTableWidget()
        self.grid.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.grid.setSortingEnabled(True)
        self.grid.setAlternatingRowColors(False)
        self.grid.verticalHeader().hide()
        self.grid.verticalHeader().setMinimumSectionSize(0)
        self.grid.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.grid.setAccessibleName("Scores by method and class")
        self.head = QWidget()
        """Metric, note and Copy; may be shown elsewhere."""
        head = QHBoxLayout(self.head)
        head.setContentsMargins(4, 0, 4, 0)
        head.addWidget(self.metric)
        head.addWidget(self.note, 1)
        head.addWidget(self.copy_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.head)
        layout.addWidget(self.grid, 1)
        self.set_table(None)

    def set_table(self, table: ScoreTable | None) -> None:
        """Show these scores; None or an empty table: none yet. What differs by more than chance comes later."""
        self._standings = {}
        self._table = table if table is not None and len(table) else None
        self._summary = self._table.summary(list(METRIC_WORDS)) if self._table is not None else []
        self.copy_button.setEnabled(self._table is not None)
        self._fill()

    def set_standings(self, standings: Mapping[tuple[str, int | None], Standing]) -> None:
        """By metric and label (None: the mean), from `significance.standings` of the table that is shown."""
        self._standings = standings
        self._fill()

    def cells(self) -> list[list[str]]:
        """The texts shown, the heading first."""
        rows, columns = range(self.grid.rowCount()), range(self.grid.columnCount())
        heading = [self.grid.horizontalHeaderItem(column).text() for column in columns]
        return [heading, *([self.grid.item(row, column).text() for column in columns] for row in rows)]

    def copy(self) -> None:
        """Put the table on the clipboard, columns parted by tabs."""
        QGuiApplication.clipboard().setText("\n".join("\t".join(row) for row in self.cells()))

    def keyPressEvent(self, event: Any) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def _fill(self) -> None:
        metric = self.metric.currentData()
        self.grid.setSortingEnabled(False)
        self.grid.clear()
        classes = {row["label"]: row["class"] for row in self._summary}
        labels = sorted(label for label in classes if label is not None) + ([None] if None in classes else [])
        runs = list(dict.fromkeys(row["run"] for row in self._summary))
        self.grid.setRowCount(len(runs))
        self.grid.setColumnCount(1 + len(labels) + 2 * bool(runs))
        headings = [
            "Method",
            *(AVERAGE_WORD if label is None else classes[label] for label in labels),
            "cases",
            "missed",
        ]
        self.grid.setHorizontalHeaderLabels(headings if runs else ["Method"])
        found = {(row["run"], row["label"]): row for row in self._summary}
        best = {label: self._best(metric, [found.get((run, label)) for run in runs]) for label in labels}
        for line, run in enumerate(runs):
            self.grid.setItem(line, 0, NumberItem(found[run, labels[-1]]["title"], None))
            for column, label in enumerate(labels, start=1):
                row = found.get((run, label))
                stand = self._standings.get((metric, label))
                text, value = _value(row, metric)
                item = NumberItem(f"{text} {DAGGER}" if stand is not None and run in stand.worse else text, value)
                item.setToolTip(stand.words.get(run, "") if stand is not None else "")
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                font = item.font()
                font.setBold(len(runs) > 1 and row is not None and row[metric] == best[label])
                item.setFont(font)
                self.grid.setItem(line, column, item)
            total = found[run, labels[-1]]
            for column, name in enumerate(("n", "missed"), start=len(labels) + 1):
                item = NumberItem(str(total[name]), total[name])
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.grid.setItem(line, column, item)
        self.grid.setSortingEnabled(True)
        header = self.grid.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        if runs:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.note.setText(self._words())
        self.note.setToolTip(
            f"{self._words()} in the paired t-test and the Wilcoxon test over cases, each corrected after Holm for the"
            " number of methods; the tooltip of a cell says more"
            if self._table is not None
            else ""
        )

    def _words(self) -> str:
        if self._table is None:
            return "No scores yet: predict labelled scans."
        splits = ", ".join(sorted({row.split or "other" for row in self._table.rows}))
        return f"mean ± standard deviation over {count(len(self._table.cases), 'case')} ({splits}); best in bold, {DAGGER} differs from it (p < 0.05)"

    @staticmethod
    def _best(metric: str, rows: Sequence[dict[str, Any] | None]) -> float | None:
        values = [row[metric] for row in rows if row is not None and math.isfinite(row[metric])]
        return None if not values else max(values) if metric == "dice" else min(values)


class NumberItem(QTableWidgetItem):
    """A cell that sorts by its number."""

    def __init__(self, text: str, value: float | None) -> None:
        super().__init__(text)
        self.value = value

    def __lt__(self, other: QTableWidgetItem) -> bool:
        if isinstance(other, NumberItem) and self.value is not None and other.value is not None:
            return self.value < other.value
        return super().__lt__(other)


def _value(row: dict[str, Any] | None, metric: str) -> tuple[str, float]:
    if row is None or not math.isfinite(row[metric]):
        return "–", float("-inf")
    digits = 3 if metric == "dice" else 2
    spread = row[f"{metric}_sd"]
    text = f"{row[metric]:.{digits}f}"
    return (f"{text} ± {spread:.{digits}f}" if math.isfinite(spread) else text), float(row[metric])

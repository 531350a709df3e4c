"""The strip of the Label tab: states of slices as a coloured band; below it the label efficiency, or the log of effort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QTabBar,
    QToolButton,
    QToolTip,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.curves import CurvePlot, PlotLine
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.labelling_effort import effort_line
from napari_ssl_seg.workbench.labelling_next import Efficiency
from napari_ssl_seg.workbench.labelling_states import FLAGGED, LOOKS, UNLABELLED, legend_counts, stretches
from napari_ssl_seg.workbench.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_ssl_seg.annotation import Effort

LINES_HIGH = 1.5
SIGN_ROOM = 9
MEASURED, RANDOM = "#1E8FA6", "#7A7F8C"


class StateBand(QWidget):
    """One cell a slice, from the first at the left, as the slider has them; a click goes there.

    Signals
    -------
    clicked(int)
        That slice.
    """

    clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._states: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._here = -1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("States of the slices")
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:
        return QSize(200, round(LINES_HIGH * self.fontMetrics().height()) + 4)

    def show_states(self, states: NDArray[np.uint8], here: int) -> None:
        """Show these; ``here`` is the slice that is looked at."""
        self._states, self._here = np.array(states), here
        self.update()

    def slice_at(self, x: float) -> int:
        """The slice whose cell lies there; -1 where there is none."""
        if not len(self._states) or self.width() < 3:
            return -1
        return min(len(self._states) - 1, max(0, int(x * len(self._states) / self.width())))

    def cell(self, index: int) -> QRect:
        """Where a slice is drawn."""
        left = round(index * self.width() / max(1, len(self._states)))
        right = round((index + 1) * self.width() / max(1, len(self._states)))
        return QRect(left, 2, max(1, right - left), self.height() - 4)

    def paintEvent(self, _event: Any) -> None:
        painter = QPainter(self)
        text = self.palette().windowText().color()
        for run in stretches(self._states):
            look = LOOKS.get(run.state, LOOKS[UNLABELLED])
            area = self.cell(run.start).united(self.cell(run.stop - 1))
            colour = QColor(look.colour)
            if run.state == UNLABELLED:
                colour.setAlphaF(0.25)
            painter.fillRect(area, colour)
            if look.sign:
                step = max(1, -(-SIGN_ROOM * len(self._states) // max(1, self.width())))
                painter.setPen(QColor("white"))
                for z in range(run.start + (step - 1) // 2, run.stop, step if run.state != FLAGGED else 1):
                    cell = self.cell(z)
                    painter.drawText(
                        cell.adjusted(-SIGN_ROOM, 0, SIGN_ROOM, 0), Qt.AlignmentFlag.AlignCenter, look.sign
                    )
        cells = self.width() / max(1, len(self._states))
        if cells >= 5:
            painter.setPen(QPen(self.palette().window().color(), 1))
            for z in range(1, len(self._states)):
                painter.drawLine(self.cell(z).left(), 2, self.cell(z).left(), self.height() - 3)
        if 0 <= self._here < len(self._states):
            painter.setPen(QPen(text, 2))
            painter.drawRect(self.cell(self._here).adjusted(0, -1, 0, 0))

    def mousePressEvent(self, event: Any) -> None:
        if len(self._states):
            self.clicked.emit(self.slice_at(event.position().x()))

    def mouseMoveEvent(self, event: Any) -> None:
        index = self.slice_at(event.position().x())
        if index < 0:
            return
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(index)
        QToolTip.showText(
            event.globalPosition().toPoint(), f"slice {index}: {LOOKS[int(self._states[index])].name}", self
        )


class StateLegend(QWidget):
    """What the colours and signs mean, and how many slices are so."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.labels: dict[int, QLabel] = {}
        for state, look in LOOKS.items():
            label = QLabel()
            label.setToolTip(look.help)
            self.labels[state] = label
            row.addWidget(label)
        row.addStretch(1)

    def show_counts(self, states: NDArray[np.uint8]) -> None:
        for state, number in legend_counts(states).items():
            look = LOOKS[state]
            self.labels[state].setText(
                f'<span style="color:{look.colour}">■</span> {look.sign + " " if look.sign else ""}{look.name} {number}'
            )


class EffortPage(QWidget):
    """Effort by tool, with its export and its end.

    Signals
    -------
    export_asked(), delete_asked()
    """

    export_asked = Signal()
    delete_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table = QTreeWidget()
        self.table.setHeaderLabels(["Tool", "Time", "Clicks", "Voxels", "Slices"])
        self.table.setRootIsDecorated(False)
        self.table.setAccessibleName("Effort by tool")
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        header = self.table.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.head = QWidget()
        """The sum and the buttons; shown beside the tabs."""
        self.line = QLabel()
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        mark(self.line, "hint")
        self.export_button, self.delete_button = QPushButton("Export CSV …"), QPushButton("Delete …")
        self.export_button.setToolTip("One row a slice and tool: seconds, clicks, changed voxels")
        self.delete_button.setToolTip("Take the whole log of effort of this study away; the labels stay")
        for button in (self.export_button, self.delete_button):
            mark(button, "quiet")
        self.export_button.clicked.connect(lambda: self.export_asked.emit())
        self.delete_button.clicked.connect(lambda: self.delete_asked.emit())
        row = QHBoxLayout(self.head)
        row.setContentsMargins(4, 0, 4, 0)
        row.addWidget(self.line, 1)
        row.addWidget(self.export_button)
        row.addWidget(self.delete_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)

    def show_effort(self, efforts: Sequence[Effort]) -> None:
        """Show sums by tool; an idle half minute is not counted anywhere."""
        from napari_ssl_seg.annotation.effort import effort_by_tool

        self.line.setText(effort_line(efforts))
        self.table.clear()
        for tool, total in effort_by_tool(efforts).items():
            words = [tool, duration(total.seconds), str(total.clicks), str(total.voxels), str(total.slices)]
            item = QTreeWidgetItem(words)
            for column in range(1, len(words)):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.addTopLevelItem(item)
        for button in (self.export_button, self.delete_button):
            button.setEnabled(bool(efforts))


class LabelStrip(QWidget):
    """The band with its legend, and pages below it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.band, self.legend = StateBand(), StateLegend()
        self.plot = CurvePlot(
            y_range=(0.0, 1.0),
            whole_x=True,
            empty_text="Label slices, train, and check some slices of validation scans: then the curve of this study is here.",
        )
        self._efficiency = Efficiency()
        self.minutes, self.chance = QToolButton(), QPushButton("Chance")
        self.minutes.setText("by minutes")
        self.minutes.setCheckable(True)
        self.minutes.setToolTip("Against minutes spent on labelling, instead of slices")
        mark(self.minutes, "switch")
        self.minutes.toggled.connect(lambda _on: self.show_efficiency(self._efficiency))
        self.chance.setToolTip(
            "Simulate what random choice would have reached: short trainings on random slices of those that are labelled."
            " It takes minutes, and flatters chance, which draws from slices that were suggested"
        )
        mark(self.chance, "quiet")
        curve_head = QWidget()
        curve_row = QHBoxLayout(curve_head)
        curve_row.setContentsMargins(0, 0, 0, 0)
        curve_row.addWidget(self.plot.head, 1)
        curve_row.addWidget(self.minutes)
        curve_row.addWidget(self.chance)
        self.effort = EffortPage()
        self.tabs, heads, self.pages = QTabBar(), QStackedWidget(), QStackedWidget()
        pages: list[tuple[str, QWidget, QWidget]] = [
            ("Label efficiency", self.plot, curve_head),
            ("Effort", self.effort, self.effort.head),
        ]
        for name, page, head in pages:
            heads.addWidget(head)
            self.pages.addWidget(page)
            self.tabs.addTab(name)
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.currentChanged.connect(heads.setCurrentIndex)
        self.tabs.currentChanged.connect(self.pages.setCurrentIndex)
        row = QHBoxLayout()
        row.addWidget(self.tabs)
        row.addWidget(heads, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 0)
        layout.setSpacing(1)
        layout.addWidget(self.band)
        layout.addWidget(self.legend)
        layout.addLayout(row)
        layout.addWidget(self.pages, 1)

    def show_states(self, states: NDArray[np.uint8], here: int) -> None:
        self.band.show_states(states, here)
        self.legend.show_counts(states)

    def show_efficiency(self, found: Efficiency) -> None:
        """Dice on the labelled slices of validation scans, against labelled slices or minutes."""
        self._efficiency = found
        by_minutes = self.minutes.isChecked()
        self.minutes.setEnabled(any(minutes is not None for _, minutes, _ in found.points))
        lines = []
        chance = [] if by_minutes else list(found.chance)
        for name, color, line in (
            ("this study", MEASURED, found.line(minutes=by_minutes)),
            ("random choice", RANDOM, chance),
        ):
            if line:
                x, y = np.array(line, float).T
                lines.append(PlotLine(name, color, x, y, dashed=name != "this study"))
        against = "minutes spent" if by_minutes else "labelled slices"
        self.plot.set_title(f"Dice on checked validation slices against {against}" if lines else "")
        self.plot.set_lines(lines, now=True)

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.band.updateGeometry()

"""Box plots by case: a box a method, a point a scan; a click on a point opens the scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QToolTip, QWidget

from napari_ssl_seg.gui.plot_scale import Scale, round_ticks, span, tick_text
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.evaluation import ScoreTable

WIDEST, RADIUS, NEAR = 64.0, 3.0, 7.0


@dataclass(frozen=True)
class Box:
    """One method."""

    title: str
    color: str
    cases: tuple[str, ...]
    values: np.ndarray
    """Of those cases for which it is defined."""

    @property
    def quartiles(self) -> tuple[float, float, float]:
        low, middle, high = np.percentile(self.values, [25, 50, 75])
        return float(low), float(middle), float(high)

    @property
    def whiskers(self) -> tuple[float, float]:
        """The farthest values within one and a half times the box's height from it (Tukey)."""
        low, _, high = self.quartiles
        inside = self.values[(self.values >= low - 1.5 * (high - low)) & (self.values <= high + 1.5 * (high - low))]
        return float(inside.min()), float(inside.max())


class BoxPlot(QWidget):
    """Boxes beside each other.

    Signals
    -------
    case_asked(str)
        Open that scan.
    """

    case_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._boxes: list[Box] = []
        self._metric = "dice"
        self._case: str | None = None
        self._places: list[tuple[QPointF, str, str]] = []
        self.head = QWidget()
        """The title; may be shown elsewhere."""
        self.title = QLabel()
        mark(self.title, "hint")
        layout = QHBoxLayout(self.head)
        layout.setContentsMargins(4, 0, 4, 0)
        layout.addWidget(self.title, 1)
        self.setMinimumHeight(60)
        self.setMouseTracking(True)
        self.setAccessibleName("Scores by scan")
        self.show_table(None, "dice", None, "", {})

    @property
    def boxes(self) -> list[Box]:
        return list(self._boxes)

    def show_table(
        self, table: ScoreTable | None, metric: str, label: int | None, class_name: str, colors: Mapping[str, str]
    ) -> None:
        """Show one metric of one class (None: the mean over classes) of the methods that have a colour."""
        self._metric, self._boxes = metric, []
        for run, title in (table.runs if table is not None else {}).items():
            by_case = table.by_case(metric, run, label) if table is not None and run in colors else {}
            known = {case: value for case, value in by_case.items() if math.isfinite(value)}
            if known:
                self._boxes.append(Box(title, colors[run], tuple(known), np.array(list(known.values()))))
        number = max((len(box.cases) for box in self._boxes), default=0)
        unit = ", mm" if metric == "assd" else ""
        self.title.setText(
            f"{METRIC_WORDS[metric]}{unit}, {class_name}: a point a scan (up to {number}), median and quartiles"
            if self._boxes
            else "No scores yet: tick methods, and predict labelled scans."
        )
        self.update()

    def set_case(self, case_id: str | None) -> None:
        """Ring the points of the open scan."""
        if case_id != self._case:
            self._case = case_id
            self.update()

    def place_of(self, case_id: str, title: str) -> QPointF | None:
        """Where the point of a scan and method was drawn."""
        return next((place for place, case, method in self._places if (case, method) == (case_id, title)), None)

    def mousePressEvent(self, event: Any) -> None:
        found = self._at(event.position())
        if found is not None:
            self.case_asked.emit(found[0])

    def mouseMoveEvent(self, event: Any) -> None:
        found = self._at(event.position())
        self.setCursor(Qt.CursorShape.PointingHandCursor if found else Qt.CursorShape.ArrowCursor)

    def event(self, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.ToolTip:
            found = self._at(QPointF(event.pos()))  # type: ignore[attr-defined]
            QToolTip.showText(event.globalPos(), "" if found is None else f"{found[0]}\n{found[1]}", self)  # type: ignore[attr-defined]
            return True
        return super().event(event)

    def _at(self, at: QPointF) -> tuple[str, str] | None:
        near = [
            (math.hypot(place.x() - at.x(), place.y() - at.y()), case, title) for place, case, title in self._places
        ]
        nearest = min(near, default=None)
        return (nearest[1], nearest[2]) if nearest is not None and nearest[0] <= NEAR else None

    def paintEvent(self, _event: object) -> None:
        self._places = []
        if not self._boxes:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics, text = self.fontMetrics(), self.palette().windowText().color()
        line = metrics.height()
        left, bottom = metrics.horizontalAdvance("0.000") + 10.0, self.height() - line - 4.0
        low, high = span([box.values for box in self._boxes], pad=0.08)
        if self._metric == "dice":
            high = min(high, 1.02)
        low = max(low, 0.0)
        scale = Scale(low, high, bottom, 6.0)
        faint = QColor(text)
        faint.setAlpha(50)
        ticks = round_ticks(low, high, max(2, int((bottom - 6) / (1.6 * line))))
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
        for tick in ticks:
            y = float(scale.pixels(np.array([tick]))[0])
            painter.setPen(faint)
            painter.drawLine(QPointF(left, y), QPointF(self.width() - 4.0, y))
            painter.setPen(text)
            painter.drawText(
                QRectF(0, y - line / 2, left - 6, line), Qt.AlignmentFlag.AlignRight, tick_text(tick, step)
            )
        room = (self.width() - left - 4.0) / len(self._boxes)
        for place, box in enumerate(self._boxes):
            middle = left + room * (place + 0.5)
            self._draw(painter, box, middle, min(WIDEST, 0.6 * room), scale)
            painter.setPen(text)
            name = metrics.elidedText(box.title, Qt.TextElideMode.ElideMiddle, int(room - 6))
            painter.drawText(QRectF(middle - room / 2, bottom + 4, room, line), Qt.AlignmentFlag.AlignHCenter, name)
        painter.end()

    def _draw(self, painter: QPainter, box: Box, middle: float, width: float, scale: Scale) -> None:
        color = QColor(box.color)
        fill = QColor(color)
        fill.setAlpha(60)
        q1, q2, q3, least, most = (float(y) for y in scale.pixels(np.array([*box.quartiles, *box.whiskers])))
        painter.setPen(QPen(color, 1.5))
        if len(box.values) > 2:  # of two, a box would say more than is known
            painter.setBrush(fill)
            painter.drawRect(QRectF(middle - width / 2, q3, width, q1 - q3))
            for start, stop in ((q1, least), (q3, most)):
                painter.drawLine(QPointF(middle, start), QPointF(middle, stop))
                painter.drawLine(QPointF(middle - width / 5, stop), QPointF(middle + width / 5, stop))
        painter.setPen(QPen(color, 3))
        painter.drawLine(QPointF(middle - width / 2, q2), QPointF(middle + width / 2, q2))
        text = self.palette().windowText().color()
        for number, (case, y) in enumerate(zip(box.cases, scale.pixels(box.values), strict=True)):
            shift = ((number * 0.618034) % 1.0 - 0.5) * 0.7 * width  # spread out, and the same at every drawing
            place = QPointF(middle + shift, float(y))
            here = case == self._case
            painter.setPen(QPen(text, 2) if here else QPen(Qt.PenStyle.NoPen))
            painter.setBrush(color)
            painter.drawEllipse(place, RADIUS + 1.5 * here, RADIUS + 1.5 * here)
            self._places.append((place, case, box.title))

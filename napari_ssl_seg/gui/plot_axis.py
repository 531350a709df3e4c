"""Tick labels of a plot, as plain Qt text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QRectF, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QWidget

from napari_ssl_seg.gui.plot_scale import tick_text
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from napari_ssl_seg.gui.plot_scale import Scale


class Axis(QWidget):
    """Tick labels beside or below the lines."""

    def __init__(self, *, vertical: bool) -> None:
        super().__init__()
        self._vertical = vertical
        self._ticks: list[tuple[float, str]] = []
        self._label = ""
        self._color = QColor("#f0f1f2")
        mark(self, "axis")
        self._fit()

    def _fit(self) -> None:
        metrics = self.fontMetrics()
        if self._vertical:
            self.setFixedWidth(metrics.horizontalAdvance("0.0000") + 4)
        else:
            self.setFixedHeight(metrics.height() + 2)

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def set_color(self, color: str) -> None:
        self._color = QColor(color)
        self.update()

    def set_ticks(self, ticks: list[float], scale: Scale, label: str = "") -> None:
        step = min((b - a for a, b in pairwise(ticks)), default=1.0)
        positions = scale.pixels(np.array(ticks, dtype=float))
        texts = [tick_text(tick, tick if scale.log else step) for tick in ticks]
        new = [(float(position), text) for position, text in zip(positions, texts, strict=True)]
        if (new, label) != (self._ticks, self._label):
            self._ticks, self._label = new, label
            self.update()

    def paintEvent(self, event: object) -> None:
        painter = QPainter(self)
        painter.setPen(self._color)
        metrics = self.fontMetrics()
        if self._vertical:
            for y, text in self._ticks:
                top = min(max(y - metrics.height() / 2, 0.0), self.height() - metrics.height())
                box = QRectF(0.0, top, self.width() - 4.0, metrics.height())
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        else:
            label_width = metrics.horizontalAdvance(self._label) + 6
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._label)
            for x, text in self._ticks:
                wide = metrics.horizontalAdvance(text)
                left = max(x - wide / 2, 0.0)
                if left + wide < self.width() - label_width:
                    painter.drawText(QRectF(left, 0.0, wide + 2.0, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
        painter.end()

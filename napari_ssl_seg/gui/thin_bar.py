"""A progress bar that costs next to nothing.

QProgressBar paints at once whenever its value changes, and an indeterminate one all the time; in a window with an OpenGL
canvas each painting composes the whole window (25-150 ms in software). This one is painted with whatever else is due.
"""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

COLOR, HATCH = "#0a84c9", "#7a7f8c"


class ThinBar(QWidget):
    """A bar between a minimum and a maximum; an empty range (0 to 0) means that nobody knows how much is left.

    Named as in QProgressBar, so that one can stand for the other.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high, self._value = 0, 100, 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(8)
        self.setAccessibleName("Progress")

    def setRange(self, low: int, high: int) -> None:
        if (low, high) != (self._low, self._high):
            self._low, self._high = low, high
            self.update()

    def setValue(self, value: int) -> None:
        if value != self._value:
            self._value = value
            self.update()

    def value(self) -> int:
        return self._value

    def minimum(self) -> int:
        return self._low

    def maximum(self) -> int:
        return self._high

    @property
    def fraction(self) -> float | None:
        """Share that is done, 0 to 1; None where nobody knows."""
        if self._high <= self._low:
            return None
        return min(1.0, max(0.0, (self._value - self._low) / (self._high - self._low)))

    def sizeHint(self) -> QSize:
        return QSize(120, 8)

    def paintEvent(self, event: object) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        box, radius = QRectF(self.rect()), self.height() / 2
        track = QColor(HATCH)
        track.setAlpha(90)
        painter.setBrush(track)
        painter.drawRoundedRect(box, radius, radius)
        fraction = self.fraction
        if fraction is None:
            painter.setBrush(Qt.BrushStyle.BDiagPattern)
            painter.drawRoundedRect(box, radius, radius)
        elif fraction > 0:
            painter.setBrush(QColor(COLOR))
            painter.drawRoundedRect(
                QRectF(0, 0, max(self.height(), box.width() * fraction), self.height()), radius, radius
            )
        painter.end()

"""Thousands of points that can be looked at: zoomed, dragged, pointed at and clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent, QResizeEvent, QWheelEvent

MARGIN, DOT, RING, REACH = 16.0, 6.0, 7.0, 12.0
ZOOM_STEP, FARTHEST, NEAREST = 1.2, 0.5, 200.0
DRAG = 4.0


class Scatter(QWidget):
    """Points in the plane.

    All dots are painted once into a picture, which is kept until they move: pointing at them paints a ring alone.

    Signals
    -------
    pointed(int)
        The point under the pointer, -1 for none.
    chosen(int)
        The point that was clicked.
    """

    pointed = Signal(int)
    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._points = np.zeros((0, 2))
        self._groups: list[tuple[QColor, np.ndarray]] = []
        self._picture: QPixmap | None = None
        self._where: np.ndarray | None = None
        self._centre, self._zoom = np.zeros(2), 1.0
        self._marked = self._under = -1
        self._pressed: QPointF | None = None
        self._dragged = False
        self._text = QColor("#f0f1f2")
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(200, 160)
        self.setCursor(Qt.CursorShape.CrossCursor)

    def sizeHint(self) -> QSize:
        return QSize(420, 360)

    def set_points(self, points: np.ndarray, colours: Sequence[str]) -> None:
        """(N, 2) with the second axis up, and a colour for each; the view fits them unless they are where they were."""
        moved = points.shape != self._points.shape or not np.array_equal(points, self._points)
        self._points = np.asarray(points, dtype=float)
        names = np.asarray(colours, dtype=object)
        self._groups = [(QColor(name), np.flatnonzero(names == name)) for name in dict.fromkeys(colours)]
        if moved:
            self._marked = self._under = -1
            self.fit()
        self._redraw()

    def set_text_color(self, colour: str) -> None:
        """Of the rings."""
        self._text = QColor(colour)
        self.update()

    def mark(self, index: int) -> None:
        """Put a ring around a point that stays; -1 takes it away."""
        if index != self._marked:
            self._marked = index
            self.update()

    def fit(self) -> None:
        """Show all points."""
        if len(self._points):
            self._centre = (self._points.min(axis=0) + self._points.max(axis=0)) / 2
        self._zoom = 1.0
        self._redraw()

    # -- where points are -----------------------------------------------------------------------------------------
    def _scale(self) -> float:
        """Pixels a unit."""
        if not len(self._points):
            return 1.0
        extent = np.maximum(np.ptp(self._points, axis=0), 1e-12)
        room = np.array([self.width() - 2 * MARGIN, self.height() - 2 * MARGIN])
        return float((room / extent).min()) * self._zoom

    def positions(self) -> np.ndarray:
        """(N, 2): where the points are drawn, in pixels from the upper left corner."""
        if self._where is None:
            away = (self._points - self._centre) * self._scale()
            self._where = np.column_stack((self.width() / 2 + away[:, 0], self.height() / 2 - away[:, 1]))
        return self._where

    def at(self, x: float, y: float) -> int:
        """The nearest point within reach of a pixel; -1 for none."""
        if not len(self._points):
            return -1
        distances = ((self.positions() - (x, y)) ** 2).sum(axis=1)
        nearest = int(distances.argmin())
        return nearest if distances[nearest] <= REACH**2 else -1

    # -- drawing --------------------------------------------------------------------------------------------------
    def _redraw(self) -> None:
        self._picture = self._where = None
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        if self._picture is None:
            self._picture = self._painted()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        where = self.positions()
        for index, width in ((self._marked, 2.5), (self._under, 1.5)):
            if 0 <= index < len(where):
                painter.setPen(QPen(self._text, width))
                painter.drawEllipse(QPointF(*where[index]), RING, RING)
        painter.end()

    def _painted(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        where = self.positions()
        for colour, members in self._groups:
            pen = QPen(colour, DOT)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            painter.setPen(pen)
            painter.drawPoints(QPolygonF([QPointF(x, y) for x, y in where[members].tolist()]))
        painter.end()
        return picture

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        self._redraw()
        super().resizeEvent(event)

    # -- the pointer ----------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._dragged = event.position(), False

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is None:
            return
        here = event.position()
        if self._pressed is not None:
            step = here - self._pressed
            if self._dragged or step.manhattanLength() > DRAG:
                self._dragged = True
                self._centre = self._centre + np.array([-step.x(), step.y()]) / self._scale()
                self._pressed = here
                self._redraw()
            return
        under = self.at(here.x(), here.y())
        if under != self._under:
            self._under = under
            self.update()
            self.pointed.emit(under)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        if event is None or self._pressed is None:
            return
        self._pressed = None
        if not self._dragged:
            index = self.at(event.position().x(), event.position().y())
            if index >= 0:
                self.mark(index)
                self.chosen.emit(index)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and self.at(event.position().x(), event.position().y()) < 0:
            self.fit()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        if event is None or not len(self._points):
            return
        before = self._scale()
        wanted = self._zoom * ZOOM_STEP ** (event.angleDelta().y() / 120)
        self._zoom = min(max(wanted, FARTHEST), NEAREST)
        # What is under the pointer stays under it.
        away = np.array([event.position().x() - self.width() / 2, self.height() / 2 - event.position().y()])
        self._centre = self._centre + away * (1 / before - 1 / self._scale())
        self._redraw()
        event.accept()

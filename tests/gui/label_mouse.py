"""Mouse and keys on the canvas of a real viewer, at voxels of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from collections.abc import Sequence

LEFT, NONE, SHIFT = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
MOVE_MILLISECONDS = 25
Place = tuple[float, float, float]


class Hand:
    """A user at the canvas."""

    def __init__(self, viewer: Any, layer: Any) -> None:
        self._viewer, self._layer = viewer, layer
        self.canvas = viewer.window._qt_viewer.canvas.native
        QApplication.setActiveWindow(self.canvas.window())  # without a window manager nobody else does

    def pixel(self, place: Place) -> QPoint:
        """Where a voxel is drawn."""
        camera = self._viewer.scene.camera
        world = np.array(self._layer.data_to_world(place))[-2:] - np.array(camera.center)[-2:]
        size = np.array([self.canvas.height(), self.canvas.width()])
        row, column = world * camera.zoom + size / 2
        return QPoint(round(column), round(row))

    def move(self, place: Place) -> None:
        QTest.mouseMove(self.canvas, self.pixel(place))
        QApplication.processEvents()

    def click(self, place: Place, modifier: Qt.KeyboardModifier = NONE) -> None:
        self.drag([place], modifier)

    def drag(self, places: Sequence[Place], modifier: Qt.KeyboardModifier = NONE) -> None:
        """Press at the first, move over the others, let go at the last."""
        self.move(places[0])
        QTest.mousePress(self.canvas, LEFT, modifier, self.pixel(places[0]))
        for place in places[1:]:
            # Not QTest's: that one moves without a button.
            event = _move_event(self.canvas, self.pixel(place), modifier)
            QApplication.sendEvent(self.canvas, event)
            QTest.qWait(MOVE_MILLISECONDS)  # moves that come faster are dropped
        QTest.mouseRelease(self.canvas, LEFT, modifier, self.pixel(places[-1]))
        QApplication.processEvents()

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = NONE) -> None:
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier)
        QApplication.processEvents()


def _move_event(canvas: Any, pixel: QPoint, modifier: Qt.KeyboardModifier) -> Any:
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent

    here, there = QPointF(pixel), QPointF(canvas.mapToGlobal(pixel))
    return QMouseEvent(QEvent.Type.MouseMove, here, there, Qt.MouseButton.NoButton, LEFT, modifier)

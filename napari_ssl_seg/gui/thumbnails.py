"""A row of small pictures in the order of the method's own pipeline: a click brings one to the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QApplication, QGraphicsOpacityEffect, QToolButton, QWidget
from superqt import QFlowLayout

from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent

    from napari_ssl_seg.workbench.pretexts import Picture

SIDE = 76
DIMMED = 0.45


class Thumbnail(QToolButton):
    """One picture with its name; emits ``chosen(name)`` on a click and ``alone(name)`` on a double click."""

    chosen = Signal(str)
    alone = Signal(str)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.setCheckable(True)
        self.setAutoRaise(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setFixedWidth(SIDE + 10)
        mark(self, "thumbnail")
        # The first half of a double click brings to the front too: harmless, and so nothing has to wait.
        self.clicked.connect(lambda: self.chosen.emit(self.name))

    def show_picture(self, picture: Picture) -> None:
        """Draw a view."""
        self.setIcon(QIcon(pixmap(picture.thumbnail)))
        self.setText(self.fontMetrics().elidedText(picture.name.replace("_", " "), Qt.TextElideMode.ElideRight, SIDE))
        what = "What the run makes of it" if picture.output else "Part of the training sample"
        self.setToolTip(
            f"<qt><b>{picture.title}</b><br>{what}.<br>Click: bring to the front. Double click: show alone.</qt>"
        )
        self.setAccessibleName(picture.title)
        self.setEnabled(picture.array is not None)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        self.alone.emit(self.name)


class ThumbnailRow(QWidget):
    """The pictures of one inspection; wraps to the width of the panel."""

    chosen = Signal(str)
    alone = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QFlowLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self.buttons: list[Thumbnail] = []
        self._effect = QGraphicsOpacityEffect(self)
        self._effect.setOpacity(1.0)
        self.setGraphicsEffect(self._effect)
        self._effect.setEnabled(False)

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        """Draw these; the buttons are kept where their names are the same."""
        if [button.name for button in self.buttons] != [picture.name for picture in pictures]:
            for button in self.buttons:
                self._layout.removeWidget(button)
                button.hide()
                button.deleteLater()
            self.buttons = []
            for picture in pictures:
                button = Thumbnail(picture.name)
                button.chosen.connect(self.chosen)
                button.alone.connect(self.alone)
                self._layout.addWidget(button)
                self.buttons.append(button)
        for button, picture in zip(self.buttons, pictures, strict=True):
            button.show_picture(picture)

    def mark_shown(self, names: Sequence[str]) -> None:
        """Which pictures are visible in the viewer."""
        for button in self.buttons:
            button.setChecked(button.name in names)

    def dim(self, dimmed: bool) -> None:
        """Draw paler while new ones are made."""
        self._effect.setOpacity(DIMMED if dimmed else 1.0)
        self._effect.setEnabled(dimmed)


def pixmap(pixels: np.ndarray, side: int = SIDE) -> QPixmap:
    """Pixels (H, W, 3), uint8, as a picture of at most ``side`` pixels, on a square of that side."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    ratio = QApplication.instance().devicePixelRatio() if QApplication.instance() is not None else 1.0  # type: ignore[union-attr]
    found = QPixmap.fromImage(image).scaled(
        round(side * ratio),
        round(side * ratio),
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    found.setDevicePixelRatio(ratio)
    return found

"""A row of small pictures in the order of the method's own pipeline: a click brings one to the front."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QGraphicsOpacityEffect,
    QLabel,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent, QResizeEvent

    from napari_ssl_seg.workbench.pretexts import Picture

SIDE, LETTERS = 76, 13
DIMMED = 0.45


class Thumbnail(QToolButton):
    """One picture with its name; emits ``chosen(name)`` on a click and ``alone(name)`` on a double click."""

    chosen = Signal(str)
    alone = Signal(str)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.preview: np.ndarray | None = None
        self.setCheckable(True)
        self.setAutoRaise(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        self.setIconSize(QSize(SIDE, SIDE))
        self._words = name.replace("_", " ")
        mark(self, "thumbnail")
        self._fit()
        # The first half of a double click brings to the front too: harmless, and so nothing has to wait.
        self.clicked.connect(lambda: self.chosen.emit(self.name))

    def show_picture(self, picture: Picture) -> None:
        """Draw a view."""
        self.setIcon(QIcon(pixmap(picture.thumbnail)))
        what = "What the run makes of it" if picture.output else "Part of the training sample"
        does = "Click: bring to the front. Double click: show alone." if picture.preview is None else "Click: enlarge."
        self.setToolTip(f"<qt><b>{html.escape(picture.title)}</b><br>{what}.<br>{does}</qt>")
        self.setAccessibleName(picture.title)
        self.preview = picture.preview

    def _fit(self) -> None:
        """Wide enough for most names; of a longer one the beginning."""
        metrics = self.fontMetrics()
        width = max(SIDE + 10, metrics.averageCharWidth() * LETTERS)
        self.setFixedWidth(width)
        self.setText(metrics.elidedText(self._words, Qt.TextElideMode.ElideRight, width - 10))

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        if self.preview is None:
            self.alone.emit(self.name)


class ThumbnailRow(QWidget):
    """The pictures of one inspection; wraps to the width of the panel.

    What is no layer (a curve, a matrix) is enlarged under the row by a click, and put away by another.
    """

    chosen = Signal(str)
    alone = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: list[Thumbnail] = []
        self._titles: dict[str, str] = {}
        row = QWidget()
        self._layout = QFlowLayout(row)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self.preview_title = QLabel()
        self.preview_title.setWordWrap(True)
        mark(self.preview_title, "hint")
        self.preview = Preview()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (row, self.preview_title, self.preview):
            column.addWidget(widget)
        self._enlarged: str | None = None
        self._show_preview()
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
                button.chosen.connect(self._choose)
                button.alone.connect(self.alone)
                self._layout.addWidget(button)
                self.buttons.append(button)
        for button, picture in zip(self.buttons, pictures, strict=True):
            button.show_picture(picture)
        self._titles = {picture.name: picture.title for picture in pictures}
        self._show_preview()

    def _choose(self, name: str) -> None:
        button = next(button for button in self.buttons if button.name == name)
        if button.preview is None:
            self.chosen.emit(name)
            return
        self._enlarged = None if self._enlarged == name else name
        self._show_preview()

    def _show_preview(self) -> None:
        found = next((button for button in self.buttons if button.name == self._enlarged), None)
        pixels = found.preview if found is not None else None
        for button in self.buttons:
            if button.preview is not None:
                button.setChecked(button is found)
        self.preview_title.setVisible(pixels is not None)
        self.preview.setVisible(pixels is not None)
        if found is not None and pixels is not None:
            self.preview_title.setText(self._titles[found.name])
            self.preview.show_pixels(pixels)
            self.preview.setAccessibleName(self._titles[found.name])

    def mark_shown(self, names: Sequence[str]) -> None:
        """Which pictures are visible in the viewer."""
        for button in self.buttons:
            button.setChecked(button.name in names or (button.preview is not None and button.name == self._enlarged))

    def dim(self, dimmed: bool) -> None:
        """Draw paler while new ones are made."""
        self._effect.setOpacity(DIMMED if dimmed else 1.0)
        self._effect.setEnabled(dimmed)


class Preview(QLabel):
    """A picture as wide as the panel."""

    def __init__(self) -> None:
        super().__init__()
        self._picture = QPixmap()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_pixels(self, pixels: np.ndarray) -> None:
        """Show pixels (H, W, 3), uint8."""
        self._picture = QPixmap.fromImage(_image(pixels))
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._picture.isNull() or self.width() < 2:
            return
        ratio = self.devicePixelRatioF()
        width = min(self.width(), self._picture.width())
        found = self._picture.scaledToWidth(round(width * ratio), Qt.TransformationMode.SmoothTransformation)
        found.setDevicePixelRatio(ratio)
        self.setPixmap(found)
        self.setFixedHeight(round(found.height() / ratio))


def _image(pixels: np.ndarray) -> QImage:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    return QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def pixmap(pixels: np.ndarray, side: int = SIDE) -> QPixmap:
    """Pixels (H, W, 3), uint8, as a picture of at most ``side`` pixels, on a square of that side."""
    image = _image(pixels)
    ratio = QApplication.instance().devicePixelRatio() if QApplication.instance() is not None else 1.0  # type: ignore[union-attr]
    found = QPixmap.fromImage(image).scaled(
        round(side * ratio),
        round(side * ratio),
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    found.setDevicePixelRatio(ratio)
    return found

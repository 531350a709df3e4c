"""Widgets whose text is shortened with an ellipsis where it has no room, and then told by the tooltip: never cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QRect, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QPushButton,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

if TYPE_CHECKING:
    from qtpy.QtGui import QHelpEvent, QPaintEvent

MOST_LETTERS = 14
"""A choice asks for room for its longest text, or for so many letters of it."""
LEAST_LETTERS = 4
ANY_WIDTH = 400


class ElidingCombo(QComboBox):
    """A choice that is as wide as its longest text, within limits, at every font size."""

    def minimumSizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        texts = [self.itemText(index) for index in range(self.count())]
        longest = max((metrics.horizontalAdvance(text) for text in texts), default=0)
        return self._size(min(longest, metrics.averageCharWidth() * MOST_LETTERS))

    def sizeHint(self) -> QSize:
        return self.minimumSizeHint()

    def _size(self, text_width: int) -> QSize:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        height = super().sizeHint().height()
        option.rect = QRect(0, 0, ANY_WIDTH, height)  # to ask the style what it puts around a text
        return QSize(text_width + ANY_WIDTH - self._room(option) + 2, height)

    def _room(self, option: QStyleOptionComboBox) -> int:
        style = self.style()
        assert style is not None
        field = QStyle.SubControl.SC_ComboBoxEditField
        return style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - 2

    def shown_text(self) -> str:
        """What can be read of the chosen text."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideMiddle, self._room(option))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        option.currentText = self.shown_text()
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def event(self, event: QEvent | None) -> bool:
        return _whole_text_first(self, event, self.currentText()) or super().event(event)


class ElidingButton(QPushButton):
    """A button that may become narrower than its text."""

    def minimumSizeHint(self) -> QSize:
        hint = self.sizeHint()
        metrics = self.fontMetrics()
        spare = metrics.horizontalAdvance(self.text()) - metrics.averageCharWidth() * LEAST_LETTERS
        return QSize(hint.width() - max(0, spare), hint.height())

    def shown_text(self) -> str:
        """What can be read of its text."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        style = self.style()
        assert style is not None
        room = style.subElementRect(QStyle.SubElement.SE_PushButtonContents, option, self).width()
        return self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QStylePainter(self)
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = self.shown_text()
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)

    def event(self, event: QEvent | None) -> bool:
        return _whole_text_first(self, event, self.text()) or super().event(event)


def _whole_text_first(widget: ElidingCombo | ElidingButton, event: QEvent | None, whole: str) -> bool:
    """Answer the request for a tooltip with the whole text, and what else the tooltip says, where the text is elided."""
    from qtpy.QtWidgets import QToolTip

    if event is None or event.type() != QEvent.Type.ToolTip or widget.shown_text() == whole:
        return False
    lines = dict.fromkeys(line for line in (whole, widget.toolTip()) if line)
    position: QHelpEvent = event  # type: ignore[assignment]
    QToolTip.showText(position.globalPos(), "\n".join(lines), widget)
    return True


def letters_wide(widget: QWidget, letters: int) -> int:
    """Width in pixels of so many letters of the widget's font."""
    return widget.fontMetrics().averageCharWidth() * letters


def rows_high(view: QAbstractItemView, rows: int) -> int:
    """Height in pixels that a list needs for so many rows below its header."""
    row = max(view.fontMetrics().height() + 4, view.sizeHintForRow(0))
    return (rows + 1) * row + 2 * view.frameWidth() + 4

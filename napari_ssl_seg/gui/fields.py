"""One input for one kind of value: what `ConfigForm` is made of.

Every input has ``value()``, ``set_value(value)`` and the signal ``edited``; none reacts to the wheel unless it has the
focus, so that scrolling the panel changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QRect, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QStyle,
    QStyleOptionSpinBox,
    QWidget,
)

from napari_ssl_seg.gui.eliding import ANY_WIDTH, ElidingCombo

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 2**31 - 1
DIGITS = 6


class IntField(QSpinBox):
    """A whole number."""

    edited = Signal()

    def __init__(self, low: float | None, high: float | None, step: float | None = None) -> None:
        super().__init__()
        self.setRange(int(low) if low is not None else -LARGEST, int(high) if high is not None else LARGEST)
        if step:
            self.setSingleStep(int(step))
        else:
            self.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
        _calm(self)
        self.valueChanged.connect(self.edited)

    def set_value(self, value: Any) -> None:
        self.setValue(int(value))

    def minimumSizeHint(self) -> QSize:
        return _for_digits(self, super().minimumSizeHint())


class FloatField(QDoubleSpinBox):
    """A number; small ones are written 1e-4."""

    edited = Signal()

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.setDecimals(10)
        self.setRange(-1e12 if low is None else low, 1e12 if high is None else high)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        if low is not None and high is not None and high - low <= 10:
            self.setStepType(QDoubleSpinBox.StepType.DefaultStepType)
            self.setSingleStep((high - low) / 20)
        _calm(self)
        self.valueChanged.connect(self.edited)

    def textFromValue(self, value: float) -> str:
        return f"{value:.6g}"

    def valueFromText(self, text: str | None) -> float:
        try:
            return float((text or "").removesuffix(self.suffix()).replace(",", "."))
        except ValueError:
            return self.value()

    def validate(self, text: str | None, position: int) -> Any:
        from qtpy.QtGui import QValidator

        try:
            float((text or "").removesuffix(self.suffix()).replace(",", "."))
        except ValueError:
            return QValidator.State.Intermediate, text, position
        return QValidator.State.Acceptable, text, position

    def set_value(self, value: Any) -> None:
        self.setValue(float(value))

    def minimumSizeHint(self) -> QSize:
        return _for_digits(self, super().minimumSizeHint())


class BoolField(QCheckBox):
    """Yes or no."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.toggled.connect(self.edited)

    def value(self) -> bool:
        return self.isChecked()

    def set_value(self, value: Any) -> None:
        self.setChecked(bool(value))


class ChoiceField(ElidingCombo):
    """One of a few values."""

    edited = Signal()

    def __init__(self, choices: Sequence[Any]) -> None:
        super().__init__()
        for choice in choices:
            self.addItem("none" if choice is None else str(choice).replace("_", " "), choice)
        _calm(self)
        self.currentIndexChanged.connect(self.edited)

    def value(self) -> Any:
        return self.currentData()

    def set_value(self, value: Any) -> None:
        self.setCurrentIndex(next((i for i in range(self.count()) if self.itemData(i) == value), 0))


class TextField(QLineEdit):
    """Words, or what the other inputs have no shape for: a list of numbers, a number or nothing.

    ``read`` turns the text into a value and ``write`` the value into text; a text that cannot be read is handed on as it
    is, so that the model says what is wrong with it.
    """

    edited = Signal()

    def __init__(self, kind: str = "text", placeholder: str = "") -> None:
        super().__init__()
        self._kind = kind
        self.setPlaceholderText(placeholder)
        self.editingFinished.connect(self.edited)

    def value(self) -> Any:
        text = self.text().strip()
        if self._kind == "text":
            return text
        if not text:
            return None
        try:
            if self._kind == "number":
                return float(text) if any(mark in text for mark in ".eE") else int(text)
            return tuple(float(part) if "." in part else int(part) for part in text.replace(",", " ").split())
        except ValueError:
            return text

    def set_value(self, value: Any) -> None:
        if value is None:
            self.clear()
        elif isinstance(value, list | tuple):
            self.setText(", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value))
        else:
            self.setText(str(value))


class TupleField(QWidget):
    """A fixed number of inputs in a row."""

    edited = Signal()

    def __init__(self, fields: Sequence[Any]) -> None:
        super().__init__()
        self.fields = list(fields)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for field in self.fields:
            layout.addWidget(field, 1)
            field.edited.connect(self.edited)

    def value(self) -> tuple[Any, ...]:
        return tuple(field.value() for field in self.fields)

    def set_value(self, value: Any) -> None:
        for field, item in zip(self.fields, value, strict=True):
            field.set_value(item)


class _NoWheel(QObject):
    """Leaves the wheel to the panel unless the input has the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget):
            if not watched.hasFocus():
                event.ignore()
                return True
        return False


def _calm(widget: QWidget) -> None:
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_NoWheel(widget))


def _for_digits(box: QSpinBox | QDoubleSpinBox, hint: QSize) -> QSize:
    """Room for ``DIGITS`` digits and what the style puts around them: a range to 2**31 would ask for much more."""
    option = QStyleOptionSpinBox()
    box.initStyleOption(option)
    option.rect = QRect(0, 0, ANY_WIDTH, hint.height())
    style = box.style()
    assert style is not None
    field = QStyle.SubControl.SC_SpinBoxEditField
    around = ANY_WIDTH - style.subControlRect(QStyle.ComplexControl.CC_SpinBox, option, field, box).width()
    text = f"{box.prefix()}{'0' * DIGITS}{box.suffix()}"
    return QSize(box.fontMetrics().horizontalAdvance(text) + around, hint.height())

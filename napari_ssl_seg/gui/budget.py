"""How long to train, as steps or minutes; and a way to change what a choice offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_ssl_seg.gui.fields import ChoiceField, IntField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QComboBox


class Budget(QWidget):
    """How long to train: steps, or minutes."""

    edited = Signal()

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.number = IntField(1, 10_000_000)
        self.number.setValue(steps)
        self.unit = ChoiceField(["steps", "minutes"])
        self._rate = 0.0
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.number, 3)
        row.addWidget(self.unit, 2)
        self.number.edited.connect(self.edited)
        self.unit.edited.connect(self._convert)

    def set_rate(self, rate: float) -> None:
        """Steps a second to expect."""
        self._rate = rate

    @property
    def iterations(self) -> int:
        if self.unit.value() == "steps":
            return self.number.value()
        return max(1, round(self.number.value() * 60 * self._rate))

    @property
    def seconds(self) -> float:
        if self.unit.value() == "minutes":
            return 60.0 * self.number.value()
        return self.number.value() / self._rate if self._rate else 0.0

    def _convert(self) -> None:
        other = self.number.value() / 60 / self._rate if self.unit.value() == "minutes" and self._rate else None
        if other is None and self._rate:
            other = self.number.value() * 60 * self._rate
        if other is not None:
            self.number.setValue(max(1, round(other)))
        self.edited.emit()


def refill(field_: QComboBox, choices: Sequence[tuple[str, Any]]) -> None:
    """Offer other choices, (text, value); what is chosen stays where it is still offered. Emits nothing."""
    kept = field_.currentData()
    field_.blockSignals(True)
    field_.clear()
    for text, value in choices:
        field_.addItem(text, value)
    index = next((index for index, (_, value) in enumerate(choices) if value == kept), 0)
    field_.setCurrentIndex(index)
    field_.blockSignals(False)
    field_.updateGeometry()

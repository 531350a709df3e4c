"""Named numbers as a row of chips that wraps to the width of the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QWidget
from superqt import QFlowLayout

from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChipRow(QWidget):
    """Short texts, each in a rounded box."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chips: list[QLabel] = []
        self._layout = QFlowLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)

    @property
    def texts(self) -> list[str]:
        """What they say."""
        return [chip.text() for chip in self._chips]

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show these; chips are reused."""
        while len(self._chips) > len(texts):
            chip = self._chips.pop()
            self._layout.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        while len(self._chips) < len(texts):
            chip = QLabel()
            mark(chip, "chip")
            self._chips.append(chip)
            self._layout.addWidget(chip)
        for chip, text in zip(self._chips, texts, strict=True):
            chip.setText(text)
        self._layout.invalidate()
        self.updateGeometry()

"""Redraw, the seed beside it, and a box that keeps it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QSpinBox, QWidget

from napari_ssl_seg.gui.style import mark

LARGEST_SEED = 2**31 - 1


class SeedRow(QWidget):
    """``changed(seed)`` when the seed is another one; ``again()`` when the same is to be drawn once more."""

    changed = Signal(int)
    again = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.redraw_button = QPushButton("Redraw")
        self.redraw_button.setToolTip("Draw another sample: with the next seed, or with this one where it is kept")
        mark(self.redraw_button, "primary")
        self.seed_box = QSpinBox()
        self.seed_box.setRange(0, LARGEST_SEED)
        self.seed_box.setPrefix("seed ")
        self.seed_box.setToolTip("The same seed gives the same sample, here and on the command line")
        self.seed_box.setAccessibleName("Seed")
        self.keep_box = QCheckBox("keep")
        self.keep_box.setToolTip("Redraw with this very seed instead of the next one")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.redraw_button, 1)
        layout.addWidget(self.seed_box)
        layout.addWidget(self.keep_box)
        self.redraw_button.clicked.connect(self.redraw)
        self.seed_box.valueChanged.connect(self.changed)

    @property
    def seed(self) -> int:
        """The seed shown."""
        return self.seed_box.value()

    def redraw(self) -> None:
        """On to the next seed, unless it is kept."""
        if self.keep_box.isChecked() or self.seed == LARGEST_SEED:
            self.again.emit()
        else:
            self.seed_box.setValue(self.seed + 1)

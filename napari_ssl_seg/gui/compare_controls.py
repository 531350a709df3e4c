"""How the Compare tab shows: arrangement, labels or errors or distances, outlines, which class and metric, which two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QColor, QLinearGradient, QPainter
from qtpy.QtWidgets import QButtonGroup, QFormLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.compare_cells import (
    DISTANCES,
    ERROR_COLORS,
    ERROR_WORDS,
    ERRORS,
    LABELS,
    LOST_COLOR,
    MODES,
    distance_colours,
)
from napari_ssl_seg.gui.eliding import ElidingButton
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS
from napari_ssl_seg.workbench.compared_entry import REFERENCE
from napari_ssl_seg.workbench.surface_bins import MIDDLE, STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study import ClassInfo
    from napari_ssl_seg.workbench.compared_entry import Entry

MODE_KEYS = {"side by side": "G", "blink": "H"}
MODE_TIPS = {
    "side by side": "One cell for each method (G)",
    "overlay": "Reference filled, each method an outline in its own colour (G)",
    "blink": "One after the other at one place (H: the next)",
}
WHAT = [("labels", LABELS), ("errors", ERRORS), ("surface distance", DISTANCES)]


class ShowControls(QWidget):
    """How to show.

    Signals
    -------
    changed()
        Something else is wanted.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._modes = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(2)
        for index, mode in enumerate(MODES):
            button = ElidingButton(f"{mode.capitalize()}  {MODE_KEYS.get(mode, '')}".rstrip())
            button.setCheckable(True)
            button.setToolTip(MODE_TIPS[mode])
            self._modes.addButton(button, index)
            row.addWidget(button, len(button.text()))
        self._modes.button(0).setChecked(True)
        self.what, self.label, self.metric = ChoiceField([]), ChoiceField([]), ChoiceField([])
        refill(self.what, WHAT)
        refill(self.metric, [(word, name) for name, word in METRIC_WORDS.items()])
        self.what.setToolTip("Labels, where they are wrong, or the reference's outline by how far it is missed")
        self.label.setToolTip("Which class the numbers, the curve and the distances are of")
        self.metric.setToolTip("What the ranks, the curve and the order of the slices go by")
        self.outlines = ElidingButton("Outlines  W")
        self.outlines.setCheckable(True)
        self.outlines.setToolTip("Outlines instead of filled labels (W)")
        self.legend = QLabel(
            " &nbsp; ".join(
                f'<span style="color:{ERROR_COLORS[key]}">■</span>&nbsp;{word.replace(" ", "&nbsp;")}'
                for key, word in ERROR_WORDS.items()
            )
        )
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.bar = DistanceBar()
        self.first, self.second = ChoiceField([]), ChoiceField([])
        for field in (self.first, self.second):
            field.setToolTip("The two that blink, and whose difference slices can be ordered by")
        self.pair_row = QWidget()
        self._lay_out(row)
        self.set_classes([])
        self.set_methods([])
        self._modes.idClicked.connect(lambda _index: self._change())
        self.outlines.toggled.connect(lambda _on: self._change())
        for field in (self.what, self.label, self.metric, self.first, self.second):
            field.edited.connect(self._change)
        self._change()

    def _lay_out(self, modes: QHBoxLayout) -> None:
        show, numbers, pair = QHBoxLayout(), QHBoxLayout(), QHBoxLayout(self.pair_row)
        show.addWidget(self.what, 3)
        show.addWidget(self.outlines, 2)
        numbers.addWidget(self.label, 3)
        numbers.addWidget(self.metric, 2)
        pair.setContentsMargins(0, 0, 0, 0)
        pair.addWidget(self.first, 1)
        pair.addWidget(QLabel("and"))
        pair.addWidget(self.second, 1)
        form = QFormLayout()
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Show", show)
        form.addRow("", self.legend)
        form.addRow("", self.bar)
        form.addRow("Numbers of", numbers)
        form.addRow("Between", self.pair_row)
        self._form = form
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(modes)
        layout.addLayout(form)

    @property
    def mode(self) -> str:
        return MODES[self._modes.checkedId()]

    @property
    def pair(self) -> tuple[str, str] | None:
        """Keys of the two that are looked at against each other; None where there are no two."""
        first, second = self.first.value(), self.second.value()
        return (first, second) if first and second and first != second else None

    def set_mode(self, mode: str) -> None:
        """Choose how to show."""
        self._modes.button(MODES.index(mode)).setChecked(True)  # type: ignore[arg-type]
        self._change()

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Offer these classes, and the mean over them."""
        refill(self.label, [("all classes", None), *((info.name, info.value) for info in classes)])

    def set_methods(self, entries: Sequence[Entry]) -> None:
        """Offer these as the two; the first two methods unless others were chosen."""
        choices = [*((entry.title, entry.key) for entry in entries), (REFERENCE, REFERENCE)]
        for field, place in ((self.first, 0), (self.second, 1)):
            known = field.value() in [key for _, key in choices] and field.value() != REFERENCE
            refill(field, choices)
            if not known:
                field.blockSignals(True)
                field.setCurrentIndex(min(place, len(choices) - 1))
                field.blockSignals(False)
        if self.first.value() == self.second.value() and len(choices) > 1:
            self.second.blockSignals(True)
            self.second.setCurrentIndex(0 if self.first.currentIndex() else 1)
            self.second.blockSignals(False)

    def show_pair(self, on: bool) -> None:
        """Ask which two, where that matters."""
        self._form.setRowVisible(self.pair_row, on or self.mode == "blink")

    def _change(self) -> None:
        self._form.setRowVisible(self.legend, self.what.value() == ERRORS)
        self._form.setRowVisible(self.bar, self.what.value() == DISTANCES)
        self.changed.emit()


class DistanceBar(QWidget):
    """The colours of signed distances, with millimetres."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._reach = 5.0
        self.setToolTip("Distance within the slice from the reference's outline to the prediction's")
        self.setAccessibleName("Colours of the surface distance")
        self._fit()

    @property
    def reach(self) -> float:
        """What its ends stand for, in mm."""
        return self._reach

    def set_reach(self, reach: float) -> None:
        """Stand for another range."""
        self._reach = reach
        self.update()

    @property
    def words(self) -> tuple[str, str, str]:
        """What stands below it."""
        return f"−{self._reach:g} mm short", "0", f"beyond +{self._reach:g} mm"

    def changeEvent(self, event: object) -> None:
        super().changeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(2 * self.fontMetrics().height() + 18)

    def paintEvent(self, _event: object) -> None:
        painter = QPainter(self)
        colours, high = distance_colours(), 10
        gradient = QLinearGradient(0.0, 0.0, float(self.width()), 0.0)
        for step in range(-STEPS, STEPS + 1):
            gradient.setColorAt((step + STEPS) / (2 * STEPS), QColor(colours[MIDDLE + step]))
        painter.fillRect(QRectF(0, 0, self.width(), high), gradient)
        line = self.fontMetrics().height()
        box = QRectF(0, high + 2, self.width(), line)
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        painter.setPen(self.palette().windowText().color())
        for words, side in zip(self.words, sides, strict=True):
            painter.drawText(box, side, words)
        painter.fillRect(QRectF(0, high + line + 7, high - 1, high - 1), QColor(LOST_COLOR))
        painter.drawText(QRectF(high + 5, high + line + 2, self.width(), line), sides[0], "nothing predicted here")
        painter.end()


def quiet(text: str, tip: str) -> ElidingButton:
    """A button like text."""
    button = ElidingButton(text)
    button.setToolTip(tip)
    mark(button, "quiet")
    return button

"""What the Compare tab offers besides its list: how to show, which class, and the slices worth a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.compare_view import ERROR_COLORS, ERROR_WORDS, MODES
from napari_ssl_seg.gui.eliding import ElidingButton
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study import ClassInfo
    from napari_ssl_seg.workbench.compared_case import CaseComparison

WORST, DISAGREEMENT, IN_ORDER = "worst", "disagreement", "in order"
MODE_TIPS = {
    "side by side": "One cell for each method (G)",
    "overlay": "Reference filled, each method an outline in its own colour (G)",
    "blink": "One after the other at one place (H: the next)",
}


class ShowControls(QWidget):
    """How to show: side by side, overlay or blink; errors; class and metric."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._modes = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(2)
        for index, mode in enumerate(MODES):
            button = ElidingButton(mode.capitalize() + {"side by side": "  G", "blink": "  H"}.get(mode, ""))
            button.setCheckable(True)
            button.setToolTip(MODE_TIPS[mode])
            self._modes.addButton(button, index)
            row.addWidget(button, len(button.text()))
        self._modes.button(0).setChecked(True)
        self.errors = QCheckBox("Errors:")
        self.errors.setToolTip("Show where a method is wrong, and how, instead of what it predicted")
        legend = " ".join(
            f'<span style="color:{ERROR_COLORS[key]}">■</span>&nbsp;{word.replace(" ", "&nbsp;")}'
            for key, word in ERROR_WORDS.items()
        )
        self.legend = QLabel(legend)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        errors = QHBoxLayout()
        errors.addWidget(self.errors, 0, Qt.AlignmentFlag.AlignTop)
        errors.addWidget(self.legend, 1)
        self.label, self.metric = ChoiceField([]), ChoiceField([])
        refill(self.metric, [(word, name) for name, word in METRIC_WORDS.items()])
        self.label.setToolTip("Which class the numbers and the curve are of")
        self.metric.setToolTip("What the curve and the order of the slices go by")
        choose = QHBoxLayout()
        choose.addWidget(self.label, 3)
        choose.addWidget(self.metric, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addLayout(errors)
        form = QFormLayout()
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Numbers of", choose)
        layout.addLayout(form)
        self.set_classes([])
        self._modes.idClicked.connect(lambda _index: self.changed.emit())
        self.errors.toggled.connect(lambda _on: self.changed.emit())
        for field in (self.label, self.metric):
            field.edited.connect(self.changed)

    @property
    def mode(self) -> str:
        return MODES[self._modes.checkedId()]

    def set_mode(self, mode: str) -> None:
        """Choose how to show."""
        self._modes.button(MODES.index(mode)).setChecked(True)  # type: ignore[arg-type]
        self.changed.emit()

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Offer these classes, and the mean over them."""
        refill(self.label, [("all classes", None), *((info.name, info.value) for info in classes)])


class SliceOrder(QWidget):
    """Slices of the open case from the worst on, or from the most disputed on; J and K step through them.

    Signals
    -------
    asked(int)
        Go to that slice.
    """

    asked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._case: CaseComparison | None = None
        self._metric = "dice"
        self._label: int | None = None
        self.order = ChoiceField([])
        refill(
            self.order, [("worst first", WORST), ("most disputed first", DISAGREEMENT), ("in their order", IN_ORDER)]
        )
        self.order.setToolTip("By the metric above, or by the share of labelled voxels on which the methods disagree")
        self.order.edited.connect(self._fill)
        self.back, self.forward = QPushButton("◂ K"), QPushButton("J ▸")
        self.back.setToolTip("The slice before in this list (K)")
        self.forward.setToolTip("The next slice in this list (J)")
        self.back.clicked.connect(lambda: self.step(-1))
        self.forward.clicked.connect(lambda: self.step(1))
        self.list = QListWidget()
        self.list.setMinimumHeight(90)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setAccessibleName("Slices to look at")
        self.list.itemClicked.connect(self._clicked)
        heading = QLabel("Slices")
        mark(heading, "heading")
        head = QHBoxLayout()
        head.addWidget(heading)
        head.addWidget(self.order, 1)
        head.addWidget(self.back)
        head.addWidget(self.forward)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.list, 1)

    def show_case(self, case: CaseComparison | None, metric: str, label: int | None) -> None:
        """List the slices of a case."""
        self._case, self._metric, self._label = case, metric, label
        self._fill()

    @property
    def slices(self) -> list[int]:
        """The slices, in the order shown."""
        return [int(self.list.item(row).data(Qt.ItemDataRole.UserRole)) for row in range(self.list.count())]

    def step(self, by: int) -> None:
        """Go ``by`` places further down the list; the first when none was chosen."""
        if self.list.count() == 0:
            return
        row = self.list.currentRow()
        row = (0 if by > 0 else self.list.count() - 1) if row < 0 else (row + by) % self.list.count()
        self.list.setCurrentRow(row)
        self.asked.emit(self.slices[row])

    def _clicked(self, item: QListWidgetItem) -> None:
        self.asked.emit(int(item.data(Qt.ItemDataRole.UserRole)))

    def _fill(self) -> None:
        current = self.slices[self.list.currentRow()] if self.list.currentRow() >= 0 else None
        self.list.clear()
        for index, text in self._rows():
            item = QListWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, index)
            self.list.addItem(item)
            if index == current:
                self.list.setCurrentItem(item)
        for button in (self.back, self.forward):
            button.setEnabled(self.list.count() > 0)

    def _rows(self) -> list[tuple[int, str]]:
        case = self._case
        if case is None or not case.methods:
            return []
        if self.order.value() == DISAGREEMENT:
            return [(index, f"slice {index} · {share:.0%} disputed") for index, share in case.disagreeing_first()]
        word, unit, digits = METRIC_WORDS[self._metric], "", 3
        if self._metric == "assd":
            unit, digits = " mm", 2
        rows = [
            (index, f"slice {index} · {word} {value:.{digits}f}{unit} · {case.methods[method].entry.title}")
            for index, method, value in case.worst_first(self._metric, self._label)
        ]
        return sorted(rows) if self.order.value() == IN_ORDER else rows

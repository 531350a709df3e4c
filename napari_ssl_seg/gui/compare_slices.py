"""The slices of the open case that are worth a look: in an order, stepped through by keys, with flags and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_case import METRIC_WORDS
from napari_ssl_seg.workbench.slice_notes import SliceNote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_ssl_seg.workbench.compared_case import CaseComparison

WORST, DIFFERENCE, DISAGREEMENT, IN_ORDER, NOTED = "worst", "difference", "disagreement", "in order", "noted"
ORDERS = [
    ("worst first", WORST),
    ("most different first", DIFFERENCE),
    ("most disputed first", DISAGREEMENT),
    ("in their order", IN_ORDER),
    ("with a flag or note", NOTED),
]
FLAG = "⚑"
LEAST_LINES = 5


class SliceOrder(QWidget):
    """Slices of the open case in an order; J and K step through them.

    Signals
    -------
    asked(int)
        Go to that slice.
    noted(int, SliceNote)
        Keep this about a slice.
    order_changed(str)
        Another order was chosen.
    """

    asked = Signal(int)
    noted = Signal(int, object)
    order_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._case: CaseComparison | None = None
        self._metric = "dice"
        self._label: int | None = None
        self._pair: tuple[str, str] | None = None
        self._notes: dict[int, SliceNote] = {}
        self._here: int | None = None
        self.order = ChoiceField([])
        refill(self.order, ORDERS)
        self.order.setToolTip(
            "By the metric above; by how far two methods are apart in it; or by the share of labelled voxels on which the"
            " methods disagree"
        )
        self.order.edited.connect(self._order_chosen)
        self.back, self.forward = QPushButton("◂ K"), QPushButton("J ▸")
        self.back.setToolTip("The slice before in this list (K)")
        self.forward.setToolTip("The next slice in this list (J)")
        self.back.clicked.connect(lambda: self.step(-1))
        self.forward.clicked.connect(lambda: self.step(1))
        self.list = _ShortList()
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setAccessibleName("Slices to look at")
        self.list.itemClicked.connect(self._clicked)
        self.flag = QPushButton(f"{FLAG}  Q")
        self.flag.setCheckable(True)
        self.flag.setToolTip("Flag this slice, or take the flag away (Q); kept in the study")
        self.flag.clicked.connect(self._flag_clicked)
        self.note = QLineEdit()
        self.note.setMaxLength(2000)
        self.note.setToolTip("A note on the slice that is shown; kept in the study with Enter")
        self.note.editingFinished.connect(self._note_written)
        self._lay_out()

    def _lay_out(self) -> None:
        heading = QLabel("Slices")
        mark(heading, "heading")
        head, foot = QHBoxLayout(), QHBoxLayout()
        head.addWidget(heading)
        head.addWidget(self.order, 1)
        head.addWidget(self.back)
        head.addWidget(self.forward)
        foot.addWidget(self.flag)
        foot.addWidget(self.note, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.list, 1)
        layout.addLayout(foot)

    def show_case(
        self, case: CaseComparison | None, metric: str, label: int | None, pair: tuple[str, str] | None = None
    ) -> None:
        """List the slices of a case."""
        self._case, self._metric, self._label, self._pair = case, metric, label, pair
        self._fill()

    def set_notes(self, notes: Mapping[int, SliceNote]) -> None:
        """What is flagged and noted in the study about this case, by slice."""
        self._notes = dict(notes)
        self._fill()
        self.set_slice(self._here)

    def set_slice(self, index: int | None) -> None:
        """The slice that is shown: whose flag and note these are."""
        if index != self._here and self.note.isModified():
            self._note_written()
        self._here = index
        note = self._notes.get(-1 if index is None else index, SliceNote())
        self.flag.setChecked(note.flagged)
        if self.note.text() != note.text:
            self.note.setText(note.text)
        self.note.setPlaceholderText("" if index is None else f"Note on slice {index} …")
        for widget in (self.flag, self.note):
            widget.setEnabled(index is not None)

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

    def toggle_flag(self) -> None:
        """Flag the slice that is shown, or take the flag away."""
        if self._here is not None:
            note = self._notes.get(self._here, SliceNote())
            self._keep(SliceNote(not note.flagged, note.text))

    def _flag_clicked(self) -> None:
        self.toggle_flag()

    def _note_written(self) -> None:
        self.note.setModified(False)
        if self._here is not None:
            note = self._notes.get(self._here, SliceNote())
            text = " ".join(self.note.text().split())
            if text != note.text:
                self._keep(SliceNote(note.flagged, text))

    def _keep(self, note: SliceNote) -> None:
        assert self._here is not None
        here = self._here
        if note:
            self._notes[here] = note
        else:
            self._notes.pop(here, None)
        self.flag.setChecked(note.flagged)
        self._fill()
        self.noted.emit(here, note)

    def _order_chosen(self) -> None:
        self._fill()
        self.order_changed.emit(self.order.value())

    def _clicked(self, item: QListWidgetItem) -> None:
        self.asked.emit(int(item.data(Qt.ItemDataRole.UserRole)))

    def _fill(self) -> None:
        current = self.slices[self.list.currentRow()] if self.list.currentRow() >= 0 else None
        self.list.clear()
        for index, text in self._rows():
            note = self._notes.get(index, SliceNote())
            text = f"{FLAG + ' ' if note.flagged else ''}{text}{' — ' + note.text if note.text else ''}"
            item = QListWidgetItem(text)
            item.setToolTip(text)
            item.setData(Qt.ItemDataRole.UserRole, index)
            self.list.addItem(item)
            if index == current:
                self.list.setCurrentItem(item)
        for button in (self.back, self.forward):
            button.setEnabled(self.list.count() > 0)

    def _rows(self) -> list[tuple[int, str]]:
        case, order = self._case, self.order.value()
        if case is None or not case.methods:
            return []
        if order == NOTED:
            return [(index, f"slice {index}") for index in sorted(self._notes) if index < case.n_slices]
        if order == DISAGREEMENT:
            return [(index, f"slice {index} · {share:.0%} disputed") for index, share in case.disagreeing_first()]
        word, unit, digits = METRIC_WORDS[self._metric], "", 3
        if self._metric == "assd":
            unit, digits = " mm", 2
        if order == DIFFERENCE:
            return self._differences(case, word, unit, digits)
        rows = [
            (index, f"slice {index} · {word} {value:.{digits}f}{unit} · {case.methods[method].entry.title}")
            for index, method, value in case.worst_first(self._metric, self._label)
        ]
        return sorted(rows) if order == IN_ORDER else rows

    def _differences(self, case: CaseComparison, word: str, unit: str, digits: int) -> list[tuple[int, str]]:
        places = {method.entry.key: place for place, method in enumerate(case.methods)}
        pair = [places[key] for key in self._pair or () if key in places]
        if len(pair) < 2:
            return []
        sign = 1 if self._metric == "dice" else -1
        rows = []
        for index, apart in case.differing_first(pair[0], pair[1], self._metric, self._label):
            better = case.methods[pair[0] if sign * apart > 0 else pair[1]].entry.title
            rows.append((index, f"slice {index} · {word} {abs(apart):.{digits}f}{unit} · {better} is better"))
        return rows


class _ShortList(QListWidget):
    """Asks for a few lines and takes what there is: what stands below it is to be seen without scrolling."""

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), LEAST_LINES * self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

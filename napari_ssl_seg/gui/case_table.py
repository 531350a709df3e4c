"""The cases of a study as a table: a Qt model over what the study tells, a filter, and a small bar of labelled slices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QStyledItemDelegate, QTableView

from napari_ssl_seg.gui.eliding import letters_wide
from napari_ssl_seg.gui.style import ACCENT
from napari_ssl_seg.workbench import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QResizeEvent
    from qtpy.QtWidgets import QStyleOptionViewItem, QWidget

    from napari_ssl_seg.study import Case

COLUMNS = ("Case", "Size · spacing", "Split", "Labels", "")
CASE, SIZE, SPLIT, LABELS, FLAGS = range(5)
SPLIT_WORDS = {
    "train": "train: pretraining and fine-tuning",
    "validation": "validation: chooses the best checkpoint",
    "test": "test: never used for training or for choosing a checkpoint",
}
FITTED_ROWS, PADDING, NAME_LETTERS = 300, 8, 16
STATES = ("labelled", "unlabelled")
_NOWHERE = QModelIndex()


class CaseModel(QAbstractTableModel):
    """Rows are the cases that carry every word of the filter, in the order of a column; reads cases, never changes them.

    Filtered and sorted here, a key a case: Qt's own proxy asks for two keys a comparison, which for 100,000 cases takes half a
    minute.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._all: list[Case] = []
        self._cases: list[Case] = []
        self._texts: list[str] | None = None
        self._words: list[str] = []
        self._order = (CASE, Qt.SortOrder.AscendingOrder)
        self._open: str | None = None

    def set_cases(self, cases: Sequence[Case]) -> None:
        """Show these, which come in the natural order of their names."""
        self._all, self._texts = list(cases), None
        self._arrange()

    def set_text(self, text: str) -> None:
        """Keep the cases that carry every word somewhere in their row (also: ``labelled``, ``unlabelled``)."""
        self._words = text.lower().split()
        self._arrange()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if (column, order) != self._order:
            self._order = (column, order)
            self._arrange()

    def _arrange(self) -> None:
        self.beginResetModel()
        self._cases = self._matching() if self._words else list(self._all)
        column, order = self._order
        if column != CASE:
            self._cases.sort(key=_KEYS[column])  # stable: within equals the names' order stays
        if order == Qt.SortOrder.DescendingOrder:
            self._cases.reverse()
        self.endResetModel()

    def _matching(self) -> list[Case]:
        if self._texts is None:
            self._texts = [_searched(case) for case in self._all]
        words_ = [f" {word} " if word in STATES else word for word in self._words]
        return [case for case, text in zip(self._all, self._texts, strict=True) if all(word in text for word in words_)]

    def set_open(self, case_id: str | None) -> None:
        """Mark the case that is open."""
        self._open = case_id
        if self._cases:
            last = self.index(len(self._cases) - 1, 0)
            self.dataChanged.emit(self.index(0, 0), last, [Qt.ItemDataRole.FontRole])

    def case_at(self, row: int) -> Case:
        """The case of a row."""
        return self._cases[row]

    def row_of(self, case_id: str) -> int | None:
        """The row of a case, where the filter shows it."""
        return next((row for row, case in enumerate(self._cases) if case.id == case_id), None)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._cases)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        case, column = self._cases[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(case, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(case, column)
        if role == Qt.ItemDataRole.UserRole:
            return case
        if role == Qt.ItemDataRole.FontRole and column == CASE and case.id == self._open:
            from qtpy.QtGui import QFont

            font = QFont()
            font.setBold(True)
            return font
        return None

    @staticmethod
    def _text(case: Case, column: int) -> str:
        if column == CASE:
            return case.id
        if column == SIZE:
            return f"{words.size(case.shape)} · {words.short_spacing(case.spacing)}"
        if column == SPLIT:
            return "valid." if case.split == "validation" else case.split
        if column == FLAGS:
            return "⚠" if case.warnings else ""
        return ""

    @staticmethod
    def _tooltip(case: Case, column: int) -> str:
        if column == FLAGS and case.warnings:
            return "\n".join(case.warnings)
        if column == LABELS:
            return labels_sentence(case)
        if column == SIZE:
            return size_sentence(case)
        if column == SPLIT:
            return SPLIT_WORDS[case.split]
        return f"{case.id}\n{size_sentence(case)}"


def labelled_share(case: Case) -> float:
    """How much of a case is labelled, 0 to 1."""
    if case.label is None:
        return 0.0
    if case.labelled_slices is None:
        return 1.0
    return len(case.labelled_slices) / max(1, case.shape[0])


def size_sentence(case: Case) -> str:
    """Size and spacing, in words."""
    return f"{words.size(case.shape)} voxels of {words.spacing(case.spacing)} (feet-head × front-back × right-left)"


def labels_sentence(case: Case) -> str:
    """What is labelled, in words."""
    if case.label is None:
        return "no labels"
    if case.labelled_slices is None:
        return f"labelled: {case.label.name}"
    return f"{len(case.labelled_slices)} of {case.shape[0]} slices labelled: {case.label.name}"


def _searched(case: Case) -> str:
    """What the words of a filter are looked for in: the row, and the state as a word of its own."""
    flags = "warning" if case.warnings else ""
    state = "labelled" if case.label_file is not None else "unlabelled"
    return f"{case.id} {words.size(case.shape)} {case.split} {flags} {state} ".lower()


_KEYS: dict[int, Callable[[Case], Any]] = {
    SIZE: lambda case: math.prod(case.shape),
    SPLIT: lambda case: case.split,
    LABELS: labelled_share,
    FLAGS: lambda case: len(case.warnings),
}


class SliceBar(QStyledItemDelegate):
    """Draws which slices are labelled as a small bar, feet at the left."""

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        super().paint(painter, option, index)
        case = index.data(Qt.ItemDataRole.UserRole)
        if case is None or painter is None:
            return
        area = QRectF(option.rect).adjusted(6, option.rect.height() / 2 - 4, -6, -(option.rect.height() / 2 - 4))
        painter.save()
        painter.setPen(QColor(128, 128, 128))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(area)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ACCENT).lighter(130))
        if case.label is not None and case.labelled_slices is None:
            painter.drawRect(area.adjusted(1, 1, 0, 0))
        elif case.label is not None:
            width = area.width() / max(1, case.shape[0])
            for index_ in case.labelled_slices:
                painter.drawRect(
                    QRectF(area.left() + index_ * width, area.top() + 1, max(1.5, width), area.height() - 1)
                )
        painter.restore()


class CaseTable(QTableView):
    """The table; ``opened(case id)`` on a double click or Return."""

    opened = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cases = CaseModel()
        self.setModel(self.cases)
        self.setItemDelegateForColumn(LABELS, SliceBar(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSortingEnabled(True)
        self.sortByColumn(CASE, Qt.SortOrder.AscendingOrder)
        self.setShowGrid(False)
        self.setWordWrap(False)
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        assert vertical is not None and horizontal is not None
        vertical.hide()
        vertical.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        horizontal.setMinimumSectionSize(22)
        horizontal.setSectionResizeMode(CASE, QHeaderView.ResizeMode.Stretch)
        horizontal.setHighlightSections(False)
        for column in (SIZE, SPLIT, LABELS, FLAGS):
            horizontal.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        self.fit()
        self.doubleClicked.connect(self._open)
        self.activated.connect(self._open)

    def set_cases(self, cases: Sequence[Case]) -> None:
        """Show these, in columns as narrow as they allow: the names get the rest."""
        self.cases.set_cases(cases)
        self.fit()

    def fit(self) -> None:
        """Fit the columns to what they hold (to the first few hundred cases: a table of 100,000 opens as fast)."""
        metrics, rows = self.fontMetrics(), range(min(FITTED_ROWS, self.cases.rowCount()))
        vertical = self.verticalHeader()
        assert vertical is not None
        vertical.setDefaultSectionSize(metrics.height() + 8)

        def widest(column: int, *more: str) -> int:
            texts = {self.cases.index(row, column).data() for row in rows}.union(more)
            return max((metrics.horizontalAdvance(text) for text in texts), default=0) + PADDING

        flagged = any(self.cases.case_at(row).warnings for row in rows)
        self.setColumnHidden(FLAGS, not flagged)
        widths = {SPLIT: widest(SPLIT, "train"), LABELS: widest(LABELS, "Labels"), FLAGS: widest(FLAGS, "⚠")}
        for column, width in widths.items():
            self.setColumnWidth(column, width)
        # Where it is narrow (large letters), sizes give way to names; the name's tooltip tells them.
        viewport = self.viewport()
        rest = (viewport.width() if viewport is not None else 0) - sum(widths.values()) + widths[FLAGS] * (not flagged)
        size, name = widest(SIZE), min(widest(CASE), letters_wide(self, NAME_LETTERS))
        self.setColumnHidden(SIZE, rest < size + name)
        self.setColumnWidth(SIZE, size)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self.fit()

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        changed = event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange)
        if changed and self.model() is not None:
            self.fit()

    def selected_case(self) -> str | None:
        """Id of the selected case."""
        index = self.currentIndex()
        return index.data(Qt.ItemDataRole.UserRole).id if index.isValid() else None

    def select_case(self, case_id: str | None) -> None:
        """Select the row of a case, where the filter shows it, and mark it as the open one."""
        self.cases.set_open(case_id)
        row = self.cases.row_of(case_id) if case_id is not None else None
        if row is not None:
            index = self.cases.index(row, 0)
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def _open(self, index: QModelIndex) -> None:
        case = index.data(Qt.ItemDataRole.UserRole)
        if case is not None:
            self.opened.emit(case.id)

"""The list of methods to compare: a tick, a colour, mean Dice and ASSD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from napari_ssl_seg.gui.eliding import rows_high
from napari_ssl_seg.gui.run_list import ID_ROLE, swatch

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST, MOST = 4, 12
"""Rows that there is room for."""


@dataclass(frozen=True)
class MethodRow:
    """One line; the means are over the cases that the method has predicted."""

    key: str
    title: str
    color: str
    ticked: bool
    dice: float = float("nan")
    assd: float = float("nan")
    note: str = ""


class MethodList(QTreeWidget):
    """Methods with ticks.

    Signals
    -------
    ticked(list of keys)
        The user has ticked others.
    """

    ticked = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._filling = False
        self.setHeaderLabels(["Method", "Dice", "ASSD"])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setStyleSheet("QTreeWidget::item { padding: 2px 0; }")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setAccessibleName("Methods to compare")
        self.headerItem().setToolTip(1, "Mean Dice over the cases of the test split that are predicted")
        self.headerItem().setToolTip(2, "Mean average symmetric surface distance over the same cases, in mm")
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.itemChanged.connect(self._item_changed)

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.setMinimumHeight(rows_high(self, LEAST))

    @property
    def keys(self) -> list[str]:
        """Keys of the ticked methods, from the top."""
        return [str(item.data(0, ID_ROLE)) for item in self._items() if item.checkState(0) == Qt.CheckState.Checked]

    def set_rows(self, rows: Sequence[MethodRow]) -> None:
        """Show these methods."""
        self._filling = True
        if [row.key for row in rows] != [item.data(0, ID_ROLE) for item in self._items()]:
            self.clear()
            for row in rows:
                item = QTreeWidgetItem()
                item.setData(0, ID_ROLE, row.key)
                self.addTopLevelItem(item)
        best = max((row.dice for row in rows if row.dice == row.dice), default=None)
        for item, row in zip(self._items(), rows, strict=True):
            item.setText(0, row.title)
            item.setIcon(0, swatch(row.color))
            item.setToolTip(0, f"{row.title}\n{row.note}" if row.note else row.title)
            item.setCheckState(0, Qt.CheckState.Checked if row.ticked else Qt.CheckState.Unchecked)
            item.setText(1, f"{row.dice:.3f}" if row.dice == row.dice else "")
            item.setText(2, f"{row.assd:.2f}" if row.assd == row.assd else "")
            font = item.font(1)
            font.setBold(row.dice == best and len(rows) > 1)
            item.setFont(1, font)
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._filling = False
        # No taller than what it holds: the room below belongs to the slices.
        self.setMaximumHeight(rows_high(self, max(LEAST, min(MOST, len(rows)))))

    def _items(self) -> list[QTreeWidgetItem]:
        return [self.topLevelItem(index) for index in range(self.topLevelItemCount())]

    def _item_changed(self, _item: QTreeWidgetItem, column: int) -> None:
        if not self._filling and column == 0:
            self.ticked.emit(self.keys)

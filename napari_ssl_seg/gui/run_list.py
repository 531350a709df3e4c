"""The list of runs: name, state as a colour and a word, best Dice, age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QPoint, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTreeWidget, QTreeWidgetItem, QWidget

from napari_ssl_seg.gui.eliding import letters_wide, rows_high

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qtpy.QtGui import QResizeEvent

NAME, STATE, DICE, AGE = range(4)
NAME_LETTERS, LEAST_ROWS = 18, 5
ID_ROLE = int(Qt.ItemDataRole.UserRole)
COLOR_ROLE = ID_ROLE + 1
STATE_LOOKS = {
    "running": ("●", "#2E9E62"),
    "starting": ("◌", "#2E9E62"),
    "stopping": ("◍", "#B3682E"),
    "paused": ("‖", "#B3682E"),
    "waiting": ("◌", "#7A7F8C"),
    "queued": ("◌", "#7A7F8C"),
    "stopped": ("■", "#7A7F8C"),
    "finished": ("✓", "#1E8FA6"),
    "failed": ("✕", "#D6457F"),
}
"""A mark and a colour for each state; the word always stands beside them."""


@dataclass(frozen=True)
class RunRow:
    """One line of the list."""

    id: str
    title: str
    state: str
    dice: float | None = None
    age: str = ""
    tooltip: str = ""
    color: str | None = None
    """Colour of its curves while it is chosen."""


@dataclass(frozen=True)
class RunAction:
    """One entry of the context menu: what it says, and the name it is asked for by."""

    name: str
    text: str
    enabled: bool = True


class RunList(QTreeWidget):
    """Runs, newest first.

    Signals
    -------
    chosen(list of run ids)
        Which lines are selected, in the order of the list.
    asked(action name, run id)
        An entry of the context menu, or the Delete key.
    """

    chosen = Signal(list)
    asked = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._actions_for = lambda _run_id: ()
        self._filling = False
        self.setHeaderLabels(["Run", "State", "Dice", "Age"])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setStyleSheet("QTreeWidget::item { padding: 2px 0; }")
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setToolTip("Click: curves and settings. Ctrl+click: several at once. Right click: what can be done.")
        self.setAccessibleName("Runs of this study")
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2, 3):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(0)
        self.itemSelectionChanged.connect(self._selection_changed)
        self.customContextMenuRequested.connect(self._open_menu)

    def set_actions(self, actions_for: object) -> None:
        """Tell the list which actions a run offers: a function of its id that returns `RunAction`s."""
        self._actions_for = actions_for  # type: ignore[assignment]

    @property
    def selected(self) -> list[str]:
        """Ids of the selected runs, from the top."""
        return [self._id(item) for item in self._items() if item.isSelected()]

    def select(self, run_ids: Iterable[str]) -> None:
        """Select these runs and no others."""
        wanted = set(run_ids)
        self._filling = True
        for item in self._items():
            item.setSelected(self._id(item) in wanted)
        self._filling = False
        self._selection_changed()

    def set_rows(self, rows: Sequence[RunRow]) -> None:
        """Show these runs; lines that stay keep their selection, and the list its place."""
        self._filling = True
        if [row.id for row in rows] != [self._id(item) for item in self._items()]:
            selected = set(self.selected)
            self.clear()
            for row in rows:
                item = QTreeWidgetItem()
                item.setData(0, ID_ROLE, row.id)
                self.addTopLevelItem(item)
                item.setSelected(row.id in selected)
        for item, row in zip(self._items(), rows, strict=True):
            _fill(item, row)
        self._filling = False
        self._fit()

    def actions(self, run_id: str) -> list[RunAction]:  # type: ignore[override]
        """What the context menu of a run offers."""
        return list(self._actions_for(run_id))

    def _fit(self) -> None:
        """Where it is narrow (large letters), the age gives way to the names; the tooltip tells it."""
        metrics = self.fontMetrics()
        longest = max((metrics.horizontalAdvance(item.text(0)) for item in self._items()), default=0)
        wanted = min(longest, letters_wide(self, NAME_LETTERS)) + 2 * self.iconSize().width()
        rest = sum(self.sizeHintForColumn(column) for column in (STATE, DICE, AGE))
        self.setColumnHidden(AGE, self.viewport().width() - rest < wanted)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.setMinimumHeight(rows_high(self, LEAST_ROWS))
            self._fit()

    def keyPressEvent(self, event: object) -> None:
        if event.key() == Qt.Key.Key_Delete and self.selected:  # type: ignore[attr-defined]
            self.asked.emit("delete", self.selected[0])
        else:
            super().keyPressEvent(event)

    def _items(self) -> list[QTreeWidgetItem]:
        return [self.topLevelItem(index) for index in range(self.topLevelItemCount())]

    @staticmethod
    def _id(item: QTreeWidgetItem) -> str:
        return str(item.data(0, ID_ROLE))

    def _selection_changed(self) -> None:
        if not self._filling:
            self.chosen.emit(self.selected)

    def _open_menu(self, position: QPoint) -> None:
        item = self.itemAt(position)
        if item is None:
            return
        run_id = self._id(item)
        menu = QMenu(self)
        for action in self.actions(run_id):
            entry = menu.addAction(action.text)
            entry.setEnabled(action.enabled)
            entry.triggered.connect(lambda _checked=False, name=action.name: self.asked.emit(name, run_id))
        menu.popup(self.viewport().mapToGlobal(position))


def age_words(seconds: float) -> str:
    """``now``, ``5 min``, ``2 h``, ``3 d``."""
    seconds = max(0.0, seconds)
    for limit, unit, word in ((90, 0, "now"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return word if not unit else f"{round(seconds / unit)} {word}"
    return f"{round(seconds / 86_400)} d"


def swatch(color: str) -> QIcon:
    """A short thick line, as in the legend of the curves."""
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor(0, 0, 0, 0))
    painter = QPainter(pixmap)
    painter.fillRect(0, 5, 14, 4, QColor(color))
    painter.end()
    return QIcon(pixmap)


def _fill(item: QTreeWidgetItem, row: RunRow) -> None:
    glyph, color = STATE_LOOKS.get(row.state, ("", "#7A7F8C"))
    texts = (row.title, f"{glyph} {row.state}", "" if row.dice is None else f"{row.dice:.3f}", row.age)
    for column, text in enumerate(texts):
        if item.text(column) != text:
            item.setText(column, text)
    item.setForeground(1, QBrush(QColor(color)))
    if item.data(0, COLOR_ROLE) != row.color:
        item.setData(0, COLOR_ROLE, row.color)
        item.setIcon(0, swatch(row.color) if row.color else QIcon())
    about = " · ".join(word for word in (row.state, row.age) if word)
    item.setToolTip(0, "\n".join(line for line in (row.title, about, row.tooltip) if line))
    item.setTextAlignment(2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    item.setTextAlignment(3, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

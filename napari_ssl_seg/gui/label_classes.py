"""The classes: colour, name, key, voxels on this slice and in this scan, lock, eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.eliding import letters_wide, rows_high
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QPoint
    from qtpy.QtGui import QResizeEvent

VALUE_ROLE = int(Qt.ItemDataRole.UserRole)
NAME, KEY, SLICE, SCAN, LOCK, EYE = range(6)
LEAST, MOST, NAME_LETTERS = 2, 5, 9
HEADERS = ("Class", "Key", "Slice", "Scan", "Lock", "Show")
HELP = (
    "Double click to rename; right click for its colour, and to count lesions",
    "Takes the class in hand",
    "Voxels on the slice that is shown",
    "Voxels in the whole scan",
    "A locked class neither loses nor gains a voxel, whatever tool is used",
    "Untick to hide the class in the viewer",
)


@dataclass(frozen=True)
class ClassRow:
    """One line."""

    value: int
    name: str
    color: str
    key: str
    on_slice: int
    in_scan: int
    locked: bool
    shown: bool
    lesion: bool = False


class ClassList(QWidget):
    """The list, and a button that adds a class.

    Signals
    -------
    taken(value), renamed(value, name), recoloured(value, colour), counted(value, on), locked(value, on), shown(value, on), added()
        What the user asks for.
    """

    taken = Signal(int)
    renamed = Signal(int, str)
    recoloured = Signal(int, str)
    counted = Signal(int, bool)
    locked = Signal(int, bool)
    shown = Signal(int, bool)
    added = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._filling = False
        self._lesions: set[int] = set()
        heading = QLabel("Classes")
        mark(heading, "heading")
        self.add_button = QPushButton("+ Class")
        self.add_button.setToolTip("Add a class with the next free number; rename it by a double click")
        mark(self.add_button, "quiet")
        self.add_button.clicked.connect(self.added)
        head = QHBoxLayout()
        head.addWidget(heading)
        head.addStretch(1)
        head.addWidget(self.add_button)
        self.tree = _Tree()
        self.tree.setHeaderLabels(list(HEADERS))
        for column, help_ in enumerate(HELP):
            self.tree.headerItem().setToolTip(column, help_)
        self.tree.itemChanged.connect(self._item_changed)
        self.tree.currentItemChanged.connect(self._current_changed)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._menu)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addWidget(self.tree)

    @property
    def values(self) -> list[int]:
        """Classes, from the top."""
        return [int(item.data(0, VALUE_ROLE)) for item in self._items()]

    def item(self, value: int) -> QTreeWidgetItem | None:
        """The line of a class."""
        return next((item for item in self._items() if item.data(0, VALUE_ROLE) == value), None)

    def set_rows(self, rows: Sequence[ClassRow], hand: int) -> None:
        """Show these classes; ``hand`` is the one that is drawn."""
        self._filling = True
        self._lesions = {row.value for row in rows if row.lesion}
        if [row.value for row in rows] != self.values:
            self.tree.clear()
            for row in rows:
                item = QTreeWidgetItem()
                item.setData(0, VALUE_ROLE, row.value)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable | Qt.ItemFlag.ItemIsUserCheckable)
                self.tree.addTopLevelItem(item)
        for item, row in zip(self._items(), rows, strict=True):
            item.setText(NAME, row.name)
            more = f"{', ' + row.key if row.key else ''}{', lesions' if row.lesion else ''}"
            item.setToolTip(NAME, f"{row.name} (value {row.value}{more})")
            item.setIcon(NAME, _patch(row.color))
            item.setText(KEY, row.key)
            item.setText(SLICE, _short(row.on_slice))
            item.setText(SCAN, _short(row.in_scan))
            item.setToolTip(SLICE, f"{row.on_slice:,} voxels".replace(",", " "))
            item.setToolTip(SCAN, f"{row.in_scan:,} voxels".replace(",", " "))
            item.setCheckState(LOCK, _state(row.locked))
            item.setCheckState(EYE, _state(row.shown))
            font = item.font(NAME)
            font.setBold(row.value == hand)
            item.setFont(NAME, font)
            for column in (SLICE, SCAN):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if row.value == hand and self.tree.currentItem() is not item:
                self.tree.setCurrentItem(item)
        self._filling = False
        self.tree.fit()

    def edit_name(self, value: int) -> None:
        """Let the user write the name of a class."""
        item = self.item(value)
        if item is not None:
            self.tree.editItem(item, NAME)

    def ask_colour(self, value: int) -> str | None:
        """The colour that the user wants for a class; None when they changed their mind."""
        item = self.item(value)
        title = f"Colour of {item.text(NAME)}" if item is not None else "Colour"
        chosen = QColorDialog.getColor(parent=self, title=title)
        return chosen.name() if chosen.isValid() else None

    def _items(self) -> list[QTreeWidgetItem]:
        return [self.tree.topLevelItem(index) for index in range(self.tree.topLevelItemCount())]

    def _item_changed(self, item: QTreeWidgetItem, column: int) -> None:
        if self._filling:
            return
        value = int(item.data(0, VALUE_ROLE))
        if column == NAME:
            self.renamed.emit(value, item.text(NAME))
        elif column in (LOCK, EYE):
            on = item.checkState(column) == Qt.CheckState.Checked
            (self.locked if column == LOCK else self.shown).emit(value, on)

    def _current_changed(self, item: QTreeWidgetItem | None, _before: object) -> None:
        if not self._filling and item is not None:
            self.taken.emit(int(item.data(0, VALUE_ROLE)))

    def _menu(self, place: QPoint) -> None:
        item = self.tree.itemAt(place)
        if item is None:
            return
        self.menu_of(int(item.data(0, VALUE_ROLE))).exec(self.tree.viewport().mapToGlobal(place))

    def menu_of(self, value: int) -> QMenu:
        """What a right click on a class offers."""
        menu = QMenu(self)
        menu.addAction("Rename", lambda: self.edit_name(value))
        menu.addAction("Colour …", lambda: self._recolour(value))
        lesions = menu.addAction("Count its parts as lesions")
        lesions.setToolTip("Scores then say how many were found, missed and false, too")
        lesions.setCheckable(True)
        lesions.setChecked(value in self._lesions)
        lesions.toggled.connect(lambda on: self.counted.emit(value, on))
        return menu

    def _recolour(self, value: int) -> None:
        colour = self.ask_colour(value)
        if colour is not None:
            self.recoloured.emit(value, colour)


class _Tree(QTreeWidget):
    """As high as its lines, within limits; names alone are edited."""

    def __init__(self) -> None:
        super().__init__()
        self.setColumnCount(len(HEADERS))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setAccessibleName("Classes")
        self.setStyleSheet("QTreeWidget::item { padding: 1px 0; }")
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (KEY, SLICE, SCAN, LOCK, EYE):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def edit(self, index: object, *args: object) -> bool:  # type: ignore[override]
        column = index.column() if hasattr(index, "column") else NAME
        return bool(super().edit(index, *args)) if not args or column == NAME else False  # type: ignore[arg-type]

    def fit(self) -> None:
        """Take the room of the lines that are there."""
        self.setFixedHeight(rows_high(self, max(LEAST, min(MOST, self.topLevelItemCount()))))

        self._make_room()

    def _make_room(self) -> None:
        """Names can be read: what else there is gives way where letters are large, and is in the tooltips."""
        columns = (SLICE, SCAN, LOCK, EYE, KEY)
        room = self.viewport().width() - letters_wide(self, NAME_LETTERS)
        for column in columns:
            room -= max(self.sizeHintForColumn(column), self.header().sectionSizeHint(column))
        for column in (KEY, SLICE):
            hide = room < 0
            if hide:
                room += max(self.sizeHintForColumn(column), self.header().sectionSizeHint(column))
            if self.isColumnHidden(column) != hide:
                self.setColumnHidden(column, hide)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._make_room()

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.fit()


def _patch(color: str) -> QIcon:
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor(0, 0, 0, 0))
    painter = QPainter(pixmap)
    painter.fillRect(1, 1, 12, 12, QColor(color))
    painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # the colour of the class, and not a shade of the selection's
    return icon


def _state(on: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked


def _short(number: int) -> str:
    """``812``, ``12.4k``, ``1.2M``: columns stay narrow."""
    if number < 10_000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"

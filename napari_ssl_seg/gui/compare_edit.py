"""Painting on the reference or on a prediction of a comparison: who was painted on, and what becomes of it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.compare_controls import quiet
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.edits import unsaved_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.components import ViewerModel

    from napari_ssl_seg.gui.compare_view import CellLayers
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.comparison import Comparison


class Painting(QObject):
    """Hears strokes on the labels of the cells, also those that are taken back.

    Signals
    -------
    painted(str)
        The labels of the cell with that key have changed on the slice that is shown.
    """

    painted = Signal(str)

    def __init__(self, viewer: ViewerModel, owner: QWidget) -> None:
        super().__init__(owner)
        self._dims = viewer.dims
        self._paused = False
        self._keys: dict[int, str] = {}
        self._touched: set[str] = set()
        self._waiting: set[str] = set()
        self._shown: dict[int, tuple[int, ...]] = {}
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._tell)

    def watch(self, cells: Sequence[CellLayers]) -> None:
        """Hear of these cells, and no longer of others."""
        known, self._keys = self._keys, {}
        for group in cells:
            if group.cell.labels is None:
                continue
            layer = group.labels
            self._keys[id(layer)] = group.cell.key
            if id(layer) not in known:
                layer.events.labels_update.connect(self._stroke)
                layer.events.paint.connect(self._stroke)
                layer.events.set_data.connect(self._refreshed)
        self._touched &= set(self._keys.values())

    def forget(self) -> None:
        """Nothing was painted on."""
        self._touched.clear()
        self._waiting.clear()

    def _stroke(self, event: Any) -> None:
        key = self._keys.get(id(event.source)) if isalive(self) else None
        if key is not None:
            self._touched.add(key)
            self._waiting.add(key)
            self._shown[id(event.source)] = tuple(self._dims.current_step)
            self._soon.start(0)  # a movement of the mouse may be told as several strokes

    def _refreshed(self, event: Any) -> None:
        """Undo and redo fill the layer again, as a move of the slider does; so only on the same slice."""
        if self._paused or not self._touched or not isalive(self):
            return
        layer, here = event.source, tuple(self._dims.current_step)
        key = self._keys.get(id(layer))
        if key in self._touched and key is not None and self._shown.get(id(layer)) == here:
            self._waiting.add(key)
            self._soon.start(0)
        self._shown[id(layer)] = here

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the layers are filled by the program."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for key in waiting:
            self.painted.emit(key)


class EditedBox(QWidget):
    """What was painted on, and two buttons: save it, or go back to what is on disk.

    Signals
    -------
    discarded()
        Go back.
    """

    discarded = Signal()

    def __init__(self, workbench: Workbench, comparison: Comparison, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._comparison = workbench, comparison
        self._case_id: str | None = None
        self.text = QLabel()
        self.text.setWordWrap(True)
        mark(self.text, "hint")
        self.save_button = quiet("Save as files …", "Write what was painted on beside each other, on the scan's grid")
        self.discard_button = quiet("Discard", "Go back to the labels on disk of this scan")
        self.save_button.clicked.connect(self.save)
        self.discard_button.clicked.connect(self.discarded)
        buttons = QHBoxLayout()
        buttons.addWidget(self.save_button)
        buttons.addWidget(self.discard_button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.text)
        layout.addLayout(buttons)
        self.show_edited(None)

    def show_edited(self, case_id: str | None) -> None:
        """Say what was painted on in the scan, and in which others it is not saved; nothing hides the box."""
        self._case_id = case_id
        edits = self._comparison.edits
        here = edits.of_case(case_id) if case_id is not None else []
        elsewhere = [edit for edit in edits.unsaved if edit.case_id != case_id]
        words = []
        if here:
            saved = all(edit.saved for edit in here)
            names = ", ".join(edit.title for edit in here)
            tail = "It is saved." if saved else "The numbers are of what you see; nothing on disk changed."
            words.append(f"Painted on: {names}. {tail}")
        if elsewhere:
            words.append(f"Not saved yet: {unsaved_words(elsewhere)}.")
        self.text.setText(" ".join(words))
        self.save_button.setEnabled(bool(edits.unsaved))
        self.discard_button.setVisible(bool(here))
        self.setVisible(bool(words))

    def save(self) -> bool:
        """Ask for a folder and write one file each, of every scan; whether everything is saved."""
        folder = self.ask_folder()
        if folder is None:
            return False
        try:
            for path in self._comparison.edits.write(folder):
                self._workbench.say(f"wrote {path}")
        except (UserError, OSError) as error:
            self._workbench.fail(error)
        self.show_edited(self._case_id)
        return not self._comparison.edits.unsaved

    def ask_folder(self) -> Path | None:
        """Where to write; None when the user changed their mind."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the edited labels")
        return Path(folder) if folder else None

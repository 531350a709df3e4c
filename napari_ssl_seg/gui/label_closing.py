"""Closing the window after labelling: what waits is written first, and where it cannot be, that is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtWidgets import QMessageBox

from napari_ssl_seg.gui.window_guard import WindowGuard
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QWidget

    from napari_ssl_seg.workbench.labelling import Labelling

WAIT_SECONDS = 5.0


class LabelsGuard(WindowGuard):
    """Flushes the labels' writer before the window is gone.

    Parameters
    ----------
    finish
        Looks for strokes that were not heard of, and hands everything to the writer.
    """

    def __init__(self, tab: QWidget, labelling: Labelling, finish: Callable[[], None]) -> None:
        super().__init__(tab)
        self._labelling, self._finish = labelling, finish

    def ask(self) -> bool:
        """Whether to close although changes could not be written."""
        box = QMessageBox(self._tab)
        box.setWindowTitle("Labels not saved")
        box.setIcon(QMessageBox.Icon.Warning)
        box.setText(f"{count(self._labelling.pending, 'change')} of labels could not be saved.")
        box.setInformativeText(
            "They are kept in memory and written as soon as the disk takes them. Closing loses them."
        )
        leave = box.addButton("Close and lose them", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.exec()
        return box.clickedButton() is leave

    def _held_back(self, event: QEvent) -> bool:
        self._finish()
        if self._labelling.flush(WAIT_SECONDS) or not self.asked_by_user(event) or self.ask():
            return False
        event.ignore()
        return True

    def _about_to_quit(self) -> None:
        if isalive(self):
            self._finish()
            self._labelling.close()

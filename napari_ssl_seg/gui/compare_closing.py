"""Leaving a comparison with labels that were painted on and not saved: it is asked once, and nothing is lost silently."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMessageBox

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.window_guard import WindowGuard
from napari_ssl_seg.workbench.edits import unsaved_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_ssl_seg.workbench.comparison import Comparison

LOG = logging.getLogger(__name__)
FOLDER = "edited"
"""In the study: where labels go when nobody can be asked."""


class UnsavedGuard(WindowGuard):
    """Asks before the window, the panel or the study is left.

    Parameters
    ----------
    save
        Asks where to and saves; whether it did.
    forgotten
        Called when the user said Discard and everything stays open all the same.
    """

    def __init__(
        self,
        tab: QWidget,
        viewer: ViewerModel,
        comparison: Comparison,
        save: Callable[[], bool],
        forgotten: Callable[[], None],
    ) -> None:
        super().__init__(tab)
        self._viewer, self._comparison = viewer, comparison
        self._save, self._forgotten = save, forgotten
        self._panel: QWidget | None = None
        self._name = ""

    def may_leave(self) -> bool:
        """Ask, where something is not saved; True when it is saved now or is to be lost."""
        if not isalive(self) or not self._comparison.edits.unsaved:
            return True
        answer = self.ask()
        if answer == "save":
            return self._save()
        if answer == "discard":
            self._comparison.edits.forget()
            QTimer.singleShot(0, self._still_here)
        return answer == "discard"

    def ask(self) -> str:
        """``save``, ``discard`` or ``stay``."""
        box = QMessageBox(self._tab)
        box.setWindowTitle("Labels not saved")
        box.setIcon(QMessageBox.Icon.Question)
        box.setText("Labels that were painted on are not saved.")
        box.setInformativeText(f"{unsaved_words(self._comparison.edits.unsaved)}. What is on disk stays as it is.")
        save = box.addButton("Save …", QMessageBox.ButtonRole.AcceptRole)
        discard = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(save)
        box.setEscapeButton(stay)
        box.exec()
        clicked = box.clickedButton()
        return "save" if clicked is save else "discard" if clicked is discard else "stay"

    def watch(self) -> None:
        super().watch()
        panel: QWidget | None = self._tab
        while panel is not None and not isinstance(panel.parentWidget(), QDockWidget):
            panel = panel.parentWidget()
        if panel is None or panel is self._panel:
            return
        if self._panel is not None and isalive(self._panel) and self._panel is not self._tab:
            self._panel.removeEventFilter(self)
        self._panel, self._name = panel, str(getattr(panel.parentWidget(), "name", ""))
        if panel is not self._tab:
            panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        changed = event is not None and event.type() == QEvent.Type.ParentChange
        panel = self._panel if changed and watched is self._panel else None
        if panel is not None and panel.parentWidget() is None:
            # napari takes it out of its dock without closing it; asked when that is through. It is held until then.
            QTimer.singleShot(0, partial(self._taken_out, panel))
        return super().eventFilter(watched, event)

    def _taken_out(self, panel: QWidget) -> None:
        if isalive(panel) and panel.parentWidget() is None and not self.may_leave():
            window = self._viewer.window  # type: ignore[attr-defined]
            window.add_dock_widget(panel, name=self._name, area="right")
            panel.show()

    def _held_back(self, event: QEvent) -> bool:
        if not self.asked_by_user(event):
            self._keep_in_study()
            return False
        if self.may_leave():
            return False
        event.ignore()
        return True

    def _about_to_quit(self) -> None:
        if isalive(self):
            self._keep_in_study()

    def _keep_in_study(self) -> None:
        """Nobody can be asked: written beside the study's runs, and said where scripts are read."""
        study, edits = self._comparison.study, self._comparison.edits
        if study is None or not edits.unsaved:
            return
        try:
            for path in edits.write(study.folder / FOLDER):
                LOG.warning("labels that were painted on and not saved were written to %s", path)
        except (UserError, OSError) as error:
            LOG.error("labels that were painted on could not be saved: %s", error)

    def _still_here(self) -> None:
        if isalive(self) and self._tab.isVisible():
            self._forgotten()

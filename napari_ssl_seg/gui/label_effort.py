"""The log of effort: what the mouse, the keys and the brush really did, shown, exported, and taken away on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import write_text
from napari_ssl_seg.gui import workers
from napari_ssl_seg.workbench.labelling_effort import LOOK, effort_csv

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_ssl_seg.gui.label_layer import LabelLayer
    from napari_ssl_seg.gui.label_strip import EffortPage
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling

KEEP_MILLISECONDS = 5000


class EffortLog(QObject):
    """Follows the mouse on the canvas while the tab is in front, and keeps the page up to date."""

    def __init__(
        self,
        workbench: Workbench,
        viewer: ViewerModel,
        labelling: Labelling,
        layer: LabelLayer,
        page: EffortPage,
        tab: QWidget,
    ) -> None:
        super().__init__(tab)
        self._workbench, self._labelling, self._layer = workbench, labelling, layer
        self._page, self._tab = page, tab
        self.tool = ""
        """Of ours in hand; empty: napari's, or none."""
        self._timer = QTimer(self)
        self._timer.setInterval(KEEP_MILLISECONDS)
        self._timer.timeout.connect(self.keep)
        viewer.mouse_move_callbacks.append(self._mouse_moved)
        viewer.mouse_drag_callbacks.append(self._mouse_pressed)
        page.export_asked.connect(self.export)
        page.delete_asked.connect(self.delete)

    def moved(self) -> None:
        """The user did something on the slice that is shown."""
        self._event()

    def keep(self) -> None:
        """Hand what came together to the store, and show it."""
        self._labelling.keep_effort()
        if self._page.isVisible():
            self.show()

    def show(self) -> None:
        """Read the log (in a worker) and show it."""
        opened = self._labelling.opened
        if opened is None:
            self._page.show_effort([])
            return
        self._timer.start()
        workers.run(opened.store.effort, on_result=self._page.show_effort, on_error=lambda _error: None, owner=self)

    def export(self) -> None:
        """Ask where to, and write one row an entry."""
        opened = self._labelling.opened
        path = self.ask_path() if opened is not None else None
        if opened is None or path is None:
            return
        self._labelling.keep_effort()
        try:
            write_text(path, effort_csv(opened.store.effort()))
            self._workbench.say(f"wrote {path}")
        except UserError as error:
            self._workbench.fail(error)

    def delete(self) -> None:
        """Ask, and take the whole log away; the labels stay."""
        opened = self._labelling.opened
        if opened is None or not self.confirm():
            return
        self._labelling.clock.take()
        try:
            opened.store.delete_effort()
            self._workbench.say("The log of effort of this study was deleted.")
        except UserError as error:
            self._workbench.fail(error)
        self.show()

    def ask_path(self) -> Path | None:
        """Where to write; None when the user changed their mind."""
        folder = self._workbench.require_study().folder
        chosen, _ = QFileDialog.getSaveFileName(self._tab, "Export as CSV", str(folder / "effort.csv"), "CSV (*.csv)")
        return Path(chosen) if chosen else None

    def confirm(self) -> bool:
        """Whether the log is really to go."""
        question = "Delete the log of effort of this study? The labels stay; the log cannot be brought back."
        yes = QMessageBox.StandardButton.Yes
        return QMessageBox.question(self._tab, "Delete the log of effort", question) == yes

    # -- what was done --------------------------------------------------------------------------------------------
    def _event(self, clicks: int = 0) -> None:
        case = self._labelling.case
        if case is not None and isalive(self) and self._tab.isVisible():
            tool = self.tool or self._layer.tool or LOOK
            self._labelling.clock.event(case.case_id, self._workbench.slice_index, tool, clicks=clicks)

    def _mouse_moved(self, _viewer: Any, _event: Any) -> None:
        self._event()

    def _mouse_pressed(self, _viewer: Any, event: Any) -> Generator[None, None, None]:
        self._event(clicks=1)
        yield
        while event.type == "mouse_move":
            self._event()
            yield

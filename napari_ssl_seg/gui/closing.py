"""Closing the window while a run goes on: it is asked, and nothing is lost whatever the answer.

napari's own close cuts workers off at their next yield. So the close is held back, the runs of this window are asked to
save, and the window closes by itself when they have. Runs in processes of their own go on, and are found again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QMessageBox

from napari_ssl_seg.gui import training_worker
from napari_ssl_seg.gui.window_guard import WindowGuard
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QWidget

    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.workbench.training import TrainingQueue

LAST_WAIT_SECONDS = 20.0
"""How long the end of the program waits for a run to save: a step and a checkpoint."""
CHECK_MILLISECONDS = 100


class ClosingGuard(WindowGuard):
    """Asks what becomes of the runs of this window.

    A close by the user asks; one by the program (``viewer.close()``) saves without asking.
    """

    def __init__(self, tab: QWidget, queue: TrainingQueue) -> None:
        super().__init__(tab)
        self._queue = queue
        self._closing = False
        self._go_on: list[Run] = []
        self._timer = QTimer(self)
        self._timer.setInterval(CHECK_MILLISECONDS)
        self._timer.timeout.connect(self._close_when_saved)

    @property
    def waiting(self) -> bool:
        """Whether the window closes as soon as its runs are saved."""
        return self._closing

    def ask(self) -> str:
        """``stop`` (save and close), ``elsewhere`` (go on in a process of its own) or ``stay``."""
        running = self._queue.in_thread
        waiting = len(self._queue.in_processes)
        box = QMessageBox(self._tab)
        box.setWindowTitle("A run goes on")
        box.setIcon(QMessageBox.Icon.Question)
        box.setText(f"{running[0].title} is training in this window.")
        note = "It saves within a step and can be resumed later."
        if waiting:
            note += f" {count(waiting, 'run')} in a process of its own will go on, and be found again."
        box.setInformativeText(note)
        stop = box.addButton("Save, stop and close", QMessageBox.ButtonRole.AcceptRole)
        elsewhere = box.addButton("Save, go on in a process of its own", QMessageBox.ButtonRole.AcceptRole)
        box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stop)
        box.exec()
        clicked = box.clickedButton()
        return "stop" if clicked is stop else "elsewhere" if clicked is elsewhere else "stay"

    def _held_back(self, event: QEvent) -> bool:
        """Whether the close is to wait (the event is then used up)."""
        if not self._queue.in_thread:
            return False
        if not self.asked_by_user(event):
            training_worker.stop_and_wait(LAST_WAIT_SECONDS)
            return False
        event.ignore()
        if not self._closing:
            answer = self.ask()
            if answer != "stay":
                self._save_and_close(go_on=answer == "elsewhere")
        return True

    def _save_and_close(self, *, go_on: bool) -> None:
        self._closing = True
        self._go_on = [progress.run for progress in self._queue.in_thread] if go_on else []
        self._queue.stop_all_in_thread()
        if self._window is not None:
            self._window.setCursor(Qt.CursorShape.BusyCursor)
        self._timer.start()

    def _close_when_saved(self) -> None:
        if self._queue.in_thread:
            return
        self._timer.stop()
        for run in self._go_on:
            if run.state == "stopped":  # it may have finished instead
                self._queue.add(run, detached=True)
        self._closing = False
        self.close_window()

    def close_window(self) -> None:
        """Close what was held back."""
        window = self._window
        if window is not None:
            window.unsetCursor()
            window.close()

    def _about_to_quit(self) -> None:
        training_worker.stop_and_wait(LAST_WAIT_SECONDS)

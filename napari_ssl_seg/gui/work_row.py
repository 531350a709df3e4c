"""Work in the background that may be stopped: a line about it, a bar, the time left, and Stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.thin_bar import ThinBar
from napari_ssl_seg.gui.workers import Task, run
from napari_ssl_seg.workbench import JobLine, sentence
from napari_ssl_seg.workbench.regions import Progress
from napari_ssl_seg.workbench.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.workbench import Workbench

SAY_SECONDS = 0.2


class WorkRow(QWidget):
    """A line about some work, and while it goes on a bar, the time left and Stop. One piece of work at a time.

    Parameters
    ----------
    action
        What starts it; stands beside the line.
    unit
        After what a stop is heard.

    Signals
    -------
    ended(object)
        The result; None when it was stopped or failed.
    """

    ended = Signal(object)

    def __init__(
        self, workbench: Workbench, action: QWidget | None = None, parent: QWidget | None = None, *, unit: str = "slice"
    ) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._unit = unit
        self._task: Task | None = None
        self._said = 0.0
        self._title = ""
        self.outcome = ""
        """How the last work ended: done, stopped or failed; empty before, and once `forget` was called."""
        self._result: Any = None
        self.line = QLabel()
        self.line.setWordWrap(True)
        self.bar = ThinBar()
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip(f"Stop after this {unit}; what is done stays, and is not made again")
        self.stop_button.clicked.connect(self.stop)
        self.busy_row = QWidget()
        busy = QHBoxLayout(self.busy_row)
        busy.setContentsMargins(0, 0, 0, 0)
        busy.addWidget(self.bar, 1)
        busy.addWidget(self.stop_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        top = QHBoxLayout()
        top.addWidget(self.line, 1)
        if action is not None:
            top.addWidget(action)
        layout.addLayout(top)
        layout.addWidget(self.busy_row)
        self.busy_row.hide()
        self.say("")

    @property
    def busy(self) -> bool:
        """Whether work goes on."""
        return self._task is not None

    def say(self, text: str, role: str = "hint") -> None:
        """Show a line; not while work goes on."""
        if self._task is None:
            self._write(text, role)

    def forget(self) -> None:
        """How the last work ended is of no interest any more."""
        if self._task is None:
            self.outcome = ""
            self._write("")

    def _write(self, text: str, role: str = "hint") -> None:
        if self.line.property("role") != role:
            mark(self.line, role)
        self.line.setText(text)
        self.line.setVisible(bool(text))

    def start(self, title: str, work: Callable[..., Generator[Event, None, Any]], *args: Any) -> None:
        """Let a generator of events go on in a worker."""
        if self._task is not None:
            return
        self._title, self._said = title, 0.0
        self.outcome, self._result = "stopped", None
        self.bar.setRange(0, 0)
        self.stop_button.setEnabled(True)
        self._write(f"{title} …")
        self.busy_row.show()
        self._task = run(
            work,
            *args,
            on_yield=self._hear,
            on_result=lambda result: self._note("done", result),
            on_error=lambda error: self._note("failed", error),
            on_done=self._over,
            owner=self,
        )
        self._tell_foot(None, None)

    def stop(self) -> None:
        """Stop after the slice (or whatever its unit is) in work."""
        if self._task is None:
            return
        self._task.cancel()
        self.stop_button.setEnabled(False)
        self._write(f"stopping after this {self._unit} …")
        if self._in_foot() and self._workbench.job is not None:
            self._workbench.set_job(self._workbench.job.update(state="stopping"))

    def _hear(self, event: Event) -> None:
        if event.kind == "warning":
            self._workbench.say(str(event.data.get("message", "")), "warning")
        if event.kind != "progress":
            return
        progress = Progress.of(event)
        if progress.fraction is not None:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * progress.fraction))
        now = time.monotonic()
        if now - self._said < SAY_SECONDS and progress.fraction != 1.0:
            return
        self._said = now
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        self._write(f"{self._title}: {progress.text}{left}")
        self._tell_foot(progress.fraction, progress.seconds_left)

    def _tell_foot(self, fraction: float | None, left: float | None) -> None:
        """The foot shows it whichever tab is open, unless it shows a run."""
        if self._workbench.job is None or self._in_foot():
            self._workbench.set_job(JobLine(self._title, fraction, left, "running", self.stop))

    def _in_foot(self) -> bool:
        job = self._workbench.job
        return job is not None and job.stop == self.stop

    def _note(self, how: str, what: Any) -> None:
        self.outcome, self._result = how, what

    def _over(self) -> None:
        self._task = None
        self.busy_row.hide()
        if self._in_foot():
            self._workbench.set_job(None)
        if self.outcome == "failed":
            self.say(sentence(self._result), "error")
        else:
            self.say("Stopped; what is done stays." if self.outcome == "stopped" else "")
        self.ended.emit(self._result if self.outcome == "done" else None)

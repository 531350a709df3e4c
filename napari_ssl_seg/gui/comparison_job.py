"""A whole comparison from the panel: asked for in a form, at work in a process of its own, said at the foot, its report."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QVBoxLayout, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.compare_controls import quiet
from napari_ssl_seg.gui.protocol_form import ProtocolForm
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.train_choices import load_choices
from napari_ssl_seg.gui.window_guard import WindowGuard
from napari_ssl_seg.workbench import JobLine
from napari_ssl_seg.workbench.words import duration

if TYPE_CHECKING:
    from pathlib import Path

    from qtpy.QtCore import QEvent

    from napari_ssl_seg.comparing import Standing
    from napari_ssl_seg.protocol import Protocol
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench

LOOK_MILLISECONDS = 500


class ComparisonJob(QWidget):
    """A button that asks and starts, and a line about the study's latest comparison with what can be done about it."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._folder: Path | None = None
        self._seen_active = False
        self.standing: Standing | None = None
        self.form: ProtocolForm | None = None
        self.button = quiet(
            "Run a comparison …",
            "Pretrain what is missing, fine-tune, predict and score several methods; write a report",
        )
        self.again = quiet("Go on", "Start it again: what is finished is not made again")
        self.report = quiet("Open the report", "In the browser; its tables lie beside it as CSV and LaTeX")
        self.stop_button = quiet("Stop", "Save, and stop at the next step; it can go on later")
        self.line = QLabel()
        self.line.setWordWrap(True)
        mark(self.line, "hint")
        row = QHBoxLayout()
        for button in (self.button, self.stop_button, self.again, self.report):
            row.addWidget(button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.line)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.timeout.connect(self.look)
        self.button.clicked.connect(self.ask)
        self.stop_button.clicked.connect(self.stop)
        self.again.clicked.connect(self.go_on)
        self.report.clicked.connect(self.open_report)
        self.closing = ComparisonGuard(self)
        workbench.study_changed.connect(self._study_changed)
        self._study_changed(workbench.study)

    @property
    def active(self) -> bool:
        """Whether a comparison of the open study goes on."""
        return self.standing is not None and self.standing.active

    def _study_changed(self, study: Study | None) -> None:
        from napari_ssl_seg.comparing import latest_comparison

        self._timer.stop()
        self._workbench.set_job(None, above=True)
        self._folder = latest_comparison(study) if study is not None else None
        self.standing, self._seen_active = None, False
        self.look()

    # -- asking and starting --------------------------------------------------------------------------------------
    def ask(self) -> None:
        """Open the form."""
        study = self._workbench.study
        if study is None:
            return
        self.form = form = ProtocolForm(study, self)
        workers.run(load_choices, on_result=form.set_choices, on_error=self._workbench.fail, owner=form)
        form.finished.connect(partial(self._answered, form))
        form.open()

    def _answered(self, form: ProtocolForm, _result: int = 0) -> None:
        self.form = None
        form.deleteLater()
        if form.protocol is not None:
            self.start(form.protocol, form.out)

    def start(self, protocol: Protocol, out: Path) -> None:
        """Start a comparison of the open study."""
        from napari_ssl_seg.comparing import start_comparison

        try:
            self._folder = start_comparison(self._workbench.require_study(), protocol, out)
        except UserError as error:
            self._workbench.fail(error)
            return
        self._seen_active = True
        self.look()

    def go_on(self) -> None:
        """Start the latest one again, with what it was asked for."""
        from napari_ssl_seg.comparing import protocol_of

        if self._folder is None:
            return
        try:
            self.start(protocol_of(self._folder), self._folder)
        except UserError as error:
            self._workbench.fail(error)

    def stop(self) -> None:
        """Ask it to save and stop."""
        from napari_ssl_seg.comparing import stop_comparison

        if self._folder is not None and self.active:
            stop_comparison(self._folder)
            self.look()

    def open_report(self) -> None:
        """In the browser."""
        if self.standing is not None and self.standing.report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self.standing.report))

    # -- following ------------------------------------------------------------------------------------------------
    def look(self) -> None:
        """Read how far it is, and say so."""
        from napari_ssl_seg.comparing import read_standing

        before = self.standing
        self.standing = standing = read_standing(self._folder) if self._folder is not None else None
        self._timer.start() if self.active else self._timer.stop()
        if standing is not None and standing.active:
            self._seen_active = True
        self._show(standing)
        if before is not None and before.active and standing is not None and not standing.active:
            self._workbench.refresh_runs()
        if self._seen_active and standing is not None and not standing.active:
            self._seen_active = False
            if standing.state == "failed":
                self._workbench.say(f"the comparison failed: {standing.message}", "error")
            elif standing.state == "finished":
                self._workbench.say(f"the comparison is finished: {standing.report}")
                self.open_report()

    def _show(self, standing: Standing | None) -> None:
        active, state = self.active, standing.state if standing is not None else ""
        self.button.setVisible(not active)
        self.stop_button.setVisible(active)
        self.stop_button.setEnabled(state != "stopping")
        self.again.setVisible(state in ("stopped", "failed"))
        self.report.setVisible(state == "finished")
        self.line.setText(words_of(standing) if standing is not None else "")
        self.line.setVisible(bool(self.line.text()))
        job = None
        if standing is not None and active:
            job = JobLine(
                f"comparison: {standing.text}",
                standing.fraction,
                standing.seconds_left,
                "stopping" if state == "stopping" else "running",
                self.stop,
            )
        self._workbench.set_job(job, above=True)


class ComparisonGuard(WindowGuard):
    """Asks whether a comparison goes on when the window is closed; a script's close leaves it alone."""

    def __init__(self, job: ComparisonJob) -> None:
        super().__init__(job)
        self._job = job

    def ask(self) -> str:
        """``go on``, ``stop`` or ``stay``."""
        box = QMessageBox(self._job)
        box.setWindowTitle("A comparison goes on")
        box.setIcon(QMessageBox.Icon.Question)
        box.setText("A comparison goes on in a process of its own.")
        box.setInformativeText("It is found again when the study is opened; stopped, it goes on later where it was.")
        on = box.addButton("Let it go on", QMessageBox.ButtonRole.AcceptRole)
        stop = box.addButton("Stop it", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(on)
        box.setEscapeButton(stay)
        box.exec()
        clicked = box.clickedButton()
        return "go on" if clicked is on else "stop" if clicked is stop else "stay"

    def _held_back(self, event: QEvent) -> bool:
        self._job.look()
        if not self._job.active or not self.asked_by_user(event):
            return False
        answer = self.ask()
        if answer == "stop":
            self._job.stop()
        if answer != "stay":
            return False
        event.ignore()
        return True


def words_of(standing: Standing) -> str:
    """The line in the tab."""
    share = "" if standing.fraction is None else f" at {standing.fraction:.0%}"
    if standing.active:
        left = "" if standing.seconds_left is None else f", {duration(standing.seconds_left)} left"
        if standing.state == "stopping":
            return "The comparison saves and stops …"
        return f"A comparison goes on{share}: {standing.text}{left}"
    if standing.state == "failed":
        return f"The comparison failed{share}: {standing.message}"
    return f"A comparison was stopped{share}; it goes on where it was." if standing.state == "stopped" else ""

"""Tab 1: the study. Empty: three ways to one. Filled: its cases, and what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.sample_page import SamplePage
from napari_ssl_seg.gui.study_form import StudyForm
from napari_ssl_seg.gui.study_pages import EmptyPage, FilledPage
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.workers import Task, run
from napari_ssl_seg.workbench import load_study
from napari_ssl_seg.workbench.importing import ImportJob, is_study, plan_import
from napari_ssl_seg.workbench.open_layers import arrays_from_layers, study_from_layers
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel

    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.importing import ImportPlan

POLL_MILLISECONDS = 200


class StudyTab(QWidget):
    """Shows the page that fits; all that it does goes through the workbench. ``next_asked``: on to the next tab."""

    next_asked = Signal()

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self._task: Task | None = None
        self._job: ImportJob | None = None
        self.empty, self.form, self.samples = EmptyPage(), StudyForm(), SamplePage()
        self.busy, self.filled = BusyPage(), FilledPage(workbench)
        self.pages = QStackedWidget()
        for page in (self.empty, self.form, self.samples, self.busy, self.filled):
            self.pages.addWidget(page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 8, 4, 4)
        layout.addWidget(self.pages)
        self._poll = QTimer(self)
        self._poll.setInterval(POLL_MILLISECONDS)
        self._poll.timeout.connect(self._show_progress)
        self._connect()
        self._show_study(workbench.study)

    def _connect(self) -> None:
        self.empty.scans_button.clicked.connect(self._choose_scans)
        self.empty.study_button.clicked.connect(self._choose_study)
        self.empty.sample_button.clicked.connect(self.show_samples)
        self.empty.layers_button.clicked.connect(self.use_layers)
        self.form.accepted.connect(self.create_study)
        self.form.cancelled.connect(self._back)
        self.form.refused.connect(lambda text: self._workbench.say(text, "error"))
        self.samples.chosen.connect(self._make_sample)
        self.samples.cancelled.connect(self._back)
        self.busy.cancel_button.clicked.connect(self.cancel)
        self.filled.next_asked.connect(self.next_asked)
        self.filled.new_asked.connect(lambda: self.pages.setCurrentWidget(self.empty))
        self.empty.back_button.clicked.connect(self._back)
        self._workbench.study_changed.connect(self._show_study)
        events = self._viewer.layers.events
        events.inserted.connect(self._layers_changed)
        events.removed.connect(self._layers_changed)
        self._layers_changed()

    # -- what is shown --------------------------------------------------------------------------------------------
    def _show_study(self, study: Study | None) -> None:
        self.pages.setCurrentWidget(self.filled if study is not None else self.empty)
        self.empty.back_button.setVisible(study is not None)

    def _back(self) -> None:
        self._show_study(self._workbench.study)

    def _layers_changed(self, event: Any = None) -> None:
        number = len(arrays_from_layers(self._viewer.layers))
        self.empty.layers_button.setVisible(number > 0)
        self.empty.layers_button.setText(f"Use {count(number, 'scan')} open in the viewer")

    # -- a folder -------------------------------------------------------------------------------------------------
    def _choose_scans(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open a folder of scans")
        if chosen:
            self.take_folder(chosen)

    def _choose_study(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open a study")
        if chosen:
            self.open_study(chosen)

    def take_folder(self, folder: str | Path) -> None:
        """Open the study in a folder, or ask once how to make one of the scans in it."""
        if is_study(folder):
            self.open_study(folder)
        else:
            self._start(f"Looking into {Path(folder).name} …", plan_import, folder, on_result=self._ask)

    def _ask(self, plan: ImportPlan) -> None:
        self.form.show_plan(plan)
        self.pages.setCurrentWidget(self.form)

    def open_study(self, folder: str | Path) -> None:
        """Open a study in a worker."""
        self._start(f"Opening {Path(folder).name} …", load_study, folder, on_result=lambda opened: self._made(*opened))

    def create_study(self, plan: ImportPlan) -> None:
        """Make the study in a worker, with progress and Cancel."""
        self._job = ImportJob(plan.where, **plan.options())
        self._start(f"Making the study {plan.name} …", self._job.run)

    def use_layers(self) -> None:
        """Make a study of the image and labels layers that are open."""
        items = arrays_from_layers(self._viewer.layers)
        chosen = QFileDialog.getSaveFileName(self, "Where the study's folder goes", str(Path.home() / "my-study"))[0]
        if chosen:
            self._start(f"Making a study of {count(len(items), 'scan')} …", study_from_layers, chosen, items)

    # -- samples --------------------------------------------------------------------------------------------------
    def show_samples(self) -> None:
        """List the samples."""
        self.samples.fill()
        self.pages.setCurrentWidget(self.samples)

    def _make_sample(self, sample: Any) -> None:
        self._job = sample.job()
        self._start(f"Fetching {sample.title} …" if sample.download else f"Making {sample.title} …", self._job.run)

    # -- work -----------------------------------------------------------------------------------------------------
    def _start(
        self,
        text: str,
        function: Callable[..., Any],
        *args: Any,
        on_result: Callable[[Any], None] | None = None,
    ) -> None:
        if self._task is not None and self._task.running:
            return
        self.busy.start(text, can_cancel=self._job is not None)
        self.pages.setCurrentWidget(self.busy)
        self._poll.start()
        self._task = run(
            function, *args, on_result=on_result or self._made, on_error=self._failed, on_done=self._ended, owner=self
        )

    def cancel(self) -> None:
        """Stop making a study."""
        if self._job is not None:
            self.busy.text.setText("Cancelling …")
            self._job.cancel()

    @property
    def working(self) -> bool:
        """Whether a study is being opened or made."""
        return self._task is not None and self._task.running

    def _show_progress(self) -> None:
        if self._job is not None:
            self.busy.show_progress(self._job.done, self._job.total, self._job.what)

    def _made(self, study: Study | None, cases: Sequence[Case] | None = None) -> None:
        if study is None:
            self._workbench.say("cancelled: no study was made")
            self._back()
            return
        self._workbench.set_study(study, cases)
        problems = list(study.problems)
        if problems:
            self._workbench.say(f"{count(len(problems), 'file')} left out: see the list under the table", "warning")

    def _failed(self, error: Exception) -> None:
        self._workbench.fail(error)
        self._back()

    def _ended(self) -> None:
        self._poll.stop()
        self._task = self._job = None


class BusyPage(QWidget):
    """What goes on, how far it is, and Cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.text = QLabel()
        self.text.setWordWrap(True)
        mark(self.text, "heading")
        self.detail = QLabel()
        mark(self.detail, "hint")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.cancel_button = QPushButton("Cancel")
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setAlignment(Qt.AlignmentFlag.AlignTop)
        for widget in (self.text, self.bar, self.detail):
            layout.addWidget(widget)
        layout.addLayout(buttons)

    def start(self, text: str, *, can_cancel: bool) -> None:
        """Show that something begins."""
        self.text.setText(text)
        self.detail.clear()
        self.bar.setRange(0, 0)
        self.cancel_button.setVisible(can_cancel)

    def show_progress(self, done: int, total: int, what: str) -> None:
        """Show how far it is; a total of 0 means that nobody knows."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.detail.setText(f"{what}: {done:,} of {total:,}" if total else what)

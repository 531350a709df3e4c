"""3 Train: start a pretraining or a fine-tuning, and watch the runs of this study wherever they go on."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QMessageBox, QVBoxLayout, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation.charts import method_color
from napari_ssl_seg.gui import training_worker, workers
from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.closing import ClosingGuard
from napari_ssl_seg.gui.curves import plot_colors
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.job_saving import save_job
from napari_ssl_seg.gui.live_preview import LivePreview
from napari_ssl_seg.gui.run_list import RunAction, RunList, RunRow, age_words
from napari_ssl_seg.gui.run_panel import RunPanel
from napari_ssl_seg.gui.strip import StripDock
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.train_cards import FinetuneCard, PretrainCard
from napari_ssl_seg.gui.train_choices import as_start, load_choices, prepare
from napari_ssl_seg.gui.train_strip import TrainStrip
from napari_ssl_seg.workbench.training import TrainingQueue, can_resume
from napari_ssl_seg.workbench.training_plan import expected_rate, labels_available, used_line

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_ssl_seg.gui.train_choices import Choices
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.run_progress import RunProgress

FOLDER_MILLISECONDS = 1000
"""How often the study's folder is looked into for runs that were started elsewhere."""
ACTIVE_MILLISECONDS = 250
"""How often what an active run has written is read; also the most often that its bar moves (4 Hz)."""


class TrainTab(QWidget):
    """The tab; `strip` belongs below the canvas, and shows the curves of the chosen runs."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self.queue = TrainingQueue(self._start_in_thread)
        self.strip = TrainStrip()
        self.preview = LivePreview(workbench, viewer)
        self._loading: workers.Task | None = None
        self._choices: Choices | None = None
        self._preparing = False
        self._had_starts = False
        self._job_texts: set[str] = set()
        self._make()
        self._connect()
        self.strip_dock = StripDock(self, self.strip, "Curves of training", viewer, lambda: workbench.study is not None)
        self._theme_changed()
        self._study_changed(workbench.study)

    # -- making it ------------------------------------------------------------------------------------------------
    def _make(self) -> None:
        self.empty = QLabel(
            "Open a study in the tab 1 Study; then pretrain on its scans, and fine-tune on a few labels."
        )
        self.empty.setWordWrap(True)
        mark(self.empty, "hint")
        self.used = QLabel()
        self.used.setWordWrap(True)
        mark(self.used, "hint")
        self.pretrain_card, self.finetune_card = PretrainCard(), FinetuneCard()
        self.device = ChoiceField(["auto"])
        self.device.setToolTip("Where to train, with the memory that is free there; one run at a time on each device")
        self.device.setAccessibleName("Device")
        self.detached = QCheckBox("in a process of its own")
        self.detached.setToolTip(
            "The run outlives this window and gives all its memory back; it is found again when the study is opened"
        )
        where = QHBoxLayout()
        where.addWidget(QLabel("Device"))
        where.addWidget(self.device, 1)
        self.panel = RunPanel()
        self.list = RunList()
        self.list.set_actions(self._actions)
        self.no_runs = QLabel("No runs yet.")
        mark(self.no_runs, "hint")
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(8)
        body.addWidget(self.used)
        body.addWidget(self.pretrain_card)
        body.addWidget(self.finetune_card)
        body.addLayout(where)
        body.addWidget(self.detached)
        heading = QLabel("Runs")
        mark(heading, "heading")
        body.addWidget(heading)
        body.addWidget(self.no_runs)
        body.addWidget(self.list, 1)
        body.addWidget(self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.empty)
        layout.addWidget(self.body, 1)
        self._active_timer, self._folder_timer = QTimer(self), QTimer(self)
        self._active_timer.setInterval(ACTIVE_MILLISECONDS)
        self._folder_timer.setInterval(FOLDER_MILLISECONDS)

    def _connect(self) -> None:
        bench = self._workbench
        bench.study_changed.connect(self._study_changed)
        bench.runs_changed.connect(self._runs_changed)
        bench.case_changed.connect(self.preview.follow_case)
        bench.case_changed.connect(lambda _case_id: self._show_panel())
        self.queue.changed.connect(self._show_runs)
        self.queue.advanced.connect(self._advanced)
        self.queue.failed.connect(lambda text: bench.say(text, "error"))
        self.list.chosen.connect(self._chosen)
        self.list.asked.connect(self.act)
        self.panel.asked.connect(self.act)
        self.pretrain_card.start_asked.connect(self.start_pretraining)
        self.finetune_card.start_asked.connect(self.start_finetuning)
        for card, kind in ((self.pretrain_card, "pretrain"), (self.finetune_card, "finetune")):
            card.job_asked.connect(partial(save_job, self._workbench, card, kind, self._device_choice))
            card.edited.connect(self._show_expected)
        self.device.edited.connect(self._show_expected)
        self._active_timer.timeout.connect(lambda: self._poll(folder=False))
        self._folder_timer.timeout.connect(lambda: self._poll(folder=True))
        self._viewer.events.theme.connect(self._theme_changed)  # type: ignore[attr-defined]
        self.closing = ClosingGuard(self, self.queue)

    # -- study and choices ----------------------------------------------------------------------------------------
    def _study_changed(self, study: Study | None) -> None:
        self.empty.setVisible(study is None)
        self.body.setVisible(study is not None)
        self.preview.clear()
        self.strip_dock.update()
        self.queue.open(study)
        if study is None:
            self._folder_timer.stop()  # a run of the study that was open goes on, and is still followed
            return
        self.used.setText(used_line(study))
        self.finetune_card.set_available(*labels_available(study))
        self._active_timer.start()
        self._folder_timer.start()
        self._load_choices()

    def showEvent(self, event: object) -> None:
        super().showEvent(event)
        self._load_choices()
        if self._workbench.study is not None:
            self.finetune_card.set_available(*labels_available(self._workbench.study))

    def _load_choices(self) -> None:
        """Methods and devices, off the window's thread: torch is imported for them."""
        if self._choices is None and self._loading is None and self.isVisible() and self._workbench.study is not None:
            self.pretrain_card.button.setEnabled(False)
            self.pretrain_card.hint.setText("looking for methods and devices …")
            self._loading = workers.run(
                load_choices, on_result=self.set_choices, on_error=self._workbench.fail, owner=self
            )

    def set_choices(self, choices: Choices) -> None:
        """Offer these methods, networks and devices."""
        self._choices = choices
        self.pretrain_card.set_methods(choices.methods)
        self.finetune_card.joint.set_methods(choices.methods)
        for card in (self.pretrain_card, self.finetune_card):
            card.set_networks(choices.networks)
        automatic = f"automatic ({choices.devices[0].name})" if choices.devices else "automatic"
        refill(self.device, [(automatic, "auto"), *((device.describe(), device.name) for device in choices.devices)])
        self.pretrain_card.button.setEnabled(bool(choices.methods))
        self._show_expected()

    def _device_name(self) -> str:
        name = self.device.value() or "auto"
        return self._choices.devices[0].name if name == "auto" and self._choices and self._choices.devices else name

    def _show_expected(self) -> None:
        if self._choices is None:
            return
        for card, kind in ((self.pretrain_card, "pretrain"), (self.finetune_card, "finetune")):
            values = card.network_values()
            method = self.pretrain_card.method.value() if kind == "pretrain" else self.finetune_card.joint.method
            start = self.finetune_card.start if kind == "finetune" else None
            preset, dims = (start.preset, start.dims) if start is not None else (values["preset"], values["dims"])
            device = self._device_name()
            device = "cpu" if device == "auto" else device
            rate = expected_rate(self.queue.runs, kind=kind, method=method, preset=preset, dims=dims, device=device)
            card.show_expected(*rate)

    # -- starting -------------------------------------------------------------------------------------------------
    def start_pretraining(self) -> None:
        """Prepare and queue a pretraining of what the card says."""
        self._prepare(self.pretrain_card, "prepare_pretrain", self.pretrain_card.values())

    def start_finetuning(self) -> None:
        """Prepare and queue a fine-tuning of what the card says."""
        values = self.finetune_card.values()
        case = self._workbench.case
        if case is not None and case.split != "test":
            values["train"] |= {"preview_case": case.id, "preview_slice": self._workbench.slice_index}
        self._prepare(self.finetune_card, "prepare_finetune", values)

    def _prepare(self, card: PretrainCard | FinetuneCard, function: str, values: dict[str, Any]) -> None:
        problem, study = card.problem(), self._workbench.study
        if problem is not None:
            self._workbench.say(problem, "error")
            return
        if study is None or self._preparing:
            return
        values["device"] = self._device_choice()
        self._preparing = True
        card.button.setEnabled(False)
        words = card.button.text()
        card.button.setText("Preparing …")

        def ended() -> None:
            self._preparing = False
            card.button.setText(words)
            card.button.setEnabled(True)

        workers.run(
            prepare,
            function,
            study,
            values,
            on_result=partial(self.add_run, detached=self.detached.isChecked()),
            on_error=self._workbench.fail,
            on_done=ended,
            owner=self,
        )

    def _device_choice(self) -> str:
        return self.device.value() or "auto"

    def add_run(self, run: Run, *, detached: bool = False) -> None:
        """Queue a prepared run and show it."""
        try:
            progress = self.queue.add(run, detached=detached)
        except UserError as error:
            self._workbench.fail(error)
            return
        waits_for = self.queue.waits_for(progress.id)
        if waits_for is not None:
            self._workbench.say(f"{progress.title} starts when {waits_for.title} is done", "info")
        self._workbench.refresh_runs()
        self.list.select([run.id])

    def _start_in_thread(self, study: Study, run: Run, done: Any) -> None:
        self.closing.watch()
        training_worker.start(study, run, lambda error: done(error) if isalive(self) else None)

    # -- following ------------------------------------------------------------------------------------------------
    def _runs_changed(self) -> None:
        if self._workbench.study is self.queue.study:
            self.queue.poll(folder=True)

    def _poll(self, *, folder: bool) -> None:
        try:
            self.queue.poll(folder=folder)
        except (UserError, OSError) as error:  # the study's folder was moved away or its disk unmounted
            self._folder_timer.stop()
            self._active_timer.stop()
            self._workbench.fail(error)

    def _advanced(self, run_id: str, events: list[Event]) -> None:
        if run_id in self.list.selected:
            self._show_curves()
            self._show_panel()
        current = self.queue.current
        if current is not None and current.id == run_id:
            self.preview.show(current, events)
        self._workbench.set_job(self.queue.job_line())

    def _show_runs(self) -> None:
        runs = self.queue.runs
        self.no_runs.setVisible(not runs)
        self.list.setVisible(bool(runs))
        self.list.set_rows([self._row(run) for run in runs])
        starts = [start for run in runs if (start := as_start(run)) is not None]
        self.finetune_card.set_starts(starts)
        if bool(starts) != self._had_starts:
            self._had_starts = bool(starts)
            self.pretrain_card.set_open(not starts)
            self.finetune_card.set_open(True)
        self.pretrain_card.set_primary(not starts)
        self.finetune_card.set_primary(bool(starts))
        if runs and not self.list.selected:
            current = self.queue.current
            self.list.select([(current or runs[0]).id])
        else:
            self._show_panel()
        job = self.queue.job_line()
        if job is not None or (self._workbench.job is not None and self._workbench.job.text in self._job_texts):
            self._workbench.set_job(job)
        self._job_texts = {job.text} if job is not None else set()

    def _row(self, run: RunProgress) -> RunRow:
        created = run.record.created if run.record is not None else 0.0
        state = self.queue.state(run.id)
        selected = self.list.selected
        color = method_color(selected.index(run.id)) if run.id in selected else None
        tooltip = f"{run.id}\n{run.error}" if run.error else run.id
        age = age_words(time.time() - created) if created else ""
        return RunRow(run.id, run.title, state, run.best_dice, age, tooltip, color)

    def _chosen(self, _run_ids: list[str]) -> None:
        self.list.set_rows([self._row(run) for run in self.queue.runs])
        self._show_curves(now=True)
        self._show_panel()

    def _show_curves(self, *, now: bool = False) -> None:
        known = {run.id: run for run in self.queue.runs}
        runs = [known[run_id] for run_id in self.list.selected if run_id in known]
        colors = {run.id: method_color(index) for index, run in enumerate(runs)}
        self.strip.show_runs(runs, colors, {item.name: item.color for item in self._workbench.scored}, now=now)

    def _show_panel(self) -> None:
        selected = [run_id for run_id in self.list.selected if any(run.id == run_id for run in self.queue.runs)]
        run = self.queue.get(selected[0]) if selected else None
        self.panel.show_run(run, self.queue.state(run.id) if run is not None else "", self._workbench.case_id)

    def _theme_changed(self, _event: object = None) -> None:
        self.strip.set_colors(plot_colors(str(self._viewer.theme)))

    # -- acting on a run ------------------------------------------------------------------------------------------
    def _actions(self, run_id: str) -> list[RunAction]:
        state = self.queue.state(run_id)
        active = state in ("running", "paused", "starting", "stopping", "waiting")
        return [
            RunAction("resume", "Resume", can_resume(state)),
            RunAction("pause", "Pause", state == "running"),
            RunAction("stop", "Stop", active and state != "stopping"),
            RunAction("duplicate", "Train again with the same settings"),
            RunAction("map", "Map of its embedding", self.queue.get(run_id).run.weights_path.is_file()),
            RunAction("reveal", "Show its folder"),
            RunAction("delete", "Delete …", not active),
        ]

    def act(self, name: str, run_id: str) -> None:
        """Do what the context menu or a button asks of a run."""
        try:
            if name == "resume":
                self.queue.resume(run_id, detached=self.detached.isChecked())
            elif name == "reveal":
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.queue.get(run_id).run.folder)))
            elif name == "preview":
                self._open_preview(run_id)
            elif name == "map":
                self._open_map(run_id)
            elif name == "duplicate":
                self._duplicate(run_id)
            elif name == "delete":
                if self.confirm_delete(run_id):
                    self.queue.delete(run_id)
                    self._workbench.refresh_runs()
            else:
                {"pause": self.queue.pause, "stop": self.queue.stop}[name](run_id)
        except UserError as error:
            self._workbench.fail(error)
        self._show_runs()

    def _open_preview(self, run_id: str) -> None:
        """Open the scan and the slice that the live preview is of."""
        event = self.queue.get(run_id).preview
        if event is not None:
            self._workbench.open_case(str(event.data.get("case")))
            self._workbench.set_slice(int(event.data.get("index") or 0))

    def _open_map(self, run_id: str) -> None:
        from napari_ssl_seg.gui.embedding_map import show_map

        show_map(self._workbench, self._viewer, run_id, self.queue.get(run_id).title)

    def _duplicate(self, run_id: str) -> None:
        from napari_ssl_seg.training.runs import Run

        run = self.queue.get(run_id).run
        self.add_run(Run.create(run.folder.parent, run.record), detached=self.detached.isChecked())

    def confirm_delete(self, run_id: str) -> bool:
        """Ask before a run is removed for good."""
        run = self.queue.get(run_id)
        children = self.queue.dependents(run_id)
        text = f"Delete {run.title} with its weights, predictions and scores? This cannot be undone."
        if children:
            text += f"\n\n{len(children)} later run(s) started from it; they keep their own weights."
        answer = QMessageBox.question(self, "Delete run", text)
        return bool(answer == QMessageBox.StandardButton.Yes)

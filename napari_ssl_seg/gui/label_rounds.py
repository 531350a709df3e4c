"""The round: publish, fine-tune in the queue of the Train tab, suggest, open the next slice with its proposal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_ssl_seg.gui import workers
from napari_ssl_seg.workbench import labelling_next as next_

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.suggestion import Suggestion
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling
    from napari_ssl_seg.workbench.labelling_next import NextToLabel, Plan

ENDED = ("finished", "failed", "stopped", "interrupted")


class Rounds(QObject):
    """Goes round once at a time.

    Signals
    -------
    busy(str)
        What goes on, in words; empty: nothing.
    suggested()
        There are new suggestions, after training or without.
    noted()
        The curve of label efficiency has another point.
    """

    busy = Signal(str)
    suggested = Signal()
    noted = Signal()

    def __init__(self, workbench: Workbench, labelling: Labelling, following: NextToLabel, owner: QObject) -> None:
        super().__init__(owner)
        self._workbench, self._labelling, self._following = workbench, labelling, following
        self._train_tab: Callable[[], Any] | None = None
        self._run: Run | None = None
        self._queue: Any = None
        self.strategy = next_.STRATEGY
        self.going = False

    def train_with(self, train_tab: Callable[[], Any]) -> None:
        """Where runs are queued: a call that gives the Train tab."""
        self._train_tab = train_tab

    # -- a round --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Suggest, train and go on."""
        study = self._workbench.study
        if study is None or self.going:
            return
        self._labelling.flush()
        self._labelling.begin_round()
        self._say("Preparing a fine-tuning on what is labelled …")
        self._run_worker(self._plan, study, on_result=self._planned)

    def suggest(self) -> None:
        """Suggest, without training."""
        study = self._workbench.study
        if study is None or self.going:
            return
        self._labelling.flush()
        self._ask(study)

    def _plan(self, study: Study) -> Plan:
        return next_.plan_round(study)

    def _planned(self, plan: Plan) -> None:
        study = self._workbench.study
        self._workbench.refresh_cases()
        if study is None:
            self._done()
        elif plan.run is None or self._train_tab is None:
            self._workbench.say(plan.words)
            self._ask(study)
        else:
            self._run, tab = plan.run, self._train_tab()
            self._queue = tab.queue
            self._queue.changed.connect(self._look)
            tab.add_run(plan.run)
            self._say(f"{plan.words} You can go on labelling.")
            self._look()

    def _look(self) -> None:
        """Whether the run has ended."""
        run, study = self._run, self._workbench.study
        if run is None:
            return
        known = {progress.id: progress for progress in self._queue.runs}
        state = self._queue.state(run.id) if run.id in known else "failed"
        if state not in ENDED and study is self._queue.study:
            return
        self._run = None
        self._queue.changed.disconnect(self._look, missing_ok=True)
        if state != "finished" or study is None or study is not self._queue.study:
            self._done()
            return
        self._say("Asking what to label next …")
        self._run_worker(next_.after_training, study, run, on_result=lambda _none: self._trained(study))

    def _trained(self, study: Study) -> None:
        self.noted.emit()
        self._ask(study)

    def _ask(self, study: Study) -> None:
        self._say("Asking what to label next …")
        self._run_worker(next_.ask_what_next, study, self.strategy, on_result=self._suggested)

    def _suggested(self, found: list[Suggestion]) -> None:
        self._done()
        self._following.show(found)
        if not found:
            self._workbench.say("Every slice is labelled or flagged: there is nothing to suggest.")
        self.suggested.emit()

    # -- inside ---------------------------------------------------------------------------------------------------
    def _run_worker(self, function: Any, *args: Any, on_result: Any) -> None:
        workers.run(function, *args, on_result=on_result, on_error=self._failed, owner=self)

    def _failed(self, error: Exception) -> None:
        self._done()
        self._workbench.fail(error)

    def _say(self, words: str) -> None:
        self.going = True
        self.busy.emit(words)

    def _done(self) -> None:
        self.going = False
        self.busy.emit("")


def fetch_proposal(owner: QObject, study: Study, run_id: str, case_id: str, heard: Callable[[Any], None]) -> None:
    """What a run makes of a scan, in a worker; errors give none."""
    workers.run(
        partial(next_.propose, study, run_id, case_id), on_result=heard, on_error=lambda _e: heard(None), owner=owner
    )

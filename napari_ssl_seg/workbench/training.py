"""The runs of the open study: which wait, which go on, and what they have done so far. No Qt.

One run at a time on each device. A run is followed through its folder, so one that goes on in this window's thread, in
a process of its own, or was started from the command line, looks the same.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.workbench.run_progress import ACTIVE, RESUMABLE, RunProgress
from napari_ssl_seg.workbench.state import JobLine, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

    Done = Callable[[BaseException | None], None]
    StartInThread = Callable[[Study, Run, Done], None]
    """Train a run off the window's thread; call `Done` in the window's thread when it has ended, with what it raised."""

COMING_UP_SECONDS = 120.0
"""A process of its own that has not said a word for this long has died on its way (importing torch takes seconds)."""


@dataclass(frozen=True)
class _Waiting:
    progress: RunProgress
    detached: bool


class TrainingQueue:
    """Runs of one study, started one at a time on each device, and followed.

    Signals (emitted in the thread that called `poll` or an action: the window's)
    -------
    changed()
        A run was added or removed, or the state of one changed.
    advanced(run id, events)
        A run has written something.
    failed(sentence)
        A run ended by an error; what to tell the user.
    """

    changed = Signal()
    advanced = Signal(str, list)
    failed = Signal(str)

    def __init__(
        self, start_in_thread: StartInThread, start_detached: Callable[[Study, Run], int] | None = None
    ) -> None:
        self._start_in_thread = start_in_thread
        self._start_detached = start_detached or _start_detached
        self._study: Study | None = None
        self._runs: dict[str, RunProgress] = {}
        self._waiting: list[_Waiting] = []
        self._in_thread: dict[str, RunProgress] = {}
        self._coming_up: dict[str, float] = {}
        self._studies: dict[str, Study] = {}

    # -- what there is --------------------------------------------------------------------------------------------
    @property
    def study(self) -> Study | None:
        return self._study

    def open(self, study: Study | None) -> None:
        """Follow the runs of another study. Those in this window's thread go on, and can still be stopped."""
        self._study = study
        self._runs = {}
        if study is not None:
            self._runs = {run.id: self._in_thread.get(run.id) or RunProgress(run) for run in study.runs()}
        for progress in self._runs.values():
            progress.update()
        self.changed.emit()

    @property
    def runs(self) -> list[RunProgress]:
        """Newest first."""
        return sorted(self._runs.values(), key=lambda progress: progress.id, reverse=True)

    def get(self, run_id: str) -> RunProgress:
        """Raises RunError where no run of the open study has that id."""
        try:
            return self._runs[run_id]
        except KeyError:
            raise RunError(f"{run_id} is not a run of this study; it may have been deleted") from None

    def state(self, run_id: str) -> str:
        """As in the run's folder, but ``waiting`` in this queue and ``starting`` on its way up are told apart."""
        if any(item.progress.id == run_id for item in self._waiting):
            return "waiting"
        progress = self.get(run_id)
        if run_id in self._coming_up:
            return "starting"
        if progress.state in ACTIVE and progress.run.stop_requested:
            return "stopping"
        if progress.state == "stopped" and run_id in self._in_thread:
            return "stopping"  # it has saved, but its thread has not ended: only then can it be let go on
        return progress.state

    @property
    def in_thread(self) -> list[RunProgress]:
        """Runs that go on in this window, and end with it."""
        return list(self._in_thread.values())

    @property
    def in_processes(self) -> list[RunProgress]:
        """Active runs of this study that outlive the window."""
        return [run for run in self._runs.values() if run.id not in self._in_thread and self._is_active(run)]

    @property
    def current(self) -> RunProgress | None:
        """The run that the foot of the window speaks of: the one in this window before others."""
        active = [*self._in_thread.values(), *self.in_processes]
        return active[0] if active else None

    def waits_for(self, run_id: str) -> RunProgress | None:
        """The run that holds the device which a waiting run wants."""
        waiting = next((item.progress for item in self._waiting if item.progress.id == run_id), None)
        return self._holder(waiting.device) if waiting is not None else None

    def dependents(self, run_id: str) -> list[RunProgress]:
        """Runs that started from this one's weights."""
        return [run for run in self.runs if run.record is not None and run.record.parent == run_id]

    def job_line(self) -> JobLine | None:
        """What the foot of the window shows."""
        progress = self.current
        if progress is None:
            return None
        state = {"paused": "paused", "stopping": "stopping"}.get(self._state_of(progress), "running")
        text = progress.title if progress.step or not progress.busy_with else f"{progress.title}: {progress.busy_with}"
        return JobLine(
            text=text,
            fraction=progress.fraction if progress.step else None,
            seconds_left=progress.seconds_left,
            state=state,  # type: ignore[arg-type]
            stop=progress.run.request_stop,
        )

    # -- what can be done -----------------------------------------------------------------------------------------
    def add(self, run: Run, *, detached: bool = False) -> RunProgress:
        """Start a prepared run, or one that was stopped, as soon as its device is free."""
        if self._study is None:
            raise RunError("no study is open; open the study that the run belongs to")
        progress = self._runs.setdefault(run.id, RunProgress(run))
        progress.update()
        if self._is_active(progress) or any(item.progress is progress for item in self._waiting):
            raise RunError(f"{progress.title} goes on already; stop it first")
        if progress.state == "finished":
            raise RunError(f"{progress.title} is finished; duplicate it to train again")
        run.clear_requests()
        self._studies[run.id] = self._study
        self._waiting.append(_Waiting(progress, detached))
        self._start_waiting()
        self.changed.emit()
        return progress

    def resume(self, run_id: str, *, detached: bool = False) -> None:
        """Let a paused run go on; start a stopped, failed or left-over one again from its last checkpoint."""
        progress = self.get(run_id)
        if progress.state == "paused":
            progress.run.request_pause(False)
        else:
            self.add(progress.run, detached=detached)

    def pause(self, run_id: str) -> None:
        """Ask a run to wait after its next step; its device stays taken."""
        self.get(run_id).run.request_pause()

    def stop(self, run_id: str) -> None:
        """Ask a run to save and stop at its next step; take it out of the queue if it still waits."""
        waiting = next((item for item in self._waiting if item.progress.id == run_id), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            waiting.progress.run.append(
                Event("state", {"state": "stopped", "reason": "taken out of the queue"}, run_id)
            )
            waiting.progress.update()
        else:
            progress = self._in_thread.get(run_id) or self.get(run_id)
            progress.run.request_pause(False)
            progress.run.request_stop()
        self.changed.emit()

    def delete(self, run_id: str) -> None:
        """Remove a run's folder for good.

        Raises
        ------
        RunError
            When the run waits or goes on.
        """
        progress = self.get(run_id)
        state = self.state(run_id)
        if self._is_active(progress) or state == "waiting":
            raise RunError(f"{progress.title} is {state}; stop it before deleting it")
        try:
            shutil.rmtree(progress.run.folder)
        except OSError as error:
            raise RunError(
                f"{progress.run.folder} could not be removed ({error.strerror}); close what uses it"
            ) from error
        del self._runs[run_id]
        self.changed.emit()

    def stop_all_in_thread(self) -> None:
        """Ask every run of this window to save and stop, and forget the waiting ones (they stay resumable)."""
        self._waiting.clear()
        for progress in self._in_thread.values():
            progress.run.request_pause(False)
            progress.run.request_stop()

    # -- following ------------------------------------------------------------------------------------------------
    def poll(self, *, folder: bool = True) -> None:
        """Read what runs have written; with ``folder`` also look for runs that were started or deleted elsewhere."""
        changed = self._look_into_folder() if folder else False
        for progress in {**self._in_thread, **self._runs}.values():  # also those of a study that was open before
            before = progress.state
            events = progress.update() if folder or self._is_active(progress) else []
            if events or time.time() > self._coming_up.get(progress.id, float("inf")):
                self._coming_up.pop(progress.id, None)
                changed = True
            if events:
                self.advanced.emit(progress.id, events)
            changed |= progress.state != before
        changed |= self._start_waiting()
        if changed:
            self.changed.emit()

    def _look_into_folder(self) -> bool:
        if self._study is None:
            return False
        found = {run.id: run for run in self._study.runs()}
        gone = [run_id for run_id in self._runs if run_id not in found]
        new = [run for run_id, run in found.items() if run_id not in self._runs]
        for run_id in gone:
            del self._runs[run_id]
        for run in new:
            self._runs[run.id] = RunProgress(run)
        return bool(gone or new)

    def _start_waiting(self) -> bool:
        started = False
        for item in list(self._waiting):
            if self._holder(item.progress.device) is None:
                self._waiting.remove(item)
                self._start(item)
                started = True
        return started

    def _start(self, item: _Waiting) -> None:
        progress = item.progress
        study = self._studies[progress.id]
        try:
            self._coming_up[progress.id] = time.time() + COMING_UP_SECONDS
            if item.detached:
                self._start_detached(study, progress.run)
            else:
                self._in_thread[progress.id] = progress
                self._start_in_thread(study, progress.run, lambda error: self._ended(progress, error))
        except (UserError, OSError) as error:
            self._in_thread.pop(progress.id, None)
            self._coming_up.pop(progress.id, None)
            self._say_failed(progress, error)

    def _ended(self, progress: RunProgress, error: BaseException | None) -> None:
        self._in_thread.pop(progress.id, None)
        self._coming_up.pop(progress.id, None)
        if error is not None:
            self._say_failed(progress, error)
        events = progress.update()
        self.advanced.emit(progress.id, events)
        self._start_waiting()
        self.changed.emit()

    def _say_failed(self, progress: RunProgress, error: BaseException) -> None:
        text = sentence(error)
        progress.update()
        if progress.state != "failed":  # the loop says so itself where it still can; this is for what broke around it
            progress.run.append(Event("error", {"message": text}, progress.id))
            progress.run.append(Event("state", {"state": "failed", "reason": text}, progress.id))
            progress.update()
        self.failed.emit(f"{progress.title} failed: {text}")

    def _state_of(self, progress: RunProgress) -> str:
        return self.state(progress.id) if progress.id in self._runs else progress.state

    def _is_active(self, progress: RunProgress) -> bool:
        return progress.state in ACTIVE or progress.id in self._in_thread or progress.id in self._coming_up

    def _holder(self, device: str) -> RunProgress | None:
        """The active run on that device, wherever it goes on."""
        active = [*self._in_thread.values(), *(run for run in self._runs.values() if self._is_active(run))]
        return next((progress for progress in active if progress.device == device), None)


def can_resume(state: str) -> bool:
    """Whether a run in that state can be let go on."""
    return state in (*RESUMABLE, "paused", "queued")


def _start_detached(study: Study, run: Run) -> int:
    from napari_ssl_seg.training import start_detached

    return start_detached(study, run)

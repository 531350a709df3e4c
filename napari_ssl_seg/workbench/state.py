"""The state of the window: what is open, what is shown, what goes on. Evented, and without Qt.

Panels change it through its methods and follow its signals; none of them holds a state of its own that another needs.
Signals are emitted in the thread that called: panels call from the main thread, workers hand their results over first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psygnal import Signal

from napari_ssl_seg.errors import StudyError, UserError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from napari_ssl_seg.study import Case, ClassInfo, Study
    from napari_ssl_seg.training.runs import Run

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class JobLine:
    """The one line about work that goes on, shown at the foot whichever tab is open."""

    text: str
    """What goes on: ``pretrain simmim``."""
    fraction: float | None = None
    """How much is done, 0 to 1; None where nobody knows."""
    seconds_left: float | None = None
    state: Literal["running", "paused", "stopping"] = "running"
    stop: Callable[[], None] | None = None
    """What Stop calls; None: it cannot be stopped."""

    def update(self, **changes: Any) -> JobLine:
        """The same job, further on."""
        return replace(self, **changes)


class Workbench:
    """What is open and what is shown.

    Signals
    -------
    study_changed(Study | None), case_changed(str | None), slice_changed(int)
        What is looked at. The slice is an index along axis 0 (feet to head) of the open case.
    runs_changed()
        A run was added or removed, or its state changed: read `runs` again.
    shown_runs_changed(tuple of run ids)
        Which runs are ticked for comparison.
    case_shown(case id)
        The viewer has the layers of the case.
    cases_changed()
        Labels of the open study's cases are not what they were: read `cases` again.
    job_changed(JobLine | None)
        Something goes on, or has ended.
    note_changed(text, level)
        What is said at the foot as long as it is so: when labels were saved; empty: nothing.
    message(text, level)
        One sentence for the user; level is info, warning or error.
    """

    study_changed = Signal(object)
    case_changed = Signal(object)
    slice_changed = Signal(int)
    runs_changed = Signal()
    shown_runs_changed = Signal(object)
    case_shown = Signal(str)
    cases_changed = Signal()
    job_changed = Signal(object)
    note_changed = Signal(str, str)
    message = Signal(str, str)

    def __init__(self) -> None:
        self._study: Study | None = None
        self._case_id: str | None = None
        self._slice_index = 0
        self._shown_runs: tuple[str, ...] = ()
        self._job: JobLine | None = None
        self._job_above = False
        self._slices: dict[str, int] = {}
        self._cases: dict[str, Case] = {}
        self._guards: list[Callable[[], bool]] = []

    # -- study ----------------------------------------------------------------------------------------------------
    @property
    def study(self) -> Study | None:
        return self._study

    def open_study(self, path: str | os.PathLike[str]) -> Study:
        """Open the study in ``path`` and show it; raises StudyError when there is none."""
        opened = load_study(path)
        self.set_study(opened.study, opened.cases)
        return opened.study

    def create_study(self, folder: str | os.PathLike[str], **options: Any) -> Study:
        """Make a study (see `Study.create`) and show it."""
        from napari_ssl_seg.study import Study

        study = Study.create(folder, **options)
        self.set_study(study)
        return study

    def add_guard(self, may_leave: Callable[[], bool]) -> None:
        """Ask before another study is shown: where the answer is False, the open one stays."""
        self._guards.append(may_leave)

    def set_study(self, study: Study | None, cases: Iterable[Case] | None = None) -> None:
        """Show a study that was opened or made elsewhere (in a worker), or none.

        ``cases`` are all of its cases where they were read there, too: of 100,000 that takes a second.

        Raises
        ------
        StudyError
            When a guard says that the open one must not be left.
        """
        if self._study is not None and not all(may_leave() for may_leave in self._guards):
            raise StudyError(f"{self._study.name} stays open: save or discard what was painted on in it first")
        self._study = study
        read = cases if cases is not None else study.cases() if study is not None else ()
        self._cases = {case.id: case for case in read}
        self._slices = {}
        self._shown_runs = ()
        self._set_case(None)
        self.study_changed.emit(study)
        self.shown_runs_changed.emit(self._shown_runs)
        self.runs_changed.emit()

    def require_study(self) -> Study:
        """The open study; raises StudyError when none is."""
        if self._study is None:
            raise StudyError("no study is open; open or create one in the tab 1 Study")
        return self._study

    @property
    def cases(self) -> Sequence[Case]:
        """Every case of the open study, in its order."""
        return list(self._cases.values())

    def refresh_cases(self) -> None:
        """Look again at the cases of the study: labels were published."""
        if self._study is not None:
            self._cases = {case.id: case for case in self._study.cases()}
            self.cases_changed.emit()

    @property
    def classes(self) -> list[ClassInfo]:
        return list(self._study.classes) if self._study is not None else []

    @property
    def scored(self) -> list[ClassInfo]:
        """What is scored: the classes, or the targets where they overlap."""
        return self._study.scored if self._study is not None else []

    # -- case and slice -------------------------------------------------------------------------------------------
    @property
    def case_id(self) -> str | None:
        return self._case_id

    @property
    def case(self) -> Case | None:
        return self._cases.get(self._case_id) if self._case_id is not None else None

    def open_case(self, case_id: str) -> None:
        """Look at a case; the slice is the one that was last looked at there.

        Raises
        ------
        StudyError
            When no study is open or it has no such case.
        """
        self.require_study()
        if case_id not in self._cases:
            raise StudyError(f"{case_id} is not a case of this study; pick one from the table in the tab 1 Study")
        self._set_case(case_id)

    def next_case(self, step: int = 1) -> str | None:
        """Open the case ``step`` further down the table (round the end) and return its id."""
        ids = list(self._cases)
        if not ids:
            return None
        here = ids.index(self._case_id) if self._case_id in ids else (-1 if step > 0 else 0)
        self.open_case(ids[(here + step) % len(ids)])
        return self._case_id

    def previous_case(self) -> str | None:
        """Open the case above."""
        return self.next_case(-1)

    def _set_case(self, case_id: str | None) -> None:
        if case_id == self._case_id:
            return
        self._case_id = case_id
        case = self.case
        if case is not None:
            self._slice_index = self._slices.get(case.id, case.shape[0] // 2)
        self.case_changed.emit(case_id)
        if case is not None:
            self.slice_changed.emit(self._slice_index)

    @property
    def slice_index(self) -> int:
        """The slice looked at, an index along axis 0 of the open case."""
        return self._slice_index

    def set_slice(self, index: int) -> None:
        """Look at another slice of the open case; an index beyond its ends is brought back."""
        case = self.case
        if case is None:
            return
        index = max(0, min(int(index), case.shape[0] - 1))
        self._slices[case.id] = index
        if index != self._slice_index:
            self._slice_index = index
            self.slice_changed.emit(index)

    def slice_was_chosen(self, case_id: str) -> bool:
        """Whether somebody has looked for a slice of that case already."""
        return case_id in self._slices

    # -- runs -----------------------------------------------------------------------------------------------------
    @property
    def runs(self) -> list[Run]:
        """Every run of the open study, oldest first."""
        return list(self._study.runs()) if self._study is not None else []

    @property
    def shown_runs(self) -> tuple[str, ...]:
        """Ids of the runs ticked for comparison, in the order of ticking."""
        return self._shown_runs

    def show_runs(self, run_ids: Iterable[str]) -> None:
        """Tick these runs, and no others."""
        shown = tuple(dict.fromkeys(run_ids))
        if shown != self._shown_runs:
            self._shown_runs = shown
            self.shown_runs_changed.emit(shown)

    def refresh_runs(self) -> None:
        """Say that the runs on disk are not what they were."""
        self.runs_changed.emit()

    # -- what goes on ---------------------------------------------------------------------------------------------
    @property
    def job(self) -> JobLine | None:
        return self._job

    def set_job(self, job: JobLine | None, *, above: bool = False) -> None:
        """Show what goes on, or that it has ended.

        While one ``above`` is shown, no other is: a comparison speaks for the runs that it starts.
        """
        if (above and job is not None) or above == self._job_above:
            self._job_above = above and job is not None
            self._put_job(job)

    def _put_job(self, job: JobLine | None) -> None:
        if job != self._job:
            self._job = job
            self.job_changed.emit(job)

    def stop_job(self) -> None:
        """Ask what goes on to save and stop."""
        job = self._job
        if job is not None and job.stop is not None:
            self._put_job(job.update(state="stopping"))
            job.stop()

    # -- words ----------------------------------------------------------------------------------------------------
    def note(self, text: str, level: Level = "info") -> None:
        """Say something at the foot until it is no longer so."""
        self.note_changed.emit(text, level)

    def say(self, text: str, level: Level = "info") -> None:
        """One sentence for the user."""
        self.message.emit(text, level)

    def fail(self, error: BaseException) -> None:
        """Tell the user about an error, in its own words where it is one of theirs."""
        self.say(sentence(error), "error")


class OpenedStudy(NamedTuple):
    """A study and all of its cases."""

    study: Study
    cases: list[Case]


def load_study(path: str | os.PathLike[str]) -> OpenedStudy:
    """Open a study without showing it: what a worker does before `Workbench.set_study`."""
    from napari_ssl_seg.study import Study

    study = Study.open(path)
    return OpenedStudy(study, study.cases())


def sentence(error: BaseException) -> str:
    """What an error says to the user: our own as they stand, others with their type, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text or 'no reason given'} (a defect of napari-ssl-seg's; please report it)"

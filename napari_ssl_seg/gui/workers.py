"""Work off the window's thread: a thin wrapper over napari's workers.

What it adds, because the workers of napari 0.9 lack it (superqt 0.9):

- a RuntimeError in a generator reaches ``on_error`` (superqt swallows those, and CUDA out of memory is one);
- errors are handed to the panel instead of to napari's notifications;
- what a generator yields is delivered at most 20 times a second, and nothing is lost;
- a cancelled generator is closed, so that its ``finally`` runs;
- Python's warning filters are as before when the last worker has ended (each worker swaps them; overlapping ones leave
  the wrong ones behind).

napari's own progress bars are never used: while one is open, training runs three to five times slower.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QThreadPool, QTimer

from napari_ssl_seg.errors import TrainingFailed, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

YIELD_SECONDS = 0.05
THREADS = 16
"""Qt's pool has one thread a core: on two cores a run and a preparation would leave none for what follows a slider."""
LOOK_AGAIN_MILLISECONDS = 10


class WorkFailed(TrainingFailed):
    """Stands in for a RuntimeError of a worker, which superqt would swallow; ``__cause__`` is the original."""


@dataclass
class _Outcome:
    result: Any = None
    error: Exception | None = None


class Task:
    """A function at work in another thread; made by `run`."""

    def __init__(self) -> None:
        self.cancelled = False
        self.done = False
        self.worker: Any = None

    def cancel(self) -> None:
        """Drop the result; a generator is closed at its next item, a plain function runs to its end unheard."""
        self.cancelled = True

    @property
    def running(self) -> bool:
        return not self.done


def run(
    function: Callable[..., Any],
    *args: Any,
    on_result: Callable[[Any], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
    on_yield: Callable[[Any], None] | None = None,
    on_done: Callable[[], None] | None = None,
    owner: QObject | None = None,
    **kwargs: Any,
) -> Task:
    """Call ``function`` in another thread and hear about it in this one (the window's).

    Parameters
    ----------
    function
        A function, or a generator function, whose return value is the result.
    on_result, on_error, on_yield, on_done
        Called in the window's thread: with the result, with the error, with each item that a generator yields, and
        at the end whatever happened. None of the first three is called once the task is cancelled.
    owner
        A widget that the callbacks need: once it is gone, nothing is called.
    """
    from napari.qt.threading import create_worker

    task = Task()

    def alive() -> bool:
        return owner is None or isalive(owner)

    def heard(items: list[Any]) -> None:
        for item in items:
            if on_yield is not None and not task.cancelled and alive():
                on_yield(item)

    def ended(outcome: _Outcome) -> None:
        if task.done:
            return
        task.done = True
        if not alive():
            return
        if not task.cancelled:
            error: Exception | None = outcome.error
            if error is None and on_result is not None:
                try:
                    on_result(outcome.result)
                except UserError as late:  # shown like one of the work itself
                    error = late
            if error is not None and on_error is not None:
                on_error(error)
        if on_done is not None and alive():
            on_done()

    pool = QThreadPool.globalInstance()
    if pool is not None and pool.maxThreadCount() < THREADS:
        pool.setMaxThreadCount(THREADS)
    _Filters.enter()
    task.worker = create_worker(
        _work,
        task,
        function,
        args,
        kwargs,
        _start_thread=True,
        _connect={"yielded": heard, "returned": ended, "finished": _Filters.leave},
    )
    return task


def active_count() -> int:
    """How many functions of this window are at work."""
    return _Filters.active


def _work(task: Task, function: Callable[..., Any], args: tuple, kwargs: dict) -> Generator[list[Any], None, _Outcome]:
    """What the worker's thread runs: batches of what ``function`` yields, then its outcome."""
    yield []  # lets the signals be connected before anything is heard
    try:
        answer: Any = function(*args, **kwargs)
        if not isinstance(answer, GeneratorType):
            return _Outcome(result=answer)
        result = yield from _batches(task, answer)  # type: ignore[arg-type]
        return _Outcome(result=result)
    except RuntimeError as error:
        failed = WorkFailed(str(error) or type(error).__name__)
        failed.__cause__ = error
        return _Outcome(error=failed)
    except Exception as error:
        return _Outcome(error=error)


def _batches(task: Task, generator: Generator[Any, None, Any]) -> Generator[list[Any], None, Any]:
    waiting: list[Any] = []
    sent = 0.0
    while True:
        if task.cancelled:
            generator.close()
            return None
        try:
            waiting.append(next(generator))
        except StopIteration as end:
            if waiting:
                yield waiting
            return end.value
        if time.monotonic() - sent >= YIELD_SECONDS:
            yield waiting
            waiting, sent = [], time.monotonic()


class _Filters:
    """Python's warning filters, kept while workers swap them."""

    active = 0
    kept: tuple[Any, Any] | None = None

    @classmethod
    def enter(cls) -> None:
        if cls.active == 0:
            cls.kept = (warnings.filters, warnings.showwarning)
        cls.active += 1

    @classmethod
    def leave(cls) -> None:
        cls.active = max(0, cls.active - 1)
        if cls.active == 0 and cls.kept is not None:
            if warnings.showwarning.__module__.startswith("superqt"):
                warnings.filters, warnings.showwarning = cls.kept  # type: ignore[misc, assignment]
            cls.kept = None


class LatestOnly:
    """One call at a time in another thread; of those asked for meanwhile only the newest is made.

    For work that follows a slider: the answer to an older question is not waited for, and never shown after a newer
    one. ``delay`` (ms) lets the slider rest first. While ``gives_way`` says so nothing is begun: two threads of Python
    at once take twice as long each, and what is quick should be seen first.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        on_result: Callable[[Any], None],
        on_error: Callable[[Exception], None],
        *,
        on_busy: Callable[[bool], None] | None = None,
        delay: int = 0,
        gives_way: Callable[[], bool] | None = None,
        owner: QObject | None = None,
    ) -> None:
        self._function = function
        self._gives_way = gives_way
        self._on_result, self._on_error, self._on_busy = on_result, on_error, on_busy
        self._owner = owner
        self._delay = delay
        self._pending: list[Any] = []
        self._task: Task | None = None
        self._timer = QTimer(owner)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._start)

    @property
    def busy(self) -> bool:
        """Whether a call is being made or waits."""
        return self._task is not None or bool(self._pending)

    def submit(self, question: Any, *, now: bool = False) -> None:
        """Ask; an older question that still waits is forgotten. ``now`` skips the delay."""
        self._pending = [question]
        if self._on_busy is not None:
            self._on_busy(True)
        if self._task is None:
            self._timer.start(0 if now else self._delay)

    def drop(self) -> None:
        """Forget every question, also the one at work."""
        self._pending = []
        self._timer.stop()
        if self._task is not None:
            self._task.cancel()
        elif self._on_busy is not None:
            self._on_busy(False)

    def _start(self) -> None:
        if self._task is not None or not self._pending:
            return
        if self._gives_way is not None and self._gives_way():
            self._timer.start(LOOK_AGAIN_MILLISECONDS)
            return
        question = self._pending.pop()
        self._task = run(
            self._function,
            question,
            on_result=self._answered,
            on_error=self._failed,
            on_done=self._ended,
            owner=self._owner,
        )

    def _answered(self, answer: Any) -> None:
        if not self._pending:
            self._on_result(answer)

    def _failed(self, error: Exception) -> None:
        if not self._pending:
            self._on_error(error)

    def _ended(self) -> None:
        self._task = None
        if self._pending:
            self._timer.start(self._delay)
        elif self._on_busy is not None:
            self._on_busy(False)

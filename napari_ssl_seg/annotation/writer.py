"""A thread that brings changes to the disk, so that the window never waits for it."""

from __future__ import annotations

import atexit
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_ssl_seg.annotation.records import BoxChange
from napari_ssl_seg.annotation.unsaved import Change, keep_unsaved
from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np

    from napari_ssl_seg.annotation.effort import Effort
    from napari_ssl_seg.annotation.states import SliceState
    from napari_ssl_seg.annotation.store import LabelStore

RETRY_SECONDS = 2.0
AT_ONCE = 64
"""Changes a transaction at most, so that a nearly full disk still takes some of them,"""
VOXELS_AT_ONCE = 2**24
"""and voxels, so that none waits long for those behind it."""


class Writer:
    """Writes what it is given in its own thread, in order; keeps it in memory and tries again where the disk does not take it.

    A change is written as soon as the one before it is on the disk. Those that wait meanwhile go into one transaction, and
    a waiting box that a later one of the same tool covers is left out. Signals are emitted in the writer's thread.
    """

    saved = Signal()
    """Everything that was waiting is on the disk."""
    problem = Signal(str)
    """Changes cannot be written; they are kept in memory. Emitted once for each reason, in one sentence."""
    recovered = Signal()
    """Changes can be written again, and were."""

    def __init__(self, store: LabelStore, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.store = store
        self.saved_at: float | None = None
        """When the last change came to the disk, in seconds since 1970."""
        self.last_problem: str | None = None
        self.kept_in: Path | None = None
        """The file with what could not be written before `close`."""
        self._retry = retry_seconds
        self._said: set[str] = set()
        self._waiting: list[Change] = []
        self._in_work = 0
        self._condition = threading.Condition()
        self._hurry = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="label writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def pending(self) -> int:
        """Changes that are not on the disk yet."""
        return len(self._waiting)

    def put(
        self,
        case_id: str,
        start: Sequence[int],
        values: np.ndarray,
        *,
        tool: str = "paint",
        effort: Effort | None = None,
    ) -> None:
        """As `LabelStore.put`, but returns at once.

        ``values`` is kept as it is and read later, so the caller hands over a copy.

        Raises
        ------
        StudyError
            When there is no such case, the box does not lie in it, or the values are no labels.
        """
        self._add(self.store.change(case_id, start, values, tool=tool, effort=effort))

    def set_state(self, case_id: str, slices: int | Iterable[int], state: SliceState) -> None:
        """As `LabelStore.set_state`, but returns at once; in order with what is put."""
        self._add(self.store.state_change(case_id, slices, state))

    def add_effort(self, effort: Effort) -> None:
        """As `LabelStore.add_effort`, but returns at once."""
        self._add(effort)

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Wait until everything is on the disk, trying at once where it was refused before; False where it is not."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            self._hurry = True
            self._condition.notify_all()
            while self._waiting and self._thread.is_alive():
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._condition.wait(left)
            return not self._waiting

    def close(self, timeout: float | None = 10.0) -> bool:
        """`flush`, and end the thread; False where changes were left that could not be written.

        Those go into a file of the user's own (`kept_in`), and into the store when it is next opened for writing.
        """
        self.flush(timeout)
        with self._condition:
            already, self._closing = self._closing, True
            self._condition.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        atexit.unregister(self.close)
        with self._condition:
            left = list(self._waiting)
        if left and not already:
            try:
                self.kept_in = keep_unsaved(self.store.study, left)
            except UserError as error:
                self._emit(self.problem, str(error))
        return not left

    # -- inside -------------------------------------------------------------------------------------------------------
    def _add(self, change: Change) -> None:
        with self._condition:
            if self._closing:
                raise UserError("the labels' writer was closed; open the study again")
            last = self._waiting[-1] if len(self._waiting) > self._in_work else None
            if isinstance(change, BoxChange) and isinstance(last, BoxChange) and _covers(change, last):
                self._waiting[-1] = replace(change, efforts=last.efforts + change.efforts)
            else:
                self._waiting.append(change)
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                if self._closing:
                    return
                batch = self._waiting[: _fitting(self._waiting)]
                self._in_work = len(batch)
            try:
                self._write(batch)
            except UserError as error:
                self._refused(str(error))
            except Exception as error:  # a defect of ours must not cost what is waiting
                self._refused(f"labels could not be written ({type(error).__name__}: {error}); please report this")
            else:
                self._written(len(batch))

    def _write(self, batch: list[Change]) -> None:
        if not self.store.writable:
            self.store.take_over()
        self.store.apply(batch)

    def _written(self, count: int) -> None:
        with self._condition:
            del self._waiting[:count]
            self._in_work = 0
            self.saved_at = time.time()
            failed, self.last_problem = self.last_problem, None
            self._said.clear()
            empty = not self._waiting
            self._condition.notify_all()
        if failed is not None:
            self._emit(self.recovered)
        if empty:
            self._emit(self.saved)

    def _refused(self, reason: str) -> None:
        with self._condition:
            self._in_work = 0
            self.last_problem = reason
        if reason not in self._said:
            self._said.add(reason)
            self._emit(self.problem, reason)
        with self._condition:
            end = time.monotonic() + self._retry
            while not self._closing and not self._hurry and (left := end - time.monotonic()) > 0:
                self._condition.wait(left)
            self._hurry = False

    def _emit(self, signal: Any, *values: Any) -> None:
        try:
            signal.emit(*values)
        except Exception as error:  # a listener's mistake is reported as one in a thread is, and ends nothing
            threading.excepthook(
                threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
            )


def _fitting(waiting: list[Change]) -> int:
    """How many of the first changes go into one transaction."""
    voxels = 0
    for count, change in enumerate(waiting[:AT_ONCE]):
        voxels += change.values.size if isinstance(change, BoxChange) else 0
        if count and voxels > VOXELS_AT_ONCE:
            return count
    return min(len(waiting), AT_ONCE)


def _covers(new: BoxChange, old: BoxChange) -> bool:
    """Whether nothing of the older box shows once the newer is there."""
    return (
        new.case_id == old.case_id
        and new.tool == old.tool
        and all(a <= b for a, b in zip(new.start, old.start, strict=True))
        and all(a >= b for a, b in zip(new.stop, old.stop, strict=True))
    )

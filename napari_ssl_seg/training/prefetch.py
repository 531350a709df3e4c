"""Batches made ahead, off the training thread."""

from __future__ import annotations

import queue
import threading
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
DEPTH = 3


class Prefetcher(Generic[T]):
    """Iterate over ``(step, make(step))`` for ``step`` in ``range(start, stop)``; one thread works up to ``depth`` ahead.

    What ``make`` raises is raised to the consumer, at its step. The thread ends with `close`, at the end, or when
    nobody holds the prefetcher any more (a worker of the window drops its generator without closing it).
    """

    def __init__(self, make: Callable[[int], T], start: int, stop: int, *, depth: int = DEPTH) -> None:
        self._queue: queue.Queue[tuple[int, T | None, BaseException | None]] = queue.Queue(max(1, depth))
        self._ended = threading.Event()
        self._stop = stop
        self._next = start
        # The thread must not hold `self`, or nobody could ever drop it.
        self._thread = threading.Thread(
            target=_work, args=(make, start, stop, self._queue, self._ended), name="batches", daemon=True
        )
        weakref.finalize(self, self._ended.set)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[int, T]]:
        return self

    def __next__(self) -> tuple[int, T]:
        if self._next >= self._stop:
            raise StopIteration
        step, item, error = self._queue.get()
        if error is not None:
            self.close()
            raise error
        self._next = step + 1
        return step, item  # type: ignore[return-value]

    def close(self) -> None:
        """End the thread and wait for the batch that it is at."""
        self._ended.set()
        while True:  # a thread that waits for room gets it
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._thread.join(timeout=60)


def _work(
    make: Callable[[int], T],
    start: int,
    stop: int,
    target: queue.Queue[tuple[int, T | None, BaseException | None]],
    ended: threading.Event,
) -> None:
    for step in range(start, stop):
        if ended.is_set():
            return
        try:
            item: tuple[int, T | None, BaseException | None] = (step, make(step), None)
        except BaseException as error:  # whatever it is, the training thread is the one to say it
            item = (step, None, error)
        while not ended.is_set():
            try:
                target.put(item, timeout=0.25)
                break
            except queue.Full:
                continue
        if item[2] is not None:
            return

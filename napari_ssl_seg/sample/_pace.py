"""Progress events at a bearable rate, with the time that is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_ssl_seg.training.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY = 0.1


class Pace:
    """Counts towards ``total`` (None: unknown) from ``start`` on; speaks at most ten times a second.

    The time left follows from the mean speed since the start of this attempt.
    """

    def __init__(self, what: str, total: int | None, start: int = 0) -> None:
        self._what = what
        self._total = total
        self._start = start
        self._began = time.monotonic()
        self._spoke = self._began

    def at(self, done: int) -> Iterator[Event]:
        """An event, or none if the last one was just now."""
        now = time.monotonic()
        if now - self._spoke >= _EVERY:
            self._spoke = now
            yield self._event(done, now)

    def finish(self, done: int) -> Iterator[Event]:
        """The last event, always."""
        yield self._event(done, time.monotonic())

    def _event(self, done: int, now: float) -> Event:
        left = None
        if self._total is not None and done > self._start:
            left = round((self._total - done) * (now - self._began) / (done - self._start), 1)
        return Event("progress", {"what": self._what, "done": done, "total": self._total, "seconds_left": left})

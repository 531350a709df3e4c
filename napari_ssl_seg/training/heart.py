"""The sign of life of a run, given from a thread of its own, so that a slow step is not taken for death."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from napari_ssl_seg.training.runs import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from napari_ssl_seg.training.runs import Run

ABANDONED_SECONDS = 60.0
"""A generator whose consumer has not asked for the next event for this long is taken for abandoned."""


class Heart:
    """Touches the run's heartbeat until it is stopped, dropped, or the run's events are no longer asked for."""

    def __init__(self, run: Run) -> None:
        self._state = _State()
        self._thread = threading.Thread(target=_beat, args=(run, self._state), name="heartbeat", daemon=True)
        weakref.finalize(self, self._state.ended.set)
        run.beat()
        self._thread.start()

    def hand_over(self) -> None:
        """The consumer has the word, from now on."""
        self._state.waiting_since = time.monotonic()

    def take_back(self) -> None:
        """The run goes on."""
        self._state.waiting_since = None

    def stop(self) -> None:
        self._state.ended.set()
        self._thread.join(timeout=5)


class _State:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.waiting_since: float | None = None


def _beat(run: Run, state: _State) -> None:
    while not state.ended.wait(HEARTBEAT_SECONDS):
        waiting = state.waiting_since
        if waiting is not None and time.monotonic() - waiting > ABANDONED_SECONDS:
            continue
        try:
            run.beat()
        except OSError:  # a folder that was removed or a full disk: the training thread will say so
            continue

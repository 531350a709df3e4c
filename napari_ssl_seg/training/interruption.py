"""Signals that ask a run to save and stop, where the run goes on in a program's main thread."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interruption:
    """What was asked for so far."""

    def __init__(self) -> None:
        self.asked: str | None = None
        """``SIGTERM`` or ``SIGINT``."""


@contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Note SIGTERM and the first Ctrl-C instead of breaking off in the middle of a step; a second Ctrl-C breaks off.

    In any other thread than the main one nothing is caught: Python delivers signals to the main thread alone.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, _frame: Any) -> None:
        if number == signal.SIGINT and interruption.asked == "SIGINT":
            raise KeyboardInterrupt
        interruption.asked = signal.Signals(number).name

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

"""A disk that is full while a run goes on: the run says so, waits, and loses nothing that it has to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.files import no_room

if TYPE_CHECKING:
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

POLL_SECONDS = 1.0
"""How often a waiting run looks whether there is room again."""
MOST_HELD = 10_000
"""Lines that are held back at most; of more the oldest go."""


class Log:
    """The log of a run, which holds back the lines that the disk has no room for and writes them first when it has."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._held: list[Event] = []

    def add(self, event: Event) -> None:
        """Write a line, now or later; raises OSError for anything but a full disk."""
        self._held.append(event)
        del self._held[:-MOST_HELD]
        try:
            while self._held:
                self._run.append(self._held[0])
                del self._held[0]
        except OSError as error:
            if not no_room(error):
                raise

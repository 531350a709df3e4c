"""Which window may write: one claim file a study, which survives nothing but the process that made it.

Claims are those of `regions.claims`: a dead process's claim on this machine counts for nothing at once, one of another
machine after two minutes without a sign of life.
"""

from __future__ import annotations

import json
import platform
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.regions.claims import Claims

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = "writer"
_CLAIM = re.compile(rf"{SUBJECT}\.claim(\d+)")
_LIMIT = 4096


class WriterLock:
    """The claim to write labels in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._claims = Claims()
        self.held = False

    def take(self) -> bool:
        """Claim it; False where a window that lives holds it. Raises UserError where the folder cannot be written."""
        if not self.held:
            self.held = self._claims.take(self._folder, SUBJECT, _found(self._folder))
        return self.held

    def retake(self) -> bool:
        """Claim it again after the folder was gone, and the claim with it."""
        self.release()
        return self.take()

    def release(self) -> None:
        """Give it back, and stop the sign of life."""
        if self.held:
            self._claims.release(self._folder, SUBJECT, done=True)
        with self._claims:
            pass
        self._claims, self.held = Claims(), False

    def living_holder(self) -> str | None:
        """`holder`, if it lives."""
        names = sorted(_found(self._folder), key=_number)
        return None if not names or self._claims.is_dead(self._folder / names[-1]) else self.holder()

    def holder(self) -> str:
        """Who holds it, in words: ``process 4711 on ward-pc since 14:03``."""
        names = sorted(_found(self._folder), key=_number)
        record: dict[str, Any] = {}
        if names:
            with suppress(OSError, ValueError):
                with (self._folder / names[-1]).open("rb") as stream:
                    found = json.loads(stream.read(_LIMIT))
                record = found if isinstance(found, dict) else {}
        if not record:
            return "another window"
        host = str(record.get("host", ""))[:100]
        where = "this machine" if host == platform.node() else host or "another machine"
        return f"process {record.get('pid', '?')} on {where} since {clock(record.get('time'))}"


def clock(seconds: Any) -> str:
    """``14:03`` where it was today, else with the date."""
    if not isinstance(seconds, int | float):
        return "an unknown time"
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def _found(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if _CLAIM.fullmatch(path.name)]
    except OSError:
        return []


def _number(name: str) -> int:
    match = _CLAIM.fullmatch(name)
    return int(match[1]) if match else -1

"""Processes that outlive the one that starts them: a child of Qt's would die with the window."""

from __future__ import annotations

import atexit
import os
import subprocess
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CHILDREN: list[subprocess.Popen[bytes]] = []
"""Kept so that Python can reap those that end before this process does."""


def start_apart(command: Sequence[str], log: Path, what: str) -> int:
    """Start a process in a session of its own, its words added to ``log``; returns its pid.

    Raises
    ------
    RunError
        When it cannot be started; ``what`` says for what.
    """
    options: dict[str, Any] = {}
    if os.name == "nt":
        options["creationflags"] = 0x00000200 | 0x00000008  # CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS
    else:
        options["start_new_session"] = True
    try:
        with open(log, "ab") as stream:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, **options)
    except OSError as error:
        raise RunError(f"no process could be started for {what} ({error})") from error
    if not _CHILDREN:
        atexit.register(_let_go)
    _CHILDREN.append(child)
    return child.pid


def _let_go() -> None:
    """Those that go on were told to: nothing is to be said about them when this process ends."""
    for child in _CHILDREN:
        if child.poll() is None:
            child.returncode = 0

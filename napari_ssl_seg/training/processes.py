"""Runs in a process of their own.

Such a process survives the window (a child of Qt's would die with it), gives its GPU memory back when it ends and cannot
take the viewer with it. It is the command line's ``resume`` on the same run folder; whoever wants to know looks there.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import write_json
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.runs import process_alive

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.training.runs import Run

__all__ = ["note_process", "process_alive", "start_detached"]


def start_detached(study: Any, run: Run) -> int:
    """Train ``run`` (fresh or stopped) in a new process that this one does not wait for; returns its pid.

    Parameters
    ----------
    study : Study or path
        The study that the run belongs to.

    Raises
    ------
    RunError
        When the run already goes on, or the process cannot be started.
    """
    if run.alive:
        raise RunError(f"run {run.id} already goes on; stop it first")
    folder: Path | str = getattr(study, "folder", study)
    run.clear_requests()
    command = [sys.executable, "-m", "napari_ssl_seg", "resume", str(folder), run.id, "--json"]
    options: dict[str, Any] = {}
    if os.name == "nt":
        options["creationflags"] = 0x00000200 | 0x00000008  # CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS
    else:
        options["start_new_session"] = True
    try:
        with open(run.log_path, "ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=True, **options
            )
    except OSError as error:
        raise RunError(f"no process could be started for run {run.id} ({error})") from error
    _CHILDREN.append(child)
    note_process(run, child.pid, detached=True)
    run.append(
        Event("state", {"state": "running", "reason": f"starting in a process of its own (pid {child.pid})"}, run.id)
    )
    return child.pid


def note_process(run: Run, pid: int | None = None, *, detached: bool | None = None) -> None:
    """Write ``process.json``. ``detached`` None: what was noted for the same process before, else False."""
    import psutil

    pid = pid or os.getpid()
    earlier = run.process
    if detached is None:
        detached = bool(earlier.get("detached")) and earlier.get("pid") == pid
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it ended at once; the log says why
        created = 0.0
    record = {"pid": pid, "create_time": created, "host": platform.node(), "detached": detached}
    write_json(run.folder / "process.json", record)


_CHILDREN: list[subprocess.Popen[bytes]] = []
"""Kept so that Python does not warn about, and can reap, those that end before this process does."""

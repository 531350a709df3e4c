"""Runs in a process of their own.

Such a process survives the window (a child of Qt's would die with it), gives its GPU memory back when it ends and cannot
take the viewer with it. It is the command line's ``resume`` on the same run folder; whoever wants to know looks there.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import write_json
from napari_ssl_seg.processes import start_apart
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
    pid = start_apart(command, run.log_path, f"run {run.id}")
    note_process(run, pid, detached=True)
    run.append(Event("state", {"state": "running", "reason": f"starting in a process of its own (pid {pid})"}, run.id))
    return pid


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

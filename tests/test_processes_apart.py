"""A process that goes on when the one that started it has ended, without a word."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.processes import start_apart

if TYPE_CHECKING:
    from pathlib import Path


def test_the_parent_ends_silently_and_the_child_goes_on(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from napari_ssl_seg.processes import start_apart;"
        "print(start_apart([sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)'],"
        " pathlib.Path(sys.argv[1]), 'a test'))"
    )
    words = [sys.executable, "-W", "always", "-c", code, str(tmp_path / "log.txt")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    child = psutil.Process(int(done.stdout))
    try:
        assert done.stderr == ""
        assert child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    finally:
        child.kill()


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no process could be started for a test"):
        start_apart([str(tmp_path / "nothing")], tmp_path / "log.txt", "a test")

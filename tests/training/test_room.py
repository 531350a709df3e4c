"""A disk that is full for a while, or for good, while a run goes on."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
import torch

from napari_ssl_seg import files
from napari_ssl_seg.errors import DiskFull
from napari_ssl_seg.training import room
from napari_ssl_seg.training import runs as runs_module
from napari_ssl_seg.training.checkpoints import verify
from napari_ssl_seg.training.events import Event, drain
from napari_ssl_seg.training.loop import train_task
from tests.training.toy import ToyTask, toy_run, weights


class Disk:
    """Refuses to keep anything while it is full; nothing is really filled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        flush, open_ = files.flush, open

        def guarded(path: Any) -> None:
            self._refuse()
            flush(path)

        def opened(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if "a" in mode:
                self._refuse()
            return open_(path, mode, *args, **kwargs)

        monkeypatch.setattr(files, "flush", guarded)
        monkeypatch.setattr(runs_module, "open", opened, raising=False)
        monkeypatch.setattr(room, "POLL_SECONDS", 0.01)
        monkeypatch.setattr("napari_ssl_seg.training.loop.POLL_SECONDS", 0.01)

    def _refuse(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_waits_for_room_says_so_and_ends_at_the_same_weights(tmp_path, monkeypatch):
    whole, settings = toy_run(tmp_path / "whole")
    drain(train_task(whole, ToyTask(), settings, device="cpu"))

    disk = Disk(monkeypatch)
    run, settings = toy_run(tmp_path / "full", checkpoint_seconds=0)
    task = ToyTask()

    def fill(step: int) -> None:
        disk.full = disk.full or step == 5

    task.on_step = fill
    paused: list[Event] = []
    for event in train_task(run, task, settings, device="cpu"):
        if event.kind == "state" and event.data["state"] == "paused":
            paused.append(event)
            if len(paused) == 4:
                verify(run.checkpoint_path("last"))  # the one from before
                task.on_step = None
                disk.full = False
    assert len(paused) == 4 and paused[0].data["reason"] == "the disk is full"
    assert run.state == "finished"
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(whole).items())
    # What could not be written at the time is in the log now, in order.
    kinds = [event.data["state"] for event in run.events() if event.kind == "state"]
    assert kinds == ["queued", "running", "paused", "running", "finished"]
    (warning,) = [event.data["message"] for event in run.events() if event.kind == "warning"]
    assert "last.pt could not be written (No space left on device)" in warning and "waits for room" in warning


def test_a_stop_while_the_disk_is_full_ends_at_once_and_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    run, settings = toy_run(tmp_path / "full", checkpoint_seconds=0)
    task = ToyTask()
    task.on_step = lambda step: setattr(disk, "full", step >= 5)
    with pytest.raises(DiskFull, match=r"free some space"):
        for event in train_task(run, task, settings, device="cpu"):
            if event.kind == "state" and event.data["state"] == "paused":
                (run.folder / "stop").touch()  # an empty file finds room
    disk.full = False
    assert torch.load(run.checkpoint_path("last"), weights_only=True)["step"] == 5
    run.clear_requests()
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    assert run.state == "finished"


def test_half_a_line_spoils_no_other(tmp_path):
    run, _ = toy_run(tmp_path)
    run.append(Event("warning", {"message": "one"}))
    with open(run.events_path, "ab") as stream:
        stream.write(b'{"kind": "warning", "data": {"mess')
    run.append(Event("warning", {"message": "two"}))
    assert [event.data["message"] for event in run.events() if event.kind == "warning"] == ["one", "two"]

"""Runs in processes of their own, and which runs are alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from napari_ssl_seg import training
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import write_json
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.processes import note_process
from tests.training.conftest import TINY
from tests.training.toy import toy_run


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def test_a_living_process_is_alive_without_a_heartbeat_and_a_dead_one_is_not(tmp_path):
    run, _ = toy_run(tmp_path)
    run.append(Event("state", {"state": "running"}, run.id))
    assert run.state == "stopped", "nobody is known to train it"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        note_process(run, child.pid, detached=True)
        assert run.alive and run.state == "running"
        process = run.process
        write_json(run.folder / "process.json", {**process, "create_time": process["create_time"] - 100})
        assert not run.alive, "the pid was given to another process"
        write_json(run.folder / "process.json", process)
    finally:
        child.kill()
        child.wait()
    run.beat()
    assert not run.alive, "the process is gone, however fresh its heartbeat"


def test_a_thread_needs_a_heartbeat_and_so_does_a_run_elsewhere(tmp_path):
    run, _ = toy_run(tmp_path)
    note_process(run)
    assert not run.alive
    run.beat()
    assert run.alive
    old = time.time() - 100
    os.utime(run.folder / "heartbeat", (old, old))
    assert not run.alive
    write_json(run.folder / "process.json", {**run.process, "host": "elsewhere", "pid": 1})
    assert not run.alive
    run.beat()
    assert run.alive


@pytest.mark.slow
def test_a_detached_run_can_be_watched_ended_and_resumed(study):
    run = training.prepare_pretrain(study, "simmim", dims=2, **{**TINY, "iterations": 100_000})
    pid = training.start_detached(study, run)
    try:
        assert run.alive and run.state == "running" and pid != os.getpid()
        with pytest.raises(RunError, match="already goes on"):
            training.start_detached(study, run)
        wait_for(lambda: run.latest("step") is not None or not run.alive)
        assert run.latest("step") is not None, run.log_path.read_text()
        assert run.process["pid"] == pid and run.process["detached"]
        start = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: run.state == "stopped", 20)
        assert time.monotonic() - start < 10
        wait_for(lambda: training.process_alive(run) is False, 20)
    finally:
        if training.process_alive(run):
            os.kill(pid, signal.SIGKILL)
    done = run.latest("checkpoint").data["step"]
    training.drain(training.resume(study, run, iterations=done + 2))
    assert run.state == "finished" and run.latest("step").data["step"] == done + 2

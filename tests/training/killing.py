"""A pretraining that is killed at random instants, and what is left of it each time."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_ssl_seg import training
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.checkpoints import load_checkpoint, verify
from napari_ssl_seg.training.runs import Run
from tests.training.every_method import quickest

if TYPE_CHECKING:
    import random

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event


@dataclass
class Toll:
    """What the kills of one method cost."""

    method: str
    kills: int = 0
    finished_before: int = 0
    """Children that were at the end before their time."""
    damaged: int = 0
    """Checkpoints that did not verify."""
    lost_steps: int = 0
    """Steps that were told as saved and are in no checkpoint."""
    lost_events: int = 0
    """Lines whose writing had returned and that are not in the log."""
    torn_lines: int = 0
    same_weights: bool = False
    seconds: float = 0.0


def kill_and_resume(study: Study, name: str, kills: int, rng: random.Random, *, iterations: int = 30) -> Toll:
    """Kill ``kills`` forked trainings, a checkpoint after each step, then train to the end and compare with one unharmed.

    The instants are spread over the time that the unharmed one took from its first step on.
    """
    begun = time.monotonic()
    options = quickest(name, checkpoint_seconds=0) | {"iterations": iterations}
    whole = drain(training.pretrain(study, name, **options))
    stamps = [event.time for event in whole.events() if event.kind == "checkpoint"]
    course = max(0.1, stamps[-1] - stamps[0])
    run = training.prepare_pretrain(study, name, **options)
    toll = Toll(name)
    while toll.kills < kills and toll.finished_before < 3:
        _one_kill(study, run, rng.uniform(0, course / kills), toll)
    drain(training.resume(study, run, iterations=iterations) if run.state != "finished" else iter(()))
    first, second = (torch.load(item.checkpoint_path("last"), weights_only=True)["model"] for item in (whole, run))
    toll.same_weights = first.keys() == second.keys() and all(
        torch.equal(value, second[key]) if torch.is_tensor(value) else value == second[key]
        for key, value in first.items()
    )
    toll.seconds = round(time.monotonic() - begun, 1)
    return toll


def _one_kill(study: Study, run: Run, after: float, toll: Toll) -> None:
    """Fork, wait for the first step, then ``after`` seconds, kill, and look at what is there."""
    before = len(run.events())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            _tell_each_line(writing)
            drain(training.train(study, run))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    told = _listen(reading, after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    told += _rest(reading)
    if os.WIFEXITED(status):
        toll.finished_before += 1
        return
    toll.kills += 1
    raw = run.events_path.read_bytes()
    toll.torn_lines += int(not raw.endswith(b"\n"))
    toll.lost_events += max(0, told.count(b"e") + told.count(b"c") - (len(run.events()) - before))
    saved = [event.data["step"] for event in run.events() if event.kind == "checkpoint" and not event.data.get("best")]
    for path in run.folder.glob("checkpoints/*.pt"):
        try:
            verify(path)
        except RunError:
            toll.damaged += path.name[0] != "."  # a temporary file that was being written is none
    found = load_checkpoint(run.checkpoint_path("last"), run.checkpoint_path("previous"))
    there = 0 if found is None else int(found[0]["step"])
    toll.lost_steps += max(0, (saved[-1] if saved else 0) - there)


def _tell_each_line(pipe: int) -> None:
    """One byte after each line that is in the log: c for a checkpoint, e for anything else."""
    append = Run.append

    def tell(self: Run, event: Event) -> None:
        append(self, event)
        os.write(pipe, b"c" if event.kind == "checkpoint" else b"e")

    Run.append = tell  # type: ignore[method-assign]


def _listen(pipe: int, after: float) -> bytes:
    """What is told until ``after`` seconds from the first checkpoint on."""
    told = b""
    while b"c" not in told:
        heard = os.read(pipe, 1)
        if not heard:
            return told
        told += heard
    time.sleep(after)
    return told


def _rest(pipe: int) -> bytes:
    told = b""
    while heard := os.read(pipe, 65536):
        told += heard
    os.close(pipe)
    return told

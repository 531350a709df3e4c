"""A comparison in a process of its own: how far it is, stopped, gone on with, and how it ends."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from napari_ssl_seg.comparing import (
    Standing,
    Tally,
    command_of,
    latest_comparison,
    noted,
    protocol_of,
    read_standing,
    start_comparison,
    stop_comparison,
)
from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.files import write_json
from napari_ssl_seg.protocol import Protocol
from napari_ssl_seg.training.events import Event
from tests.workbench.compare_study import make_study

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_ssl_seg.study import Study

SMALL = Protocol(
    methods=("scratch", "simmim"), budgets=(1, 2), repeats=1, pretrain_iterations=3, finetune_iterations=3, dims=2
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path)


def part(kind: str, done: int, rest: dict[str, int]) -> Event:
    data = {"what": f"{kind} {done}", "done": done, "total": 4, "kind": kind, "rest": rest, "seconds_left": None}
    return Event("progress", data)


def step(number: int, left: float) -> Event:
    return Event("step", {"step": number, "total": 10, "seconds_left": left, "losses": {}})


def test_time_left_is_that_of_this_training_and_of_those_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tally = Tally()
    assert tally.fraction is None and tally.seconds_left is None
    tally.hear(part("pretrain", 0, {"pretrain": 0, "fine-tune": 3}))
    assert tally.fraction == 0 and tally.text == "pretrain 0"
    clock[0] = 20.0
    tally.hear(step(5, 20.0))
    assert tally.fraction == 0.125
    assert tally.seconds_left == 20 + 3 * 40, "a fine-tuning was not seen yet: taken for as long as a pretraining"
    clock[0] = 40.0
    tally.hear(part("fine-tune", 1, {"pretrain": 0, "fine-tune": 2}))
    clock[0] = 45.0
    tally.hear(step(5, 5.0))
    assert tally.seconds_left == 5 + 2 * 10 and tally.fraction == 1.5 / 4


def test_what_is_asked_for_is_the_command_line_s_and_comes_back(study: Study, tmp_path: Path) -> None:
    protocol = Protocol(
        methods=("scratch", "simmim"), budgets=(2, 5), repeats=2, network="unet", dims=3, predictions={"nnU-Net": "/x"}
    )
    command = command_of(study, protocol, tmp_path / "out")
    line = " ".join(command[3:])
    assert line.startswith(
        f"compare {study.folder} --json --out {tmp_path / 'out'} --methods scratch,simmim --cases 2,5"
    )
    assert line.endswith("--repeats 2 --device auto --network unet --dims 3 --predictions nnU-Net=/x")
    write_json(tmp_path / "comparison.json", {"study": "s", "protocol": asdict(protocol)})
    assert protocol_of(tmp_path) == protocol
    with pytest.raises(UserError, match="start a new one"):
        protocol_of(tmp_path / "nowhere")


def test_progress_is_written_and_a_stop_is_heard(study: Study, tmp_path: Path) -> None:
    def events() -> Generator[Event, None, str]:
        yield part("pretrain", 0, {"pretrain": 0, "fine-tune": 3})
        while True:
            yield Event("prediction", {"case": "case_1"})

    out = tmp_path / "out"
    going = noted(study, SMALL, events(), out)
    next(going)
    assert latest_comparison(study) == out.resolve()
    assert read_standing(out) == Standing("running", "pretrain 0", 0.0)
    stop_comparison(out)
    assert read_standing(out).state == "stopping"
    with pytest.raises(KeyboardInterrupt, match="goes on where it was"):
        next(going)
    assert read_standing(out) == Standing("stopped", "pretrain 0", 0.0)

    def breaking() -> Generator[Event, None, str]:
        yield part("pretrain", 0, {"pretrain": 0, "fine-tune": 3})
        raise RunError("the disk is full; make room")

    with pytest.raises(RunError):
        list(noted(study, SMALL, breaking(), out))
    assert read_standing(out) == Standing("failed", "pretrain 0", 0.0, message="the disk is full; make room")


def test_a_process_that_is_gone_is_told_by_its_log(tmp_path: Path) -> None:
    write_json(tmp_path / "progress.json", asdict(Standing("running", "pretrain simmim", 0.25)))
    write_json(tmp_path / "process.json", {"pid": os.getpid(), "create_time": 1.0, "host": os.uname().nodename})
    assert read_standing(tmp_path) == Standing("stopped", "pretrain simmim", 0.25)
    (tmp_path / "log.txt").write_text("step 3\nerror: 99 labelled scans are not there; ask for at most 2\n")
    assert read_standing(tmp_path).message == "99 labelled scans are not there; ask for at most 2"
    assert read_standing(tmp_path).state == "failed"
    (tmp_path / "progress.json").write_text("{}")
    assert read_standing(tmp_path).state == "stopped"


def test_it_runs_by_itself_is_stopped_and_goes_on_where_it_was(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def until(*states: str) -> Standing:
        end = time.monotonic() + 240
        while (standing := read_standing(out)).state not in states:
            assert time.monotonic() < end and standing.state in ("starting", "running", "stopping"), standing
            time.sleep(0.2)
        return standing

    start_comparison(study, Protocol(**{**asdict(SMALL), "pretrain_iterations": 100_000}), out)
    with pytest.raises(RunError, match="goes on in"):
        start_comparison(study, SMALL, out)
    while (read_standing(out).fraction or 0) < 0.4:  # scratch is through, the pretraining has begun
        assert read_standing(out).active, (out / "log.txt").read_text()
        time.sleep(0.2)
    while not any(run.record.kind == "pretrain" and run.latest("step") for run in study.runs()):
        assert read_standing(out).active, (out / "log.txt").read_text()
        time.sleep(0.2)
    stop_comparison(out)
    until("stopped")
    before = {run.id: run.state for run in study.runs()}
    assert sorted(before.values()) == ["finished", "finished", "stopped"]
    assert protocol_of(out).pretrain_iterations == 100_000

    begun = start_comparison(study, SMALL, out)
    assert begun == latest_comparison(study)
    standing = until("finished")
    assert standing.report is not None and "SimMIM" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "tables.tex").exists() and standing.fraction == 1.0


def test_a_mistake_is_one_sentence(study: Study, tmp_path: Path) -> None:
    start_comparison(study, Protocol(methods=("scratch",), budgets=(99,), repeats=1), tmp_path / "out")
    end = time.monotonic() + 120
    while read_standing(tmp_path / "out").active and time.monotonic() < end:
        time.sleep(0.2)
    standing = read_standing(tmp_path / "out")
    assert standing.state == "failed" and "99" in standing.message and "\n" not in standing.message

"""The loop by itself, on a toy task: what it yields, keeps, survives and says."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
import torch

from napari_ssl_seg.errors import TrainingFailed, UserError
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.training.loop import train_task
from napari_ssl_seg.training.runs import Run
from tests.training.toy import ToyTask, toy_run, weights


def test_a_run_goes_from_queued_to_finished_and_learns(tmp_path):
    run, settings = toy_run(tmp_path, iterations=150, learning_rate=0.01)
    assert run.state == "queued"
    task = ToyTask(evaluate_every=50)
    events = list(train_task(run, task, settings, device="cpu"))
    assert run.state == "finished"
    written = run.events()
    steps = [event for event in written if event.kind == "step"]
    assert steps[-1].data["step"] == 150 and steps[-1].data["total"] == 150
    assert set(steps[-1].data["losses"]) == {"total", "fit", "size"}
    assert steps[-1].data["losses"]["fit"] < 0.5 * steps[0].data["losses"]["fit"]
    assert [event.data["step"] for event in written if event.kind == "evaluation"] == [50, 100, 150]
    assert [event.data["best"] for event in written if event.kind == "evaluation"] == [True, False, False]
    assert task.exported == [True, False]
    assert events[-1].kind == "state" and events[-1].data["state"] == "finished"
    assert all(event.run == run.id for event in written)


def test_events_come_at_most_twenty_times_a_second(tmp_path):
    run, settings = toy_run(tmp_path, iterations=600)
    stamps = [time.monotonic() for _ in train_task(run, ToyTask(), settings, device="cpu")]
    busiest = max(sum(start <= stamp < start + 1 for stamp in stamps) for start in stamps)
    assert busiest <= 20
    lines = [event for event in run.events() if event.kind == "step"]
    assert len(lines) <= 3 + 2 * (stamps[-1] - stamps[0])


@pytest.mark.parametrize("stop_after", [1, 7, 29])
def test_stopped_and_resumed_equals_uninterrupted_to_the_last_bit(tmp_path, stop_after):
    whole, settings = toy_run(tmp_path / "whole")
    drain(train_task(whole, ToyTask(), settings, device="cpu"))

    run, settings = toy_run(tmp_path / "halves")
    task = ToyTask()
    task.on_step = lambda step: run.request_stop() if step == stop_after - 1 else None
    drain(train_task(run, task, settings, device="cpu"))
    assert run.state == "stopped"
    assert run.latest("checkpoint").data["step"] == stop_after, "stopping takes no more than the step under way"
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    assert run.state == "finished"
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(run)[name]), name


def test_pausing_waits_and_goes_on(tmp_path):
    run, settings = toy_run(tmp_path)
    task = ToyTask()
    task.on_step = lambda step: run.request_pause() if step == 5 else None
    paused = 0
    for event in train_task(run, task, settings, device="cpu"):
        if event.kind == "state" and event.data["state"] == "paused":
            paused += 1
            assert run.state == "paused"
            if paused == 3:
                run.request_pause(False)
    assert paused == 3 and run.state == "finished"


def test_a_loss_that_is_not_finite_ends_the_run_and_names_term_and_case(tmp_path):
    run, settings = toy_run(tmp_path, checkpoint_seconds=0)
    task = ToyTask()
    task.nan_at = 12
    with pytest.raises(TrainingFailed, match=r"'fit'.*step 13.*case_12"):
        drain(train_task(run, task, settings, device="cpu"))
    assert run.state == "failed"
    assert all(bool(torch.isfinite(value).all()) for value in weights(run).values())
    assert "case_12" in run.latest("error").data["message"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. 100.0 MiB is free."),
            r"2.00 GiB.*batch",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "smaller batch"),
        (RuntimeError("expected scalar type"), "RuntimeError: expected scalar type"),
        (OSError(28, "No space left on device"), "disk is full"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError"),
    ],
)
def test_errors_never_leave_as_runtime_errors_and_the_run_can_go_on(tmp_path, error, words):
    run, settings = toy_run(tmp_path)
    task = ToyTask()
    task.fail_at = {9: error}
    with pytest.raises(TrainingFailed, match=words) as caught:
        drain(train_task(run, task, settings, device="cpu"))
    assert not isinstance(caught.value, RuntimeError)
    assert run.state == "failed" and run.latest("error") is not None
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    assert run.state == "finished"
    whole, settings = toy_run(tmp_path / "whole")
    drain(train_task(whole, ToyTask(), settings, device="cpu"))
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(whole).items())


def test_an_error_while_a_batch_is_made_reaches_the_consumer(tmp_path):
    run, settings = toy_run(tmp_path)
    task = ToyTask()
    task.sample = lambda step: (_ for _ in ()).throw(UserError("scan x.nii.gz is damaged"))
    with pytest.raises(UserError, match=r"x\.nii\.gz"):
        drain(train_task(run, task, settings, device="cpu"))
    assert run.state == "failed"


def test_ctrl_c_saves_says_stopped_and_goes_up(tmp_path):
    run, settings = toy_run(tmp_path)
    task = ToyTask()
    task.on_step = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 4 else None
    with pytest.raises(KeyboardInterrupt):
        drain(train_task(run, task, settings, device="cpu"))
    assert run.state == "stopped" and run.latest("checkpoint").data["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_saves_and_returns(tmp_path):
    run, settings = toy_run(tmp_path)
    task = ToyTask()
    task.on_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 4 else None
    assert drain(train_task(run, task, settings, device="cpu")) == run
    assert run.state == "stopped" and run.latest("state").data["reason"] == "SIGTERM"


def test_a_consumer_that_goes_away_leaves_a_stopped_run_with_a_checkpoint(tmp_path):
    run, settings = toy_run(tmp_path, iterations=100_000)
    events = train_task(run, ToyTask(), settings, device="cpu")
    for event in events:
        if event.kind == "step":
            break
    events.close()
    assert run.state == "stopped" and run.checkpoint_path("last").exists()


def test_damaged_last_checkpoint_falls_back_to_the_one_before(tmp_path):
    run, settings = toy_run(tmp_path, iterations=20, checkpoint_seconds=0)
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    whole = weights(run)
    data = bytearray(run.checkpoint_path("last").read_bytes())
    data[len(data) // 2] ^= 1
    run.checkpoint_path("last").write_bytes(bytes(data))
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    assert "damaged" in run.latest("warning").data["message"]
    assert all(torch.equal(value, weights(run)[name]) for name, value in whole.items())


def test_an_evaluation_that_a_stop_broke_off_is_made_up_for(tmp_path):
    run, settings = toy_run(tmp_path)
    task = ToyTask(evaluate_every=10)
    evaluate = task.evaluate

    def stopping():
        run.request_stop()
        return (yield from evaluate())

    task.evaluate = stopping
    drain(train_task(run, task, settings, device="cpu"))
    assert run.state == "stopped" and run.latest("evaluation") is None
    drain(train_task(run, ToyTask(evaluate_every=10), settings, device="cpu"))
    assert [event.data["step"] for event in run.events() if event.kind == "evaluation"] == [10, 20, 30]


def test_the_state_is_found_at_the_end_of_a_long_log(tmp_path):
    run, settings = toy_run(tmp_path)
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    line = run.latest("step").to_json()
    with open(run.events_path, "a") as stream:
        stream.writelines(line + "\n" for _ in range(20_000))
        stream.write('{"torn')
    start = time.perf_counter()
    assert Run.open(run.folder).latest("step").data["step"] == 30
    assert time.perf_counter() - start < 0.05
    assert run.state == "finished"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_killed_at_any_moment_it_goes_on_to_the_same_weights(tmp_path):
    """A checkpoint after each step, and a kill -9 somewhere in the middle, often inside a save."""
    whole, settings = toy_run(tmp_path / "whole", iterations=60)
    drain(train_task(whole, ToyTask(), settings, device="cpu"))
    run, settings = toy_run(tmp_path / "killed", iterations=60, checkpoint_seconds=0)
    rng = random.Random(0)
    for _ in range(8):
        child = os.fork()
        if child == 0:
            try:
                drain(train_task(run, ToyTask(), settings, device="cpu"))
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    drain(train_task(run, ToyTask(), settings, device="cpu"))
    assert run.state == "finished"
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(whole).items())

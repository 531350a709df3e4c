"""The queue of runs: one at a time on each device, followed through their folders."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_ssl_seg.errors import RunError, TrainingFailed
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.runs import Run, RunRecord, list_runs
from napari_ssl_seg.workbench.run_progress import RunProgress, weights_sentence
from napari_ssl_seg.workbench.training import TrainingQueue


class FakeStudy(SimpleNamespace):
    def runs(self) -> list[Run]:
        return list_runs(self.runs_folder)


@pytest.fixture
def study(tmp_path):
    return FakeStudy(runs_folder=tmp_path / "runs")


@pytest.fixture
def started():
    return []


@pytest.fixture
def detached():
    return []


@pytest.fixture
def queue(study, started, detached):
    def in_thread(_study, run, done):
        started.append((run.id, done))
        say(run, "state", state="running")
        run.beat()

    def in_process(_study, run):
        detached.append(run.id)
        return 1

    queue = TrainingQueue(in_thread, in_process)
    queue.open(study)
    return queue


def make_run(study, title="a", device="cpu", **fields) -> Run:
    record = RunRecord(kind="pretrain", method="simmim", title=title, network={}, settings={}, device=device, **fields)
    return Run.create(study.runs_folder, record)


def say(run, kind, **data):
    run.append(Event(kind, data, run.id))


def finish(run, done, state="finished", error=None):
    say(run, "state", state=state)
    done(error)


def test_second_run_waits_for_the_device_and_then_starts(queue, study, started):
    first, second = make_run(study, "first"), make_run(study, "second")
    queue.add(first)
    queue.add(second)
    assert [run_id for run_id, _ in started] == [first.id]
    queue.poll()
    assert (queue.state(first.id), queue.state(second.id)) == ("running", "waiting")
    assert queue.waits_for(second.id).id == first.id
    finish(first, started[0][1])
    assert [run_id for run_id, _ in started] == [first.id, second.id]
    queue.poll()
    assert (queue.state(first.id), queue.state(second.id)) == ("finished", "running")


def test_another_device_does_not_wait(queue, study, started):
    queue.add(make_run(study, device="cpu"))
    queue.add(make_run(study, device="cuda:0"))
    assert len(started) == 2


def test_run_started_elsewhere_is_found_followed_and_holds_its_device(queue, study, started):
    elsewhere = make_run(study, "elsewhere")
    say(elsewhere, "state", state="running")
    elsewhere.beat()
    seen = []
    queue.advanced.connect(lambda run_id, events: seen.append((run_id, len(events))))
    queue.poll()
    assert seen == [(elsewhere.id, 2)]
    assert queue.in_processes[0].id == elsewhere.id
    mine = make_run(study, "mine")
    queue.add(mine)
    assert started == [] and queue.state(mine.id) == "waiting"
    say(elsewhere, "state", state="finished")
    queue.poll()
    assert [run_id for run_id, _ in started] == [mine.id]


def test_process_of_its_own_is_starting_until_it_speaks(queue, study, started, detached):
    run, other = make_run(study), make_run(study)
    queue.add(run, detached=True)
    queue.add(other)
    assert detached == [run.id] and started == []
    assert queue.state(run.id) == "starting"
    say(run, "state", state="running")
    run.beat()
    queue.poll()
    assert queue.state(run.id) == "running"
    assert queue.in_thread == []


def test_stop_pause_and_resume_are_asked_for_in_the_folder(queue, study, started):
    run = make_run(study)
    queue.add(run)
    queue.poll()
    queue.pause(run.id)
    assert run.pause_requested
    say(run, "state", state="paused")
    queue.poll()
    queue.resume(run.id)
    assert not run.pause_requested
    queue.stop(run.id)
    assert run.stop_requested
    assert queue.job_line().state == "stopping"
    finish(run, started[0][1], "stopped")
    assert queue.state(run.id) == "stopped" and queue.job_line() is None
    queue.resume(run.id)
    assert not run.stop_requested and len(started) == 2


def test_stopping_a_waiting_run_takes_it_out_of_the_queue(queue, study, started):
    first, second = make_run(study), make_run(study)
    queue.add(first)
    queue.add(second)
    queue.stop(second.id)
    assert queue.state(second.id) == "stopped"
    finish(first, started[0][1])
    assert len(started) == 1


def test_error_in_the_thread_reaches_the_user_and_the_folder(queue, study, started):
    run = make_run(study, "scratch")
    said = []
    queue.failed.connect(said.append)
    queue.add(run)
    started[0][1](TrainingFailed("the device is out of memory; halve the batch size"))
    assert said == ["scratch failed: the device is out of memory; halve the batch size"]
    assert queue.get(run.id).error == "the device is out of memory; halve the batch size"
    assert run.latest("state").data["state"] == "failed"


def test_silent_run_counts_as_stopped(study):
    run = make_run(study)
    say(run, "state", state="running")
    progress = RunProgress(run)
    progress.update()
    assert progress.state == "stopped" and "resumed" in progress.reason


def test_finished_and_running_runs_are_not_started_again(queue, study, started):
    run = make_run(study, "one")
    queue.add(run)
    with pytest.raises(RunError, match="goes on already"):
        queue.add(run)
    with pytest.raises(RunError, match="stop it before"):
        queue.delete(run.id)
    finish(run, started[0][1])
    with pytest.raises(RunError, match="duplicate"):
        queue.add(run)
    queue.delete(run.id)
    assert not run.folder.exists() and queue.runs == []
    with pytest.raises(RunError, match="not a run"):
        queue.get(run.id)


def test_curves_overwrite_what_a_resumed_run_repeats(study):
    run = make_run(study)
    for step in (1, 2, 3, 4):
        say(run, "step", step=step, total=10, losses={"part": 1.0, "total": float(step)}, rate=2.0, seconds_left=3.0)
    progress = RunProgress(run)
    progress.update()
    say(run, "step", step=3, total=10, losses={"total": 30.0, "part": None}, rate=2.0, seconds_left=3.0)
    progress.update()
    assert list(progress.losses) == ["total", "part"]
    assert progress.losses["total"].steps == [1, 2, 3]
    assert progress.losses["total"].values == [1.0, 2.0, 30.0]
    assert progress.fraction == pytest.approx(0.3)


def test_best_dice_and_log(study):
    run = make_run(study)
    say(run, "evaluation", step=10, mean_dice=0.5, dice={"LV": 0.6, "RV": None}, best=True)
    say(run, "evaluation", step=20, mean_dice=0.4, dice={"LV": 0.4, "RV": 0.4}, best=False)
    progress = RunProgress(run)
    progress.update()
    assert progress.best_dice == 0.5
    assert progress.dice["RV"].steps == [20]
    assert any("0.500 (best)" in line for line in progress.log)


def test_what_was_taken_over_is_one_sentence():
    event = Event("weights", {"loaded": ["a", "b"], "random": ["head"], "skipped": [], "source": "run-1"})
    assert weights_sentence(event) == "2 tensors taken over from run-1, 1 start at random"

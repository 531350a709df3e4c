"""Closing the window while a run goes on: asked, saved, and never cut off."""

from __future__ import annotations

import gc

import pytest
from qtpy.QtGui import QCloseEvent

from napari_ssl_seg.gui import train_tab as module
from napari_ssl_seg.gui import training_worker
from napari_ssl_seg.workbench import Workbench
from tests.gui.fake_training import CHOICES, fake_train, make_run, make_study


class UserClose(QCloseEvent):
    """A close that the window system reports, as after a click on the frame."""

    def spontaneous(self) -> bool:
        return True


@pytest.fixture
def open_window(make_napari_viewer, monkeypatch, tmp_path, qtbot):
    """A viewer with the Train tab and a run that would go on for a minute."""
    real_start = training_worker.start
    monkeypatch.setattr(
        training_worker,
        "start",
        lambda study, run, done: real_start(
            study, run, done, train=lambda _study, given: fake_train(given, steps=3000), warm_up=lambda: None
        ),
    )
    monkeypatch.setattr(module, "load_choices", lambda: CHOICES)
    viewer = make_napari_viewer()
    bench = Workbench()
    tab = module.TrainTab(bench, viewer)
    viewer.window.add_dock_widget(tab, area="right")
    study = make_study(tmp_path)
    bench.set_study(study)
    run = make_run(study, "long one")
    tab.add_run(run)
    qtbot.waitUntil(lambda: tab.queue.state(run.id) == "running" and run.latest("step") is not None, timeout=20_000)
    yield viewer, tab, run
    assert training_worker.stop_and_wait(10)


def close_by_user(tab) -> bool:
    """Whether the close was held back."""
    return tab.closing.eventFilter(tab.window(), UserClose())


def test_user_is_asked_and_may_stay(open_window, monkeypatch):
    _viewer, tab, run = open_window
    asked = []
    monkeypatch.setattr(tab.closing, "ask", lambda: asked.append(1) or "stay")
    assert close_by_user(tab) and asked == [1]
    assert not tab.closing.waiting and not run.stop_requested


def test_stop_saves_first_and_then_closes(open_window, monkeypatch, qtbot):
    _viewer, tab, run = open_window
    monkeypatch.setattr(tab.closing, "ask", lambda: "stop")
    closed = []
    monkeypatch.setattr(tab.closing, "close_window", lambda: closed.append(run.state))
    assert close_by_user(tab) and tab.closing.waiting
    assert close_by_user(tab), "a second click waits too, and asks nothing"
    qtbot.waitUntil(lambda: closed != [], timeout=20_000)
    assert closed == ["stopped"] and run.latest("checkpoint") is not None
    assert not close_by_user(tab), "nothing goes on: nothing is held back"


def test_run_goes_on_in_a_process_of_its_own(open_window, monkeypatch, qtbot):
    _viewer, tab, run = open_window
    started = []
    monkeypatch.setattr(tab.queue, "_start_detached", lambda _study, given: started.append(given.id) or 1)
    monkeypatch.setattr(tab.closing, "ask", lambda: "elsewhere")
    monkeypatch.setattr(tab.closing, "close_window", lambda: None)
    close_by_user(tab)
    qtbot.waitUntil(lambda: started == [run.id], timeout=20_000)
    assert run.latest("checkpoint") is not None


def test_closing_by_the_program_saves_without_asking(open_window, monkeypatch):
    viewer, tab, run = open_window
    monkeypatch.setattr(tab.closing, "ask", lambda: pytest.fail("a script cannot answer"))
    viewer.close()
    assert run.state == "stopped" and run.latest("checkpoint") is not None
    assert training_worker.stop_and_wait(0)


def test_napari_cancelling_its_workers_saves_too(open_window, qtbot):
    _viewer, tab, run = open_window
    for worker in list(training_worker._going_on):
        worker.quit()
    qtbot.waitUntil(lambda: tab.queue.state(run.id) == "stopped", timeout=20_000)
    assert run.latest("checkpoint") is not None


def test_collector_leaves_out_what_was_there_while_a_run_goes_on():
    before = gc.get_freeze_count()
    with training_worker.steady_heap():
        with training_worker.steady_heap():
            assert gc.get_freeze_count() > before
        assert gc.get_freeze_count() > before, "until the last run has ended"
    assert gc.get_freeze_count() == 0

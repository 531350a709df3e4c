"""Work off the window's thread: results, errors of every kind, streams, cancelling, newest only."""

from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QObject

from napari_ssl_seg.errors import TrainingFailed, UserError
from napari_ssl_seg.gui.workers import LatestOnly, WorkFailed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def until(qtbot: Any) -> Callable[[Callable[[], bool]], None]:
    return lambda condition: qtbot.waitUntil(condition, timeout=20_000)


def test_a_result_arrives_in_the_windows_thread(until: Any) -> None:
    seen: list[Any] = []
    main = threading.current_thread()
    task = run(
        lambda a, b: (a + b, threading.current_thread()),
        1,
        b=2,
        on_result=lambda found: seen.append((found[0], found[1] is main, threading.current_thread() is main)),
    )
    until(lambda: not task.running)
    assert seen == [(3, False, True)]


@pytest.mark.parametrize("generator", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), UserError("the disk is full"), KeyError("x")])
def test_every_error_reaches_the_panel(until: Any, generator: bool, error: Exception) -> None:
    seen: list[Any] = []

    def fails() -> None:
        raise error

    def fails_later() -> Iterator[int]:
        yield 1
        raise error

    task = run(fails_later if generator else fails, on_error=seen.append, on_result=seen.append)
    until(lambda: not task.running)
    assert len(seen) == 1
    if isinstance(error, RuntimeError):
        assert isinstance(seen[0], WorkFailed) and isinstance(seen[0], TrainingFailed)
        assert str(seen[0]) == "CUDA out of memory" and seen[0].__cause__ is error
    else:
        assert seen[0] is error


def test_an_error_while_showing_is_shown_too(until: Any) -> None:
    seen: list[Any] = []

    def show(result: Any) -> None:
        raise UserError("the study was removed meanwhile")

    task = run(lambda: 1, on_result=show, on_error=seen.append)
    until(lambda: not task.running)
    assert [str(error) for error in seen] == ["the study was removed meanwhile"]


def test_a_stream_is_delivered_whole_and_in_order(until: Any) -> None:
    seen: list[int] = []
    result: list[str] = []

    def stream() -> Any:
        yield from range(20_000)
        return "end"

    task = run(stream, on_yield=seen.append, on_result=result.append)
    until(lambda: not task.running)
    assert seen == list(range(20_000)) and result == ["end"]


def test_a_cancelled_stream_is_closed_and_says_nothing_more(until: Any) -> None:
    closed, seen = threading.Event(), []

    def stream() -> Any:
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.set()

    task = run(stream, on_yield=seen.append, on_result=seen.append)
    until(lambda: bool(seen))
    task.cancel()
    number = len(seen)
    until(lambda: not task.running)
    assert closed.is_set() and len(seen) == number


def test_nothing_is_called_for_a_widget_that_is_gone(until: Any, qtbot: Any) -> None:
    gate, seen = threading.Event(), []
    owner = QObject()
    task = run(lambda: gate.wait(10), on_result=seen.append, on_done=lambda: seen.append("done"), owner=owner)
    owner.deleteLater()
    qtbot.wait(20)
    gate.set()
    until(lambda: not task.running)
    assert seen == []


def test_warning_filters_survive_overlapping_workers(until: Any) -> None:
    show, filters = warnings.showwarning, list(warnings.filters)
    gates = [threading.Event(), threading.Event()]
    tasks = [run(lambda gate=gate: gate.wait(10)) for gate in gates]
    for gate, task in zip(gates, tasks, strict=True):  # first in, first out: each restores what the other swapped
        gate.set()
        until(lambda task=task: not task.running)
    until(lambda: warnings.showwarning is show)
    assert list(warnings.filters) == filters


def test_of_many_questions_the_newest_is_answered(until: Any, qtbot: Any) -> None:
    gate, asked, answered, busy = threading.Event(), [], [], []

    def work(question: int) -> int:
        asked.append(question)
        gate.wait(10)
        return question

    owner = QObject()
    latest = LatestOnly(work, answered.append, answered.append, on_busy=busy.append, owner=owner)
    latest.submit(0)
    until(lambda: asked == [0])
    for question in range(1, 50):
        latest.submit(question)
    gate.set()
    until(lambda: not latest.busy)
    assert asked == [0, 49] and answered == [49]
    assert busy[-1] is False


def test_what_gives_way_begins_when_the_other_has_ended_and_asks_the_newest(until: Any, qtbot: Any) -> None:
    gate, order = threading.Event(), []
    owner = QObject()
    quick = LatestOnly(lambda question: gate.wait(10), lambda _: order.append("quick"), order.append, owner=owner)
    slow = LatestOnly(lambda question: question, order.append, order.append, gives_way=lambda: quick.busy, owner=owner)
    quick.submit(0)
    slow.submit("old", now=True)
    qtbot.wait(60)
    slow.submit("new", now=True)
    qtbot.wait(60)
    assert order == [] and slow.busy
    gate.set()
    until(lambda: not slow.busy)
    assert order == ["quick", "new"]


def test_a_dropped_question_is_not_answered(until: Any, qtbot: Any) -> None:
    gate, answered = threading.Event(), []
    owner = QObject()
    latest = LatestOnly(lambda question: gate.wait(10), answered.append, answered.append, owner=owner)
    latest.submit(1)
    qtbot.wait(50)
    latest.drop()
    gate.set()
    until(lambda: not latest.busy)
    assert answered == []


def test_long_work_leaves_threads_for_short_work(until: Any) -> None:
    from qtpy.QtCore import QThreadPool

    pool = QThreadPool.globalInstance()
    assert pool is not None
    pool.setMaxThreadCount(2)  # as on two cores
    gate, seen = threading.Event(), []
    long = [run(gate.wait, 30) for _ in range(3)]  # a run, a preparation, Segment Anything
    run(lambda: "short", on_result=seen.append)
    until(lambda: seen == ["short"])
    assert all(task.running for task in long)
    gate.set()
    until(lambda: not any(task.running for task in long))

"""The window's state: what follows what, and in which order it is said."""

from __future__ import annotations

import subprocess
import sys
from unittest.mock import MagicMock

import pytest

from napari_ssl_seg.errors import StudyError, TrainingFailed
from napari_ssl_seg.workbench import JobLine, Workbench, sentence
from tests.workbench.fakes import FakeStudy


@pytest.fixture
def bench() -> Workbench:
    workbench = Workbench()
    workbench.set_study(FakeStudy())
    return workbench


def test_a_study_shows_its_cases_and_forgets_the_earlier_one(bench: Workbench) -> None:
    bench.open_case("a")
    bench.show_runs(["r1"])
    seen: list[object] = []
    bench.case_changed.connect(seen.append)
    bench.study_changed.connect(seen.append)
    other = FakeStudy(name="other")
    bench.set_study(other)
    assert seen == [None, other]
    assert bench.case_id is None and bench.shown_runs == ()
    assert [case.id for case in bench.cases] == ["a", "b", "c"]


def test_a_case_opens_in_its_middle_and_is_found_again_where_it_was_left(bench: Workbench) -> None:
    slices: list[int] = []
    bench.slice_changed.connect(slices.append)
    bench.open_case("a")
    bench.set_slice(9)
    bench.open_case("b")
    bench.open_case("a")
    assert slices == [6, 9, 2, 9]


def test_a_slice_beyond_the_ends_is_brought_back_and_said_once(bench: Workbench) -> None:
    bench.open_case("a")
    slices: list[int] = []
    bench.slice_changed.connect(slices.append)
    bench.set_slice(99)
    bench.set_slice(99)
    bench.set_slice(-1)
    assert slices == [11, 0]


def test_next_and_previous_go_round(bench: Workbench) -> None:
    assert bench.next_case() == "a"
    assert bench.previous_case() == "c"
    assert bench.next_case() == "a"
    bench.set_study(None)
    assert bench.next_case() is None


def test_the_first_step_back_opens_the_last_case(bench: Workbench) -> None:
    assert bench.previous_case() == "c"


def test_unknown_case_and_missing_study_are_the_users_to_mend(bench: Workbench) -> None:
    with pytest.raises(StudyError, match="zz is not a case"):
        bench.open_case("zz")
    bench.set_study(None)
    with pytest.raises(StudyError, match="no study is open"):
        bench.open_case("a")


def test_shown_runs_keep_their_order_without_repeats(bench: Workbench) -> None:
    seen: list[tuple[str, ...]] = []
    bench.shown_runs_changed.connect(seen.append)
    bench.show_runs(["b", "a", "b"])
    bench.show_runs(["b", "a"])
    assert seen == [("b", "a")]


def test_stopping_a_job_says_so_before_it_asks(bench: Workbench) -> None:
    stop = MagicMock()
    lines: list[JobLine | None] = []
    bench.job_changed.connect(lines.append)
    bench.set_job(JobLine("pretrain simmim", 0.5, 190.0, stop=stop))
    bench.stop_job()
    bench.set_job(None)
    bench.stop_job()
    assert [line.state if line else None for line in lines] == ["running", "stopping", None]
    stop.assert_called_once_with()


def test_errors_are_one_sentence() -> None:
    assert (
        sentence(TrainingFailed("out of memory;\n choose a smaller patch")) == "out of memory; choose a smaller patch"
    )
    assert "ZeroDivisionError" in sentence(ZeroDivisionError())


def test_the_workbench_needs_no_screen() -> None:
    code = (
        "import sys, napari_ssl_seg.workbench;"
        "print([m for m in ('torch', 'qtpy', 'napari', 'magicgui', 'vispy') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )

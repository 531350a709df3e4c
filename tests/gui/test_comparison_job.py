"""A comparison from the panel: the form, the foot, Stop and going on, the report, and closing the window meanwhile."""

from __future__ import annotations

import os
from dataclasses import asdict

import psutil
import pytest
from qtpy.QtGui import QCloseEvent, QDesktopServices

from napari_ssl_seg.comparing import Standing, latest_comparison, protocol_of
from napari_ssl_seg.files import write_json
from napari_ssl_seg.gui import comparison_job as module
from napari_ssl_seg.gui.dock import COMPARE
from napari_ssl_seg.gui.train_choices import load_choices
from napari_ssl_seg.protocol import Protocol
from napari_ssl_seg.workbench import JobLine, Workbench
from tests.workbench.compare_study import make_study

PROTOCOL = Protocol(methods=("scratch", "simmim"), budgets=(1,), repeats=1)


class UserClose(QCloseEvent):
    """A close that the window system reports, as after a click on the frame."""

    def spontaneous(self) -> bool:
        return True


class FakeProcess:
    """Stands for the process: this one's pid, and the words of a comparison on request."""

    def __init__(self, monkeypatch):
        self.started = []
        monkeypatch.setattr("subprocess.Popen", self._start)

    def _start(self, command, **_options):
        self.started.append(command)
        self.pid = os.getpid()
        return self

    def poll(self):
        """It has ended, as far as who started it is concerned."""
        return 0

    @staticmethod
    def say(folder, *standing, **more):
        write_json(folder / "progress.json", asdict(Standing(*standing, **more)))


@pytest.fixture
def process(monkeypatch):
    return FakeProcess(monkeypatch)


@pytest.fixture
def job(qtbot, tmp_path):
    bench = Workbench()
    widget = module.ComparisonJob(bench)
    qtbot.addWidget(widget)
    widget.said = []
    bench.message.connect(lambda text, level: widget.said.append((level, text)))
    widget.show()
    bench.set_study(make_study(tmp_path))
    return widget


def test_the_form_has_everything_filled_in_and_says_what_does_not_fit(job, qtbot):
    job.ask()
    form = job.form
    assert not form.start_button.isEnabled() and form.ticked == ["scratch"]
    form.set_choices(load_choices())
    form.tick("scratch", "simmim")
    assert form.summary.text().startswith("1 pretraining and 6 fine-tunings")
    assert form.start_button.isEnabled() and form.repeats.value() == 3
    assert form.budgets.value() == (1,), "this study has two labelled scans to train on"
    form.budgets.set_value((1, 99))
    assert "the train split has 2" in form.problem.text() and not form.start_button.isEnabled()
    form.budgets.setText("many")
    assert "whole numbers" in form.problem.text()
    form.budgets.set_value((2, 1))
    form.tick()
    assert "nothing is ticked" in form.problem.text()
    form.tick("fdas")
    form.dims.set_value(3)
    assert "FDAS does not work in 3D" in form.problem.text()
    form.tick("mae")
    form.network.set_value(("pctnet", "small"))
    assert "MAE pretrains unetr alone" in form.problem.text()
    form.network.set_value(None)
    form.tick("scratch")
    form.more.setText("scratch@unetr, alchemy")
    form.more.edited.emit()
    assert "alchemy" in form.problem.text()
    form.more.setText("scratch@unetr")
    form.more.edited.emit()
    form.add_predictions("/elsewhere/nnunet")
    form.others.item(0).setText("nnU-Net")
    form.finetune_steps.set_value(40)
    started = []
    job.start = lambda protocol, out: started.append((protocol, out))
    form.start_button.click()
    qtbot.waitUntil(lambda: started != [], timeout=5000)
    protocol, out = started[0]
    assert protocol == Protocol(
        methods=("scratch", "scratch@unetr"),
        budgets=(1, 2),
        repeats=3,
        finetune_iterations=40,
        dims=3,
        predictions={"nnU-Net": "/elsewhere/nnunet"},
    )
    assert out.parent == job._workbench.study.folder / "comparisons"


def test_it_is_followed_at_the_foot_stopped_and_goes_on(job, process, tmp_path, monkeypatch):
    bench, out = job._workbench, tmp_path / "out"
    bench.set_job(JobLine("predict"))
    job.look()
    assert bench.job.text == "predict", "nothing goes on: nobody else's line is touched"
    job.start(PROTOCOL, out)
    assert job.active and job.button.isHidden() and bench.job.text == "comparison: starting"
    process.say(out, "running", "pretrain simmim", 0.25, 90.0)
    job.look()
    assert (bench.job.text, bench.job.fraction, bench.job.seconds_left) == ("comparison: pretrain simmim", 0.25, 90.0)
    assert "25%" in job.line.text() and "1:30 left" in job.line.text()
    bench.set_job(JobLine("simmim"))
    assert bench.job.text == "comparison: pretrain simmim", "it speaks for its runs"
    bench.stop_job()
    assert (out / "stop").exists() and bench.job.state == "stopping" and not job.stop_button.isEnabled()
    process.say(out, "stopped", "pretrain simmim", 0.25)
    job.look()
    assert bench.job is None and "stopped at 25%" in job.line.text() and not job.again.isHidden()

    job.again.click()
    assert len(process.started) == 2 and process.started[0] == process.started[1] and job.active
    assert protocol_of(out) == PROTOCOL
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    process.say(out, "finished", "finished", 1.0, report=str(out / "report.html"))
    job.look()
    assert opened == [str(out / "report.html")] and job.said[-1][0] == "info"
    job.look()
    assert len(opened) == 1 and not job.report.isHidden()

    job.start(PROTOCOL, out)
    process.say(out, "failed", "scratch", 0.0, message="no scan of the test split has labels; give it some")
    job.look()
    assert job.said[-1] == ("error", "the comparison failed: no scan of the test split has labels; give it some")
    (tmp_path / "file").write_text("")
    job.start(PROTOCOL, tmp_path / "file")
    assert job.said[-1][0] == "error" and "choose another folder" in job.said[-1][1]


def test_it_is_found_again_when_the_study_is_opened(job, process, tmp_path):
    bench, out = job._workbench, tmp_path / "out"
    study = bench.study
    job.start(PROTOCOL, out)
    process.say(out, "running", "pretrain simmim", 0.5)
    bench.set_study(None)
    assert not job.active and bench.job is None
    bench.set_study(study)
    assert job.active and bench.job.fraction == 0.5 and latest_comparison(study) == out
    # its process was killed: it says so, and can go on
    write_json(out / "process.json", {"pid": 2**22 + 1, "create_time": 0.0, "host": psutil.os.uname().nodename})
    job.look()
    assert job.standing.state == "stopped" and not job.again.isHidden()


@pytest.mark.parametrize(
    ("answer", "held", "stopped"), [("stay", True, False), ("stop", False, True), ("go on", False, False)]
)
def test_closing_the_window_meanwhile_asks(docked, process, tmp_path, monkeypatch, answer, held, stopped):
    job = docked.tab(COMPARE).page.job
    docked.workbench.set_study(make_study(tmp_path))
    job.closing.watch()
    assert not job.closing.eventFilter(job.window(), UserClose()), "nothing goes on: nothing is asked"
    out = tmp_path / "out"
    job.start(PROTOCOL, out)
    monkeypatch.setattr(job.closing, "ask", lambda: answer)
    assert job.closing.eventFilter(job.window(), UserClose()) is held
    assert (out / "stop").exists() is stopped
    process.say(out, "stopped", "", 0.0)
    job.look()

"""The Train tab in a real viewer: starting, following, stopping, and what the user is told."""

from __future__ import annotations

import functools

import pytest

from napari_ssl_seg.gui import train_tab as module
from napari_ssl_seg.gui import training_worker
from napari_ssl_seg.gui.budget import Budget
from napari_ssl_seg.gui.run_list import age_words
from napari_ssl_seg.workbench import Workbench
from tests.gui.fake_training import CHOICES, fake_train, make_run, make_study, say

# napari's own default colours of a Labels layer
pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path)


@pytest.fixture
def training(monkeypatch):
    """Replace the core by a fake; its options can be set."""
    options = {}

    def start(study, run, done):
        worker = real_start(
            study, run, done, train=lambda _study, run: fake_train(run, **options), warm_up=lambda: None
        )
        workers.append(worker)
        return worker

    workers = []
    real_start = training_worker.start
    monkeypatch.setattr(training_worker, "start", start)
    monkeypatch.setattr(module, "load_choices", lambda: CHOICES)
    yield options
    assert training_worker.stop_and_wait(5)
    del workers[:]


@pytest.fixture
def tab(make_napari_viewer, training, study, qtbot):
    viewer = make_napari_viewer(show=True)
    bench = Workbench()
    tab = module.TrainTab(bench, viewer)
    tab.said = []
    bench.message.connect(lambda text, level: tab.said.append((level, text)))
    viewer.window.add_dock_widget(tab, area="right")
    bench.set_study(study)
    qtbot.waitUntil(lambda: tab.pretrain_card.method.value() == "simmim", timeout=20_000)
    tab.bench = bench
    return tab


def wait_state(qtbot, tab, run, state):
    qtbot.waitUntil(lambda: tab.queue.state(run.id) == state, timeout=20_000)


def test_without_a_study_it_says_what_to_do(make_napari_viewer, training):
    viewer = make_napari_viewer()
    tab = module.TrainTab(Workbench(), viewer)
    viewer.window.add_dock_widget(tab)
    assert not tab.body.isVisibleTo(tab) and "Open a study" in tab.empty.text()


def test_cards_say_what_is_used_and_how_long_it_takes(tab):
    assert tab.used.text() == "4 scans to pretrain on; 2 test scans never touched" or "never touched" in tab.used.text()
    assert "a guess" in tab.pretrain_card.hint.text()
    assert "GiB free" in tab.device.itemText(1)
    tab.finetune_card.labels.setValue(2)
    values = tab.finetune_card.values()
    assert (values["init"], values["cases"], values["network"]) == ("scratch", 2, "unet")
    tab.finetune_card.labels_unit.setCurrentIndex(2)
    assert "slices" not in tab.finetune_card.values(), "all slices is no budget"


def test_minutes_become_steps_by_the_expected_rate(qtbot):
    budget = Budget(1000)
    qtbot.addWidget(budget)
    budget.set_rate(2.0)
    budget.number.setValue(1200)
    budget.unit.set_value("minutes")
    assert budget.number.value() == 10 and budget.iterations == 1200


def test_run_goes_from_queued_to_finished_and_is_shown(tab, study, qtbot, training):
    training["case"] = "case_00"
    tab.bench.open_case("case_00")
    run = make_run(study, "SimMIM pretraining")
    tab.add_run(run)
    wait_state(qtbot, tab, run, "running")
    qtbot.waitUntil(lambda: tab.bench.job is not None and tab.bench.job.fraction is not None, timeout=20_000)
    wait_state(qtbot, tab, run, "finished")
    progress = tab.queue.get(run.id)
    assert progress.best_dice == pytest.approx(0.9)
    qtbot.waitUntil(lambda: len(tab.strip.loss.lines) == 2, timeout=20_000)
    assert [line.name for line in tab.strip.dice.lines] == ["mean", "LV"]
    assert "2 tensors taken over from simmim-1" in tab.panel.weights.text()
    assert "finished" in tab.panel.status.text() and not tab.panel.bar.isVisible()
    (layer,) = tab._viewer.layers
    assert layer.name == "case_00 | live preview" and layer.data.shape == (1, 20, 16)
    assert tuple(layer.translate) == (4 * 3.0, 2.0, 1.0), "slice 4, its first pixel at (2, 1)"
    qtbot.waitUntil(lambda: tab.bench.job is None, timeout=20_000)
    assert tab.finetune_card.start.id == run.id, "the new run is what fine-tuning is proposed to start from"


def test_stop_saves_and_returns_and_resume_goes_on(tab, study, qtbot, training):
    training.update(steps=400)
    run = make_run(study, "a")
    tab.add_run(run)
    wait_state(qtbot, tab, run, "running")
    tab.act("pause", run.id)
    assert run.pause_requested
    tab.act("resume", run.id) if tab.queue.state(run.id) == "paused" else run.request_pause(False)
    tab.bench.stop_job()
    wait_state(qtbot, tab, run, "stopped")
    assert any("checkpoint" in line for line in tab.queue.get(run.id).log)
    assert tab.panel.pause.text() == "Resume"
    training.update(steps=5)
    tab.act("resume", run.id)
    wait_state(qtbot, tab, run, "finished")


def test_second_run_waits_and_says_for_which(tab, study, qtbot, training):
    training.update(steps=15)
    first, second = make_run(study, "first"), make_run(study, "second")
    tab.add_run(first)
    tab.add_run(second)
    assert tab.queue.state(second.id) == "waiting"
    assert ("info", "second starts when first is done") in tab.said
    wait_state(qtbot, tab, second, "finished")
    assert tab.queue.state(first.id) == "finished"


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError("no")])
def test_out_of_memory_reaches_the_user_as_a_sentence(tab, study, qtbot, training, error):
    training.update(error=error)
    run = make_run(study, "large one")
    tab.add_run(run)
    wait_state(qtbot, tab, run, "failed")
    level, text = tab.said[-1]
    assert level == "error" and text.startswith("large one failed:") and "memory" in text and "batch size" in text
    assert tab.panel.error.isVisible()
    training.pop("error")
    tab.act("resume", run.id)
    wait_state(qtbot, tab, run, "finished")
    assert not tab.panel.error.isVisible()


def test_run_started_elsewhere_appears_and_is_followed(tab, study, qtbot):
    run = make_run(study, "from the command line")
    events = fake_train(run, steps=10, seconds=0)
    next(events)
    qtbot.waitUntil(lambda: [row.id for row in tab.queue.runs] == [run.id], timeout=20_000)
    assert tab.queue.state(run.id) == "running"
    for _event in events:
        pass
    wait_state(qtbot, tab, run, "finished")


def test_several_runs_are_drawn_over_each_other(tab, study, qtbot):
    runs = [make_run(study, title) for title in ("one", "two")]
    for run in runs:
        say(run, "step", step=1, total=2, losses={"total": 1.0, "part": 0.5}, rate=1.0, seconds_left=1.0)
        say(run, "state", state="stopped")
    tab.queue.poll()
    tab.list.select([run.id for run in runs])
    assert sorted(line.name for line in tab.strip.loss.lines) == ["one", "two"]
    assert len({line.color for line in tab.strip.loss.lines}) == 2


def test_preparing_starts_what_the_card_says(tab, study, qtbot, monkeypatch, training):
    training.update(steps=3)
    asked = {}

    def prepare(function, given_study, values):
        asked.update(function=function, **values)
        return make_run(given_study, "prepared")

    monkeypatch.setattr(module, "prepare", prepare)
    tab.pretrain_card.budget.number.setValue(123)
    tab.pretrain_card.button.click()
    assert tab.pretrain_card.button.text() == "Preparing …"
    qtbot.waitUntil(lambda: tab.queue.runs != [] and tab.queue.runs[0].state == "finished", timeout=20_000)
    assert asked["function"] == "prepare_pretrain" and asked["iterations"] == 123 and asked["device"] == "auto"
    assert tab.pretrain_card.button.text() == "Start pretraining" and tab.pretrain_card.button.isEnabled()


def test_what_preparing_raises_is_said(tab, qtbot, monkeypatch):
    from napari_ssl_seg.errors import StudyError

    monkeypatch.setattr(module, "prepare", functools.partial(_raise, StudyError("no scan is labelled; label one")))
    tab.finetune_card.button.click()
    qtbot.waitUntil(lambda: ("error", "no scan is labelled; label one") in tab.said, timeout=20_000)


def test_delete_and_duplicate(tab, study, qtbot, monkeypatch, training):
    training.update(steps=3)
    run = make_run(study, "once")
    tab.add_run(run)
    wait_state(qtbot, tab, run, "finished")
    tab.act("duplicate", run.id)
    qtbot.waitUntil(
        lambda: [row.state for row in tab.queue.runs] == ["finished"] * 2 and not tab.queue.in_thread, timeout=20_000
    )
    monkeypatch.setattr(tab, "confirm_delete", lambda _run_id: False)
    tab.act("delete", run.id)
    assert run.folder.exists()
    monkeypatch.setattr(tab, "confirm_delete", lambda _run_id: True)
    tab.act("delete", run.id)
    assert not run.folder.exists() and len(tab.queue.runs) == 1
    names = {action.name: action.enabled for action in tab.list.actions(tab.queue.runs[0].id)}
    assert names == {
        "resume": False, "pause": False, "stop": False, "duplicate": True, "map": True, "reveal": True, "delete": True,
    }  # fmt: skip


@pytest.mark.parametrize(("seconds", "words"), [(-3, "now"), (300, "5 min"), (7200, "2 h"), (3 * 86400, "3 d")])
def test_age_in_words(seconds, words):
    assert age_words(seconds) == words


def _raise(error, *_args):
    raise error


def test_only_networks_that_the_method_works_on_are_offered(qtbot):
    from napari_ssl_seg.gui.train_cards import PretrainCard
    from napari_ssl_seg.methods import list_methods
    from napari_ssl_seg.networks import list_networks

    card = PretrainCard()
    qtbot.addWidget(card)
    card.set_methods(list_methods())
    card.set_networks(list_networks())

    def offered():
        return {card.network.itemData(index)[0] for index in range(card.network.count())}

    card.method.set_value("simmim")
    assert offered() == set(list_networks())
    card.method.set_value("mae")
    assert offered() == {"unetr"}
    assert card.network_values()["network"] == "unetr"


def test_what_a_card_would_start_is_saved_as_a_job_and_nothing_starts(tab, tmp_path, monkeypatch):
    from napari_ssl_seg.gui import job_saving
    from napari_ssl_seg.training.jobs import read_job

    monkeypatch.setattr(job_saving, "ask_file", lambda card, proposed: None)
    tab.pretrain_card.job_button.click()
    assert tab.said == []
    monkeypatch.setattr(job_saving, "ask_file", lambda card, proposed: tmp_path / proposed.name)
    tab.pretrain_card.job_button.click()
    ((level, text),) = tab.said
    job = read_job(tmp_path / f"{tab.bench.study.name}-pretrain.json")
    assert level == "info" and "napari-ssl-seg job" in text
    assert (job.kind, job.study) == ("pretrain", tab.bench.study.folder)
    assert job.options["method"] == "simmim" and job.options["device"] == "auto"
    assert job.options["iterations"] == tab.pretrain_card.budget.iterations
    tab.finetune_card.job_button.click()
    assert read_job(tmp_path / f"{tab.bench.study.name}-finetune.json").options["init"] == "scratch"
    assert tab.queue.runs == []

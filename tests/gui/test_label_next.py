"""Next to label: a reason, a key that opens it with its proposal, a round that trains; and a kill while painting."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_ssl_seg.annotation import Proposal, SliceState
from napari_ssl_seg.gui import label_actions
from napari_ssl_seg.gui.dock import TRAIN
from napari_ssl_seg.suggestion import Suggestion, skipped
from napari_ssl_seg.training import Event
from napari_ssl_seg.workbench import labelling_next
from napari_ssl_seg.workbench.labelling_next import Efficiency, Plan
from tests.gui import fake_training
from tests.gui.label_mouse import SHIFT, Hand

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.gui.label_tab import LabelTab
    from napari_ssl_seg.study import Study

# napari's own default colours of a Labels layer
pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")
CASE, OTHER = "head_005", "head_004"


@pytest.fixture
def suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slices are worth it, by a run that proposes a square."""
    found = [
        Suggestion(CASE, 7, 0.31, "the two best runs disagree on 31 % of it", "disagreement", "some-run"),
        Suggestion(OTHER, 4, 0.2, "mean entropy 0.20", "uncertainty", None),
    ]

    def proposed(_study: Study, _run: str, case_id: str) -> Proposal:
        labels = np.zeros((10, 32, 24), np.uint8)
        labels[:, 4:8, 4:8] = 2
        return Proposal(case_id, labels, tuple(range(10)), "some run")

    monkeypatch.setattr(labelling_next, "ask_what_next", lambda *_args: list(found))
    monkeypatch.setattr(labelling_next, "propose", proposed)


def test_a_suggestion_is_opened_with_its_proposal_and_skipped(
    labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock, suggested: None, study: Study, settle: Any
) -> None:
    tab = labelling_tab(shown, OTHER)
    hand = Hand(shown.viewer, tab.layer.layer)
    tab.page.next.suggest.click()
    bench = shown.workbench
    settle(lambda: bench.case_id == CASE and tab.actions.proposing.proposal is not None)
    assert bench.slice_index == 7
    assert "31 %" in tab.page.next.reason.text() and f"slice 7 of {CASE}" in tab.page.next.reason.text()
    proposed = shown.viewer.layers[f"{CASE} | proposal"]
    assert proposed.data[7, 5, 5] == 2 and tab.labelling.states[7] == SliceState.PROPOSED
    hand.canvas.setFocus()
    hand.key(Qt.Key.Key_U)
    assert tab.layer.layer is not None and tab.layer.layer.data[7, 5, 5] == 2
    assert tab.following.first is not None and tab.following.first.case_id == OTHER, (
        "what was drawn is not next any more"
    )
    hand.key(Qt.Key.Key_J, SHIFT)
    settle(lambda: [(item.case_id, item.slice_index) for item in skipped(study)] == [(OTHER, 4)])
    assert tab.following.first is None and not tab.page.next.go.isEnabled()


def test_a_round_trains_in_the_queue_and_suggests(
    labelling_tab: Callable[[SSLDock, str], LabelTab],
    shown: SSLDock,
    suggested: None,
    study: Study,
    settle: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_ssl_seg.gui import training_worker

    real = training_worker.start
    monkeypatch.setattr(
        training_worker,
        "start",
        lambda study_, run, done: real(
            study_, run, done, train=lambda _s, given: fake_training.fake_train(given, steps=3), warm_up=lambda: None
        ),
    )
    monkeypatch.setattr(
        labelling_next, "plan_round", lambda study_: Plan(fake_training.make_run(study_, "a round"), "Training …")
    )
    noted: list[str] = []
    monkeypatch.setattr(labelling_next, "after_training", lambda _study, run: noted.append(run.id))
    curve = Efficiency(((2.0, None, 0.5), (4.0, 3.0, 0.7)), ((2.0, 0.4), (4.0, 0.5)))
    monkeypatch.setattr(labelling_next, "efficiency_points", lambda _study: curve)
    tab = labelling_tab(shown, CASE)
    tab.page.next.after.setValue(2)
    tab.actions.check()
    assert not tab.rounds.going
    shown.workbench.set_slice(6)
    tab.actions.check()
    assert tab.rounds.going and tab.labelling.newly_checked == 0, "two newly checked slices start it by themselves"
    assert not tab.page.next.round.isEnabled()
    settle(lambda: not tab.rounds.going and tab.following.first is not None)
    assert noted and [run.id for run in shown.tab(TRAIN).queue.runs] == noted
    settle(lambda: len(tab.strip.plot.lines) == 2)
    assert list(tab.strip.plot.lines[0].x) == [2.0, 4.0] and tab.strip.plot.lines[1].name == "random choice"
    tab.strip.minutes.click()
    assert [list(line.x) for line in tab.strip.plot.lines] == [[3.0]]


class FakeSession:
    """Segment Anything, as far as the window is concerned: a square around the last point inside, or the box."""

    def __init__(self) -> None:
        self.encoded: set[Any] = set()

    def ready(self, key: Any) -> bool:
        return key in self.encoded

    def encode(self, key: Any) -> None:
        self.encoded.add(key)

    def encode_ahead(self, keys: Any, *, stop: Any) -> Any:
        for key in keys:
            self.encode(key)
            yield key

    def mask(self, key: Any, points: Any, box: Any) -> tuple[np.ndarray, np.ndarray]:
        assert self.ready(key)
        found = np.zeros((32, 24), bool)
        if box is not None:
            y0, x0, y1, x1 = (round(value) for value in box)
            found[y0:y1, x0:x1] = True
        for y, x, inside in points:
            found[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = inside
        return found, np.ones(1)


def test_chance_is_simulated_at_the_foot_and_can_be_stopped(
    labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock, monkeypatch: pytest.MonkeyPatch, settle: Any
) -> None:
    tab = labelling_tab(shown, CASE)
    bench, button = shown.workbench, tab.strip.chance
    gate, closed = threading.Event(), []

    def slow(_study: Study) -> Any:
        try:
            for step in range(1, 1000):
                yield Event("step", {"step": step, "total": 1000, "losses": {}, "seconds_left": 7.0})
                time.sleep(0.005)
                if gate.is_set():
                    return
        finally:
            closed.append(True)

    monkeypatch.setattr(labelling_next, "simulate_chance", slow)
    button.click()
    settle(lambda: bench.job is not None and bench.job.fraction is not None)
    assert bench.job is not None and bench.job.text == "what chance would have reached"
    assert bench.job.seconds_left == 7.0 and not button.isEnabled()
    bench.stop_job()
    settle(lambda: closed == [True] and button.isEnabled() and bench.job is None)

    gate.set()
    found = Efficiency(chance=((4.0, 0.5), (8.0, 0.7)))
    drawn: list[Efficiency] = []
    monkeypatch.setattr(labelling_next, "efficiency_points", lambda _study: found)
    monkeypatch.setattr(tab.strip, "show_efficiency", drawn.append)
    button.click()
    settle(lambda: button.isEnabled() and found in drawn)


def test_prompts_light_up_and_are_drawn_when_they_are_accepted(
    labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock, settle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ssl_seg.gui import label_prompts

    session = FakeSession()
    monkeypatch.setattr(label_prompts, "_open_session", lambda _study: session)
    monkeypatch.setattr(label_actions, "prompts_problem", lambda _study: "")
    tab = labelling_tab(shown, CASE)
    shown.workbench.set_slice(5)
    hand, prompt = Hand(shown.viewer, tab.layer.layer), tab.actions.prompt
    hand.canvas.setFocus()
    hand.key(Qt.Key.Key_H)
    assert prompt.in_hand and tab.page.tools.prompt.isChecked()
    settle(lambda: {(CASE, z) for z in (3, 4, 5, 6, 7)} <= session.encoded)
    hand.click((5, 12, 12))
    settle(lambda: prompt.mask is not None and prompt.mask.sum() == 25)
    names = [layer.name for layer in shown.viewer.layers]
    assert f"{CASE} | region" in names and f"{CASE} | prompts" in names
    assert tab.layer.layer is not None and not tab.layer.layer.data.any(), "nothing is drawn before it is accepted"
    hand.click((5, 12, 14), SHIFT)
    settle(lambda: prompt.mask is not None and prompt.mask.sum() == 10)
    assert [inside for *_, inside in prompt.points] == [True, False]
    hand.key(Qt.Key.Key_U)
    assert int(np.count_nonzero(tab.layer.layer.data)) == 10 and prompt.mask is None
    hand.drag([(5, 20, 4), (5, 24, 8), (5, 28, 14)])
    settle(lambda: prompt.mask is not None)
    hand.key(Qt.Key.Key_U)
    drawn = int(np.count_nonzero(tab.layer.layer.data))
    assert drawn == 10 + 8 * 10
    hand.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert int(np.count_nonzero(tab.layer.layer.data)) == 10
    hand.key(Qt.Key.Key_W)
    assert not prompt.in_hand and tab.region.in_hand, "one tool at a time"
    assert f"{CASE} | prompts" not in [layer.name for layer in shown.viewer.layers]


PAINTER = """
    import sys
    import time
    import numpy as np
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication, QWidget
    from napari_ssl_seg.gui.label_layer import LabelLayer
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling
    from napari_ssl_seg.workbench.labelling_case import open_store, read_labels

    app = QApplication([])
    bench, viewer, hand, owner = Workbench(), ViewerModel(), Labelling(), QWidget()
    bench.set_study(Study.open(sys.argv[1]))
    bench.open_case("head_005")
    layer = LabelLayer(viewer, bench, hand, owner)
    hand.open(open_store(bench.study))
    case = read_labels(hand.opened, "head_005")
    hand.show_case(case)
    layer.show(case, editable=True)
    layer.layer.brush_size = 1
    for number in range(7680):
        z, rest = divmod(number, 768)
        layer.layer.paint((z, rest // 24, rest % 24), 1)
        print(number, flush=True)
        app.processEvents()
        time.sleep(1 / 60)  # as often as a mouse moves
"""


def test_a_kill_while_painting_loses_less_than_a_second(
    study: Study, labelling_tab: Callable[[SSLDock, str], LabelTab], shown: SSLDock
) -> None:
    painter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PAINTER), str(study.folder)],
        stdout=subprocess.PIPE,
        env={**__import__("os").environ, "QT_QPA_PLATFORM": "offscreen"},
        text=True,
    )
    assert painter.stdout is not None
    told: list[tuple[float, int]] = []
    begun = None
    for line in painter.stdout:
        begun = begun or time.monotonic()
        told.append((time.monotonic(), int(line)))
        if time.monotonic() - begun > 2.0:
            break
    painter.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    rest = painter.stdout.read()
    painter.wait()
    del rest
    must = max((number for when, number in told if when < killed - 1.0), default=-1)
    tab = labelling_tab(shown, CASE)
    assert "estored" in shown.messages.text, "it is said what was found"
    assert tab.layer.layer is not None
    drawn = tab.layer.layer.data.ravel()
    assert must > 0 and drawn[: must + 1].all(), "every stroke older than a second is there"
    last = int(np.flatnonzero(drawn)[-1])
    assert drawn[: last + 1].all(), "and what is there has no holes"

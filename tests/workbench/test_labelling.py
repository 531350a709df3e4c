"""Labelling without a window: what strokes change, what is kept of them, proposals, states, effort."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.annotation import Effort, Proposal
from napari_ssl_seg.workbench import labelling_states as states_
from napari_ssl_seg.workbench.labelling import Labelling
from napari_ssl_seg.workbench.labelling_case import LabelledCase, OpenStore
from napari_ssl_seg.workbench.labelling_changes import Box, Changes, box_of, protection
from napari_ssl_seg.workbench.labelling_effort import IDLE_SECONDS, EffortClock, effort_csv, effort_line
from napari_ssl_seg.workbench.labelling_proposal import Proposing
from napari_ssl_seg.workbench.words import ago

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPE = (6, 8, 9)


class FakeWriter:
    """Keeps what it is given, as the store would hold it."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.held = np.zeros(shape, np.uint8)
        self.states = np.zeros(shape[0], np.uint8)
        self.efforts: list[Effort] = []
        self.tools: list[str] = []
        self.pending, self.saved_at = 0, None

    def put(self, _case: str, start: Sequence[int], values: np.ndarray, *, tool: str) -> None:
        self.tools.append(tool)
        self.held[tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))] = values

    def set_state(self, _case: str, slices: Sequence[int], state: int) -> None:
        self.states[list(slices)] = state

    def add_effort(self, effort: Effort) -> None:
        self.efforts.append(effort)

    def flush(self, _seconds: float) -> bool:
        return True

    def close(self, _seconds: float) -> bool:
        return True


@pytest.fixture
def labelling() -> Labelling:
    """Of a case without labels, on a writer that is a dictionary."""
    made = Labelling()
    store = SimpleNamespace(close=lambda: None, why_read_only=None)
    made.open(OpenStore(None, store, FakeWriter(SHAPE)))  # type: ignore[arg-type]
    labels = np.zeros(SHAPE, np.uint8)
    made.show_case(
        LabelledCase("07", labels, np.zeros(SHAPE[0], np.uint8), np.zeros((SHAPE[0], 256), np.int64), {}, (1, 1, 1))
    )
    return made


def writer(labelling: Labelling) -> Any:
    assert labelling.opened is not None
    return labelling.opened.writer


def draw(labelling: Labelling, index: tuple[slice, ...], value: int, tool: str = "paint") -> Any:
    """A stroke, as a layer makes it; returns what undoing it restores."""
    assert labelling.case is not None
    before = labelling.case.labels[index].copy()
    labelling.case.labels[index] = value
    box = Box(tuple(part.start for part in index), tuple(part.stop for part in index))  # type: ignore[arg-type]
    labelling.look_at(box, tool, stroke=True)
    return index, before


boxes = st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, 4)) for n in SHAPE)).map(
    lambda spans: tuple(slice(a, min(a + n, top)) for (a, n), top in zip(spans, SHAPE, strict=True))
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(st.tuples(st.just("stroke"), boxes, st.integers(0, 3)), st.sampled_from(["undo", "redo"])),
        max_size=24,
    )
)
def test_whatever_is_drawn_undone_and_redone_is_what_is_kept(steps: list[Any]) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    changes, held = Changes(labels), np.zeros(SHAPE, np.uint8)
    done: list[Any] = []
    undone: list[Any] = []

    def keep(found: Any) -> None:
        for change in found:
            if change is not None and change.voxels:
                part = tuple(slice(a, a + n) for a, n in zip(change.start, change.values.shape, strict=True))
                held[part] = change.values

    for step in steps:
        if step == "undo" and done:
            index, before, after = done.pop()
            undone.append((index, before, after))
            labels[index] = before
            keep(changes.stepped())
        elif step == "redo" and undone:
            index, before, after = undone.pop()
            done.append((index, before, after))
            labels[index] = after
            keep(changes.stepped())
        elif isinstance(step, tuple):
            _, index, value = step
            before = labels[index].copy()
            if (before == value).all():
                continue
            labels[index] = value
            box = Box(tuple(part.start for part in index), tuple(part.stop for part in index))
            changes.stroke(box)
            keep([changes.settle(box)])
            done.append((index, before, labels[index].copy()))
            undone.clear()
        assert np.array_equal(held, labels)


def test_a_change_is_as_small_as_it_can_be_and_a_copy() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    changes = Changes(labels)
    labels[2, 3, 4] = labels[2, 4, 6] = 1
    change = changes.settle(Box((-1, -1, -1), (99, 99, 99)))
    assert change is not None
    assert (change.start, change.values.shape, change.slices, change.voxels) == ((2, 3, 4), (1, 2, 3), (2,), 2)
    labels[2, 3, 4] = 3
    assert change.values[0, 0, 0] == 1
    assert changes.settle(Box((0, 0, 0), (1, 1, 1))) is None


def test_boxes_of_what_napari_tells() -> None:
    indices = (np.array([2, 2]), np.array([3, 5]), np.array([1, 7]))
    masked = SimpleNamespace(slice_key=(slice(0, 1), slice(4, 6), slice(2, 3)))
    assert box_of([(indices, None, 1)]) == Box((2, 3, 1), (3, 6, 8))
    assert box_of([(indices, None, 1), masked]) == Box((0, 3, 1), (3, 6, 8))
    assert box_of([]) is None


def test_protected_classes_neither_lose_nor_gain(labelling: Labelling) -> None:
    draw(labelling, (slice(1, 2), slice(2, 4), slice(2, 4)), 2)
    labelling.protect(2, True)
    told: list[str] = []
    labelling.blocked.connect(told.append)
    draw(labelling, (slice(1, 2), slice(2, 4), slice(2, 5)), 1)
    assert labelling.case is not None
    assert labelling.case.labels[1, 2].tolist() == [0, 0, 2, 2, 1, 0, 0, 0, 0] and not told
    draw(labelling, (slice(3, 4), slice(0, 2), slice(0, 2)), 2)
    assert not labelling.case.labels[3].any() and "protected" in told[0]
    assert np.array_equal(writer(labelling).held, labelling.case.labels)
    assert protection([], np.uint8) is None


def test_states_follow_strokes_and_first_strokes_that_are_taken_back(labelling: Labelling) -> None:
    assert labelling.case is not None
    index, before = draw(labelling, (slice(2, 4), slice(1, 3), slice(1, 3)), 1)
    assert labelling.states.tolist() == [0, 0, 2, 2, 0, 0] == writer(labelling).states.tolist()
    labelling.toggle(2, states_.CHECKED)
    labelling.toggle(3, states_.FLAGGED)
    assert labelling.newly_checked == 1
    draw(labelling, (slice(2, 4), slice(5, 6), slice(5, 6)), 1)
    assert labelling.states[2:4].tolist() == [states_.LABELLED, states_.FLAGGED], (
        "a check ends by drawing, a flag does not"
    )
    assert labelling.newly_checked == 0
    labelling.toggle(3, states_.FLAGGED)
    labelling.case.labels[2:4, 5, 5] = 0
    labelling.look_for_undo()
    labelling.case.labels[index] = before
    labelling.look_for_undo()
    assert not labelling.case.labels.any() and labelling.states.tolist() == [0] * 6
    assert writer(labelling).tools[-1] == "undo"
    labelling.begin_round()
    assert states_.state_line(labelling.states, 1) == "slice 1: unlabelled · 0 of 6 train"
    assert [tuple(run) for run in states_.stretches(np.array([0, 0, 3, 3, 1], np.uint8))] == [
        (0, 2, 0),
        (2, 4, 3),
        (4, 5, 1),
    ]


def test_voxels_are_counted_by_slice_and_scan(labelling: Labelling) -> None:
    draw(labelling, (slice(1, 3), slice(0, 2), slice(0, 3)), 1)
    assert labelling.case is not None
    assert (labelling.case.voxels(1, 1), labelling.case.voxels(1), labelling.case.voxels(2)) == (6, 12, 0)


def test_parts_of_a_proposal_are_accepted_and_refused(labelling: Labelling) -> None:
    case = labelling.case
    assert case is not None

    def write(found: Any, tool: str) -> int:
        for start, values in found:
            case.labels[tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))] = values
            labelling.look_at(Box((0, 0, 0), SHAPE), tool, stroke=True)
        return 0

    proposing = Proposing(labelling, write)
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[:, 1:3, 1:3], wanted[:, 5:7, 5:7] = 1, 2
    draw(labelling, (slice(4, 5), slice(1, 2), slice(1, 2)), 3)
    proposing.show(Proposal("07", wanted, (1, 2, 3, 4), "a run"))
    assert labelling.states.tolist() == [0, 1, 1, 1, 2, 0] and "4 slices wait, this one too" in proposing.words(2)
    proposing.accept_class(2)
    assert (case.labels[1:5, 5:7, 5:7] == 2).all() and not (case.labels == 1).any()
    assert proposing.slices == (1, 2, 3, 4)
    proposing.accept_slice(2)
    assert (case.labels[2, 1:3, 1:3] == 1).all() and proposing.slices == (1, 3, 4)
    proposing.refuse_slice(3)
    assert not (case.labels[3] == 1).any() and proposing.slices == (1, 4)
    proposing.accept_all()
    assert case.labels[4, 1, 1] == 3 and case.labels[4, 2, 2] == 1, "other classes are not drawn over"
    assert proposing.proposal is None and proposing.words(1) == ""
    assert wanted[1, 1, 1] == 1, "what was proposed belongs to whoever proposed it"
    proposing.show(Proposal("07", wanted, (0, 5), "a run"))
    proposing.refuse_all()
    assert labelling.states[[0, 5]].tolist() == [0, 0]
    proposing.show(Proposal("another", wanted, (0,), "a run"))
    assert proposing.proposal is None


def test_idle_time_is_not_work() -> None:
    now = [100.0]
    clock = EffortClock(lambda: now[0])
    clock.event("07", 3, "paint", clicks=1)
    now[0] += 4
    clock.event("07", 3, "paint", voxels=50)
    now[0] += IDLE_SECONDS + 1
    clock.event("07", 4, "look")
    now[0] += 2
    clock.pause()
    now[0] += 20
    clock.event("07", 5, "region", clicks=1)
    spent = {(item.slice_index, item.tool): item for item in clock.take()}
    assert (spent[3, "paint"].seconds, spent[3, "paint"].clicks, spent[3, "paint"].voxels) == (4.0, 1, 50)
    assert spent[4, "look"].seconds == 2.0 and spent[5, "region"].seconds == 0.0
    assert clock.take() == []


def test_effort_in_words_and_as_a_table() -> None:
    efforts = [Effort("07", 3, "paint", 60.0, 4, 100, 5.0), Effort("07", 4, "look", 30.04, 0, 0, 6.0)]
    assert effort_line(efforts) == "1:30 on 1 labelled slice · 4 clicks · 1:30 a slice"
    assert effort_line([]) == "No effort has been logged yet."
    assert effort_csv(efforts).splitlines()[1:] == ["07,3,paint,60.0,4,100,5", "07,4,look,30.0,0,0,6"]


def test_effort_and_saving_in_the_window_s_words(labelling: Labelling) -> None:
    labelling.clock.event("07", 3, "paint", clicks=2)
    labelling.keep_effort()
    assert [(item.tool, item.clicks) for item in writer(labelling).efforts] == [("paint", 2)]
    assert labelling.saved_words() == ""
    draw(labelling, (slice(1, 2), slice(2, 4), slice(2, 4)), 2)
    writer(labelling).saved_at = time.time() - 5
    assert labelling.saved_words() == "saved 5 s ago"
    assert [ago(seconds) for seconds in (0.2, 59, 61, 7300)] == ["1 s ago", "59 s ago", "1 min ago", "2 h ago"]
    assert labelling.close() and labelling.opened is None

"""The state of the Label tab: the label store of the open study, the open case's labels, the class in hand. No Qt.

Labels are drawn on in a layer; what changed there comes in through `Labelling.changed_by`, and goes on to the store's
writer, which keeps it without anybody waiting. Signals are emitted in the thread that called: the window's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.workbench import labelling_states as states_
from napari_ssl_seg.workbench.labelling_case import OpenStore
from napari_ssl_seg.workbench.labelling_changes import Changes, protection
from napari_ssl_seg.workbench.labelling_effort import EffortClock
from napari_ssl_seg.workbench.words import ago

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_ssl_seg.study import ClassInfo, Study
    from napari_ssl_seg.workbench.labelling_case import LabelledCase
    from napari_ssl_seg.workbench.labelling_changes import Box, Change

FLUSH_SECONDS = 10.0
"""How long the end of the window waits for the last strokes: a slow network share."""


class Labelling:
    """What is labelled.

    Signals
    -------
    store_changed()
        A store was opened or closed, or may now be written to.
    case_changed(LabelledCase | None)
        Labels of another case are there to be shown.
    labels_changed(tuple of slices)
        Voxels of these slices of the open case have changed.
    states_changed()
    hand_changed()
        The class in hand, a protected class, or whether others are drawn over.
    blocked(sentence)
        Something was not done, and why.
    """

    store_changed = Signal()
    case_changed = Signal(object)
    labels_changed = Signal(object)
    states_changed = Signal()
    hand_changed = Signal()
    blocked = Signal(str)

    def __init__(self) -> None:
        self._opened: OpenStore | None = None
        self._case: LabelledCase | None = None
        self._changes: Changes | None = None
        self._before: dict[int, int] = {}
        self._value = 1
        self._protected: frozenset[int] = frozenset()
        self._overwrite = False
        self._newly_checked: set[tuple[str, int]] = set()
        self._drawn = False
        self.clock = EffortClock()

    # -- store ----------------------------------------------------------------------------------------------------
    @property
    def opened(self) -> OpenStore | None:
        return self._opened

    @property
    def study(self) -> Study | None:
        return self._opened.study if self._opened is not None else None

    @property
    def writable(self) -> bool:
        return self._opened is not None and self._opened.writer is not None

    @property
    def why_read_only(self) -> str:
        """One sentence; empty where it may be written to or nothing is open."""
        if self._opened is None or self.writable:
            return ""
        return self._opened.store.why_read_only or "The labels of this study can only be read."

    def open(self, opened: OpenStore) -> None:
        """Label in this store from now on."""
        self.close()
        self._opened = opened
        self.store_changed.emit()

    def take_over(self) -> bool:
        """Write where another window wrote that is gone; False where it is still there."""
        opened = self._opened
        if opened is None or self.writable or not opened.store.take_over():
            return False
        from napari_ssl_seg.annotation import Writer

        self._opened = OpenStore(opened.study, opened.store, Writer(opened.store))
        self.store_changed.emit()
        return True

    def close(self) -> bool:
        """Write what waits, and close; False where it could not be written to the study (the store then keeps it elsewhere)."""
        self._set_case(None)
        self.keep_effort()
        opened, self._opened = self._opened, None
        if opened is None:
            return True
        done = True
        if opened.writer is not None:
            done = opened.writer.close(FLUSH_SECONDS)
        opened.store.close()
        self.store_changed.emit()
        return done

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until everything is on disk; False where it is not."""
        writer = self._opened.writer if self._opened is not None else None
        return writer is None or bool(writer.flush(seconds))

    @property
    def pending(self) -> int:
        """Changes that are not on disk yet."""
        writer = self._opened.writer if self._opened is not None else None
        return int(writer.pending) if writer is not None else 0

    def saved_words(self, problem: str = "") -> str:
        """``saved 1 s ago``; empty before anything was drawn."""
        writer = self._opened.writer if self._opened is not None else None
        if writer is None:
            return "read-only" if self._opened is not None else ""
        if problem:
            return problem
        saved = writer.saved_at
        if saved is None or not self._drawn:
            return "saving …" if writer.pending else ""
        return "saved " + ago(max(0.0, time.time() - saved))

    # -- case -----------------------------------------------------------------------------------------------------
    @property
    def case(self) -> LabelledCase | None:
        return self._case

    def show_case(self, case: LabelledCase | None) -> None:
        """Label this case from now on."""
        self._set_case(case)

    def _set_case(self, case: LabelledCase | None) -> None:
        self.clock.pause()
        self._case, self._changes, self._before = case, None, {}
        if case is not None:
            self._changes = Changes(case.labels)
        self.case_changed.emit(case)
        self.states_changed.emit()

    def adopt(self, labels: NDArray[Any]) -> None:
        """The array that is drawn on from now on: a layer's, with the same content."""
        if self._case is not None:
            self._case.labels = labels
            self._changes = Changes(labels)

    @property
    def labels_shape(self) -> tuple[int, ...]:
        """Of the open case's labels; empty where none is open."""
        return self._case.labels.shape if self._case is not None else ()

    # -- the class in hand ----------------------------------------------------------------------------------------
    @property
    def value(self) -> int:
        """The class that is drawn."""
        return self._value

    def take(self, value: int) -> None:
        """Draw this class."""
        if value != self._value:
            self._value = value
            self.hand_changed.emit()

    @property
    def protected(self) -> frozenset[int]:
        return self._protected

    def protect(self, value: int, on: bool) -> None:
        """Let no tool change voxels of a class, nor add any."""
        protected = self._protected | {value} if on else self._protected - {value}
        if protected != self._protected:
            self._protected = protected
            self.hand_changed.emit()

    @property
    def overwrite(self) -> bool:
        """Whether other classes may be drawn over."""
        return self._overwrite

    def set_overwrite(self, on: bool) -> None:
        if on != self._overwrite:
            self._overwrite = on
            self.hand_changed.emit()

    def set_class(
        self, value: int | None, *, name: str | None = None, color: str | None = None, lesion: bool | None = None
    ) -> ClassInfo:
        """Rename, recolour or mark a class, or with None add the next one; raises StudyError where that cannot be."""
        if self._opened is None:
            raise StudyError("no study is open for labelling; open one in the tab 1 Study")
        study = self._opened.study
        if value is None:
            value = 1 + max((item.value for item in study.classes), default=0)
        made = study.set_class(value, name=name, color=color, lesion=lesion)
        self.hand_changed.emit()
        return made

    # -- what was drawn -------------------------------------------------------------------------------------------
    def look_at(self, box: Box | None, tool: str, *, stroke: bool = False) -> Change | None:
        """Something was drawn inside a box; what it was goes to the store. ``stroke``: an undo may take it back."""
        if self._changes is None or self._case is None or box is None:
            return None
        if stroke:
            self._changes.stroke(box)
        return self._keep(self._changes.settle(box, protected=self._protection()), tool)

    def look_for_undo(self) -> list[Change]:
        """The layer was filled again: perhaps a stroke was undone or redone."""
        if self._changes is None:
            return []
        found = self._changes.stepped(protected=self._protection())
        return [change for change in (self._keep(one, "undo") for one in found) if change is not None]

    def replaced(self, labels: NDArray[Any], tool: str = "replaced") -> Change | None:
        """The layer holds another array."""
        if self._changes is None or self._case is None:
            return None
        if labels.shape != self._case.labels.shape:
            raise StudyError(
                f"labels of {self._case.case_id} have {self._case.labels.shape} voxels, not {labels.shape}"
            )
        self._case.labels = labels
        return self._keep(self._changes.replaced(labels), tool)

    def _protection(self) -> NDArray[np.bool_] | None:
        assert self._case is not None
        return protection(self._protected, self._case.labels.dtype)

    def _keep(self, change: Change | None, tool: str) -> Change | None:
        case, opened = self._case, self._opened
        if change is None or case is None or opened is None:
            return None
        if change.kept and not change.voxels:
            self.blocked.emit("That class is protected: nothing was changed. Its lock is in the list of classes.")
        if not change.voxels or opened.writer is None:
            return change
        opened.writer.put(case.case_id, change.start, change.values, tool=tool)
        self._drawn = True
        case.stale.update(change.slices)
        self._mark_touched(case, change)
        self.clock.event(case.case_id, change.slices[0], tool, voxels=change.voxels)
        self.labels_changed.emit(change.slices)
        return change

    def _mark_touched(self, case: LabelledCase, change: Change) -> None:
        back: dict[int, int] = {}
        if change.undone:  # the first stroke of a slice was taken back: it is what it was
            back = {z: self._before[z] for z in change.slices if z in self._before and not case.labels[z].any()}
        fresh = states_.touched(case.states, [z for z in change.slices if z not in back])
        for z in fresh:
            if case.states[z] in (states_.UNLABELLED, states_.PROPOSED):
                self._before[z] = int(case.states[z])
        self._set_states(fresh, states_.LABELLED)
        for state in set(back.values()):
            self._set_states([z for z, before in back.items() if before == state], state)

    # -- states ---------------------------------------------------------------------------------------------------
    @property
    def states(self) -> NDArray[np.uint8]:
        """Of the open case's slices."""
        return self._case.states if self._case is not None else np.zeros(0, np.uint8)

    def set_states(self, slices: Iterable[int], state: int) -> None:
        """Check, flag, propose ... slices of the open case."""
        if self._require_writable():
            self._set_states(list(slices), state)

    def toggle(self, index: int, state: int) -> None:
        """Check or flag a slice, or take that back: it is then labelled, or unlabelled where nothing was drawn."""
        case = self._case
        if case is None or not 0 <= index < len(case.states):
            return
        plain = states_.LABELLED if case.labels[index].any() else states_.UNLABELLED
        self.set_states([index], plain if case.states[index] == state else state)

    def _set_states(self, slices: list[int], state: int) -> None:
        case, opened = self._case, self._opened
        slices = [z for z in slices if case is not None and case.states[z] != state]
        if case is None or opened is None or opened.writer is None or not slices:
            return
        from napari_ssl_seg.annotation import SliceState

        case.states[slices] = state
        opened.writer.set_state(case.case_id, slices, SliceState(state))
        for z in slices:
            if state == states_.CHECKED:
                self._newly_checked.add((case.case_id, z))
            else:
                self._newly_checked.discard((case.case_id, z))
        self.states_changed.emit()

    @property
    def newly_checked(self) -> int:
        """Slices that were checked since the last round began."""
        return len(self._newly_checked)

    def begin_round(self) -> None:
        """Count checked slices from here."""
        self._newly_checked.clear()

    def _require_writable(self) -> bool:
        if not self.writable:
            self.blocked.emit(self.why_read_only or "No labels are open.")
        return self.writable

    # -- effort ---------------------------------------------------------------------------------------------------
    def keep_effort(self) -> None:
        """Hand what came together on the clock to the writer."""
        writer = self._opened.writer if self._opened is not None else None
        spent = self.clock.take() if writer is not None else []
        if writer is not None and spent:
            from napari_ssl_seg.annotation import Effort

            for item in spent:
                writer.add_effort(Effort(*item))

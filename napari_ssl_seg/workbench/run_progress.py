"""What a run has done so far, folded from its events.

The same whether the run goes on in this window's thread, in a process of its own or on another machine: only the run
folder is read, from where the last reading ended.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run, RunRecord

LOG_LINES = 400
ACTIVE = ("running", "paused")
RESUMABLE = ("stopped", "failed")


@dataclass
class Curve:
    """Values at rising steps; a run that goes on from a checkpoint overwrites what it repeats."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Append; whatever stands at this step or later belongs to a stretch that was lost, and is dropped."""
        if self.steps and step <= self.steps[-1]:
            keep = bisect_left(self.steps, step)
            del self.steps[keep:], self.values[keep:]
        self.steps.append(step)
        self.values.append(value)


class RunProgress:
    """One run, followed.

    Attributes
    ----------
    state, reason
        One of STATES and why, where that is known. A running run that has gone silent counts as stopped.
    step, total, rate, seconds_left
        Steps done and asked for, steps a second, seconds; None where not known.
    losses, dice, pretext_dice
        `Curve` by name of the part (``total`` first) and by class (``mean`` first): of a segmentation in ``dice``, of a
        pretraining's own classes in ``pretext_dice``.
    weights, preview, error
        The latest event of that kind (``error``: its message), or None.
    log
        The latest lines worth reading, each ``HH:MM:SS text``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.id = run.id
        self.state = "queued"
        self.reason: str | None = None
        self.started: float | None = None
        self.step = 0
        self.total: int | None = None
        self.rate: float | None = None
        self.seconds_left: float | None = None
        self.busy_with: str | None = None
        self.losses: dict[str, Curve] = {}
        self.dice: dict[str, Curve] = {}
        self.pretext_dice: dict[str, Curve] = {}
        self.best_dice: float | None = None
        self.weights: Event | None = None
        self.preview: Event | None = None
        self.error: str | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._offset = 0
        self._written_state = "queued"
        self._record: RunRecord | None = None

    @property
    def record(self) -> RunRecord | None:
        """What was asked for; None where the record cannot be read (which the log says)."""
        if self._record is None:
            try:
                self._record = self.run.record
            except UserError as error:
                if not self.log or str(error) not in self.log[-1]:
                    self._note(time.time(), str(error))
        return self._record

    @property
    def title(self) -> str:
        record = self.record
        return (record.title if record is not None else "") or self.id

    @property
    def device(self) -> str:
        return self.record.device if self.record is not None else "cpu"

    @property
    def fraction(self) -> float | None:
        """Share of the steps done, 0 to 1."""
        return min(1.0, self.step / self.total) if self.total else None

    def update(self) -> list[Event]:
        """Read what was written since the last call; return it."""
        try:
            size = self.run.events_path.stat().st_size
        except OSError:
            size = 0
        events: list[Event] = []
        if size > self._offset:
            events, self._offset = self.run.events_from(self._offset)
            for event in events:
                self._take(event)
        self.state = self._written_state
        if self.state in ACTIVE and not self.run.alive:
            self.state, self.reason = "stopped", "no sign of life; it can be resumed"
        return events

    def _take(self, event: Event) -> None:
        data = event.data
        if event.kind == "state":
            self._take_state(event)
        elif event.kind == "step":
            self._take_step(event)
        elif event.kind == "evaluation":
            self._take_evaluation(event)
        elif event.kind == "weights":
            self.weights = event
            self._note(event.time, weights_sentence(event))
        elif event.kind == "preview":
            self.preview = event
        elif event.kind == "progress":
            self.busy_with = str(data.get("what", "")) or None
        elif event.kind == "error":
            self.error = str(data.get("message", "no reason given"))
            self._note(event.time, f"error: {self.error}")
        elif event.kind == "warning":
            self._note(event.time, f"warning: {data.get('message', '')}")
        elif event.kind == "checkpoint":
            self._note(event.time, f"checkpoint at step {data.get('step')}" + (" (best)" if data.get("best") else ""))

    def _take_state(self, event: Event) -> None:
        self._written_state = str(event.data.get("state", "queued"))
        self.reason = event.data.get("reason")
        if self._written_state == "running":
            self.error = None
            self.started = self.started or event.time
        else:
            self.seconds_left = self.busy_with = None
        self._note(event.time, self._written_state + (f": {self.reason}" if self.reason else ""))

    def _take_step(self, event: Event) -> None:
        data = event.data
        self.step, self.busy_with = int(data.get("step", self.step)), None
        self.total = int(data["total"]) if data.get("total") is not None else self.total
        self.rate, self.seconds_left = data.get("rate"), data.get("seconds_left")
        losses = data.get("losses") or {}
        for name in sorted(losses, key=lambda name: name != "total"):
            _add(self.losses, name, self.step, losses[name])

    def _take_evaluation(self, event: Event) -> None:
        data = event.data
        step = int(data.get("step", self.step))
        mean, what = data.get("mean_dice"), data.get("what")
        curves = self.pretext_dice if what else self.dice
        _add(curves, "mean", step, mean)
        for name, value in (data.get("dice") or {}).items():
            _add(curves, str(name), step, value)
        if what:
            if mean is not None:
                self._note(event.time, f"step {step}: {what} Dice {mean:.3f}")
            return
        if mean is not None and (data.get("best") or self.best_dice is None or mean > self.best_dice):
            self.best_dice = float(mean)
        if mean is not None:
            self._note(event.time, f"step {step}: validation Dice {mean:.3f}" + (" (best)" if data.get("best") else ""))

    def _note(self, when: float, text: str) -> None:
        self.log.append(f"{time.strftime('%H:%M:%S', time.localtime(when))} {text}")


def weights_sentence(event: Event) -> str:
    """What was taken over from another run, in one sentence."""
    loaded, random, skipped = (len(event.data.get(key) or []) for key in ("loaded", "random", "skipped"))
    source = event.data.get("source")
    if not loaded:
        return (
            f"{random} tensors start at random" if not source or source == "scratch" else f"nothing fits from {source}"
        )
    text = f"{loaded} tensors taken over from {source or 'another run'}, {random} start at random"
    return text + (f", {skipped} of its tensors not used" if skipped else "")


def _add(curves: dict[str, Curve], name: str, step: int, value: float | None) -> None:
    curves.setdefault(name, Curve())
    if value is not None:
        curves[name].add(step, float(value))

"""What a run says while it goes on: a stream of small records, the same in memory, in ``events.jsonl`` and in the panels.

===========  ==========================================================================================================
kind         data
===========  ==========================================================================================================
state        ``state``: one of STATES; ``reason`` where one is known
weights      ``loaded``, ``random``, ``skipped``: lists of parameter names; ``source``: where they came from
step         ``step``, ``total``, ``losses`` (name -> float, ``total`` among them), ``lr``, ``rate`` (steps/s), ``seconds_left``
evaluation   ``step``, ``mean_dice``, ``dice`` (class name -> float or null), ``best``: whether this is the best so far;
             ``what``: ``pretext`` where it is no segmentation that was scored but a pretraining's own task
preview      ``step``, ``case``, ``axis``, ``index``, ``file`` (in the run folder: .npz with ``labels`` or ``views``)
checkpoint   ``step``, ``file``, ``best``
progress     ``what``, ``done``, ``total``, ``seconds_left``: work that is not a training step (reading, predicting ...)
prediction   ``case``, ``file``
score        one row of the table of scores
warning      ``message``
error        ``message``
===========  ==========================================================================================================
"""

from __future__ import annotations

import json
import math
import time as clock
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

Kind = Literal[
    "state",
    "weights",
    "step",
    "evaluation",
    "preview",
    "checkpoint",
    "progress",
    "prediction",
    "score",
    "warning",
    "error",
]
T = TypeVar("T")
STATES = ("queued", "running", "paused", "stopped", "finished", "failed")
"""``stopped`` and ``failed`` runs can be resumed; ``finished`` ones are whole."""
LATEST = 1e11
"""Seconds since 1970 (the year 5138); what says that it happened later is no event of ours."""


@dataclass(frozen=True)
class Event:
    """One record; ``data`` holds plain JSON values only. ``time`` is seconds since 1970."""

    kind: Kind
    data: Mapping[str, Any]
    run: str | None = None
    time: float = field(default_factory=clock.time)

    def to_json(self) -> str:
        """One line; NaN and infinity become null, because JSON has neither."""
        record = {"time": round(self.time, 3), "kind": self.kind, "run": self.run, **_plain(self.data)}
        return json.dumps(record, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Event:
        """The inverse of `to_json`; raises ValueError on anything else."""
        try:
            record = json.loads(line)
        except RecursionError as error:
            raise ValueError("not an event") from error
        if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
            raise ValueError("not an event")
        kind, run, time = record.pop("kind"), record.pop("run", None), record.pop("time", 0.0)
        if not isinstance(time, int | float) or not abs(time) < LATEST:
            raise ValueError("not an event's time")
        return cls(kind=kind, data=record, run=run, time=float(time))


def drain(events: Generator[Event, None, T]) -> T:
    """Run a generator of events to its end and return its result (a `Run`, a table ...)."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    return value

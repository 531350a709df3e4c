"""What the loop measures: losses without waiting for the device at each step, speed, and the time left."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import TrainingFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

YIELD_SECONDS = 0.1
"""Step events are at least so far apart: ten a second, half of what a window can take."""
LINE_SECONDS = 0.5
"""Step lines in events.jsonl are at least so far apart; ten times as far in runs of many hours."""
KEPT_STEPS = 256


class LossMeter:
    """Collects the losses of steps as tensors, and turns them into floats in one go when asked to.

    Reading one number from a GPU waits for all work queued on it, so it is done ten times a second and not at each step.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._pending: list[Tensor] = []
        self._steps: list[tuple[int, tuple[str, ...]]] = []
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, step: int, total: Tensor, parts: Mapping[str, Tensor], case_ids: tuple[str, ...]) -> None:
        """Take the losses of one step."""
        import torch

        names = ("total", *(name for name in parts if name != "total"))
        if names != self._names:
            self.flush()
            self._names = names
        values = [total, *(parts[name] for name in names[1:])]
        self._pending.append(torch.stack([value.detach().float().reshape(()) for value in values]))
        self._steps.append((step, case_ids))
        if len(self._pending) >= KEPT_STEPS:
            self.flush()

    def flush(self) -> dict[str, float]:
        """Means over the steps since the last call, which are then known to be finite.

        Raises
        ------
        TrainingFailed
            Naming the term and the cases of the first step whose loss is not finite.
        """
        if not self._pending:
            return {}
        import torch

        table = torch.stack(self._pending).cpu().numpy().astype("float64")
        steps, self._pending, self._steps = self._steps, [], []
        for row, (step, case_ids) in zip(table, steps, strict=True):
            for name, value in zip(self._names, row, strict=True):
                if not math.isfinite(value) and (name != "total" or len(self._names) == 1 or _finite(row[1:])):
                    raise not_finite(name, step, case_ids)
        means = {name: float(value) for name, value in zip(self._names, table.mean(axis=0), strict=True)}
        if set(means) != set(self._sums):
            self._sums, self._count = dict.fromkeys(means, 0.0), 0
        for name, value in means.items():
            self._sums[name] += value * len(steps)
        self._count += len(steps)
        return means

    def line_means(self) -> dict[str, float]:
        """Means since the last line was written, and a new start for the next."""
        means = {name: value / max(1, self._count) for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means


class NotFinite(TrainingFailed):
    """A loss, gradient or weight is NaN or infinite; the weights may be spoiled, the last checkpoint is not."""


def not_finite(name: str, step: int, case_ids: tuple[str, ...]) -> NotFinite:
    """The sentence about a loss term, ``gradient`` or ``weights`` that is not finite at ``step`` (0 is the first)."""
    cases = ", ".join(dict.fromkeys(case_ids)) or "not known"
    what = name if name in ("gradient", "weights") else f"loss term {name!r}"
    return NotFinite(
        f"the {what} is not a finite number at step {step + 1} (cases: {cases}); look at these scans and their"
        " normalisation or lower the learning rate, the last checkpoint is from before it"
    )


class Clock:
    """Speed and time left. Time spent validating, saving and paused is known apart from that of the steps."""

    def __init__(self, total: int, evaluations_left: int = 0) -> None:
        self.total = total
        self.evaluations_left = evaluations_left
        self._marks: deque[tuple[float, int]] = deque(maxlen=64)
        self._aside = 0.0
        self._evaluation_seconds = 0.0
        self._last_mark = -math.inf
        self.started = time.monotonic()

    def aside(self, seconds: float, *, evaluation: bool = False) -> None:
        """Take ``seconds`` out of the speed."""
        self._aside += seconds
        if evaluation:
            self._evaluation_seconds = seconds
            self.evaluations_left = max(0, self.evaluations_left - 1)

    def step(self, done: int) -> None:
        """Note that ``done`` steps are done."""
        now = time.monotonic() - self._aside
        if now - self._last_mark >= 0.25 or not self._marks:
            self._marks.append((now, done))
            self._last_mark = now

    def rate(self, done: int) -> float | None:
        """Steps a second over the last quarter of a minute or more; None before the second step."""
        if not self._marks:
            return None
        now = time.monotonic() - self._aside
        start, first = self._marks[0]
        return (done - first) / (now - start) if done > first and now > start else None

    def seconds_left(self, done: int) -> float | None:
        """Seconds to the end, validations included."""
        rate = self.rate(done)
        if rate is None:
            return None
        return (self.total - done) / rate + self.evaluations_left * self._evaluation_seconds

    def line_interval(self) -> float:
        """Seconds between step lines: more in a long run, so that its log stays short."""
        return min(10 * LINE_SECONDS, max(LINE_SECONDS, (time.monotonic() - self.started) / 2000))


def _finite(values: object) -> bool:
    import numpy as np

    return bool(np.isfinite(values).all())  # type: ignore[call-overload]

"""A slider beside a number: coarse by the mouse where the number itself is exact.

Where the default lies near the lower end of a wide range, the slider is finer there: half of the way for each tenfold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QSlider

from napari_ssl_seg.gui.fields import _calm

STEPS = 400
NARROW = 0.08
"""A default below this share of the range makes the slider finer at its lower end."""


@dataclass(frozen=True)
class SliderScale:
    """Positions 0 to `steps` of a slider, and the values that they stand for.

    Attributes
    ----------
    low, high
        Ends of the range.
    knee
        Values of this size get as much way as those ten times as large; 0: every value gets the same.
    integer
        Whole numbers only.
    step
        Values are ``low`` and so many times this.
    automatic
        Position 0 stands for None: the value is worked out elsewhere.
    """

    low: float
    high: float
    knee: float = 0.0
    integer: bool = False
    step: float | None = None
    automatic: bool = False

    @property
    def steps(self) -> int:
        if self.integer and not self.knee:
            return max(1, min(STEPS, round((self.high - self.low) / (self.step or 1)))) + self.automatic
        return STEPS

    def value(self, position: int) -> Any:
        """What a position stands for."""
        if self.automatic and position <= 0:
            return None
        span = self.high - self.low
        share = min(max((position - self.automatic) / max(self.steps - self.automatic, 1), 0.0), 1.0)
        if self.knee:
            raw = self.low + self.knee * math.expm1(share * math.log1p(span / self.knee))
        else:
            raw = self.low + share * span
        return self._rounded(raw)

    def position(self, value: Any) -> int:
        """Where a value stands; None and what is no number at 0."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return 0
        span, beyond = self.high - self.low, min(max(value, self.low), self.high) - self.low
        share = math.log1p(beyond / self.knee) / math.log1p(span / self.knee) if self.knee else beyond / span
        return round(share * (self.steps - self.automatic)) + self.automatic

    def _rounded(self, raw: float) -> float | int:
        if self.step:
            raw = self.low + round((raw - self.low) / self.step) * self.step
        elif self.integer:
            raw = raw if raw < 100 else float(f"{raw:.2g}")
        elif self.knee:
            raw = float(f"{raw:.2g}")
        else:
            raw = round(raw, max(0, 2 - math.floor(math.log10(self.high - self.low) + 0.5)))
        raw = min(max(raw, self.low), self.high)
        return round(raw) if self.integer else raw


def slider_scale(
    low: float, high: float, default: Any, *, integer: bool = False, step: float | None = None, automatic: bool = False
) -> SliderScale:
    """The scale for a range: even, or finer below where the default lies at the lower end of it."""
    span = high - low
    known = isinstance(default, int | float) and not isinstance(default, bool)
    if known and 0 < (default - low) < NARROW * span:
        return SliderScale(low, high, knee=(default - low) / 10, integer=integer, step=step, automatic=automatic)
    if not known and span > 200:
        return SliderScale(low, high, knee=math.sqrt(span) / 10, integer=integer, step=step, automatic=automatic)
    return SliderScale(low, high, integer=integer, step=step, automatic=automatic)


class NumberSlider(QSlider):
    """Moves the number of a field, and follows it."""

    def __init__(self, field: Any, scale: SliderScale) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.scale = scale
        self._field = field
        self._following = False
        self.setRange(0, scale.steps)
        self.setPageStep(max(1, scale.steps // 10))
        _calm(self)
        field.edited.connect(self.follow)
        self.valueChanged.connect(self._moved)
        self.follow()

    def follow(self) -> None:
        """Stand where the field's number is."""
        self._following = True
        self.setValue(self.scale.position(self._field.value()))
        self._following = False

    def _moved(self, position: int) -> None:
        if self._following:
            return
        value = self.scale.value(position)
        if value == self._field.value():
            return
        self._following = True  # the field's number is rounded: the handle stays under the mouse
        self._field.set_value(value)
        if not hasattr(self._field, "valueChanged"):
            self._field.edited.emit()  # a line of text says so only when it was typed
        self._following = False

    def minimumSizeHint(self) -> QSize:
        return QSize(40, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        return QSize(60, super().sizeHint().height())

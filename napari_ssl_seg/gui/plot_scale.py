"""Axes of a line plot, as numbers: ranges, ticks, positions in pixels, and fewer points where there are too many."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

POINTS_DRAWN = 1500
"""More points than a plot has columns of pixels only cost time."""


@dataclass(frozen=True)
class Scale:
    """Maps values on [low, high] to pixels on [start, stop]; logarithmic if asked."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Positions of values, (N,) floats; NaN stays NaN, and so does what a logarithm cannot show."""
        values = np.asarray(values, float)
        low, high = self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.where(values > 0, np.log10(values), np.nan)
            low, high = math.log10(low), math.log10(high)
        return self.start + (values - low) / (high - low) * (self.stop - self.start)

    def value(self, pixel: float) -> float:
        """The value at a pixel: the inverse of `pixels`."""
        share = (pixel - self.start) / (self.stop - self.start)
        if self.log:
            return float(10 ** (math.log10(self.low) + share * (math.log10(self.high) - math.log10(self.low))))
        return float(self.low + share * (self.high - self.low))

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the range, about ``count`` of them."""
        return log_ticks(self.low, self.high) if self.log else round_ticks(self.low, self.high, count)


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    rough = (high - low) / max(1, count)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high], with 2 and 5 between them where there would be fewer than three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 6)] if ticks else []


def spaced(ticks: list[float], scale: Scale, pixels: float) -> list[float]:
    """Those ticks whose labels, so many pixels high, do not touch."""
    kept: list[float] = []
    last = math.inf
    for tick, place in zip(ticks, scale.pixels(np.array(ticks, float)), strict=True):
        if not kept or abs(place - last) >= pixels:
            kept.append(tick)
            last = float(place)
    return kept


def tick_text(value: float, step: float) -> str:
    """A tick's label: as many digits as tell it from its neighbours; ``20k`` for thousands."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000 and step >= 1000:
        return f"{value / 1000:g}k"
    if abs(value) < 1e-3:
        return f"{value:.0e}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 3
    return f"{value:.{min(digits, 6)}f}"


def span(values: list[np.ndarray], *, log: bool = False, pad: float = 0.04) -> tuple[float, float]:
    """A range that shows every finite value (every positive one on a logarithmic axis), with some air."""
    finite = [array[np.isfinite(array)] for array in values]
    if log:
        finite = [array[array > 0] for array in finite]
    finite = [array for array in finite if array.size]
    if not finite:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(float(array.min()) for array in finite), max(float(array.max()) for array in finite)
    if log:
        factor = max(1.05, (high / low) ** pad)
        return low / factor, high * factor
    air = (high - low) * pad or max(abs(high), 1.0) * 0.05
    return low - air, high + air


def thin(x: np.ndarray, y: np.ndarray, limit: int = POINTS_DRAWN) -> tuple[np.ndarray, np.ndarray]:
    """At most about ``limit`` points that look the same: of each bin its lowest and its highest."""
    if len(x) <= limit:
        return x, y
    width = math.ceil(len(x) / (limit // 2))
    bins = math.ceil(len(x) / width)
    padded = np.full(bins * width, np.nan)
    padded[: len(y)] = y
    table = padded.reshape(bins, width)
    empty = np.isnan(table).all(axis=1)
    lowest = np.where(np.isnan(table), np.inf, table).argmin(axis=1)
    highest = np.where(np.isnan(table), -np.inf, table).argmax(axis=1)
    first, second = np.minimum(lowest, highest), np.maximum(lowest, highest)
    offsets = np.arange(bins) * width
    chosen = np.unique(np.concatenate([offsets + np.where(empty, 0, first), offsets + np.where(empty, 0, second)]))
    chosen = chosen[chosen < len(x)]
    return x[chosen], y[chosen]


def segments(x: np.ndarray, y: np.ndarray, *, dashed: bool = False) -> np.ndarray:
    """Line segments between neighbouring finite points, (2K, 2) pixels; a lone point becomes a short dash."""
    points = np.stack([x, y], axis=1)
    good = np.isfinite(points).all(axis=1)
    joined = good[:-1] & good[1:]
    pairs = np.stack([points[:-1], points[1:]], axis=1)[joined].reshape(-1, 2)
    if dashed:
        pairs = _dashes(pairs)
    before, after = np.concatenate([[False], good[:-1]]), np.concatenate([good[1:], [False]])
    lone = points[good & ~before & ~after]
    half = np.array([2.0, 0.0])
    dashes = np.stack([lone - half, lone + half], axis=1).reshape(-1, 2)
    return np.concatenate([pairs, dashes])


def _dashes(pairs: np.ndarray, length: float = 5.0) -> np.ndarray:
    """Every other piece of about ``length`` pixels of the segments (2K, 2), counted along all of them."""
    starts, stops = pairs[0::2], pairs[1::2]
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*(stops - starts).T))])
    edges = np.arange(0.0, along[-1] + length, length)
    cuts = np.unique(np.concatenate([along, edges[edges < along[-1]]]))
    if len(cuts) < 2:
        return pairs
    middles = (cuts[:-1] + cuts[1:]) / 2
    kept = np.floor(middles / length) % 2 == 0
    which = np.clip(np.searchsorted(along, middles[kept]) - 1, 0, len(starts) - 1)
    scale = np.maximum(along[which + 1] - along[which], 1e-9)

    def place(at: np.ndarray) -> np.ndarray:
        share = ((at - along[which]) / scale)[:, None]
        return starts[which] + share * (stops[which] - starts[which])

    return np.stack([place(cuts[:-1][kept]), place(cuts[1:][kept])], axis=1).reshape(-1, 2)

"""Charts of the report as inline SVG: a metric by slice, and method by class.

Plain text building: the report has to be one file that opens anywhere, without scripts. Text and axes take the page's
colour; a line is told by its colour, its dashes and its marker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

METHOD_COLORS = ("#8F6FE8", "#D6457F", "#3E8E41", "#1E8FA6", "#B3682E", "#8A8A1C", "#B04ACD", "#7A7F8C")
"""For lines and frames of methods; none is a class's colour. The window uses the same."""
DASHES = ("", "7 3", "2 3", "10 3 2 3", "5 5", "1 2", "12 4", "4 2 1 2")
CLASS_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")
"""Okabe and Ito's, where the study names none."""


def method_color(index: int) -> str:
    """The colour of the n-th method."""
    return METHOD_COLORS[index % len(METHOD_COLORS)]


@dataclass(frozen=True)
class Frame:
    """The plotting area in user units, and the range of values that it shows."""

    x0: float
    y0: float
    width: float
    height: float
    low: float
    high: float

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.y0 + self.height * (1 - share)


def slice_curves(
    series: Mapping[str, NDArray[np.float64]],
    *,
    title: str,
    y_title: str,
    high: float | None = None,
    marks: Sequence[int] = (),
    order: Mapping[str, int] | None = None,
) -> str:
    """One line a method: a metric against the slice.

    Parameters
    ----------
    series
        Method -> (slices,); NaN leaves a gap.
    high
        Upper end of the axis; default: a round number over the largest value.
    marks
        Slices to mark on the axis, such as those that are pictured.
    order
        Method -> number of its colour and dashes; default: as they come.
    """
    known = [values[np.isfinite(values)] for values in series.values()]
    top = high or nice_ceiling(max((float(part.max()) for part in known if part.size), default=1.0))
    n_slices = max((len(values) for values in series.values()), default=1)
    frame = Frame(52, 14, 430, 190, 0.0, top)

    def x(index: float) -> float:
        return frame.x0 + frame.width * (index + 0.5) / n_slices

    parts = [axes(frame, y_title)]
    step = max(1, round(nice_ceiling(n_slices / 8, (1, 2, 5, 10))))
    for index in range(0, n_slices, step):
        parts.append(text(x(index), frame.y0 + frame.height + 16, str(index), anchor="middle"))
    parts.append(text(frame.x0 + frame.width / 2, frame.y0 + frame.height + 34, "slice", anchor="middle"))
    for mark in marks:
        foot = frame.y0 + frame.height
        parts.append(f'<path class="mark" d="M{x(mark):.1f},{foot:.1f}l-4,7h8z"/>')
    for place, (name, values) in enumerate(series.items()):
        points = [(x(index), frame.y(value)) for index, value in enumerate(values.tolist())]
        parts.append(line(points, (order or {}).get(name, place)))
    return svg(frame.x0 + frame.width + 14, frame.y0 + frame.height + 42, parts, title)


def class_bars(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str,
    y_title: str,
    high: float | None = None,
    order: Mapping[str, int] | None = None,
) -> str:
    """Groups of bars: one group a class, one bar a method; a dot for each case, a whisker for the standard deviation.

    Parameters
    ----------
    values
        Class -> method -> one value a case; NaN is left out.
    high
        Upper end of the axis; default: a round number over the largest value.
    order
        Method -> number of its colour; default: as they come.
    """
    methods = list(dict.fromkeys(name for group in values.values() for name in group))
    flat = [value for group in values.values() for part in group.values() for value in part if math.isfinite(value)]
    frame = Frame(
        52,
        14,
        max(420.0, 26.0 * len(methods) * len(values) + 40),
        210,
        0.0,
        high or nice_ceiling(max(flat, default=1.0)),
    )
    group_width = frame.width / max(len(values), 1)
    bar = min(34.0, group_width * 0.8 / max(len(methods), 1))
    longest = max((len(name) for name in values), default=0)
    turned = longest * 6.5 > group_width  # names that would run into each other stand aslant
    parts = [axes(frame, y_title)]
    for place, (class_name, group) in enumerate(values.items()):
        middle = frame.x0 + group_width * (place + 0.5)
        foot = frame.y0 + frame.height + 16
        if turned:
            aslant = f'text-anchor="end" transform="rotate(-45 {middle + 4:.1f} {foot:.1f})"'
            parts.append(f'<text x="{middle + 4:.1f}" y="{foot:.1f}" {aslant}>{escape(class_name)}</text>')
        else:
            parts.append(text(middle, foot + 2, class_name, anchor="middle"))
        for number, method in enumerate(methods):
            left = middle + bar * (number - len(methods) / 2)
            known = [value for value in group.get(method, ()) if math.isfinite(value)]
            parts.append(_bar(frame, left, bar, known, (order or {}).get(method, number)))
    return svg(
        frame.x0 + frame.width + 14, frame.y0 + frame.height + (30 + 4.8 * longest * turned), parts, title
    ) + legend(methods, lines=False, order=order)


def legend(names: Sequence[str], *, lines: bool = True, order: Mapping[str, int] | None = None) -> str:
    """The colour of each method, and its dashes where it is drawn as a line, in words beside them."""
    items = []
    for place, name in enumerate(names):
        number = (order or {}).get(name, place)
        color, dashes = method_color(number), DASHES[number % len(DASHES)]
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        sign = f'<svg width="30" height="12" aria-hidden="true"><path d="M1,6H29" stroke="{color}" stroke-width="3"{dash}/></svg>'
        block = f'<i class="swatch" style="background:{color}"></i>'
        items.append(f"<span>{sign if lines else block} {escape(name)}</span>")
    return f'<p class="legend">{"".join(items)}</p>'


def nice_ceiling(value: float, steps: Sequence[float] = (1, 2, 4, 6, 8, 10)) -> float:
    """The smallest step times a power of ten that is not below ``value``; 1 for nothing."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value * (1 - 1e-12))


def line(points: Sequence[tuple[float, float]], order: int) -> str:
    """A polyline with gaps, a dot where a point stands alone."""
    color, dash = method_color(order), DASHES[order % len(DASHES)]
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    parts = []
    for run in runs:
        if len(run) == 1:
            parts.append(f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2.5" fill="{color}"/>')
        elif run:
            path = "L".join(f"{x:.1f},{y:.1f}" for x, y in run)
            stroke = f' stroke-dasharray="{dash}"' if dash else ""
            parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"{stroke}/>')
    return "".join(parts)


def _bar(frame: Frame, left: float, width: float, values: Sequence[float], order: int) -> str:
    if not values:
        return text(left + width / 2, frame.y0 + frame.height - 4, "–", anchor="middle")
    color, mean = method_color(order), float(np.mean(values))
    top, foot = frame.y(mean), frame.y0 + frame.height
    middle = left + width / 2
    parts = [
        f'<rect x="{left + 1.5:.1f}" y="{top:.1f}" width="{width - 3:.1f}" height="{foot - top:.1f}" rx="2"'
        f' fill="{color}" fill-opacity="0.45" stroke="{color}"/>'
    ]
    spread = np.linspace(-0.28, 0.28, len(values)) * width if len(values) > 1 else [0.0]
    for shift, value in zip(spread, sorted(values), strict=True):
        parts.append(f'<circle cx="{middle + shift:.1f}" cy="{frame.y(value):.1f}" r="1.8" fill="{color}"/>')
    if len(values) > 1:
        sd = float(np.std(values, ddof=1))
        low, high = frame.y(mean - sd), frame.y(mean + sd)
        parts.append(
            f'<path class="whisker" d="M{middle:.1f},{low:.1f}V{high:.1f}m-4,0h8M{middle - 4:.1f},{low:.1f}h8"/>'
        )
    return "".join(parts)


def axes(frame: Frame, y_title: str) -> str:
    """Five lines across with their values, and the name of the axis."""
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = frame.low + (frame.high - frame.low) * share
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{frame.x0:.1f},{y:.1f}h{frame.width:.1f}"/>')
        parts.append(text(frame.x0 - 7, y + 4, f"{value:.3g}", anchor="end"))
    middle = frame.y0 + frame.height / 2
    turned = f'transform="rotate(-90 13 {middle:.1f})"'
    parts.append(f'<text x="13" y="{middle:.1f}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return "".join(parts)


def text(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    """The parts as one picture with a title for those who cannot see it."""
    return (
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" role="img">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )

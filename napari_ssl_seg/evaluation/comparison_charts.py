"""Charts of a whole comparison as inline SVG: label efficiency, and methods as boxes over cases."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.evaluation.charts import Frame, axes, legend, line, method_color, nice_ceiling, svg, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WIDTH, HEIGHT = 430, 210
BOX = 30.0


def efficiency_curves(
    values: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    title: str,
    y_title: str,
    x_title: str = "labelled scans",
    high: float | None = None,
) -> str:
    """One line a method: the mean over repeats against the number of labelled scans; a dot is one repeat.

    Parameters
    ----------
    values
        Method -> labelled scans -> one value a repeat; NaN is left out.
    high
        Upper end of the axis; default: a round number over the largest value.
    """
    budgets = sorted({budget for points in values.values() for budget in points})
    low, top = value_range([v for points in values.values() for part in points.values() for v in part], high)
    frame = Frame(52, 14, WIDTH, HEIGHT, low, top)

    def x(budget: int) -> float:
        span = math.log(budgets[-1] / budgets[0]) if len(budgets) > 1 else 1.0
        return frame.x0 + frame.width * (0.08 + 0.84 * (math.log(budget / budgets[0]) / span if span else 0.5))

    foot = frame.y0 + frame.height
    parts = [axes(frame, y_title), text(frame.x0 + frame.width / 2, foot + 34, x_title, anchor="middle")]
    parts += [text(x(budget), foot + 16, str(budget), anchor="middle") for budget in budgets]
    for order, points in enumerate(values.values()):
        means = []
        for budget, repeats in sorted(points.items()):
            known = [value for value in repeats if math.isfinite(value)]
            means.append((x(budget), frame.y(fmean(known)) if known else math.nan))
            parts += [
                f'<circle cx="{x(budget):.1f}" cy="{frame.y(value):.1f}" r="2.2" fill="{method_color(order)}"'
                ' fill-opacity="0.55"/>'
                for value in known
            ]
        parts.append(line(means, order))
    return svg(frame.x0 + frame.width + 14, foot + 42, parts, title) + legend(list(values))


def case_boxes(values: Mapping[str, Sequence[float]], *, title: str, y_title: str, high: float | None = None) -> str:
    """One box a method over cases: quartiles and median; whiskers reach the last case within 1.5 quartile ranges (Tukey).

    Parameters
    ----------
    values
        Method -> one value a case; NaN is left out.
    """
    low, top = value_range([value for part in values.values() for value in part], high)
    frame = Frame(52, 14, max(200.0, 2 * BOX * len(values) + 30), HEIGHT, low, top)
    step = frame.width / max(len(values), 1)
    parts = [axes(frame, y_title)]
    for order, part in enumerate(values.values()):
        known = np.sort(np.array([value for value in part if math.isfinite(value)], dtype=float))
        middle = frame.x0 + step * (order + 0.5)
        if known.size:
            parts.append(_box(frame, middle, known, method_color(order)))
        else:
            parts.append(text(middle, frame.y0 + frame.height - 4, "–", anchor="middle"))
    return svg(frame.x0 + frame.width + 14, frame.y0 + frame.height + 12, parts, title) + legend(
        list(values), lines=False
    )


def value_range(values: Sequence[float], high: float | None) -> tuple[float, float]:
    """Where an axis of lines or boxes begins and ends: round numbers about the values, at most ``high``.

    Scores of useful methods lie close together; bars would have to begin at 0, lines and boxes need not.
    """
    known = [value for value in values if math.isfinite(value)]
    step = (high or nice_ceiling(max(known, default=1.0))) / 10
    low = math.floor(min(known, default=0.0) / step + 1e-9) * step
    top = max(math.ceil(max(known, default=1.0) / step - 1e-9) * step, low + step)
    return low, min(top, high) if high and high > low else top


def box_numbers(known: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """Lower whisker, first quartile, median, third quartile, upper whisker of sorted values."""
    lower, median, upper = (float(part) for part in np.percentile(known, [25, 50, 75]))
    reach = 1.5 * (upper - lower)
    inside = known[(known >= lower - reach) & (known <= upper + reach)]
    return float(inside[0]), lower, median, upper, float(inside[-1])


def _box(frame: Frame, middle: float, known: NDArray[np.float64], color: str) -> str:
    least, lower, median, upper, most = box_numbers(known)
    left, foot, top = middle - BOX / 2, frame.y(lower), frame.y(upper)
    dots = "".join(
        f'<circle cx="{middle:.1f}" cy="{frame.y(value):.1f}" r="2" fill="none" stroke="{color}"/>'
        for value in known.tolist()
        if not least <= value <= most
    )
    return (
        f'<path class="whisker" d="M{middle:.1f},{frame.y(least):.1f}V{foot:.1f}M{middle:.1f},{top:.1f}V{frame.y(most):.1f}"/>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{BOX}" height="{max(foot - top, 0.5):.1f}" rx="2" fill="{color}"'
        f' fill-opacity="0.4" stroke="{color}"/>'
        f'<path d="M{left:.1f},{frame.y(median):.1f}h{BOX}" stroke="{color}" stroke-width="2.5"/>{dots}'
    )

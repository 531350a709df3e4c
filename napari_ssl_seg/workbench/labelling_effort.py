"""What labelling costs: seconds, clicks and changed voxels by slice and tool, from what the user really does. No Qt."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from napari_ssl_seg.workbench.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ssl_seg.annotation import Effort

IDLE_SECONDS = 30.0
"""A longer pause between two movements is not work, and is not counted at all."""
LOOK = "look"
"""The tool of somebody who moves through slices and changes nothing."""
COLUMNS = ("case", "slice", "tool", "seconds", "clicks", "voxels", "time")


class Spent(NamedTuple):
    """What was done with one tool on one slice since it was last asked for."""

    case_id: str
    slice_index: int
    tool: str
    seconds: float
    clicks: int
    voxels: int


@dataclass
class _Sum:
    seconds: float = 0.0
    clicks: int = 0
    voxels: int = 0


class EffortClock:
    """Adds up time between events: each stretch belongs to the slice and tool of the event that began it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sums: defaultdict[tuple[str, int, str], _Sum] = defaultdict(_Sum)
        self._here: tuple[str, int, str] | None = None
        self._since = 0.0

    def event(self, case_id: str, slice_index: int, tool: str, *, clicks: int = 0, voxels: int = 0) -> None:
        """Something was done: the mouse moved, a key was pressed, a slice came up, voxels changed."""
        now = self._now()
        if self._here is not None and 0 < now - self._since <= IDLE_SECONDS:
            self._sums[self._here].seconds += now - self._since
        self._here, self._since = (case_id, int(slice_index), tool), now
        if clicks or voxels:
            total = self._sums[self._here]
            total.clicks += clicks
            total.voxels += voxels

    def pause(self) -> None:
        """The tab, or the window, is left: time does not run until the next event."""
        if self._here is not None:
            self.event(*self._here)
        self._here = None

    def take(self) -> list[Spent]:
        """What has come together since the last call."""
        found = [Spent(*key, total.seconds, total.clicks, total.voxels) for key, total in self._sums.items()]
        self._sums.clear()
        return [spent for spent in found if spent.seconds >= 0.05 or spent.clicks or spent.voxels]


def effort_line(efforts: Sequence[Effort]) -> str:
    """``12:30 on 8 slices · 64 clicks · 1:34 a slice``; slices are those on which voxels changed."""
    from napari_ssl_seg.annotation.effort import sum_effort

    if not efforts:
        return "No effort has been logged yet."
    total = sum_effort(efforts)
    slices = len({(effort.case_id, effort.slice_index) for effort in efforts if effort.voxels})
    parts = [f"{duration(total.seconds)} on {count(slices, 'labelled slice')}", count(total.clicks, "click")]
    if slices:
        parts.append(f"{duration(total.seconds / slices)} a slice")
    return " · ".join(parts)


def effort_csv(efforts: Sequence[Effort]) -> str:
    """One row an entry; seconds with a tenth, the time as seconds since 1970."""
    import csv
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for effort in efforts:
        index = "" if effort.slice_index is None else effort.slice_index
        seconds = f"{effort.seconds:.1f}"
        row = [effort.case_id, index, effort.tool, seconds, effort.clicks, effort.voxels, f"{effort.time:.0f}"]
        writer.writerow(row)
    return stream.getvalue()

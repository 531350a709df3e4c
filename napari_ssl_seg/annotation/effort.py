"""What labelling cost: seconds, clicks and corrected voxels, as they were counted from real events."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Effort:
    """Work on one slice with one tool."""

    case_id: str
    slice_index: int
    """Along axis 0 of (z, y, x)."""
    tool: str
    seconds: float = 0.0
    clicks: int = 0
    voxels: int = 0
    """Voxels that were given another class."""
    time: float = field(default_factory=time)
    """Seconds since 1970."""


@dataclass(frozen=True)
class EffortSum:
    """Work of several `Effort` together."""

    slices: int
    """Different slices that were worked on."""
    seconds: float
    clicks: int
    voxels: int


def sum_effort(efforts: Iterable[Effort]) -> EffortSum:
    """All of it as one."""
    found = list(efforts)
    return EffortSum(
        slices=len({(effort.case_id, effort.slice_index) for effort in found}),
        seconds=float(sum(effort.seconds for effort in found)),
        clicks=sum(effort.clicks for effort in found),
        voxels=sum(effort.voxels for effort in found),
    )


def effort_by_tool(efforts: Iterable[Effort]) -> dict[str, EffortSum]:
    """Sums by tool, the one with most seconds first."""
    tools: dict[str, list[Effort]] = {}
    for effort in efforts:
        tools.setdefault(effort.tool, []).append(effort)
    sums = {tool: sum_effort(found) for tool, found in tools.items()}
    return dict(sorted(sums.items(), key=lambda item: (-item[1].seconds, item[0])))

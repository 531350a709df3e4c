"""The mapping that a verb returns, as readable text, and progress on standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_ssl_seg.training.events import Event

T = TypeVar("T")
LINE_SECONDS = 2.0


def render(result: Mapping[str, Any]) -> str:
    """Plain values as ``key: value`` lines, lists of mappings as tables."""
    lines: list[str] = []
    for key, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += ["", f"{key}:", *_rows(value)]
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {name}: {_cell(item)}" for name, item in value.items())]
        else:
            lines.append(f"{key}: {_cell(value)}")
    return "\n".join(lines)


def follow(events: Generator[Event, None, T]) -> T:
    """Run a generator of events to its end, a line on standard error every two seconds; return its result."""
    printed = 0.0
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        line = describe(event) if speaks() else ""
        routine = event.kind in ("step", "progress", "preview", "checkpoint", "score", "prediction")
        if line and (not routine or time.monotonic() - printed > LINE_SECONDS):
            print(line, file=sys.stderr, flush=True)
            printed = time.monotonic()


def speaks() -> bool:
    """Whether this process tells the user what goes on: of several that train together (`training.ranks`) the first."""
    return os.environ.get("RANK", "0") in ("", "0")


def until_stopped(events: Generator[Event, None, T], sentence: str) -> Generator[Event, None, T]:
    """Pass events on; Ctrl-C ends with a sentence about how to go on, in which ``{done}`` and ``{total}`` are numbers."""
    done = total = 0
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            if event.kind == "progress":
                done, total = event.data["done"], event.data["total"]
            yield event
    except KeyboardInterrupt:
        events.close()
        raise KeyboardInterrupt(sentence.format(done=done, total=total)) from None


def describe(event: Event) -> str:
    """One event in a line; empty where there is nothing to say."""
    data = event.data
    match event.kind:
        case "step":
            losses = " ".join(f"{name} {value:.4f}" for name, value in data["losses"].items() if value is not None)
            return f"step {data['step']}/{data['total']}  {losses}  {duration(data.get('seconds_left'))} left"
        case "evaluation":
            if data.get("what"):
                return f"step {data['step']}: {data['what']} Dice {_cell(data.get('mean_dice'))}"
            best = " (best so far)" if data.get("best") else ""
            return f"step {data['step']}: validation Dice {_cell(data.get('mean_dice'))}{best}"
        case "progress":
            return f"{data['what']} {data['done']}/{data['total']}  {duration(data.get('seconds_left'))} left"
        case "state":
            reason = f": {data['reason']}" if data.get("reason") else ""
            return f"run {event.run} is {data['state']}{reason}"
        case "weights":
            return f"weights: {len(data['loaded'])} tensors taken over, {len(data['random'])} start at random"
        case "warning" | "error":
            return f"{event.kind}: {data['message']}"
        case _:
            return ""


def duration(seconds: float | None) -> str:
    """``3:07`` or ``1:02:05``; ``?`` where it is not known."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table; where the rows hold tables themselves, one after the other."""
    if not any(isinstance(item, list) and item and isinstance(item[0], dict) for item in rows[0].values()):
        return _table(rows)
    return [f"  {line}" if line else "" for row in rows for line in ("", *render(row).splitlines())]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    lines = [columns, *cells]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value) or "-"
    return str(value)

"""Numbers and things in the words that the window shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLITS = ("train", "validation", "test")


def duration(seconds: float) -> str:
    """``0:07``, ``3:10``, ``1 h 05``, ``2 d 3 h``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days} d {hours_of_day} h"
    if hours:
        return f"{hours} h {minutes:02d}"
    return f"{minutes}:{rest:02d}"


def ago(seconds: float) -> str:
    """``1 s ago``, ``3 min ago``, ``2 h ago``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 3600 else f"{seconds / 3600:.0f} h ago"


def count(number: int, word: str, plural: str | None = None) -> str:
    """``1 scan``, ``3 scans``."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}".replace(",", " ")


def size(shape: Sequence[int]) -> str:
    """``36×50×32``, in the order in which it is held."""
    return "×".join(str(int(length)) for length in shape)


def spacing(values: Sequence[float]) -> str:
    """``8×1.5×1.5 mm``."""
    return "×".join(f"{value:.3g}" for value in values) + " mm"


def short_spacing(values: Sequence[float]) -> str:
    """``1 mm`` where it is the same along every axis, ``8×1.5`` where within slices it is, else all three."""
    z, y, x = (f"{value:.2g}" for value in values)
    if z == y == x:
        return f"{z} mm"
    return f"{z}×{y}" if y == x else f"{z}×{y}×{x}"


def file_size(number: int | float) -> str:
    """``27 MB``."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def study_line(study: Any, cases: Sequence[Any]) -> str:
    """``cardiac-phantom · 40 scans · 2 labelled``."""
    labelled = sum(case.label is not None for case in cases)
    return " · ".join((study.name, count(len(cases), "scan"), f"{labelled:,} labelled".replace(",", " ")))


def split_line(cases: Sequence[Any]) -> str:
    """``train 14 · validation 2 · test 4``."""
    return " · ".join(f"{split} {sum(case.split == split for case in cases)}" for split in SPLITS)

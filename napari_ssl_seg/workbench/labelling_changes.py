"""What a stroke has changed: found by comparing with a copy of the labels as they were, inside the stroke's box alone.

napari tells of a stroke when the button is let go, of a part of it after each movement of the mouse, and of an undo not
at all. So it is remembered where strokes have been on each slice: an undo or a redo has changed something there. Which
of the two it was, and of which stroke, is not asked: where strokes lie over each other, nobody could tell. Nothing here looks
at the whole volume, so that the cost is that of what was drawn on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Rectangle = tuple[int, int, int, int]
"""y0, y1, x0, x1."""


@dataclass(frozen=True)
class Box:
    """A box of voxels: start (z, y, x) and, one beyond its last voxel, stop."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def index(self) -> tuple[slice, slice, slice]:
        """What cuts it out of an array."""
        z, y, x = (slice(low, high) for low, high in zip(self.start, self.stop, strict=True))
        return z, y, x

    def clipped(self, shape: tuple[int, ...]) -> Box | None:
        """The part of it that lies in an array of that shape; None where there is none."""
        start = tuple(max(0, low) for low in self.start)
        stop = tuple(min(high, length) for high, length in zip(self.stop, shape, strict=True))
        return Box(start, stop) if all(low < high for low, high in zip(start, stop, strict=True)) else None  # type: ignore[arg-type]

    def union(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(
            tuple(min(pair) for pair in zip(self.start, other.start, strict=True)),  # type: ignore[arg-type]
            tuple(max(pair) for pair in zip(self.stop, other.stop, strict=True)),  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Change:
    """Voxels that are not what they were."""

    start: tuple[int, int, int]
    values: NDArray[Any]
    """What is there now, (z, y, x): a copy."""
    slices: tuple[int, ...]
    """Those with a changed voxel."""
    voxels: int
    """How many have changed."""
    undone: bool = False
    """By an undo or a redo."""
    kept: int = 0
    """So many voxels of protected classes were put back."""


def box_of(item: Iterable[Any]) -> Box | None:
    """The box of what napari's ``paint`` event carries: changes with a ``slice_key``, or (indices, before, after)."""
    box: Box | None = None
    for atom in item:
        key = atom.slice_key if hasattr(atom, "slice_key") else atom[0]
        spans = [_span(part) for part in key]
        if len(spans) != 3 or any(span is None for span in spans):
            continue
        one = Box(tuple(span[0] for span in spans), tuple(span[1] for span in spans))  # type: ignore[index, arg-type]
        box = one if box is None else box.union(one)
    return box


class Changes:
    """Compares ``labels`` (z, y, x), which others write to, with what they were when last looked at."""

    def __init__(self, labels: NDArray[Any]) -> None:
        self.labels = labels
        self._kept = labels.copy()
        self._drawn_on: dict[int, Rectangle] = {}

    def stroke(self, box: Box) -> None:
        """A stroke was made in that box: an undo may change something there."""
        inside = box.clipped(self.labels.shape)
        if inside is None:
            return
        (z0, y0, x0), (z1, y1, x1) = inside.start, inside.stop
        for z in range(z0, z1):
            known = self._drawn_on.get(z, (y0, y1, x0, x1))
            self._drawn_on[z] = (min(known[0], y0), max(known[1], y1), min(known[2], x0), max(known[3], x1))

    def settle(
        self, box: Box | None, *, protected: NDArray[np.bool_] | None = None, undone: bool = False
    ) -> Change | None:
        """What has changed inside a box since it was last looked at; None where nothing has.

        Parameters
        ----------
        protected
            A table by label value: voxels that had or have such a value are put back in `labels`.
        """
        box = box.clipped(self.labels.shape) if box is not None else None
        if box is None:
            return None
        now, before = self.labels[box.index], self._kept[box.index]
        differs = now != before
        kept = 0
        if not differs.any():
            return None
        if protected is not None:
            held = differs & (protected[now] | protected[before])
            kept = int(np.count_nonzero(held))
            if kept:
                np.copyto(now, before, where=held)
                differs &= ~held
        spans = _extent(differs)
        if spans is None:
            return Change(box.start, now[:0].copy(), (), 0, undone, kept)
        values = now[spans].copy()
        before[spans] = values
        start = tuple(low + span.start for low, span in zip(box.start, spans, strict=True))
        touched = np.flatnonzero(differs.any(axis=(1, 2))) + box.start[0]
        return Change(
            start,  # type: ignore[arg-type]
            values,
            tuple(int(z) for z in touched),
            int(np.count_nonzero(differs)),
            undone,
            kept,
        )

    def stepped(self, *, protected: NDArray[np.bool_] | None = None) -> list[Change]:
        """What an undo or a redo has changed, if there was one: a change for each run of neighbouring slices."""
        runs: list[Box] = []
        for z in sorted(self._drawn_on):
            y0, y1, x0, x1 = self._drawn_on[z]
            if np.array_equal(self.labels[z, y0:y1, x0:x1], self._kept[z, y0:y1, x0:x1]):
                continue
            box = Box((z, y0, x0), (z + 1, y1, x1))
            if runs and runs[-1].stop[0] == z:
                runs[-1] = runs[-1].union(box)
            else:
                runs.append(box)
        found = [self.settle(box, protected=protected, undone=True) for box in runs]
        return [change for change in found if change is not None]

    def replaced(self, labels: NDArray[Any]) -> Change | None:
        """Another array took the place of `labels` (of the same shape): what is different in it."""
        self.labels = labels
        if labels.dtype != self._kept.dtype:
            self._kept = self._kept.astype(labels.dtype)
        return self.settle(Box((0, 0, 0), labels.shape))  # type: ignore[arg-type]


def protection(values: Iterable[int], dtype: Any) -> NDArray[np.bool_] | None:
    """The table for `Changes.settle`; None where nothing is protected."""
    table = np.zeros(np.iinfo(dtype).max + 1, bool)
    for value in values:
        if value < len(table):
            table[value] = True
    return table if table.any() else None


def _span(part: Any) -> tuple[int, int] | None:
    if isinstance(part, slice):
        return (int(part.start or 0), int(part.stop)) if part.stop is not None else None
    indices = np.asarray(part)
    return (int(indices.min()), int(indices.max()) + 1) if indices.size else None


def _extent(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if found.size == 0:
            return None
        spans.append(slice(int(found[0]), int(found[-1]) + 1))
    return spans[0], spans[1], spans[2]

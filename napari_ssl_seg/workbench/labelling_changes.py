"""What a stroke has changed: found by comparing with a copy of the labels as they were, inside the stroke's box alone.

napari tells of a stroke when the button is let go, of a part of it after each movement of the mouse, and of an undo not
at all. So the boxes of the last strokes are remembered: an undo or a redo has changed one of them. Nothing here looks at
the whole volume, so that the cost is that of the box.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

REMEMBERED = 100
"""As many strokes as napari can undo."""


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
    """By an undo."""
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
        self._done: deque[Box] = deque(maxlen=REMEMBERED)
        self._undone: deque[Box] = deque(maxlen=REMEMBERED)

    def before(self, z: int) -> NDArray[Any]:
        """A slice as it was when last looked at."""
        return self._kept[z]

    def stroke(self, box: Box) -> None:
        """A stroke was made in that box: what an undo may take back."""
        self._done.append(box)
        self._undone.clear()

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

    def stepped(self, *, everywhere: bool, protected: NDArray[np.bool_] | None = None) -> list[Change]:
        """What an undo or a redo has changed, if there was one.

        ``everywhere``: look also at older strokes where the latest explains nothing.
        """
        undo, redo = self._differing(self._done), self._differing(self._undone)
        if undo is not None and redo is not None:
            # Strokes over each other: what has changed lies all inside the box of the one that it was.
            both = self._difference(self._done[-1].union(self._undone[-1]))
            if both is not None and self._done[-1].union(both) != self._done[-1]:
                undo = None
        if undo is not None:
            self._undone.append(self._done.pop())
            found = self.settle(undo, undone=True)
            return [found] if found is not None else []
        if redo is not None:
            self._done.append(self._undone.pop())
            found = self.settle(redo, protected=protected)
            return [found] if found is not None else []
        if not everywhere:
            return []
        changes = [self.settle(box, protected=protected) for box in (*self._done, *self._undone)]
        return [change for change in changes if change is not None]

    def replaced(self, labels: NDArray[Any]) -> Change | None:
        """Another array took the place of `labels` (of the same shape): what is different in it."""
        self.labels = labels
        self._done.clear()
        self._undone.clear()
        if labels.dtype != self._kept.dtype:
            self._kept = self._kept.astype(labels.dtype)
        return self.settle(Box((0, 0, 0), labels.shape))  # type: ignore[arg-type]

    def _differing(self, boxes: deque[Box]) -> Box | None:
        """The last box, where something in it has changed."""
        return boxes[-1] if boxes and self._difference(boxes[-1]) is not None else None

    def _difference(self, box: Box) -> Box | None:
        """The smallest box around what has changed inside ``box``."""
        inside = box.clipped(self.labels.shape)
        if inside is None:
            return None
        spans = _extent(self.labels[inside.index] != self._kept[inside.index])
        if spans is None:
            return None
        start = tuple(low + span.start for low, span in zip(inside.start, spans, strict=True))
        stop = tuple(low + span.stop for low, span in zip(inside.start, spans, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]


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

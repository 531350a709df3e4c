"""What this window has read or written of the labels, packed: a megabyte a case, for the day the store is removed under it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ssl_seg.annotation.boxes import SliceRows


class KeptCases:
    """Slices and states by case, as they are on the disk, or were when the disk was last there."""

    def __init__(self) -> None:
        self._slices: dict[str, dict[int, bytes]] = {}
        self._states: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __contains__(self, case_id: str) -> bool:
        return case_id in self._slices

    def add(self, case_id: str, rows: SliceRows, states: bytes) -> None:
        """All slices of a case that was read, or made."""
        with self._lock:
            self._slices[case_id] = dict(rows)
            self._states[case_id] = states

    def add_new(self, case_id: str, rows: SliceRows, states: bytes) -> None:
        """As `add`, unless the case is held already: what was read may be older than what was written since."""
        with self._lock:
            if case_id not in self._slices:
                self._slices[case_id], self._states[case_id] = dict(rows), states

    def update(self, case_id: str, rows: Iterable[tuple[int, bytes]], states: bytes) -> None:
        """Slices of a case that is held, as they are since."""
        with self._lock:
            self._slices[case_id].update(rows)
            self._states[case_id] = states

    def cases(self) -> list[tuple[str, SliceRows, bytes]]:
        """Case, packed slices and states."""
        with self._lock:
            return [(case_id, list(rows.items()), self._states[case_id]) for case_id, rows in self._slices.items()]

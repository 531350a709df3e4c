"""One change of the label store: whole on the disk, or never made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.boxes import slices_now, write_box
from napari_ssl_seg.annotation.records import BoxChange
from napari_ssl_seg.annotation.rows import case_number_of, check_shape, first_states, insert_effort

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from napari_ssl_seg.annotation.boxes import Shape, SliceRows
    from napari_ssl_seg.annotation.effort import Effort
    from napari_ssl_seg.annotation.kept import KeptCases
    from napari_ssl_seg.annotation.records import Kind, OwnLabel
    from napari_ssl_seg.annotation.states import SliceState
    from napari_ssl_seg.study import Study


class Transaction:
    """What a writing window does in one go; `keep` tells, once it is on the disk, what became of the slices."""

    def __init__(self, connection: sqlite3.Connection, study: Study, session: int) -> None:
        self._connection = connection
        self._study = study
        self._session = session
        self._numbers: dict[str, int] = {}
        self._shapes: dict[str, Shape] = {}
        self._states: dict[str, np.ndarray] = {}
        self._whole: dict[str, SliceRows] = {}
        self._touched: dict[str, SliceRows] = {}

    def open_case(self, case_id: str, own: OwnLabel | None, *, whole: bool) -> None:
        """Open a case for changes; one that is new gets the study's own label as its first entry.

        Parameters
        ----------
        whole
            Read all its slices, to keep them.
        """
        connection = self._connection
        number = case_number_of(connection, case_id)
        shape = self._shapes[case_id] = self._study.case(case_id).shape
        self._touched[case_id] = []
        if number is None:
            states = np.zeros(shape[0], np.uint8) if own is None else first_states(shape[0], own.labelled_slices)
            cursor = connection.execute(
                "INSERT INTO cases (id, nz, ny, nx, states, file_type) VALUES (?, ?, ?, ?, ?, ?)",
                (case_id, *shape, states.tobytes(), None if own is None else own.file_type),
            )
            self._numbers[case_id], self._states[case_id] = int(cursor.lastrowid or 0), states
            self._whole[case_id] = []
            if own is not None:
                self.write(BoxChange(case_id, (0, 0, 0), own.array, "import"), kind="import", source=own.source)
            return
        check_shape(connection, number, case_id, shape)
        (stored,) = connection.execute("SELECT states FROM cases WHERE number = ?", (number,)).fetchone()
        self._numbers[case_id], self._states[case_id] = number, np.frombuffer(stored, np.uint8).copy()
        if whole:
            self._whole[case_id] = slices_now(connection, number)

    def write(self, change: BoxChange, *, kind: Kind, source: str | None = None) -> int | None:
        """Write a box; the number of its entry, or None where nothing changed."""
        written = write_box(
            self._connection,
            self._numbers[change.case_id],
            self._shapes[change.case_id],
            change.start,
            change.values,
            kind=kind,
            tool=change.tool,
            session=self._session,
            source=source,
        )
        if written is None:
            return None
        number, rows = written
        self._touched[change.case_id] += rows
        return number

    def set_states(self, case_id: str, slices: Iterable[int], state: SliceState) -> None:
        """Put slices into a state."""
        self._states[case_id][list(slices)] = state

    def replace_states(self, case_id: str, states: bytes) -> None:
        """All states of a case."""
        self._states[case_id] = np.frombuffer(states, np.uint8).copy()

    def add_effort(self, efforts: Iterable[Effort]) -> None:
        """Note what it cost."""
        insert_effort(self._connection, efforts)

    def delete_effort(self) -> None:
        """Forget all of it."""
        self._connection.execute("DELETE FROM effort")

    def finish(self) -> None:
        """Write the states, and that the cases are another than the published ones."""
        self._connection.executemany(
            "UPDATE cases SET states = ?, revision = revision + 1 WHERE number = ?",
            [(self._states[case_id].tobytes(), number) for case_id, number in self._numbers.items()],
        )

    def keep(self, kept: KeptCases) -> None:
        """Hand over what is on the disk now."""
        for case_id, states in self._states.items():
            if case_id in self._whole:
                kept.add(case_id, self._whole[case_id], states.tobytes())
            kept.update(case_id, self._touched[case_id], states.tobytes())

"""The label store of a study: what is drawn, the state of every slice, and the history of both.

store = open_labels(study)
store.put("case_07", start=(12, 40, 33), values=box)  # on the disk when it returns
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.boxes import assemble, slices_before, slices_now, write_box
from napari_ssl_seg.annotation.database import FILE_NAME, LabelFile, LabelsUnwritable
from napari_ssl_seg.annotation.effort import Effort
from napari_ssl_seg.annotation.lock import WriterLock
from napari_ssl_seg.annotation.packing import as_label_values
from napari_ssl_seg.annotation.records import BoxChange, Entry, StateChange
from napari_ssl_seg.annotation.rows import (
    begin_session,
    case_number_of,
    first_states,
    insert_effort,
    last_session,
    set_states,
)
from napari_ssl_seg.annotation.states import SliceState
from napari_ssl_seg.errors import StudyError, UserError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from napari_ssl_seg.annotation.boxes import Shape
    from napari_ssl_seg.annotation.records import Kind
    from napari_ssl_seg.study import Study

FOLDER = "labels"
FOR_READING = "it was opened for reading"


def open_labels(study: Study, *, write: bool = True) -> LabelStore:
    """Open the label store of a study, which is made by the first who may write.

    Parameters
    ----------
    write
        Ask for the right to write, which one window or process at a time has. Where another has it, or the folder may only
        be read, the store opens read-only all the same; `LabelStore.why_read_only` says why.

    Raises
    ------
    StudyError
        When the store on the disk is damaged, of another program, or of another version.
    """
    return LabelStore(study, write=write)


class LabelStore:
    """Labels, slice states, history and effort of a study's cases. Safe to use from several threads.

    Attributes
    ----------
    writable
        Whether this store may write.
    why_read_only
        Why not, in one sentence.
    restored
        What an earlier window, which was not closed but killed, had saved; None where there was none.
    """

    def __init__(self, study: Study, *, write: bool = True) -> None:
        self.study = study
        self.folder = study.folder / FOLDER
        self.writable = False
        self.why_read_only: str | None = FOR_READING
        self.restored: str | None = None
        self._file = LabelFile(self.folder)
        self._lock = WriterLock(self.folder)
        self._session = 0
        self._shapes: dict[str, Shape] = {}
        self._own: tuple[str, np.ndarray | None] | None = None
        if self._file.exists():
            self._file.check()
        if write:
            self.take_over()

    # -- who may write ------------------------------------------------------------------------------------------------
    def take_over(self) -> bool:
        """Take the right to write, if nobody who lives has it; `why_read_only` says who has it otherwise."""
        if self.writable:
            return True
        try:
            if not (self.study.folder / "study.db").exists():
                raise LabelsUnwritable(f"{self.study.folder} is gone; bring the drive or folder back")
            self.folder.mkdir(exist_ok=True)
            if not self._lock.take():
                self.why_read_only = (
                    f"{self._lock.holder()} labels in this study; this window shows the labels, and can take over when"
                    " the other is closed"
                )
                return False
            self._file.create()
            self._file.check()
            with self._file.writing() as connection:
                self._session, self.restored = begin_session(connection)
        except (OSError, UserError) as error:
            self._lock.release()
            if isinstance(error, UserError) and not isinstance(error, LabelsUnwritable) and self._file.exists():
                raise
            self.why_read_only = str(error) if isinstance(error, UserError) else f"{self.folder}: {error.strerror}"
            return False
        self.writable, self.why_read_only = True, None
        return True

    def close(self) -> None:
        """Give the right to write back. What was put is on the disk already."""
        if self.writable:
            try:
                with self._file.writing() as connection:
                    connection.execute("UPDATE sessions SET closed = ? WHERE number = ?", (time.time(), self._session))
            except UserError:
                pass  # the next window says that this one was not closed, and nothing else comes of it
        self._lock.release()
        self.writable, self.why_read_only = False, "it was closed"
        self._file.close()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- what is there ------------------------------------------------------------------------------------------------
    def labels(self, case_id: str) -> np.ndarray:
        """What is drawn now, (z, y, x), uint8 or, where values are over 255, uint16; the caller's own to change.

        A case on which nothing was drawn yet has the labels of the study's own file, or none (zeros).
        """
        shape = self.shape(case_id)
        if self._file.exists():
            with self._file.reading() as connection:
                number = case_number_of(connection, case_id)
                rows = None if number is None else slices_now(connection, number)
            if rows is not None:
                return self._assembled(shape, rows)
        own = self._own_label(case_id)
        return np.zeros(shape, np.uint8) if own is None else own.copy()

    def at(self, case_id: str, number: int) -> np.ndarray:
        """The labels as they were after entry ``number`` of the history; 0: before the first."""
        shape = self.shape(case_id)
        self._entry_exists(case_id, number)
        if number == 0:
            return np.zeros(shape, np.uint8)
        with self._file.reading() as connection:
            case_number = case_number_of(connection, case_id)
            assert case_number is not None
            slices, boxes = slices_before(connection, case_number, number)
        return self._assembled(shape, slices, boxes)

    def history(self, case_id: str) -> tuple[Entry, ...]:
        """Every change of a case's labels, oldest first."""
        self.shape(case_id)
        if not self._file.exists():
            return ()
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT entries.number, time, tool, z, y, x, entries.nz, entries.ny, entries.nx, changed, kind, source"
                " FROM entries JOIN cases ON cases.number = case_number WHERE id = ? ORDER BY entries.number",
                (case_id,),
            ).fetchall()
        return tuple(Entry(row[0], row[1], row[2], row[3:6], row[6:9], *row[9:]) for row in rows)

    def states(self, case_id: str) -> np.ndarray:
        """The `SliceState` of every axial slice, uint8 (z,).

        Where nothing was said yet, the slices that count in the study's own label are labelled.
        """
        shape = self.shape(case_id)
        if self._file.exists():
            with self._file.reading() as connection:
                row = connection.execute("SELECT states FROM cases WHERE id = ?", (case_id,)).fetchone()
            if row is not None:
                return np.frombuffer(row[0], np.uint8).copy()
        case = self.study.case(case_id)
        return first_states(shape[0], case.labelled_slices) if case.labelled else np.zeros(shape[0], np.uint8)

    def counts(self) -> dict[SliceState, int]:
        """Number of slices in each state, over all cases of the study."""
        stored: dict[str, bytes] = {}
        if self._file.exists():
            with self._file.reading() as connection:
                stored = dict(connection.execute("SELECT id, states FROM cases").fetchall())
        total = np.zeros(len(SliceState), int)
        for case in self.study.cases():
            if case.id in stored:
                total += np.bincount(np.frombuffer(stored[case.id], np.uint8), minlength=len(total))[: len(total)]
                continue
            slices = case.labelled_slices
            labelled = 0 if not case.labelled else case.shape[0] if slices is None else len(slices)
            total[SliceState.LABELLED] += labelled
            total[SliceState.UNLABELLED] += case.shape[0] - labelled
        return {state: int(total[state]) for state in SliceState}

    def shape(self, case_id: str) -> Shape:
        """Voxels of a case along z, y, x; raises StudyError where the study has no such case, or it cannot be labelled."""
        if case_id not in self._shapes:
            case = self.study.case(case_id)
            if case.frame is not None:
                raise StudyError(
                    f"{case_id} is one time point of {case.images[0]}; save it as a file of its own to label it"
                )
            self._shapes[case_id] = case.shape
        return self._shapes[case_id]

    # -- what changes -------------------------------------------------------------------------------------------------
    def put(
        self,
        case_id: str,
        start: Sequence[int],
        values: np.ndarray,
        *,
        tool: str = "paint",
        effort: Effort | None = None,
    ) -> int | None:
        """Make a box of a case hold ``values``: on the disk when it returns, with an entry in the history.

        Undo is another put. Where the box holds these values already nothing is written but the effort.

        Parameters
        ----------
        start
            First voxel (z, y, x) of the box.
        values
            (z, y, x), whole numbers from 0 to 65535: the whole box as it is now.
        tool
            What drew it, for the history.
        effort
            What it cost, kept in the same transaction.

        Returns
        -------
        The number of the new entry, or None where nothing changed.

        Raises
        ------
        LabelsUnwritable
            When the store cannot be written now; nothing of it is, then.
        StudyError
            When there is no such case, the box does not lie in it, or the values are no labels.
        """
        change = self.change(case_id, start, values, tool=tool, effort=effort)
        return self.apply([change])[0]

    def change(
        self,
        case_id: str,
        start: Sequence[int],
        values: np.ndarray,
        *,
        tool: str = "paint",
        effort: Effort | None = None,
    ) -> BoxChange:
        """What `put` would write, checked: raises StudyError as it does. Not a copy."""
        shape = self.shape(case_id)
        if values.ndim != 3 or len(start) != 3:
            raise StudyError(f"{case_id}: a box of labels has the axes z, y and x, not the shape {values.shape}")
        z, y, x = (int(first) for first in start)
        if min(z, y, x) < 0 or any(
            first + size > most for first, size, most in zip((z, y, x), values.shape, shape, strict=True)
        ):
            raise StudyError(
                f"{case_id}: a box of {values.shape} voxels from {(z, y, x)} on does not lie in the scan of {shape}"
            )
        efforts = () if effort is None else (effort,)
        return BoxChange(case_id, (z, y, x), as_label_values(values, case_id), str(tool), efforts)

    def set_state(self, case_id: str, slices: int | Iterable[int], state: SliceState) -> None:
        """Say what state some axial slices of a case are in.

        Raises
        ------
        StudyError
            When there is no such case or slice; LabelsUnwritable as for `put`.
        """
        self.apply([self.state_change(case_id, slices, state)])

    def state_change(self, case_id: str, slices: int | Iterable[int], state: SliceState) -> StateChange:
        """What `set_state` would write, checked: raises StudyError as it does."""
        depth = self.shape(case_id)[0]
        chosen = tuple(sorted({int(z) for z in (slices if isinstance(slices, Iterable) else (slices,))}))
        if chosen and not 0 <= chosen[0] <= chosen[-1] < depth:
            raise StudyError(f"{case_id} has the slices 0 to {depth - 1}, not {chosen[0]} to {chosen[-1]}")
        return StateChange(case_id, chosen, SliceState(state))

    def apply(self, changes: Sequence[BoxChange | StateChange]) -> list[int | None]:
        """Several changes in order, all in one transaction; the number of each one's entry."""
        with self._changing({change.case_id for change in changes}) as (connection, cases):
            numbers: list[int | None] = []
            for change in changes:
                if isinstance(change, StateChange):
                    set_states(connection, cases[change.case_id], change.slices, change.state)
                    numbers.append(None)
                else:
                    numbers.append(self._write(connection, cases[change.case_id], change, kind="change"))
                    insert_effort(connection, change.efforts)
        return numbers

    def restore(self, case_id: str, number: int) -> int | None:
        """Bring back the labels as they were after entry ``number``, as a new entry; nothing is ever removed."""
        array = self.at(case_id, number)
        change = self.change(case_id, (0, 0, 0), array, tool=f"restore {number}")
        with self._changing({case_id}) as (connection, cases):
            return self._write(connection, cases[case_id], change, kind="restore")

    def import_labels(
        self, case_id: str, array: np.ndarray, source: str, labelled_slices: Iterable[int] | None = None
    ) -> int | None:
        """Take in a label map from elsewhere as one entry of kind "import"; the history before it stays.

        Parameters
        ----------
        array
            (z, y, x), the shape of the case.
        source
            Where it is from, for the history.
        labelled_slices
            Axial slices that count, which become `SliceState.LABELLED`; None: all.
        """
        shape = self.shape(case_id)
        if array.shape != shape:
            raise StudyError(f"{case_id} has the shape {shape} (z, y, x), the labels to import have {array.shape}")
        change = self.change(case_id, (0, 0, 0), array, tool="import")
        chosen = range(shape[0]) if labelled_slices is None else sorted({int(z) for z in labelled_slices})
        with self._changing({case_id}) as (connection, cases):
            number = self._write(connection, cases[case_id], change, kind="import", source=source)
            set_states(connection, cases[case_id], chosen, SliceState.LABELLED)
        return number

    # -- effort -------------------------------------------------------------------------------------------------------
    def add_effort(self, effort: Effort) -> None:
        """Note what some work cost that changed nothing, such as looking."""
        with self._changing(set()) as (connection, _):
            insert_effort(connection, (effort,))

    def effort(self) -> list[Effort]:
        """All that was noted, in order."""
        if not self._file.exists():
            return []
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT case_id, slice, tool, seconds, clicks, voxels, time FROM effort ORDER BY rowid"
            ).fetchall()
        return [Effort(*row) for row in rows]

    def delete_effort(self) -> None:
        """Forget all effort, in the file, too."""
        with self._changing(set()) as (connection, _):
            connection.execute("DELETE FROM effort")

    # -- inside -------------------------------------------------------------------------------------------------------
    @contextmanager
    def _changing(self, case_ids: set[str]) -> Iterator[tuple[sqlite3.Connection, dict[str, int]]]:
        """A transaction of the window that may write, in which these cases are there, with their numbers."""
        if not self.writable:
            raise LabelsUnwritable(f"labels of {self.study.name} cannot be changed here: {self.why_read_only}")
        own = {case_id: self._own_label(case_id) for case_id in case_ids if not self._is_stored(case_id)}
        with self._file.writing() as connection:
            if last_session(connection) != self._session:
                self.writable = False
                self.why_read_only = "another window took over, because this one gave no sign of life"
                raise LabelsUnwritable(f"labels of {self.study.name} cannot be changed here: {self.why_read_only}")
            numbers = {}
            for case_id in case_ids:
                number = case_number_of(connection, case_id)
                numbers[case_id] = self._add_case(connection, case_id, own.get(case_id)) if number is None else number
            yield connection, numbers
            connection.executemany(
                "UPDATE cases SET revision = revision + 1 WHERE number = ?", [(number,) for number in numbers.values()]
            )

    def _write(
        self,
        connection: sqlite3.Connection,
        case_number: int,
        change: BoxChange,
        *,
        kind: Kind,
        source: str | None = None,
    ) -> int | None:
        return write_box(
            connection,
            case_number,
            self.shape(change.case_id),
            change.start,
            change.values,
            kind=kind,
            tool=change.tool,
            session=self._session,
            source=source,
        )

    def _add_case(self, connection: sqlite3.Connection, case_id: str, own: np.ndarray | None) -> int:
        """A row for a case that is labelled for the first time; the study's own label is its first entry."""
        case, shape = self.study.case(case_id), self.shape(case_id)
        states = first_states(shape[0], case.labelled_slices) if own is not None else np.zeros(shape[0], np.uint8)
        cursor = connection.execute(
            "INSERT INTO cases (id, nz, ny, nx, states) VALUES (?, ?, ?, ?, ?)", (case_id, *shape, states.tobytes())
        )
        number = int(cursor.lastrowid or 0)
        if own is not None and case.label is not None:
            change = BoxChange(case_id, (0, 0, 0), own, "import")
            self._write(connection, number, change, kind="import", source=case.label.name)
        self._own = None
        return number

    def _is_stored(self, case_id: str) -> bool:
        with self._file.reading() as connection:
            return case_number_of(connection, case_id) is not None

    def _own_label(self, case_id: str) -> np.ndarray | None:
        """The label of the study's own file; kept, so that what is drawn on is what is stored as its base."""
        if self._own is None or self._own[0] != case_id:
            volume = self.study.label(case_id, purpose="show")
            self._own = case_id, None if volume is None else as_label_values(volume.array, case_id)
        return self._own[1]

    def _entry_exists(self, case_id: str, number: int) -> None:
        entries = 0
        if self._file.exists():
            with self._file.reading() as connection:
                (entries,) = connection.execute(
                    "SELECT count(*) FROM entries JOIN cases ON cases.number = case_number WHERE id = ?", (case_id,)
                ).fetchone()
        if not 0 <= number <= entries:
            raise StudyError(f"the history of {case_id} has the entries 1 to {entries}, not {number}")

    def _assembled(self, shape: Shape, *parts: list) -> np.ndarray:
        try:
            return assemble(shape, *parts)
        except (ValueError, IndexError) as error:
            raise StudyError(
                f"{self.folder / FILE_NAME} is damaged ({error}); put a copy of it back, or move it away to begin anew"
            ) from error

"""The label store of a study: what is drawn, the state of every slice, and the history of both.

store = open_labels(study)
store.put("case_07", start=(12, 40, 33), values=box)  # on the disk when it returns
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_ssl_seg.annotation.database import LabelsUnwritable
from napari_ssl_seg.annotation.effort import Effort
from napari_ssl_seg.annotation.kept import KeptCases
from napari_ssl_seg.annotation.lock import WriterLock
from napari_ssl_seg.annotation.packing import as_label_values
from napari_ssl_seg.annotation.reader import LabelReader
from napari_ssl_seg.annotation.records import BoxChange, StateChange
from napari_ssl_seg.annotation.rows import begin_session, close_session, last_session
from napari_ssl_seg.annotation.states import SliceState
from napari_ssl_seg.annotation.transaction import Transaction
from napari_ssl_seg.annotation.unsaved import read_unsaved, unsaved_files
from napari_ssl_seg.errors import StudyError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_ssl_seg.annotation.records import StoredCase
    from napari_ssl_seg.study import Study


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


class LabelStore(LabelReader):
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
        super().__init__(study)
        self.writable = False
        self.why_read_only: str | None = "it was opened for reading"
        self.restored: str | None = None
        self._lock = WriterLock(self.folder)
        self._session = 0
        self._kept = KeptCases()
        self._is_gone = False
        self._turn = threading.RLock()
        if write:
            self.take_over()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- who may write ------------------------------------------------------------------------------------------------
    def take_over(self) -> bool:
        """Take the right to write, if nobody who lives has it; `why_read_only` says who has it otherwise.

        Raises
        ------
        StudyError
            When the store on the disk is damaged.
        """
        if self.writable:
            return True
        try:
            self._make_folder()
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
        except UserError as error:
            self._lock.release()
            self.why_read_only = str(error)
            if isinstance(error, StudyError) and not isinstance(error, LabelsUnwritable):
                raise
            return False
        self.writable, self.why_read_only = True, None
        self._take_in_unsaved()
        return True

    def _take_in_unsaved(self) -> None:
        """What a window could not write before it was closed; a file that cannot be taken in stays where it is."""
        for path in unsaved_files(self.study):
            try:
                changes = read_unsaved(path, self.study)
                self.apply(changes)
                path.unlink()
            except (OSError, UserError) as error:
                said = f"changes that were not saved before are still in {path} ({error})"
            else:
                said = f"saved {len(changes)} changes that could not be written when the window was closed"
            self.restored = said if self.restored is None else f"{self.restored}; {said}"

    def close(self) -> None:
        """Give the right to write back. What was put is on the disk already."""
        if self.writable:
            with suppress(UserError):  # the next window says that this one was not closed, and nothing else comes of it
                with self._file.writing() as connection:
                    close_session(connection, self._session)
        self._lock.release()
        self.writable, self.why_read_only = False, "it was closed"
        super().close()

    # -- what changes -------------------------------------------------------------------------------------------------
    def stored(self, case_id: str) -> StoredCase | None:
        """What the store holds of a case, packed, all of one moment; None where it was never labelled here."""
        found = super().stored(case_id)
        if found is not None and self.writable:
            self._kept.add_new(case_id, found.slices, found.states)
        return found

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
        return self.apply([self.change(case_id, start, values, tool=tool, effort=effort)])[0]

    def change(
        self,
        case_id: str,
        start: Sequence[int],
        values: np.ndarray,
        *,
        tool: str = "paint",
        effort: Effort | None = None,
    ) -> BoxChange:
        """What `put` would write, checked: raises StudyError as it does. No copy where values are uint8."""
        shape = self.shape(case_id)
        if values.ndim != 3 or len(start) != 3:
            raise StudyError(f"{case_id}: a box of labels has the axes z, y and x, not the shape {values.shape}")
        z, y, x = (int(first) for first in start)
        ends = (first + size for first, size in zip((z, y, x), values.shape, strict=True))
        if min(z, y, x) < 0 or any(end > most for end, most in zip(ends, shape, strict=True)):
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

    def apply(self, changes: Sequence[BoxChange | StateChange | Effort]) -> list[int | None]:
        """Several changes in order, all in one transaction; the number of each one's entry in a history."""
        numbers: list[int | None] = []

        def write(transaction: Transaction) -> None:
            for change in changes:
                number = None
                if isinstance(change, BoxChange):
                    number = transaction.write(change, kind="change")
                    transaction.add_effort(change.efforts)
                elif isinstance(change, StateChange):
                    transaction.set_states(change.case_id, change.slices, change.state)
                else:
                    transaction.add_effort((change,))
                numbers.append(number)

        self._change({change.case_id for change in changes if not isinstance(change, Effort)}, write)
        return numbers

    def restore(self, case_id: str, number: int) -> int | None:
        """Bring back the labels as they were after entry ``number``, as a new entry; nothing is ever removed."""
        change = self.change(case_id, (0, 0, 0), self.at(case_id, number), tool=f"restore {number}")
        numbers: list[int | None] = []
        self._change({case_id}, lambda transaction: numbers.append(transaction.write(change, kind="restore")))
        return numbers[0]

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
        chosen = range(shape[0]) if labelled_slices is None else labelled_slices
        states = self.state_change(case_id, chosen, SliceState.LABELLED)
        numbers: list[int | None] = []

        def write(transaction: Transaction) -> None:
            numbers.append(transaction.write(change, kind="import", source=str(source)))
            transaction.set_states(case_id, states.slices, states.state)

        self._change({case_id}, write)
        return numbers[0]

    def add_effort(self, effort: Effort) -> None:
        """Note what some work cost that changed nothing, such as looking."""
        self.apply([effort])

    def delete_effort(self) -> None:
        """Forget all effort, in the file, too."""
        self._change(set(), lambda transaction: transaction.delete_effort())

    # -- inside -------------------------------------------------------------------------------------------------------
    def _change(self, case_ids: set[str], write: Callable[[Transaction], None]) -> None:
        """Run ``write`` in a transaction of the window that may write, in which these cases are there."""
        if not self.writable:
            raise self._refusal()
        with self._turn:  # what is kept in memory follows the order on the disk
            self._see_that_it_is_there()
            new = [case_id for case_id in case_ids if case_id not in self._kept and not self._is_stored(case_id)]
            own = {case_id: self._own_label(case_id) for case_id in new}
            with self._file.writing() as connection:
                if last_session(connection) != self._session:
                    self.writable = False
                    self.why_read_only = "another window took over, because this one gave no sign of life"
                    self._lock.release()
                    raise self._refusal()
                transaction = Transaction(connection, self.study, self._session)
                for case_id in sorted(case_ids):
                    transaction.open_case(case_id, own.get(case_id), whole=case_id not in self._kept)
                write(transaction)
                transaction.finish()
            transaction.keep(self._kept)
            if self._own is not None and self._own[0] in case_ids:
                self._own = None

    def _refusal(self) -> LabelsUnwritable:
        return LabelsUnwritable(f"labels of {self.study.name} cannot be changed here: {self.why_read_only}")

    def _make_folder(self) -> None:
        """The store's folder, but not those above it: where a drive is gone, none must take its place."""
        self._check_drive()
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise LabelsUnwritable(
                f"{self.folder} cannot be written to ({error.strerror or error}); see that the study may be written to"
            ) from error

    def _check_drive(self) -> None:
        try:
            os.stat(self.study.folder / "study.db")
        except OSError as error:
            raise LabelsUnwritable(
                f"{self.study.folder} is gone ({error.strerror or error}); bring the drive or folder back"
            ) from error

    def _see_that_it_is_there(self) -> None:
        """Where the store was removed while it was open: say so first; then make it anew of what this window holds."""
        if not self._file.is_gone():
            self._is_gone = False
            return
        self._check_drive()
        if not self._is_gone:
            self._is_gone = True
            raise LabelsUnwritable(
                f"{self._file.path} is gone, which this window had open; bring the drive or folder back, or the labels that"
                " this window knows are saved there anew"
            )
        self._make_folder()
        if not self._lock.retake():
            raise LabelsUnwritable(
                f"{self._lock.holder()} labels in this study, whose label store was removed meanwhile"
            )
        self._file.create()
        with self._file.writing() as connection:
            self._session, _ = begin_session(connection)
            transaction = Transaction(connection, self.study, self._session)
            for case_id, rows, states in self._kept.cases():
                transaction.open_case(case_id, None, whole=True)
                array = self._assembled(self.shape(case_id), rows)
                transaction.write(BoxChange(case_id, (0, 0, 0), array, "kept in memory"), kind="restore")
                transaction.replace_states(case_id, states)
            transaction.finish()
        self._is_gone = False

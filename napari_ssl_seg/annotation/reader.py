"""What a study's label store says: labels of now and of earlier, states, history, effort."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.boxes import assemble, slices_before, slices_now
from napari_ssl_seg.annotation.database import LabelFile
from napari_ssl_seg.annotation.effort import Effort
from napari_ssl_seg.annotation.packing import as_label_values
from napari_ssl_seg.annotation.records import Entry, OwnLabel, StoredCase
from napari_ssl_seg.annotation.rows import case_number_of, check_shape, first_states
from napari_ssl_seg.annotation.states import SliceState
from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from napari_ssl_seg.annotation.boxes import BoxRow, Shape, SliceRows
    from napari_ssl_seg.study import Study

FOLDER = "labels"


class LabelReader:
    """Reads the label store of a study, also while a window writes to it. Safe to use from several threads.

    Raises
    ------
    StudyError
        When the store on the disk is damaged, of another program, or of another version.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.folder = study.folder / FOLDER
        self._file = LabelFile(self.folder)
        self._shapes: dict[str, Shape] = {}
        self._own: tuple[str, OwnLabel | None] | None = None
        self._file.exists()  # which looks at the file, where there is one

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

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

    def labels(self, case_id: str) -> np.ndarray:
        """What is drawn now, (z, y, x), uint8 or, where values are over 255, uint16; the caller's own to change.

        A case on which nothing was drawn yet has the labels of the study's own file, or none (zeros). That file becomes the
        first entry of the case's history with the first change.
        """
        shape = self.shape(case_id)
        stored = self.stored(case_id)
        if stored is not None:
            return self._assembled(shape, stored.slices)
        own = self._own_label(case_id)
        return np.zeros(shape, np.uint8) if own is None else own.array.copy()

    def at(self, case_id: str, number: int) -> np.ndarray:
        """The labels as they were after entry ``number`` of the history; 0: before the first."""
        shape = self.shape(case_id)
        slices: SliceRows = []
        boxes: list[BoxRow] = []
        entries = 0
        if self._file.exists():
            with self._file.reading() as connection:
                (case_number,) = connection.execute("SELECT max(number) FROM cases WHERE id = ?", (case_id,)).fetchone()
                (entries,) = connection.execute(
                    "SELECT coalesce(max(number), 0) FROM entries WHERE case_number = ?", (case_number,)
                ).fetchone()
                if 0 < number <= entries:
                    slices, boxes = slices_before(connection, case_number, number)
        if not 0 <= number <= entries:
            raise StudyError(f"the history of {case_id} has the entries 1 to {entries}, not {number}")
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
        depth = self.shape(case_id)[0]
        if self._file.exists():
            with self._file.reading() as connection:
                row = connection.execute("SELECT states FROM cases WHERE id = ?", (case_id,)).fetchone()
            if row is not None:
                return np.frombuffer(row[0], np.uint8).copy()
        case = self.study.case(case_id)
        return first_states(depth, case.labelled_slices) if case.labelled else np.zeros(depth, np.uint8)

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

    def effort(self) -> list[Effort]:
        """All that was noted of what labelling cost, in order."""
        if not self._file.exists():
            return []
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT case_id, slice, tool, seconds, clicks, voxels, time FROM effort ORDER BY rowid"
            ).fetchall()
        return [Effort(*row) for row in rows]

    def file_type(self, case_id: str) -> str | None:
        """Voxel type of the label file with which the study began for this case; None where there was none."""
        if self._file.exists():
            with self._file.reading() as connection:
                row = connection.execute("SELECT file_type FROM cases WHERE id = ?", (case_id,)).fetchone()
            if row is not None:
                return row[0]
        own = self._own_label(case_id)
        return None if own is None else own.file_type

    def stored_cases(self) -> list[str]:
        """Cases that were labelled or given a state here."""
        if not self._file.exists():
            return []
        with self._file.reading() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM cases ORDER BY number")]

    # -- for publishing -----------------------------------------------------------------------------------------------
    def stored(self, case_id: str) -> StoredCase | None:
        """What the store holds of a case, packed, all of one moment; None where it was never labelled here."""
        if not self._file.exists():
            return None
        with self._file.reading() as connection:
            number = case_number_of(connection, case_id)
            if number is None:
                return None
            check_shape(connection, number, case_id, self.shape(case_id))
            states, revision = connection.execute(
                "SELECT states, revision FROM cases WHERE number = ?", (number,)
            ).fetchone()
            return StoredCase(slices_now(connection, number), states, revision)

    def assemble(self, case_id: str, stored: StoredCase) -> np.ndarray:
        """The label map (z, y, x) of what `stored` gave."""
        return self._assembled(self.shape(case_id), stored.slices)

    def revisions(self) -> list[tuple[str, int, int]]:
        """Case, how often it was changed, and how often it had been when it was last published (0: never)."""
        if not self._file.exists():
            return []
        with self._file.reading() as connection:
            return connection.execute("SELECT id, revision, published FROM cases ORDER BY number").fetchall()

    def note_published(self, case_id: str, revision: int) -> None:
        """Note, beside whoever writes labels, that a revision of a case is published."""
        with self._file.writing() as connection:
            connection.execute("UPDATE cases SET published = max(published, ?) WHERE id = ?", (revision, case_id))

    # -- inside -------------------------------------------------------------------------------------------------------
    def _is_stored(self, case_id: str) -> bool:
        if not self._file.exists():
            return False
        with self._file.reading() as connection:
            return case_number_of(connection, case_id) is not None

    def _own_label(self, case_id: str) -> OwnLabel | None:
        """The label of the study's own file; kept, so that what is drawn on is what is stored as its base."""
        if self._own is None or self._own[0] != case_id:
            case = self.study.case(case_id)
            volume = self.study.label(case_id, purpose="show")
            own = None
            if volume is not None and case.label is not None:
                array = as_label_values(volume.array, case_id)
                own = OwnLabel(array, case.label.name, case.labelled_slices, volume.geometry.source.dtype)
            self._own = case_id, own
        return self._own[1]

    def _assembled(self, shape: Shape, slices: SliceRows, boxes: list[BoxRow] | None = None) -> np.ndarray:
        try:
            return assemble(shape, slices, boxes or ())
        except (ValueError, IndexError) as error:
            raise StudyError(self._file.damaged(error)) from error

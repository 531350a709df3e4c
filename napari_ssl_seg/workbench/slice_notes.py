"""A flag and a note for slices of a study: a small table of its own in the study's database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    import os

LONGEST = 2000
BUSY_SECONDS = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS slice_notes (
    case_id TEXT NOT NULL,
    axis INTEGER NOT NULL CHECK (axis IN (0, 1, 2)),
    slice INTEGER NOT NULL CHECK (slice >= 0),
    flagged INTEGER NOT NULL CHECK (flagged IN (0, 1)),
    note TEXT NOT NULL,
    PRIMARY KEY (case_id, axis, slice)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class SliceNote:
    """What was said about one slice."""

    flagged: bool = False
    text: str = ""

    def __bool__(self) -> bool:
        return self.flagged or bool(self.text)


class SliceNotes:
    """Notes of one study. Each write is a transaction: on disk when it returns, whole or not at all."""

    def __init__(self, study_folder: str | os.PathLike[str]) -> None:
        self.path = Path(study_folder) / "study.db"

    def of_case(self, case_id: str, axis: int = 0) -> dict[int, SliceNote]:
        """Slice -> note, for those slices along ``axis`` of (z, y, x) that have one."""
        try:
            with closing(self._connect("ro")) as connection:
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'slice_notes'").fetchone():
                    return {}
                rows = connection.execute(
                    "SELECT slice, flagged, note FROM slice_notes WHERE case_id = ? AND axis = ? ORDER BY slice",
                    (case_id, axis),
                ).fetchall()
        except sqlite3.Error as error:
            raise StudyError(f"the notes in {self.path} cannot be read ({error}); check the disk") from error
        return {int(index): SliceNote(bool(flagged), str(text)) for index, flagged, text in rows}

    def write(self, case_id: str, index: int, note: SliceNote, axis: int = 0) -> None:
        """Keep the note of a slice; an empty one takes it away. Raises StudyError where it cannot be kept."""
        try:
            with closing(self._connect("rw")) as connection:
                connection.execute(_TABLE)
                connection.execute("BEGIN IMMEDIATE")
                if note:
                    values = (case_id, axis, int(index), int(note.flagged), note.text[:LONGEST])
                    connection.execute("INSERT OR REPLACE INTO slice_notes VALUES (?, ?, ?, ?, ?)", values)
                else:
                    connection.execute(
                        "DELETE FROM slice_notes WHERE case_id = ? AND axis = ? AND slice = ?", (case_id, axis, index)
                    )
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StudyError(
                f"the note was not kept in {self.path} ({error}); check the disk and whether the study may be written to"
            ) from error

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_SECONDS
        )

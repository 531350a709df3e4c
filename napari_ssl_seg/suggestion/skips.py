"""What the user passed over: a small table of its own in the study's database.

What was skipped comes after everything else, the longest ago first, until it is labelled or `forget_skips` is called.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study

BUSY_SECONDS = 5.0
WHOLE = -1
"""In the table, for a case that was skipped as a whole."""
_TABLE = """
CREATE TABLE IF NOT EXISTS suggestion_skips (
    case_id TEXT NOT NULL,
    slice INTEGER NOT NULL CHECK (slice >= -1),
    time REAL NOT NULL,
    PRIMARY KEY (case_id, slice)
) WITHOUT ROWID
"""


class Skip(NamedTuple):
    """Something that was passed over."""

    case_id: str
    slice_index: int | None
    time: float
    """Seconds since 1970."""


def skip(study: Study, case_id: str, slice_index: int | None = None) -> Skip:
    """Keep that a slice (or with None a whole case) was passed over; on disk when it returns.

    Raises
    ------
    StudyError
        When there is no such case or slice, or the study cannot be written to.
    """
    case = study.case(case_id)
    if slice_index is not None and not 0 <= slice_index < case.shape[0]:
        raise StudyError(f"{case_id} has the slices 0 to {case.shape[0] - 1}, not {slice_index}; name one of them")
    made = Skip(case.id, None if slice_index is None else int(slice_index), time.time())
    row = (made.case_id, WHOLE if slice_index is None else made.slice_index, made.time)
    _change(study, "INSERT OR REPLACE INTO suggestion_skips VALUES (?, ?, ?)", row)
    return made


def skipped(study: Study) -> list[Skip]:
    """Everything that was passed over, the longest ago first."""
    path = study.folder / "study.db"
    try:
        with closing(_connect(path, "ro")) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'suggestion_skips'").fetchone():
                return []
            rows = connection.execute("SELECT case_id, slice, time FROM suggestion_skips ORDER BY time").fetchall()
    except sqlite3.Error as error:
        raise StudyError(f"the skipped slices in {path} cannot be read ({error}); check the disk") from error
    return [Skip(str(case), None if index == WHOLE else int(index), float(when)) for case, index, when in rows]


def forget_skips(study: Study) -> None:
    """Let everything that was passed over come back in its place."""
    _change(study, "DELETE FROM suggestion_skips", ())


def _change(study: Study, words: str, values: tuple[object, ...]) -> None:
    path = study.folder / "study.db"
    try:
        with closing(_connect(path, "rw")) as connection:
            connection.execute(_TABLE)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(words, values)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StudyError(
            f"what was skipped was not kept in {path} ({error}); check the disk and whether the study may be written to"
        ) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)

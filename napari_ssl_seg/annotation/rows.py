"""Single rows of the label store's tables: cases, states of slices, effort, sessions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.lock import clock
from napari_ssl_seg.annotation.states import SliceState
from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from napari_ssl_seg.annotation.effort import Effort


def case_number_of(connection: sqlite3.Connection, case_id: str) -> int | None:
    row = connection.execute("SELECT number FROM cases WHERE id = ?", (case_id,)).fetchone()
    return None if row is None else int(row[0])


def check_shape(connection: sqlite3.Connection, case_number: int, case_id: str, shape: tuple[int, int, int]) -> None:
    """Raise StudyError where a case's labels were drawn on a scan of another shape."""
    drawn = connection.execute("SELECT nz, ny, nx FROM cases WHERE number = ?", (case_number,)).fetchone()
    if drawn != shape:
        raise StudyError(
            f"the labels of {case_id} were drawn on a scan of {drawn} (z, y, x), and the study's has {shape}; bring the"
            " earlier scan back, or move the study's folder labels away"
        )


def first_states(depth: int, labelled_slices: Iterable[int] | None) -> np.ndarray:
    states = np.zeros(depth, np.uint8)
    states[slice(None) if labelled_slices is None else list(labelled_slices)] = SliceState.LABELLED
    return states


def insert_effort(connection: sqlite3.Connection, efforts: Iterable[Effort]) -> None:
    connection.executemany(
        "INSERT INTO effort VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (e.case_id, int(e.slice_index), e.tool, float(e.seconds), int(e.clicks), int(e.voxels), e.time)
            for e in efforts
        ],
    )


def restored_words(connection: sqlite3.Connection, session: int) -> str | None:
    """What a window that was not closed had saved, in a sentence."""
    rows = connection.execute(
        "SELECT id, count(*), max(time) FROM entries JOIN cases ON cases.number = case_number"
        " WHERE session = ? AND kind <> 'import' GROUP BY id ORDER BY max(time)",
        (session,),
    ).fetchall()
    if not rows:
        return None
    parts = [f"{count} change{'s' * (count != 1)} of case {case_id}" for case_id, count, _ in rows]
    shown = ", ".join(parts[-3:]) + (f" and of {len(parts) - 3} more cases" if len(parts) > 3 else "")
    return f"restored {shown}, the last made at {clock(rows[-1][2])}: the window in which they were made was not closed"


def begin_session(connection: sqlite3.Connection) -> tuple[int, str | None]:
    """The number of a new session, which outbids all before it, and what the last one left if it was not closed."""
    row = connection.execute("SELECT number, closed FROM sessions ORDER BY number DESC LIMIT 1").fetchone()
    restored = restored_words(connection, row[0]) if row is not None and row[1] is None else None
    number = int(row[0]) + 1 if row else 1
    connection.execute("INSERT INTO sessions VALUES (?, ?, NULL)", (number, time.time()))
    return number, restored


def last_session(connection: sqlite3.Connection) -> int:
    """The one that may write."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM sessions").fetchone()[0])


def close_session(connection: sqlite3.Connection, session: int) -> None:
    """Note that a window was closed, so that the next has nothing to restore."""
    connection.execute("UPDATE sessions SET closed = ? WHERE number = ?", (time.time(), session))

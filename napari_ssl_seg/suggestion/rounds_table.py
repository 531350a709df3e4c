"""Which fine-tunings were rounds of labelling, and what had been spent by then: a small table in the study's database."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

BUSY_SECONDS = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS suggestion_rounds (
    run TEXT NOT NULL PRIMARY KEY,
    time REAL NOT NULL,
    slices INTEGER NOT NULL CHECK (slices >= 0),
    minutes REAL
) WITHOUT ROWID
"""


class RoundNote(NamedTuple):
    """One round."""

    run: str
    time: float
    """When it was noted, seconds since 1970."""
    slices: int
    """Labelled slices that it was trained on."""
    minutes: float | None
    """Spent on labelling by then, from the effort log; None where there is none."""


def note_round(study: Study, run: Run) -> RoundNote:
    """Keep that a fine-tuning was a round; raises StudyError where it cannot be kept."""
    note = RoundNote(run.id, time.time(), slices_of(study, run), minutes_spent(study))
    path = study.folder / "study.db"
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.execute(_TABLE)
            connection.execute("INSERT OR REPLACE INTO suggestion_rounds VALUES (?, ?, ?, ?)", note)
    except sqlite3.Error as error:
        raise StudyError(
            f"the round was not kept in {path} ({error}); check the disk and whether the study may be written to"
        ) from error
    return note


def list_rounds(study: Study) -> list[RoundNote]:
    """Every round, oldest first."""
    path = study.folder / "study.db"
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'suggestion_rounds'").fetchone():
                return []
            rows = connection.execute(
                "SELECT run, time, slices, minutes FROM suggestion_rounds ORDER BY time"
            ).fetchall()
    except sqlite3.Error as error:
        raise StudyError(f"the rounds in {path} cannot be read ({error}); check the disk") from error
    return [RoundNote(*row) for row in rows]


def slices_of(study: Study, run: Run) -> int:
    """Labelled slices that a fine-tuning was trained on."""
    record = run.record
    return sum(
        len(record.slices[case_id]) if case_id in record.slices else study.case(case_id).shape[0]
        for case_id in record.cases.get("train", ())
    )


def minutes_spent(study: Study) -> float | None:
    """Minutes in the effort log of the study's label store; None where there is no store, or nothing in it."""
    if not (study.folder / "labels" / "labels.db").exists():
        return None
    from napari_ssl_seg.annotation import open_labels

    store = open_labels(study, write=False)
    try:
        efforts = store.effort()
    finally:
        store.close()
    return sum(effort.seconds for effort in efforts) / 60 if efforts else None

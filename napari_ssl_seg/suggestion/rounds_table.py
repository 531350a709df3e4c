"""Rounds of labelling and what had been spent by then, and what chance was simulated to need: small tables of the study's own."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

BUSY_SECONDS = 5.0
_ROUNDS = """
CREATE TABLE IF NOT EXISTS suggestion_rounds (
    run TEXT NOT NULL PRIMARY KEY,
    time REAL NOT NULL,
    slices INTEGER NOT NULL CHECK (slices >= 0),
    minutes REAL
) WITHOUT ROWID
"""
_CHANCE = """
CREATE TABLE IF NOT EXISTS suggestion_chance (
    slices INTEGER NOT NULL CHECK (slices > 0),
    repeat INTEGER NOT NULL CHECK (repeat >= 0),
    dice REAL NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (slices, repeat)
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


class ChanceNote(NamedTuple):
    """One fine-tuning on slices drawn at random."""

    slices: int
    repeat: int
    dice: float
    time: float


def note_round(study: Study, run: Run) -> RoundNote:
    """Keep that a fine-tuning was a round; raises StudyError where it cannot be kept."""
    note = RoundNote(run.id, time.time(), slices_of(study, run), minutes_spent(study))
    _write(study, _ROUNDS, "INSERT OR REPLACE INTO suggestion_rounds VALUES (?, ?, ?, ?)", note)
    return note


def list_rounds(study: Study) -> list[RoundNote]:
    """Every round, oldest first."""
    rows = _read(study, "suggestion_rounds", "SELECT run, time, slices, minutes FROM suggestion_rounds ORDER BY time")
    return [RoundNote(*row) for row in rows]


def note_chance(study: Study, note: ChanceNote) -> None:
    """Keep a point of the simulated chance, in place of an earlier one; raises StudyError where it cannot be kept."""
    _write(study, _CHANCE, "INSERT OR REPLACE INTO suggestion_chance VALUES (?, ?, ?, ?)", note)


def list_chance(study: Study) -> list[ChanceNote]:
    """Every point of the simulated chance, by repeat and number of slices."""
    words = "SELECT slices, repeat, dice, time FROM suggestion_chance ORDER BY repeat, slices"
    return [ChanceNote(*row) for row in _read(study, "suggestion_chance", words)]


def _write(study: Study, table: str, words: str, values: tuple[object, ...]) -> None:
    path = study.folder / "study.db"
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.execute(table)
            connection.execute(words, values)
    except sqlite3.Error as error:
        raise StudyError(
            f"the round was not kept in {path} ({error}); check the disk and whether the study may be written to"
        ) from error


def _read(study: Study, table: str, words: str) -> list[Any]:
    path = study.folder / "study.db"
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                return []
            return connection.execute(words).fetchall()
    except sqlite3.Error as error:
        raise StudyError(f"the rounds in {path} cannot be read ({error}); check the disk") from error


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

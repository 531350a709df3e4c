"""The study on disk: one SQLite file.

The rollback journal is kept rather than the write-ahead log: a study often lies on a network drive, where the log's
shared memory does not work, is opened from folders that cannot be written, and is copied by hand as this one file. Writes
are rare and take milliseconds. A file that another program has turned to the write-ahead log opens all the same.

Connections are kept in a pool: each is used by one thread at a time, and by the process that made it alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.files import atomic_path
from napari_ssl_seg.study.records import Case, ClassInfo, Problem, StudySettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILE_NAME = "study.db"
APPLICATION_ID = 0x53534C53  # "SSLS", so that a database of another program is known for what it is
SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE settings (record TEXT NOT NULL);
CREATE TABLE cases (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,
    more_images TEXT,
    label TEXT,
    grp TEXT NOT NULL,
    split TEXT NOT NULL CHECK (split IN ('train', 'validation', 'test')),
    labelled INTEGER NOT NULL,
    nz INTEGER NOT NULL, ny INTEGER NOT NULL, nx INTEGER NOT NULL,
    dz REAL NOT NULL, dy REAL NOT NULL, dx REAL NOT NULL,
    channels INTEGER NOT NULL,
    dtype TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    label_fingerprint TEXT,
    label_values TEXT NOT NULL,
    labelled_slices TEXT,
    warnings TEXT NOT NULL,
    frame INTEGER,
    stamp TEXT NOT NULL
);
CREATE INDEX cases_by_split ON cases (split, labelled);
CREATE TABLE classes (value INTEGER PRIMARY KEY, name TEXT NOT NULL, color TEXT NOT NULL);
CREATE TABLE problems (number INTEGER PRIMARY KEY, path TEXT NOT NULL, reason TEXT NOT NULL);
"""
_COLUMNS = (
    "id, image, more_images, label, grp, split, nz, ny, nx, dz, dy, dx, channels, dtype, fingerprint, label_fingerprint,"
    " label_values, labelled_slices, warnings, frame, stamp"
)


class Database:
    """Reads and writes the records of one study; may be used from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self._idle: list[tuple[int, sqlite3.Connection]] = []
        self.settings = self._open()

    # -- making and opening -----------------------------------------------------------------------------------------
    @classmethod
    def create(
        cls,
        folder: Path,
        settings: StudySettings,
        cases: Sequence[Case],
        classes: Sequence[ClassInfo],
        problems: Sequence[Problem],
    ) -> Database:
        """Write a new study, whole or not at all; raises StudyError where one is already or the disk is full."""
        target = folder / FILE_NAME
        with atomic_path(target) as temporary:
            try:
                connection = sqlite3.connect(temporary, isolation_level=None)
                try:
                    # Nobody sees this file before it is whole, so it needs no journal of its own.
                    connection.execute("PRAGMA journal_mode = MEMORY")
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                    connection.executescript(_SCHEMA)
                    connection.execute("BEGIN")
                    connection.execute("INSERT INTO settings VALUES (?)", (settings.model_dump_json(),))
                    _insert_cases(connection, cases, folder)
                    connection.executemany(
                        "INSERT INTO classes VALUES (?, ?, ?)",
                        [(item.value, item.name, item.color) for item in classes],
                    )
                    connection.executemany(
                        "INSERT INTO problems (path, reason) VALUES (?, ?)",
                        [(_readable(str(problem.path)), _readable(problem.reason)) for problem in problems],
                    )
                    connection.execute("COMMIT")
                finally:
                    connection.close()
            except sqlite3.Error as error:
                raise StudyError(
                    f"{target} could not be written ({error}); free some space or choose another folder"
                ) from error
            refuse_existing(folder)
        return cls(folder)

    def _open(self) -> StudySettings:
        if not self.path.is_file():
            raise StudyError(
                f"{self.folder} holds no study ({FILE_NAME} is missing); create one there or choose another folder"
            )
        with self.reading() as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID:
                raise StudyError(f"{self.path} is the database of another program, not a study; choose another folder")
            if version != SCHEMA_VERSION:
                raise StudyError(
                    f"{self.path} has format {version}, this version of napari-ssl-seg reads {SCHEMA_VERSION};"
                    " install the version that made it"
                )
            (record,) = connection.execute("SELECT record FROM settings").fetchone() or ("",)
            try:
                return StudySettings.model_validate_json(record)
            except ValidationError as error:  # its own text has many lines
                raise ValueError(f"{error.error_count()} of its settings are wrong") from error

    # -- connections ------------------------------------------------------------------------------------------------
    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries; what is wrong with the file becomes one StudyError."""
        try:
            connection = self._borrow()
            try:
                yield connection
            except BaseException:
                connection.close()  # it may be in the middle of a statement or a transaction
                raise
            self._idle.append((os.getpid(), connection))
        except StudyError:
            raise
        except sqlite3.OperationalError as error:
            raise StudyError(
                f"{self.path} cannot be used now ({error}); check the disk and other windows on this study"
            ) from error
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise StudyError(
                f"{self.path} is damaged or no study ({error}); restore a copy of it, or create the study again elsewhere"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction that is kept when the block ends without an error."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _borrow(self) -> sqlite3.Connection:
        while True:
            try:
                owner, connection = self._idle.pop()
            except IndexError:
                break
            if owner == os.getpid():  # a connection must not be carried over a fork
                return connection
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )

    def close(self) -> None:
        """Give the file back; a later call opens it again."""
        while self._idle:
            self._idle.pop()[1].close()

    # -- cases ------------------------------------------------------------------------------------------------------
    def cases(self, split: str | None = None, labelled: bool | None = None) -> list[Case]:
        where, values = _where(split, labelled)
        folder = str(self.folder)
        with self.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM cases{where} ORDER BY number", values)
            return [_case(row, folder) for row in rows]

    def case(self, case_id: str) -> Case | None:
        with self.reading() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM cases WHERE id = ?", (case_id,)).fetchone()
            return None if row is None else _case(row, str(self.folder))

    def ids(self, split: str | None = None, labelled: bool | None = None) -> list[str]:
        where, values = _where(split, labelled)
        with self.reading() as connection:
            return [row[0] for row in connection.execute(f"SELECT id FROM cases{where} ORDER BY number", values)]

    def counts(self, labelled: bool | None = None) -> dict[str, int]:
        where, values = _where(None, labelled)
        with self.reading() as connection:
            return dict(
                connection.execute(f"SELECT split, count(*) FROM cases{where} GROUP BY split", values).fetchall()
            )

    def columns(self, names: str, split: str | None = None) -> list[tuple[Any, ...]]:
        """Some columns of many cases, without making cases of them."""
        where, values = _where(split, None)
        with self.reading() as connection:
            return connection.execute(f"SELECT {names} FROM cases{where}", values).fetchall()

    def medians(self, columns: str) -> np.ndarray:
        """Median of each of some columns over the train cases; over all cases where none is in train."""
        return np.median(np.array(self.columns(columns, "train") or self.columns(columns), dtype=float), axis=0)

    def scan_bytes(self) -> int:
        """Bytes that all scans would take in memory, normalised."""
        return int(self.columns("TOTAL(4.0 * channels * nz * ny * nx)")[0][0])

    def update_cases(self, cases: Iterable[Case], classes: Iterable[ClassInfo] = ()) -> None:
        """Store what may change of cases (labels, slices, fingerprints), and classes that are new with them."""
        root = os.path.join(self.folder, "")
        with self.writing() as connection:
            connection.executemany(
                "UPDATE cases SET label = ?, labelled = ?, fingerprint = ?, label_fingerprint = ?, label_values = ?,"
                " labelled_slices = ?, warnings = ?, stamp = ? WHERE id = ?",
                [
                    (
                        None if case.label_file is None else _store_path(case.label_file, root),
                        case.labelled,
                        case.fingerprint,
                        case.label_fingerprint,
                        _join(case.label_values),
                        _join(case.labelled_slices),
                        json.dumps(case.warnings) if case.warnings else "",
                        case.stamp,
                        case.id,
                    )
                    for case in cases
                ],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO classes VALUES (?, ?, ?)",
                [(item.value, item.name, item.color) for item in classes],
            )

    # -- classes and problems ---------------------------------------------------------------------------------------
    def classes(self) -> list[ClassInfo]:
        with self.reading() as connection:
            rows = connection.execute("SELECT value, name, color FROM classes ORDER BY value").fetchall()
            lesions = _lesions(connection)
            return [ClassInfo(value, name, color, value in lesions) for value, name, color in rows]

    def set_class(self, item: ClassInfo) -> ClassInfo:
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO classes VALUES (?, ?, ?)", (item.value, item.name, item.color))
            if item.lesion != (item.value in _lesions(connection)):
                # A table of its own, made with the first mark: studies without it are those of every version.
                connection.execute("CREATE TABLE IF NOT EXISTS lesions (value INTEGER PRIMARY KEY)")
                how = "INSERT INTO lesions VALUES (?)" if item.lesion else "DELETE FROM lesions WHERE value = ?"
                connection.execute(how, (item.value,))
        return item

    def problems(self) -> list[Problem]:
        with self.reading() as connection:
            rows = connection.execute("SELECT path, reason FROM problems ORDER BY number")
            return [Problem(Path(path), reason) for path, reason in rows]


def _lesions(connection: sqlite3.Connection) -> set[int]:
    """Values of the classes that are marked as lesions."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'lesions'").fetchone()
    return {value for (value,) in connection.execute("SELECT value FROM lesions")} if known else set()


def refuse_existing(folder: Path) -> None:
    """Raises StudyError where there is a study already."""
    if (folder / FILE_NAME).exists():
        raise StudyError(f"{folder} holds a study already; open it, or choose a folder without one")


def _where(split: str | None, labelled: bool | None) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    if split is not None:
        parts.append("split = ?")
        values.append(split)
    if labelled is not None:
        parts.append("labelled = ?")
        values.append(int(labelled))
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def _insert_cases(connection: sqlite3.Connection, cases: Sequence[Case], folder: Path) -> None:
    root = os.path.join(folder, "")
    connection.executemany(
        f"INSERT INTO cases (labelled, {_COLUMNS}) VALUES (?{', ?' * 21})",
        [
            (
                case.labelled,
                case.id,
                _store_path(case.image_files[0], root),
                json.dumps([_store_path(file, root) for file in case.image_files[1:]])
                if case.image_files[1:]
                else None,
                None if case.label_file is None else _store_path(case.label_file, root),
                case.group,
                case.split,
                *case.shape,
                *case.spacing,
                case.channels,
                case.dtype,
                case.fingerprint,
                case.label_fingerprint,
                _join(case.label_values),
                _join(case.labelled_slices),
                json.dumps(case.warnings) if case.warnings else "",
                case.frame,
                case.stamp,
            )
            for case in cases
        ],
    )


def _case(row: tuple[Any, ...], folder: str) -> Case:
    (case_id, image, more, label, group, split, nz, ny, nx, dz, dy, dx, channels, dtype, fingerprint, label_fingerprint,
     values, slices, warnings, frame, stamp) = row  # fmt: skip
    images = (image, *json.loads(more)) if more else (image,)
    return Case(
        case_id,
        tuple([os.path.join(folder, file) for file in images]),  # an absolute one stays as it is
        None if label is None else os.path.join(folder, label),
        group,
        split,
        (nz, ny, nx),
        (dz, dy, dx),
        channels,
        dtype,
        fingerprint,
        label_fingerprint,
        _numbers(values),
        None if slices is None else _numbers(slices),
        tuple(json.loads(warnings)) if warnings else (),
        frame,
        stamp,
    )


def _store_path(file: str, root: str) -> str:
    """Relative inside the study (``root`` ends in a separator), so that the study can be moved; absolute elsewhere."""
    return file.removeprefix(root).replace(os.sep, "/") if file.startswith(root) else file


def _readable(text: str) -> str:
    """``text`` with marks in place of what is no text: the name of a file may be any bytes."""
    return os.fsencode(text).decode("utf-8", "replace")


def _join(numbers: tuple[int, ...] | None) -> str | None:
    return None if numbers is None else ",".join(map(str, numbers))


@lru_cache(maxsize=1024)
def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()

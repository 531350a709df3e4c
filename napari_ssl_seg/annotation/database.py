"""The label store on disk: one SQLite file that is whole after a kill, a full disk or a removed drive.

As for the study, the rollback journal is kept rather than the write-ahead log, because studies lie on shared drives.
``synchronous = EXTRA`` flushes the folder's entry, too: what was committed stays, also when the power goes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME = "labels.db"
APPLICATION_ID = 0x53534C4C  # "SSLL"
SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
SYNCHRONOUS = "EXTRA"

_SCHEMA = (
    # A row a window that could write. The last one alone may; a window that was outbid finds another row after its own.
    "CREATE TABLE sessions (number INTEGER PRIMARY KEY, opened REAL NOT NULL, closed REAL)",
    """CREATE TABLE cases (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        nz INTEGER NOT NULL, ny INTEGER NOT NULL, nx INTEGER NOT NULL,
        states BLOB NOT NULL,
        revision INTEGER NOT NULL DEFAULT 0,
        published INTEGER NOT NULL DEFAULT 0,
        file_type TEXT
    )""",
    # What was done, in order; never changed and never removed. `voxels` is the box as it was afterwards.
    """CREATE TABLE entries (
        case_number INTEGER NOT NULL REFERENCES cases,
        number INTEGER NOT NULL,
        session INTEGER NOT NULL,
        time REAL NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('import', 'change', 'restore')),
        tool TEXT NOT NULL,
        source TEXT,
        z INTEGER NOT NULL, y INTEGER NOT NULL, x INTEGER NOT NULL,
        nz INTEGER NOT NULL, ny INTEGER NOT NULL, nx INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        voxels BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX entries_in_order ON entries (case_number, number)",
    # What every slice holds now, so that reading it takes the same time after 10 strokes and after 10,000.
    """CREATE TABLE slices (
        case_number INTEGER NOT NULL REFERENCES cases,
        z INTEGER NOT NULL,
        entry INTEGER NOT NULL,
        voxels BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX slices_in_order ON slices (case_number, z)",
    # What slices held after entry number `entry`; from the nearest one before, a past state is made.
    """CREATE TABLE keyframes (
        case_number INTEGER NOT NULL REFERENCES cases,
        z INTEGER NOT NULL,
        entry INTEGER NOT NULL,
        voxels BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX keyframes_in_order ON keyframes (case_number, z, entry)",
    """CREATE TABLE effort (
        case_id TEXT NOT NULL, slice INTEGER NOT NULL, tool TEXT NOT NULL,
        seconds REAL NOT NULL, clicks INTEGER NOT NULL, voxels INTEGER NOT NULL, time REAL NOT NULL
    )""",
)


class LabelsUnwritable(StudyError):
    """The store cannot be written (or read) now: disk full, read-only, removed, or held by somebody else. It may pass."""


class LabelFile:
    """Transactions on ``STUDY/labels/labels.db``; may be used from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self._idle: list[tuple[int, tuple[int, int], sqlite3.Connection]] = []
        self._lock = threading.Lock()
        self._seen = False

    def exists(self) -> bool:
        """Whether anything was stored yet.

        Raises
        ------
        LabelsUnwritable
            When the file is not there any more, or nobody can tell: that is not the same as no labels.
        StudyError
            As `check`, the first time.
        """
        try:
            found = self.path.stat().st_size > 0
        except OSError as error:
            if self._seen or not isinstance(error, FileNotFoundError):
                raise self._unwritable(error.strerror or str(error)) from error
            return False
        return found and (self._seen or self.check())

    def is_gone(self) -> bool:
        """Whether the file was there, and is not any more."""
        try:
            return self._seen and self.path.stat().st_size == 0
        except OSError:
            return self._seen

    def create(self) -> None:
        """Make the store where there is none; one whole transaction, so a kill leaves a store or none.

        Raises
        ------
        LabelsUnwritable
            When the folder cannot be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)  # not its parents: where the drive is gone, no folder must take its place
        except OSError as error:
            raise self._unwritable(error.strerror or str(error)) from error
        with self._translated():
            connection = self._connect("rwc")
            try:
                connection.execute("BEGIN IMMEDIATE")
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("COMMIT")
            finally:
                connection.close()

    def check(self) -> bool:
        """False where the file holds nothing, because a process was killed while it made the store.

        Raises
        ------
        StudyError
            Where it is damaged, of another program or of another version.
        """
        with self.reading() as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables and not application:
                return False
            if application != APPLICATION_ID:
                raise StudyError(f"{self.path} is the database of another program, not a label store; move it away")
            if version != SCHEMA_VERSION:
                raise StudyError(
                    f"{self.path} has format {version}, this version of napari-ssl-seg reads {SCHEMA_VERSION};"
                    " install the version that made it"
                )
            for table in ("sessions", "cases", "entries", "slices", "keyframes", "effort"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        self._seen = True
        return True

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the store throughout; fetch, and unpack afterwards."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction that is on the disk when the block ends without an error, or never was."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Give the file back; a later call opens it again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, connection in idle:
            connection.close()

    # -- connections --------------------------------------------------------------------------------------------------
    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._translated():
            identity, connection = self._borrow()
            try:
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                connection.close()  # after an error of the disk, a new look at the file is safer than an old one
                raise
            with self._lock:
                self._idle.append((os.getpid(), identity, connection))

    def _borrow(self) -> tuple[tuple[int, int], sqlite3.Connection]:
        """A connection to the file that lies at the path now: it may have been removed, and brought back."""
        identity = self._identity()
        with self._lock:
            idle, self._idle = self._idle, []
            usable = [item for item in idle if item[:2] == (os.getpid(), identity)]
            found = usable.pop() if usable else None
            self._idle = usable
        for item in idle:
            if item[0] == os.getpid() and item[1] != identity:  # a connection must not be touched after a fork
                item[2].close()
        return identity, found[2] if found else self._connect("rw")

    def _identity(self) -> tuple[int, int]:
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise self._unwritable(error.strerror or str(error)) from error
        return stat.st_dev, stat.st_ino

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
            connection.execute("PRAGMA fullfsync = ON")  # on macOS a flush ends in the drive's own memory otherwise
            connection.execute("PRAGMA secure_delete = ON")  # deleted effort is gone, and not only out of sight
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error):
                raise StudyError(self.damaged(error)) from error
            raise self._unwritable(_plain(str(error))) from error
        except (sqlite3.Error, ValueError) as error:
            raise StudyError(self.damaged(error)) from error

    def _unwritable(self, reason: str) -> LabelsUnwritable:
        return LabelsUnwritable(
            f"labels cannot be kept in {self.path} ({reason}); free some space, or see that the study may be written to"
        )

    def damaged(self, error: Exception) -> str:
        """A sentence about a store that cannot be read."""
        return (
            f"{self.path} is damaged or no label store ({error}); put a copy of it back, or move it away to begin anew"
        )


def _plain(text: str) -> str:
    """SQLite's words for what happens to disks, as a user would say them."""
    known = {
        "database or disk is full": "the disk is full",
        "disk I/O error": "the disk refuses to be written or read",
        "attempt to write a readonly database": "it may only be read, or was moved",
        "unable to open database file": "the folder may only be read, or is gone",
        "database is locked": "another window is writing to it",
    }
    return known.get(text, text)

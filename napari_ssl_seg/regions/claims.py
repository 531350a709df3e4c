"""Who works on which slice, where several processes or machines share one folder.

A claim is a small file made with ``O_CREAT | O_EXCL``, which one alone can make, also on a network drive. It says who
holds it and is touched every few seconds. A claim counts as dead

- at once, when it was made on this machine and its process is gone;
- otherwise when it was not touched for `EXPIRES` seconds of *our* clock, so that clocks of machines need not agree.

A dead claim is never removed by others, because two could do so one after the other and the second would remove the
claim of the first. It is outbid: by a claim of the next number, which again one alone can make. The highest number counts.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import threading
import time
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

BEAT = 10.0
"""Seconds between two touches of a claim that is held."""
EXPIRES = 120.0
"""Seconds without a touch after which a claim of another machine counts as dead."""
_NAME = re.compile(r"(?P<subject>.+)\.claim(?P<number>\d+)")
_LIMIT = 4096

_alive: set[str] = set()
"""Tokens of the claims that this process holds now."""


class Claims:
    """The claims that one worker holds; used with ``with``, at whose end all are given back."""

    def __init__(self) -> None:
        self._held: dict[tuple[Path, str], Path] = {}
        self._tokens: dict[Path, str] = {}
        self._watched: dict[Path, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._lock:
            held = list(self._held)
        for folder, subject in held:
            self.release(folder, subject)
        if self._beating is not None:
            self._beating.join()

    def take(self, folder: Path, subject: str, claims: Iterable[str] = ()) -> bool:
        """Claim ``subject`` in ``folder``; False when somebody who lives holds it.

        Parameters
        ----------
        claims
            Names of the claim files on this subject that were seen in the folder. What is missing among them costs a
            try, not correctness.
        """
        number = -1
        for name in claims:
            match = _NAME.fullmatch(name)
            if match and match["subject"] == subject:
                number = max(number, int(match["number"]))
        if number >= 0 and not self.is_dead(folder / f"{subject}.claim{number}"):
            return False
        path = folder / f"{subject}.claim{number + 1}"
        token = secrets.token_hex(8)
        _alive.add(token)  # first: another thread may look at the claim as soon as it is there
        if not _create(path, token):
            _alive.discard(token)
            return False
        with self._lock:
            self._held[folder, subject], self._tokens[path] = path, token
        if (folder / f"{subject}.claim{number + 2}").exists():  # our view of the folder was old
            self.release(folder, subject)
            return False
        self._beat()
        return True

    def release(self, folder: Path, subject: str, *, done: bool = False) -> None:
        """Give a claim back; with ``done`` (the work is there) the dead ones that it outbid go, too."""
        with self._lock:
            path = self._held.pop((folder, subject), None)
            token = self._tokens.pop(path, None) if path is not None else None
        if path is None or token is None:
            return
        if not _is_of(path, token):  # it was deleted, and somebody else made one of the same name
            _alive.discard(token)
            return
        numbers = range(int(path.suffix.removeprefix(".claim")), -1, -1)
        for number in numbers if done else numbers[:1]:
            with suppress(OSError):  # the cache may be deleted at any time
                (folder / f"{subject}.claim{number}").unlink()
        _alive.discard(token)

    def is_dead(self, path: Path) -> bool:
        """Whether the holder of a claim file is gone, as far as can be known from here; a claim given back is dead."""
        try:
            with path.open("rb") as stream:
                touched = os.fstat(stream.fileno()).st_mtime_ns
                holder = _holder(stream.read(_LIMIT))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        if holder.get("machine") == _machine():
            return _is_gone(holder)
        now = time.monotonic()
        before, since = self._watched.setdefault(path, (touched, now))
        if before != touched:
            self._watched[path] = (touched, now)
            return False
        return now - since > EXPIRES

    def _beat(self) -> None:
        if self._beating is None:
            self._beating = threading.Thread(target=self._keep_beating, name="region claims", daemon=True)
            self._beating.start()

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT):
            with self._lock:
                held = list(self._held.values())
            for path in held:
                with suppress(OSError):
                    os.utime(path)


def _create(path: Path, token: str) -> bool:
    record = {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "time": round(time.time(), 3)}
    data = json.dumps({**record, "started": _started(os.getpid()), "token": token}).encode()
    for _ in range(3):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except FileNotFoundError:  # the folder is not there yet, or was deleted with the cache
            _make_folder(path.parent)
            continue
        except OSError as error:
            raise _cannot_be_written(path.parent, error) from error
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        return True
    return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_written(folder, error) from error


def _cannot_be_written(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder} cannot be written to ({error.strerror or error}); free some space, or see that the study may be written to"
    )


def _holder(data: bytes) -> dict[str, Any]:
    """Empty where the claim is just being written."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_of(path: Path, token: str) -> bool:
    try:
        with path.open("rb") as stream:
            return _holder(stream.read(_LIMIT)).get("token") == token
    except OSError:
        return False


def _is_gone(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    if not isinstance(pid, int):
        return True
    if pid == os.getpid():
        return holder.get("token") not in _alive
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return (
            abs(process.create_time() - float(holder.get("started", 0.0))) > 1.0
        )  # the number went to another process
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


@lru_cache(maxsize=2)
def _started(pid: int) -> float:
    import psutil

    return psutil.Process(pid).create_time()


@lru_cache(maxsize=1)
def _machine() -> str:
    """What process numbers belong to: host name and boot, and on Linux the container (hosts may share names)."""
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        parts.append(f"{uuid.getnode():x}")
    return " ".join(parts)

"""The one way in which anything is written: whole or not at all.

A temporary file beside the target is filled, flushed to the disk and renamed over the target, and the folder's entry is
flushed too. A kill, a full disk or a removed drive at any instant leaves either the old file or the new one.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import DiskFull, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_MARK = ".part-"
JSON_LIMIT = 64 * 2**20


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` when the block ends without an error.

    The temporary name keeps the target's extension, because writers such as nibabel choose the format by it.

    Raises
    ------
    DiskFull, UserError
        When there is no room, or the folder cannot be written; ``target`` is then as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{target.name}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        kind = DiskFull if no_room(error) else UserError
        raise kind(
            f"{target} could not be written ({error.strerror or error}); free some space or choose another folder,"
            " the earlier version is unharmed"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until what was written to a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_room(error: OSError) -> bool:
    """Whether a full disk, or a quota, is what the system complains about."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def write_bytes(target: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write_bytes(target, text.encode())


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all; NaN is refused, because other readers would choke on it."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str], *, limit: int = JSON_LIMIT) -> Any:
    """Read a JSON file of at most ``limit`` bytes.

    Raises
    ------
    UserError
        When it is missing, larger than the limit, or not JSON.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(f"{path} holds {size} bytes, more than the {limit} that such a file may have")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no text, no JSON, a number of 5000 digits
        raise UserError(f"{path} cannot be read as JSON ({error})") from error


def inside(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """``path`` (taken from ``root`` where relative), resolved.

    Raises
    ------
    UserError
        When it, or what a link on the way points at, lies outside ``root``.
    """
    root = Path(root).resolve()
    resolved = (root / path).resolve()
    if not resolved.is_relative_to(root):
        raise UserError(f"{path} leads out of {root}; only files inside that folder are used")
    return resolved


def sweep_temporaries(folder: str | os.PathLike[str]) -> int:
    """Remove what a killed writer left behind in ``folder`` and below; return how many files that were."""
    stale = list(Path(folder).rglob(f"{TEMPORARY_MARK}*"))
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there, and NTFS journals the rename
        return
    flush(folder)

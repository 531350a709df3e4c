"""Download a public set by name: whole or not at all, and never twice."""

from __future__ import annotations

import errno
import hashlib
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import write_json
from napari_ssl_seg.sample._pace import Pace
from napari_ssl_seg.sample._transfer import check_address, transfer
from napari_ssl_seg.sample._unpack import unpack
from napari_ssl_seg.sample.bundled import move_into_place
from napari_ssl_seg.sample.datasets import DatasetInfo, get_dataset

if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from napari_ssl_seg.training.events import Event

SOURCE = "SOURCE.json"
"""Written last into a downloaded folder: where it came from, its checksum and licence. Its presence means whole."""
_EXPANSION = 3
_ROOM = 64 * 2**20


def fetch(
    name: str | DatasetInfo, target: str | os.PathLike[str], *, wait: float = 1.0
) -> Generator[Event, None, Path]:
    """Download, check and unpack a public set.

    Show ``DatasetInfo.licence`` (or ``notice()``) to the user before calling this. Closing the generator stops at once;
    what has arrived is kept and the next call goes on from there.

    Parameters
    ----------
    name : str or DatasetInfo
        One of `list_datasets`.
    target : path
        The set becomes a folder in here, such as ``target/Task04_Hippocampus``.
    wait : float
        Seconds before the first new attempt after a broken connection.

    Yields
    ------
    Event
        ``progress`` with ``what``, ``done`` and ``total`` in bytes (total None while unknown) and ``seconds_left``.

    Returns
    -------
    Path
        The folder with ``imagesTr``, ``labelsTr`` and ``dataset.json``, as ``Study.create`` understands it.

    Raises
    ------
    UserError
        Unknown set, no network, wrong checksum, damaged or dangerous archive, disk full.
    """
    from filelock import FileLock, Timeout

    info = name if isinstance(name, DatasetInfo) else get_dataset(name)
    check_address(info.url)
    target = Path(target)
    folder = target / info.folder
    if (folder / SOURCE).is_file():
        return folder
    if folder.exists():
        raise UserError(f"{folder} is already there and was not downloaded by this program; choose another folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target / f".{info.folder}.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{info.folder} is being downloaded into {target} by another process; wait for it") from error
    except OSError as error:
        raise UserError(f"{target} cannot be written to ({error.strerror or error}); choose another folder") from error
    try:
        return (yield from _fetch(info, target, folder, wait))
    except OSError as error:
        reason = "is full" if error.errno == errno.ENOSPC else f"cannot be written ({error.strerror or error})"
        raise UserError(f"{target} {reason}; free some space or choose another folder and start again") from error
    finally:
        lock.release()


def _fetch(info: DatasetInfo, target: Path, folder: Path, wait: float) -> Generator[Event, None, Path]:
    part = target / f".{info.folder}.tar.part"
    for stale in target.glob(f".{info.folder}-unpacking-*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    _check_room(info, target, part)
    limit = int(info.size * 1.5) + _ROOM
    yield from transfer(info.url, part, limit=limit, what=f"downloading {info.folder}", wait=wait)
    digest = yield from _digest(part, info)
    if digest != info.checksum:
        forget(part)
        raise UserError(
            f"{info.url} did not arrive as published (checksum {digest} instead of {info.checksum}); it was deleted,"
            " start again"
        )
    unpacking = target / f".{info.folder}-unpacking-{secrets.token_hex(4)}"
    try:
        unpacking.mkdir()
        yield from unpack(
            part,
            unpacking,
            folder=info.folder,
            limit=part.stat().st_size * _EXPANSION + _ROOM,
            what=f"unpacking {info.folder}",
        )
        if not (unpacking / info.folder).is_dir():
            raise UserError(f"{info.url} holds no folder {info.folder}; nothing was unpacked")
        record = {key: getattr(info, key) for key in ("title", "url", "checksum", "licence", "licence_url", "citation")}
        write_json(unpacking / info.folder / SOURCE, record)
        move_into_place(unpacking / info.folder, folder, SOURCE)
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    forget(part)
    return folder


def forget(part: Path) -> None:
    """Remove an unfinished download and its notes."""
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)


def _check_room(info: DatasetInfo, target: Path, part: Path) -> None:
    have = part.stat().st_size if part.is_file() else 0
    needed = max(info.size - have, 0) + info.size
    free = shutil.disk_usage(target).free
    if free < needed:
        raise UserError(
            f"{target} has {free / 1e9:.1f} GB free and {info.folder} needs {needed / 1e9:.1f} GB (the archive and what"
            " it unpacks to); free some space or choose another folder"
        )


def _digest(part: Path, info: DatasetInfo) -> Generator[Event, None, str]:
    algorithm = info.checksum.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    total = part.stat().st_size
    pace, done = Pace(f"checking {info.folder}", total), 0
    with part.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
            done += len(chunk)
            yield from pace.at(done)
    yield from pace.finish(done)
    return f"{algorithm}:{digest.hexdigest()}"

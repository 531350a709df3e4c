"""A tar archive from a stranger, unpacked so that it can do no harm.

Only plain files and folders below one top folder come out; a link, a device, a sparse file, a name that leads elsewhere, a
name that comes twice or more bytes than allowed and nothing at all is kept. macOS's ``._*`` companions are left out.
"""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.sample._pace import Pace

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_ssl_seg.training.events import Event

_CHUNK = 1024 * 1024
_MOST_MEMBERS = 200_000


def unpack(archive: Path, into: Path, *, folder: str, limit: int, what: str) -> Generator[Event, None, None]:
    """Unpack ``archive`` into the existing, empty folder ``into``, where it must make just ``folder``.

    Parameters
    ----------
    limit : int
        Most bytes that may come out.

    Raises
    ------
    UserError
        Damaged or dangerous archive; ``into`` may then hold a part of it and is for the caller to remove.
    """
    try:
        with tarfile.open(archive) as tar:
            yield from _members(tar, archive, into, folder, limit, what)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise UserError(f"{archive.name} is damaged or refused ({reason}); nothing was unpacked") from error


def _members(
    tar: tarfile.TarFile, archive: Path, into: Path, folder: str, limit: int, what: str
) -> Generator[Event, None, None]:
    pace = Pace(what, archive.stat().st_size)
    written = 0
    for count, member in enumerate(tar):
        if count >= _MOST_MEMBERS:
            raise UserError(f"{archive.name} holds more than {_MOST_MEMBERS} files; nothing was unpacked")
        name = PurePosixPath(member.name)
        if name.name.startswith("._") or name.name == ".DS_Store" or "__MACOSX" in name.parts:
            continue
        _check(member, name, archive, folder)
        tarfile.data_filter(member, str(into))  # Python's own list of what a data archive must not hold
        target = into.joinpath(*name.parts)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        if written + member.size > limit:
            raise UserError(f"{archive.name} unpacks to more than {limit} bytes; nothing was unpacked")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        if source is None or target.exists():
            raise UserError(f"{archive.name} holds {member.name!r} twice or in no readable form; nothing was unpacked")
        with source, target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                written += len(chunk)
                yield from pace.at(min(tar.offset + written, archive.stat().st_size))
    yield from pace.finish(archive.stat().st_size)


def _check(member: tarfile.TarInfo, name: PurePosixPath, archive: Path, folder: str) -> None:
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise UserError(
            f"{archive.name} holds {member.name!r}, neither a plain file nor a folder; nothing was unpacked"
        )
    outside = name.is_absolute() or ".." in name.parts or not name.parts or name.parts[0] != folder
    if outside or any(sign in member.name for sign in "\\:\0"):
        raise UserError(f"{archive.name} holds {member.name!r}, which lies outside {folder}; nothing was unpacked")

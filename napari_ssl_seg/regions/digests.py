"""SHA-256 of weights, which are too large to be read again each time a key is made of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import read_json, write_json
from napari_ssl_seg.places import cache_folder

REMEMBERED = 200
"""Files whose sums are kept."""

_known: dict[str, str] = {}


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex; read once for each path, time of change and size, also over several sessions.

    Raises
    ------
    UserError
        When the file cannot be read.
    """
    path = Path(path).expanduser().absolute()
    try:
        status = path.stat()
        entry = f"{path}|{status.st_mtime_ns}|{status.st_size}"
        if entry not in _known:
            _known.update(_remembered())
        if entry not in _known:
            with path.open("rb") as file:
                _known[entry] = hashlib.file_digest(file, "sha256").hexdigest()
            _remember(entry)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check that the file is there") from error
    return _known[entry]


def folder_digest(folder: str | os.PathLike[str]) -> str:
    """SHA-256 of the names, sizes and times of change of the files in ``folder`` and its subfolders, in hex.

    Raises
    ------
    UserError
        When the folder cannot be read.
    """
    digest = hashlib.sha256()
    root = str(folder)
    try:
        with os.scandir(root) as entries:
            top = sorted(entries, key=lambda entry: entry.name)
        for entry in top:
            if entry.is_dir():
                with os.scandir(entry.path) as inner:
                    for file in sorted(inner, key=lambda file: file.name):
                        _add(digest, f"{entry.name}/{file.name}", file)
            else:
                _add(digest, entry.name, entry)
    except OSError as error:
        raise UserError(f"{root} cannot be read ({error.strerror or error}); check the folder of masks") from error
    return digest.hexdigest()


def _add(digest: Any, name: str, entry: os.DirEntry[str]) -> None:
    status = entry.stat()
    digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))


def _memory() -> Path:
    return cache_folder() / "sha256.json"


def _remembered() -> dict[str, str]:
    try:
        kept = read_json(_memory(), limit=2**20)
    except UserError:  # nothing kept yet, or damaged: it is only a shortcut
        return {}
    return {k: v for k, v in kept.items() if isinstance(v, str)} if isinstance(kept, dict) else {}


def _remember(entry: str) -> None:
    kept = {**_remembered(), entry: _known[entry]}
    try:
        write_json(_memory(), dict(list(kept.items())[-REMEMBERED:]))
    except (UserError, OSError):  # a cache folder that cannot be written costs time, nothing else
        return

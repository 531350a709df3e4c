"""Where the phantoms lie that come with the package: in a checkout's ``sample_data/``, or made once into the user's cache."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.places import cache_folder
from napari_ssl_seg.sample.write import check_kind, write_phantom_study_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.sample.classes import Kind

SUBJECTS: dict[str, int] = {"cardiac": 24, "abdomen": 12}
SEED = 0
VERSION = 1
"""Raised whenever the phantoms change, so that a cache made by an older version is not taken for the present one."""


def bundled_study_source(
    kind: Kind = "cardiac",
    *,
    subjects: int | None = None,
    on_subject: Callable[[int, int], None] | None = None,
) -> Path:
    """The folder with ``images/``, ``labels/`` and ``dataset.json`` of the bundled phantoms.

    The first call without a checkout takes about two seconds a subject; later ones return at once. Two processes may
    call it at the same time: each makes its own copy, and the first to finish is kept.

    Parameters
    ----------
    kind : {"cardiac", "abdomen"}
    subjects : int, optional
        How many; 24 hearts and 12 abdomens by default. Any other number is always made into the cache.
    on_subject : callable, optional
        Told how many subjects are written, and of how many, while they are made.
    """
    check_kind(kind)
    number = SUBJECTS[kind] if subjects is None else subjects
    shipped = Path(__file__).resolve().parents[2] / "sample_data" / kind
    if number == SUBJECTS[kind] and (shipped / "dataset.json").is_file():
        return shipped
    target = cache_folder() / f"phantoms-{VERSION}" / f"{kind}-{number}"
    if (target / "dataset.json").is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{target.parent} cannot be made ({error.strerror}); set NAPARI_SSL_SEG_CACHE to a folder that you may write to"
        ) from error
    unfinished = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        write_phantom_study_files(unfinished, kind, number, SEED, on_subject=on_subject)
        move_into_place(unfinished, target, "dataset.json")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def move_into_place(finished: Path, target: Path, mark: str) -> None:
    """Rename the folder ``finished`` to ``target``, unless another process got there first with a whole one.

    Parameters
    ----------
    mark : str
        Name of a file that only a whole folder holds.
    """
    if target.is_dir() and not (target / mark).exists():
        broken = target.with_name(f".{target.name}-broken-{secrets.token_hex(4)}")
        os.replace(target, broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        os.replace(finished, target)
    except OSError as error:
        if not (target / mark).exists():
            raise UserError(
                f"{target} could not be written ({error.strerror or error}); choose another folder"
            ) from error

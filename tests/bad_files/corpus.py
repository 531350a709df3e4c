"""Every file of the corpus, in one list."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.bad_files import (
    dicom_files,
    label_files,
    manifest_files,
    meta_files,
    nifti_files,
    nifti_grid_files,
    nrrd_files,
    run_files,
    sam_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Kind

_MODULES = (
    nifti_files,
    nifti_grid_files,
    nrrd_files,
    meta_files,
    dicom_files,
    label_files,
    run_files,
    sam_files,
    manifest_files,
)
CORPUS: tuple[BadFile, ...] = tuple(entry for module in _MODULES for entry in module.FILES)
OF_A_RUN = ("checkpoint", "weights", "run")


def of_kind(*kinds: Kind) -> list[BadFile]:
    """The files that pretend to be of one of these kinds."""
    return [entry for entry in CORPUS if entry.kind in kinds]


def folder_name(entry: BadFile) -> str:
    """The folder of its own that a file is made in; for a run's, the run."""
    return entry.name.replace(".", "_")


def make(entry: BadFile, root: Path, run: Path | None = None) -> Path:
    """Make one in its folder below ``root``; those of a run spoil a copy of ``run``."""
    folder = root / folder_name(entry)
    if entry.kind in OF_A_RUN:
        assert run is not None
        shutil.copytree(run, folder)
    else:
        folder.mkdir(parents=True)
    entry.make(folder / entry.name)
    return folder / entry.name

"""Every file of the corpus, in one list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bad_files import itk_files, label_files, nifti_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Kind

CORPUS: tuple[BadFile, ...] = (*nifti_files.FILES, *itk_files.FILES, *label_files.FILES)


def of_kind(*kinds: Kind) -> list[BadFile]:
    """The files that pretend to be of one of these kinds."""
    return [entry for entry in CORPUS if entry.kind in kinds]


def make(entry: BadFile, root: Path) -> Path:
    """Make one in a folder of its own below ``root``."""
    folder = root / entry.name.replace(".", "_")
    folder.mkdir(parents=True)
    entry.make(folder / entry.name)
    return folder / entry.name

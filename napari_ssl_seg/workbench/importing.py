"""From a folder that somebody chose to a study: what can be known is found out, and only the rest is asked."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ssl_seg.study import Study

IMAGE_FOLDERS = ("imagesTr", "images", "image", "scans", "img")
LABEL_FOLDERS = ("labelsTr", "labels", "label", "segmentations", "masks", "seg", "annotations")
DATABASE = "study.db"


@dataclass(frozen=True)
class ImportPlan:
    """What will be made, as far as it can be known before asking."""

    source: Path
    """The folder that was chosen."""
    images: Path
    """What `Study.create` gets: the folder of the images, or of a ``dataset.json``."""
    image_count: int
    labels: Path | None
    label_count: int
    name: str
    where: Path
    """The folder of the study: not there yet."""
    split: tuple[int, int, int] = (70, 10, 20)

    def with_labels(self, labels: Path | None) -> ImportPlan:
        """The same with another folder of labels."""
        return replace(self, labels=labels, label_count=_count(labels) if labels is not None else 0)

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `Study.create`."""
        return {"images": self.images, "labels": self.labels, "split": self.split}


def is_study(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a study in ``folder``."""
    return (Path(folder) / DATABASE).is_file()


def plan_import(folder: str | os.PathLike[str]) -> ImportPlan:
    """Find the images and labels below a folder, and propose a name and a place for the study.

    Raises
    ------
    StudyError
        When the folder is not there or holds no scan.
    """
    source = Path(folder).expanduser()
    if not source.is_dir():
        raise StudyError(f"{source} is not a folder; choose the folder that holds the scans")
    if (source / "dataset.json").is_file():
        listed = next((source / name for name in IMAGE_FOLDERS if (source / name).is_dir()), source)
        labels = next((source / name for name in LABEL_FOLDERS if (source / name).is_dir()), None)
        images, counted = source, _count(listed)
    else:
        images = next((source / name for name in IMAGE_FOLDERS if _count(source / name)), source)
        around = (source, source.parent) if images == source else (source,)
        labels = _label_folder(around, images)
        counted = _count(images)
    if counted == 0:
        raise StudyError(
            f"{source} holds no scan that can be read (.nii, .nii.gz, .nrrd, .mha, .mhd); choose the folder that does"
        )
    name = source.parent.name if source.name in IMAGE_FOLDERS and source.parent.name else source.name
    return ImportPlan(
        source=source,
        images=images,
        image_count=counted,
        labels=labels,
        label_count=_count(labels) if labels is not None else 0,
        name=name or "study",
        where=free_place(source.parent, name or "study"),
    )


def free_place(parent: Path, name: str) -> Path:
    """A folder for a study of that name that is not there yet: beside the scans, or at home where that is read-only."""
    if not os.access(parent, os.W_OK):
        parent = Path.home() / "ssl-studies"
    number = 1
    while True:
        folder = parent / (f"{name}-study" if number == 1 else f"{name}-study-{number}")
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return folder
        number += 1


def _label_folder(places: Iterable[Path], images: Path) -> Path | None:
    for place in places:
        for name in LABEL_FOLDERS:
            folder = place / name
            if folder != images and _count(folder):
                return folder
    return None


def _count(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    from napari_ssl_seg.volumes import find_volumes

    return len(find_volumes(folder))


class Cancelled(Exception):
    """The user does not want it any more."""


class ImportJob:
    """Making a study, with its progress in plain sight: `done` of `total`, and `cancel`.

    `run` belongs in a worker; the other members may be used from any thread.
    """

    def __init__(self, where: Path, **options: Any) -> None:
        self.where = where
        self.done, self.total = 0, 0
        self.what = "reading headers"
        self._options = options
        self._cancelled = False

    def cancel(self) -> None:
        """Stop at the next scan; what was made so far is removed."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def report(self, done: int, total: int, what: str = "reading scans") -> None:
        """Take note of how far it is.

        Raises
        ------
        Cancelled
            When nobody wants the study any more.
        """
        self.done, self.total, self.what = done, total, what
        if self._cancelled:
            raise Cancelled

    def run(self) -> Study | None:
        """Make the study; None when it was cancelled."""
        from napari_ssl_seg.study import Study

        existed = self.where.exists()
        try:
            study = Study.create(self.where, progress=self.report, **self._options)
        except Cancelled:
            if not existed:
                shutil.rmtree(self.where, ignore_errors=True)
            return None
        return study

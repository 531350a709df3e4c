"""From a folder that somebody chose to a study: what can be known is found out, and only the rest is asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.study.pairing import FoundCase

IMAGE_FOLDERS = ("imagesTr", "images", "image", "scans", "img")
LABEL_FOLDERS = ("labelsTr", "labels", "label", "segmentations", "masks", "seg", "annotations")
DATABASE = "study.db"


@dataclass(frozen=True)
class ImportPlan:
    """What will be made, as far as it can be known before asking."""

    images: Path
    """What `Study.create` gets: the folder of the images, or one whose layout or ``dataset.json`` is known."""
    image_count: int
    labels: Path | None
    label_count: int
    name: str
    where: Path
    """The folder of the study: not there yet."""
    split: tuple[int, int, int] = (70, 10, 20)
    labels_found: Path | None = None
    """Labels that the layout of ``images`` brings along, without being named."""

    def with_labels(self, labels: Path | None) -> ImportPlan:
        """The same with another folder of labels.

        Raises
        ------
        StudyError
            When it is no folder, or holds no label with the name of a scan.
        """
        if labels is not None and not labels.is_dir():
            raise StudyError(f"{labels} is not a folder; choose the folder of the label maps, or leave it empty")
        if labels is None:
            return replace(self, labels=None, label_count=0)
        return replace(self, labels=labels, label_count=_labelled(_cases(self._scans(labels), labels)))

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `Study.create`."""
        given: dict[str, Any] = {"images": self._scans(self.labels), "split": self.split, "name": self.name}
        return given if self.labels == self.labels_found else {**given, "labels": self.labels}

    def _scans(self, labels: Path | None) -> Path | list[tuple[Path, ...]]:
        """The folder; or the scans in it one by one, where its own labels would come along unasked."""
        if self.labels_found is None or labels == self.labels_found:
            return self.images
        return [case.images for case in _cases(self.images, None)]


def is_study(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a study in ``folder``."""
    return (Path(folder) / DATABASE).is_file()


def plan_import(folder: str | os.PathLike[str]) -> ImportPlan:
    """Find the images and labels below a folder, and propose a name and a place for the study. Reads names only.

    Raises
    ------
    StudyError
        When the folder is not there or holds no scan.
    """
    source = Path(folder).expanduser().absolute()
    if not source.is_dir():
        raise StudyError(f"{source} is not a folder; choose the folder that holds the scans")
    name = source.parent.name if source.name in IMAGE_FOLDERS and source.parent.name else source.name
    images, labels = source, None
    cases = _cases(source, None)
    if not _labelled(cases):
        images = next((source / part for part in IMAGE_FOLDERS if (source / part).is_dir()), source)
        labels = _label_folder((source, source.parent) if images == source else (source,), images)
        cases = _cases(images, labels)
    brought = _common_folder(cases) if labels is None else None
    return ImportPlan(
        images=images,
        image_count=len(cases),
        labels=labels or brought,
        label_count=_labelled(cases),
        name=name or "study",
        where=free_place(source.parent, name or "study"),
        labels_found=brought,
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
            if folder == images or not folder.is_dir():
                continue
            try:
                if _labelled(_cases(images, folder)):
                    return folder
            except StudyError:
                continue  # holds nothing that goes with these images
    return None


def _cases(images: Path | list[tuple[Path, ...]], labels: Path | None) -> list[FoundCase]:
    from napari_ssl_seg.study.layouts import find_cases

    return find_cases(images, labels).cases


def _labelled(cases: Iterable[FoundCase]) -> int:
    return sum(case.label is not None for case in cases)


def _common_folder(cases: Iterable[FoundCase]) -> Path | None:
    folders = [str(case.label.parent) for case in cases if case.label is not None]
    return Path(os.path.commonpath(folders)) if folders else None


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
        """Stop at the next scan; nothing is left behind."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def report(self, done: int, total: int, what: str | Path = "reading scans") -> None:
        """Take note of how far it is.

        Raises
        ------
        Cancelled
            When nobody wants the study any more.
        """
        self.done, self.total = done, total
        self.what = what if isinstance(what, str) else f"read {what.name}"
        if self._cancelled:
            raise Cancelled

    def run(self) -> Study | None:
        """Make the study; None when it was cancelled."""
        from napari_ssl_seg.study import Study

        try:
            return Study.create(self.where, progress=self.report, **self._options)
        except Cancelled:
            return None

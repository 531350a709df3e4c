"""Cases whose files are given, or have changed, since the study was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError, VolumeError
from napari_ssl_seg.study.hashing import combine, file_stamp, hash_file
from napari_ssl_seg.study.importing import LABEL_MARK, examine_label
from napari_ssl_seg.volumes import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_ssl_seg.study.records import Case


def case_stamp(case: Case) -> str:
    """Of a case's images and label as they are now."""
    return file_stamp(case.image_files if case.label_file is None else (*case.image_files, case.label_file))


def given_label(case: Case, file: Path, *, sparse: bool) -> Case:
    """The case with a label map that somebody gives it; as `with_label`, and refused for one time point of a file."""
    if case.frame is not None:
        raise StudyError(
            f"{case.id} is one time point of {case.images[0]}; save it as a file of its own to give it a label"
        )
    return with_label(case, file, sparse=sparse)


def with_slices(case: Case, indices: Iterable[int] | None) -> Case:
    """The case with these axial slices of its label counting (None: all); raises StudyError where they cannot."""
    if case.label is None:
        raise StudyError(f"{case.id} has no label, so no slices of it can count; give it a label first")
    slices = None if indices is None else tuple(sorted({int(index) for index in indices}))
    if slices and not 0 <= slices[0] <= slices[-1] < case.shape[0]:
        raise StudyError(f"{case.id} has the slices 0 to {case.shape[0] - 1}, not {slices[0]} to {slices[-1]}")
    return case._replace(labelled_slices=slices)


def with_label(case: Case, file: Path, *, sparse: bool) -> Case:
    """The case with ``file`` as its label, looked at; raises StudyError when it cannot be the label of this image."""
    image = case.images[0]
    stamp = file_stamp(
        (*case.image_files, file)
    )  # before the reading, so that what is written meanwhile is noticed later
    try:
        header = read_header(image)
        frames = header.channels if case.frame is not None else 1
        facts = examine_label(file, header.geometry, image.name, frames=frames)[case.frame or 0]
    except VolumeError as error:
        raise StudyError(str(error)) from error
    others = [text for text in case.warnings if not text.startswith(LABEL_MARK)]
    return case._replace(
        label_file=str(file),
        label_fingerprint=facts.fingerprint,
        label_values=facts.values,
        labelled_slices=facts.slices if sparse else None,
        warnings=(*others, *(LABEL_MARK + text for text in facts.warnings)),
        stamp=stamp,
    )


@dataclass(frozen=True)
class Change:
    """A case before and after its files were looked at again."""

    old: Case
    new: Case

    @property
    def other_content(self) -> bool:
        """False where a file was only touched or copied."""
        return (self.old.fingerprint, self.old.label_fingerprint) != (self.new.fingerprint, self.new.label_fingerprint)


def look_again(case: Case, *, sparse: bool) -> Change | None:
    """What became of a case whose files were written to; None where they were not.

    Missing files are no change: reading them says what is wrong.

    Raises
    ------
    StudyError
        When what was written cannot be read, or is no label of this image any more.
    """
    stamp = case_stamp(case)
    if stamp == case.stamp or "-" in stamp.split(" "):
        return None
    try:
        new = case._replace(fingerprint=combine(map(_sha256, case.images)), stamp=stamp)
        label = case.label
        if label is not None and _sha256(label) != case.label_fingerprint:
            chosen = new.labelled_slices
            new = with_label(new, label, sparse=sparse)
            if not sparse:
                new = new._replace(labelled_slices=chosen)
    except VolumeError as error:
        raise StudyError(str(error)) from error
    return Change(case, new)


def _sha256(path: Path) -> str:
    """Of a volume's bytes, once it is sure that it is whole."""
    return hash_file(path, expected=read_header(path, verify=True).stream_bytes).sha256

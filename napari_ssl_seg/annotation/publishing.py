"""From the label store to label files: what training, fingerprints and scores see of what was drawn.

Each case that was labelled gets ``STUDY/labels/published/CASE.nii.gz`` in the grid of its image, which becomes its label in
the study, with those slices counting that are labelled or checked. The label files that the study was made with are only
ever read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.reader import LabelReader
from napari_ssl_seg.annotation.states import TRAINING_STATES
from napari_ssl_seg.files import inside
from napari_ssl_seg.volumes import Volume, read_header, write_volume

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_ssl_seg.study import Study

FOLDER = "published"


def publish(study: Study, case_ids: Iterable[str] | None = None) -> list[str]:
    """Write label files of the cases (of ``case_ids``, or all) that were labelled since their last publication.

    May be called while a window labels, from any process; what is published is one state of the store.

    Returns
    -------
    The cases whose label file was written.

    Raises
    ------
    StudyError
        When the store is damaged; UserError when a label file cannot be written.
    """
    reader = LabelReader(study)
    try:
        waiting = _waiting(reader, None if case_ids is None else set(case_ids))
        return [case_id for case_id in waiting if _publish(reader, case_id)]
    finally:
        reader.close()


def published_file(study: Study, case_id: str) -> Path:
    """Where a case's label file goes."""
    return inside(study.folder / "labels" / FOLDER, f"{case_id}.nii.gz")


def unpublished(study: Study) -> list[str]:
    """Cases that were labelled since their last publication."""
    reader = LabelReader(study)
    try:
        return _waiting(reader, None)
    finally:
        reader.close()


def _waiting(reader: LabelReader, chosen: set[str] | None) -> list[str]:
    changed = [
        case_id
        for case_id, revision, published in reader.revisions()
        if (chosen is None or case_id in chosen)
        and (published != revision or (published and not published_file(reader.study, case_id).exists()))
    ]
    if changed and chosen is None:  # a study made anew in the same folder may not have them any more
        known = {case.id for case in reader.study.cases()}
        changed = [case_id for case_id in changed if case_id in known]
    return changed


def _publish(reader: LabelReader, case_id: str) -> bool:
    """Label file first, then the study, then the note that it was done: after a kill between them it is done again."""
    stored = reader.stored(case_id)
    if stored is None:
        return False
    study = reader.study
    states = np.frombuffer(stored.states, np.uint8)
    counting = np.flatnonzero(np.isin(states, TRAINING_STATES))
    case = study.case(case_id)
    if not stored.slices and not len(counting) and case.label is None:
        return False  # a flag or a proposal alone is no label
    geometry = read_header(case.images[0]).geometry
    path = published_file(study, case_id)
    write_volume(path, Volume(reader.assemble(case_id, stored), geometry))
    study.add_label(case_id, path, slices=None if len(counting) == len(states) else counting.tolist())
    reader.note_published(case_id, stored.revision)
    return True

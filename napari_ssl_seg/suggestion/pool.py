"""What may be suggested, and what is labelled already: never a case of the split test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.split import seeded_order
from napari_ssl_seg.suggestion.records import Spot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.suggestion.records import Purpose, Unit

MOST_SLICES = 5000
"""Slices that are looked at in one call; of a larger study so many, of cases drawn at random."""
SPLITS = {"label": "train", "validation": "validation"}


@dataclass(frozen=True)
class Pool:
    """The spots of one call."""

    unit: Unit
    cases: tuple[Case, ...]
    """That are looked at."""
    candidates: tuple[Spot, ...]
    """That may be suggested."""
    labelled: tuple[Spot, ...]
    """Slices that are labelled, in the cases that are looked at (of cases: those with any label)."""

    @property
    def gaps(self) -> dict[str, int]:
        """How far apart slices of a case should be when they are suggested together: two at least, or a tenth of it."""
        return {case.id: max(2, case.shape[0] // 10) for case in self.cases}


def make_pool(study: Study, *, purpose: Purpose, unit: Unit, skip: Iterable[tuple[str, int | None]], seed: int) -> Pool:
    """The candidates of a study.

    Parameters
    ----------
    purpose
        ``label``: slices to train on; ``validation``: slices to measure with.
    skip
        Slices, or with None whole cases, that are left out.

    Raises
    ------
    StudyError
        When the word is no purpose or unit, or nothing is left to label.
    """
    if purpose not in SPLITS:
        raise StudyError(f"{purpose!r} is no purpose; suggestions are for {' or '.join(SPLITS)}")
    if unit not in ("slice", "case"):
        raise StudyError(f"{unit!r} is no unit; suggestions are of slices or cases: write slice or case")
    split = SPLITS[purpose]
    left_out = set(skip)
    whole = {case_id for case_id, index in left_out if index is None}
    found = {case.id: case for case in study.cases(split=split) if case.labelled or case.id not in whole}
    chosen: list[Case] = []
    total = 0
    for case_id in seeded_order(list(found), seed):
        case = found[case_id]
        if case.labelled or total + case.shape[0] <= MOST_SLICES or not chosen:
            chosen.append(case)
            total += case.shape[0]
    for case in chosen:  # the gate that every reading of voxels passes: refuses test cases whatever was asked above
        study.allowed(case.id, "train" if purpose == "label" else "choose")
    looked_at = _flagged(study, chosen)
    candidates: list[Spot] = []
    labelled: list[Spot] = []
    for case in sorted(chosen, key=lambda item: item.id):
        done = _labelled_slices(case)
        if unit == "case":
            (labelled if done else candidates).append(Spot(case.id, None))
            continue
        labelled += [Spot(case.id, index) for index in sorted(done)]
        if case.id not in whole:
            free = (index for index in range(case.shape[0]) if index not in done | looked_at.get(case.id, set()))
            candidates += [Spot(case.id, index) for index in free if (case.id, index) not in left_out]
    if not candidates:
        what = "slice" if unit == "slice" else "scan"
        raise StudyError(
            f"{study.name} has no unlabelled {what} left in the split {split}; add scans, or forget what was skipped"
        )
    return Pool(unit, tuple(sorted(chosen, key=lambda item: item.id)), tuple(candidates), tuple(labelled))


def _labelled_slices(case: Case) -> set[int]:
    if case.label_file is None:
        return set()
    return set(range(case.shape[0])) if case.labelled_slices is None else set(case.labelled_slices)


def _flagged(study: Study, cases: Iterable[Case]) -> dict[str, set[int]]:
    """Slices that somebody has looked at and flagged: they are known, and wait for a second look."""
    if not (study.folder / "labels" / "labels.db").exists():
        return {}
    from napari_ssl_seg.annotation import SliceState, open_labels

    store = open_labels(study, write=False)
    try:
        stored = set(store.stored_cases())
        states = {case.id: store.states(case.id) for case in cases if case.id in stored}
    finally:
        store.close()
    return {
        case_id: {index for index, state in enumerate(of_case) if state == SliceState.FLAGGED}
        for case_id, of_case in states.items()
    }

"""What may be suggested, and what is labelled already: never a case of the split test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.split import seeded_order
from napari_ssl_seg.suggestion.records import Spot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.suggestion.records import Purpose, Unit

MOST_SLICES = 5000
"""Slices that are looked at in one call; of a larger study so many, evenly thinned, of scans drawn at random."""
MOST_VOXELS = {"cpu": 2**25, "gpu": 2**29}
"""Likewise voxels, times the passes of a network over them: two minutes of one core (small 2D U-Net, measured), and more on a GPU."""
FEWEST = 5
"""Slices of a scan that are looked at, however large it is; rather fewer scans."""
SPLITS = {"label": "train", "validation": "validation"}


@dataclass(frozen=True)
class Limit:
    """How much may be looked at in one call."""

    slices: float = math.inf
    voxels: float = math.inf
    whole: bool = False
    """Whether a scan is looked at as a whole or not at all (networks in 3D)."""


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
    planes: dict[str, tuple[int, ...]]
    """Slices that are looked at, of each case that holds a candidate."""
    taught: dict[str, tuple[int, ...]]
    """Labelled slices, of each case that has any."""

    @property
    def gaps(self) -> dict[str, int]:
        """How far apart slices of a case should be when they are suggested together: two at least, or a tenth of it."""
        return {case.id: max(2, case.shape[0] // 10) for case in self.cases}

    @property
    def open_cases(self) -> tuple[Case, ...]:
        """Those that hold a candidate."""
        known = {spot.case_id for spot in self.candidates}
        return tuple(case for case in self.cases if case.id in known)


def make_pool(
    study: Study,
    *,
    purpose: Purpose,
    unit: Unit,
    skip: Iterable[tuple[str, int | None]],
    seed: int,
    limit: Limit = Limit(),
) -> Pool:
    """The candidates of a study.

    Parameters
    ----------
    purpose
        ``label``: slices to train on; ``validation``: slices to measure with.
    skip
        Slices, or with None whole cases, that are left out.
    seed
        Of the order in which cases are taken until the limit.

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
    found = {case.id: case for case in study.cases(split=split)}
    order = [found[case_id] for case_id in seeded_order(list(found), seed)]
    for case in order:  # the gate that every reading of voxels passes: refuses test cases whatever was asked above
        study.allowed(case.id, "train" if purpose == "label" else "choose")
    flagged = _flagged(study, order)
    done = {case.id: _labelled_slices(case) for case in order}
    free: dict[str, list[int]] = {}
    for case in order:
        if case.id not in whole and not (unit == "case" and done[case.id]):
            known = done[case.id] | flagged.get(case.id, set())
            indices = [index for index in range(case.shape[0]) if index not in known]
            free[case.id] = [index for index in indices if (case.id, index) not in left_out]
    planes = _thinned([case for case in order if free.get(case.id)], free, limit)
    taught = _thinned(
        [case for case in order if done[case.id]], {key: sorted(part) for key, part in done.items()}, limit
    )
    cases = tuple(case for case in sorted(order, key=lambda item: item.id) if case.id in planes or case.id in taught)
    if not planes:
        what = "slice" if unit == "slice" else "scan"
        raise StudyError(
            f"{study.name} has no unlabelled {what} left in the split {split}; add scans, or forget what was skipped"
        )
    if unit == "case":
        candidates = tuple(Spot(case.id, None) for case in cases if case.id in planes)
        labelled = tuple(Spot(case.id, None) for case in cases if case.id in taught)
    else:
        candidates = tuple(Spot(case.id, index) for case in cases for index in planes.get(case.id, ()))
        labelled = tuple(Spot(case.id, index) for case in cases for index in taught.get(case.id, ()))
    return Pool(unit, cases, candidates, labelled, planes, taught)


def _thinned(cases: Sequence[Case], indices: Mapping[str, Sequence[int]], limit: Limit) -> dict[str, tuple[int, ...]]:
    """Of the first cases as many as the limit lets be looked at, and every n-th of their slices.

    The slices of a case are those of one grid as long as it has any left, so that what was read once serves again.
    """
    kept: list[Case] = []
    slices = voxels = all_slices = all_voxels = 0
    for case in cases:
        plane = case.shape[1] * case.shape[2]
        least = case.shape[0] if limit.whole else min(FEWEST, case.shape[0])
        if kept and (slices + least > limit.slices or voxels + least * plane > limit.voxels):
            continue
        kept.append(case)
        slices, voxels = slices + least, voxels + least * plane
        all_slices, all_voxels = all_slices + case.shape[0], all_voxels + case.shape[0] * plane
    step = max(1, math.ceil(all_slices / limit.slices), math.ceil(all_voxels / limit.voxels))
    found: dict[str, tuple[int, ...]] = {}
    for case in kept:
        own = 1 if limit.whole else min(step, max(1, case.shape[0] // FEWEST))
        grid = tuple(index for index in indices[case.id] if index % own == own // 2)
        found[case.id] = grid or tuple(indices[case.id][::own])
    return found


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

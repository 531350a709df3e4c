"""Labels that somebody has yet to accept: all of them, a slice, a class or a region at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.annotation.painting import Box, among, check_fits, erasable, paintable, shrink
from napari_ssl_seg.errors import RunError, UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence
    from pathlib import Path

    from napari_ssl_seg.annotation.region_ladder import Region
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run


@dataclass(frozen=True, eq=False)
class Proposal:
    """Labels of some slices of a case."""

    case_id: str
    labels: np.ndarray
    """(z, y, x) unsigned, of the shape of the scan; counts in ``slices`` only."""
    slices: tuple[int, ...]
    """Ascending axial indices."""
    source: str
    """Where they come from, for people."""
    confidence: np.ndarray | None = None
    """(z, y, x) from 0 to 1: how sure the source is of each voxel."""

    def values(self, slices: Iterable[int] | None = None) -> tuple[int, ...]:
        """The classes that are proposed in these slices (None: in all of its), ascending."""
        chosen = [z for z in (self.slices if slices is None else slices) if z in self.slices]
        found: set[int] = set()
        for z in chosen:
            found.update(np.unique(self.labels[z]).tolist())
        return tuple(sorted(found - {0}))


def accept(
    labels: np.ndarray,
    proposal: Proposal,
    *,
    slices: Iterable[int] | None = None,
    values: Collection[int] | None = None,
    region: Region | np.ndarray | None = None,
    protected: Collection[int] = frozenset(),
    overwrite: bool = False,
) -> list[Box]:
    """What is to be put for a proposal, or a part of it, to be the labels.

    Where the proposal has a class, voxels of no class get it. With ``overwrite`` those of other classes do, too, and
    voxels of a class that the proposal leaves out become 0. Nothing else changes, so accepting again changes nothing.

    Parameters
    ----------
    labels
        (z, y, x) as they are now; not changed.
    slices
        Axial indices; those without a proposal are left out. None: all of the proposal's.
    values
        Only these classes are put, and only they are taken away; None: all.
    region
        Only inside it: one of a ladder (in whichever slices are chosen), or bool (y, x) or (z, y, x).
    protected
        Classes that neither lose nor gain a voxel.
    overwrite
        Other labels may change.

    Returns
    -------
    list of (start, values)
        One box (1, y, x) a slice in which something changes, as small as it can be, ascending.

    Raises
    ------
    ValueError
        When the labels have another shape than the proposal, or cannot hold its values.
    """
    if labels.shape != proposal.labels.shape:
        raise ValueError(f"the proposal is for labels of shape {proposal.labels.shape}, not {labels.shape}")
    wanted_slices = proposal.slices if slices is None else sorted(set(slices) & set(proposal.slices))
    boxes: list[Box] = []
    for z in wanted_slices:
        (y0, y1, x0, x1), inside = _within(region, z, labels.shape)
        differs = labels[z, y0:y1, x0:x1] != proposal.labels[z, y0:y1, x0:x1]
        if inside is not None:
            differs &= inside
        start, differs = shrink((y0, x0), differs, differs)  # the rules are looked up where they matter only
        if not differs.size:
            continue
        part = (z, slice(start[0], start[0] + differs.shape[0]), slice(start[1], start[1] + differs.shape[1]))
        current, wanted = labels[part], proposal.labels[part]
        changed = paintable(current, wanted, protected, overwrite)
        if values is not None:
            changed &= among(wanted, values)
        if overwrite:
            changed |= (wanted == 0) & erasable(current, values, protected)
        changed &= differs
        if not changed.any():
            continue
        check_fits(int(wanted[changed].max()), labels.dtype)
        new = np.where(changed, wanted.astype(labels.dtype), current)
        boxes.append(shrink((z, *start), new[None], changed[None]))
    return boxes


def proposal_from_prediction(
    study: Study,
    run: str | Run,
    case_id: str,
    *,
    slices: Iterable[int] | None = None,
    skip: Collection[int] = (),
    confidence: bool = False,
    again: bool = False,
    device: str = "auto",
) -> Generator[Event, None, Proposal]:
    """What a run predicts for a scan, as a proposal: read from the run's folder, else predicted now and kept there.

    Parameters
    ----------
    slices
        Axial indices to propose; None: all.
    skip
        Slices to leave out: those that are labelled already.
    confidence
        Also the largest probability at each voxel; predicts where the run has kept no probabilities.
    again
        Predict even if there is a prediction.

    Yields
    ------
    Event
        As `training.predict`; nothing where a prediction is there.

    Raises
    ------
    UserError
        When the run cannot predict, or what it predicted does not lie on the scan's grid.
    """
    found = study.run(run) if isinstance(run, str) else run
    case = study.case(case_id)
    path, extra = found.prediction_path(case_id), found.probabilities / f"{case_id}.nii.gz"
    if again or not _fresh(found, path) or (confidence and not _fresh(found, extra)):
        from napari_ssl_seg.training import predict

        yield from predict(study, found, cases=[case_id], probabilities=confidence, device=device)
    labels = _read(path, case.shape, case_id)
    sure = _confidence(found, extra) if confidence else None
    chosen = range(case.shape[0]) if slices is None else slices
    kept = sorted({int(z) for z in chosen if 0 <= z < case.shape[0]} - set(skip))
    return Proposal(case_id, labels, tuple(kept), f"prediction of {found.id}", sure)


def _fresh(run: Run, path: Path) -> bool:
    """Whether a file is there and not older than the weights that it should come from."""
    try:
        written = path.stat().st_mtime
    except OSError:
        return False
    try:
        return written >= run.weights_path.stat().st_mtime
    except OSError:  # the weights are gone: what they said is still there
        return True


def _confidence(run: Run, path: Path) -> np.ndarray:
    """(z, y, x) float16: the probability of what is proposed at each voxel, of the likeliest class at most."""
    from napari_ssl_seg.training.weights import load_answer
    from napari_ssl_seg.volumes import read_volume

    likeliest = read_volume(path).array.max(axis=0)
    if load_answer(run).overlapping:  # no channel for the background: it is proposed where all are below a half
        likeliest = np.maximum(likeliest, 1 - likeliest)
    return likeliest.astype(np.float16)


def _read(path: Path, shape: Sequence[int], case_id: str) -> np.ndarray:
    from napari_ssl_seg.volumes import read_volume

    array = np.asarray(read_volume(path, role="label").array)
    if array.shape != tuple(shape):
        raise RunError(f"{path} has the shape {array.shape} and {case_id} {tuple(shape)}; predict that scan again")
    if array.min(initial=0) < 0 or array.max(initial=0) > np.iinfo(np.uint16).max:
        raise UserError(f"{path} has values that are no classes; predict that scan again")
    return array.astype(np.uint8 if array.max(initial=0) < 256 else np.uint16)


def _within(
    region: Region | np.ndarray | None, z: int, shape: tuple[int, ...]
) -> tuple[tuple[int, int, int, int], np.ndarray | None]:
    """The part (y0, y1, x0, x1) of slice ``z`` that a region may touch, and where in it."""
    if region is None:
        return (0, shape[1], 0, shape[2]), None
    if isinstance(region, np.ndarray):
        mask = region[z] if region.ndim == 3 else region
        if mask.shape != shape[1:] or (region.ndim == 3 and region.shape != shape):
            raise ValueError(f"a region of shape {region.shape} does not lie in labels of shape {shape}")
        return (0, shape[1], 0, shape[2]), mask.astype(bool)
    (y, x), (height, width) = region.start, region.mask.shape
    y0, x0 = min(max(y, 0), shape[1]), min(max(x, 0), shape[2])
    y1, x1 = max(y0, min(y + height, shape[1])), max(x0, min(x + width, shape[2]))
    return (y0, y1, x0, x1), region.mask[y0 - y : y1 - y, x0 - x : x1 - x]

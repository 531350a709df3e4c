"""A simulated annotator: reveals the reference of a slice, and counts what a person would have done to draw it.

The person has two tools. A *region* (one of Felzenszwalb's superpixels of the slice, those of the Label tab) is given to a
class by one click; single *voxels* along a boundary are corrected by hand. For each region they do what costs less: click it
and mend what the click leaves wrong, or mend what is wrong as it stands. What stands there at first is the proposal (the last
run's prediction of the slice), or nothing. So the cost of a slice is

    SECONDS_PER_REGION x clicked regions + SECONDS_PER_VOXEL x corrected voxels

Both are set here and nowhere else. They are estimates, not measurements: a click with a look at it 1.5 s; a voxel along a
boundary 0.15 s, as tracing a boundary of 200 voxels takes half a minute. A slice that needs nothing costs nothing, but for
the look at it, which no strategy can save.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_ssl_seg import Study

SECONDS_PER_REGION = 1.5
SECONDS_PER_VOXEL = 0.15


@dataclass(frozen=True)
class Work:
    """What one slice took."""

    regions: int
    voxels: int

    @property
    def seconds(self) -> float:
        return SECONDS_PER_REGION * self.regions + SECONDS_PER_VOXEL * self.voxels


def work_of(reference: np.ndarray, standing: np.ndarray, regions: np.ndarray) -> Work:
    """The cheapest way from what stands there to the reference, (y, x) each, region by region.

    ``regions`` are numbered from 1; voxels outside all of them can only be mended one by one.
    """
    clicks = voxels = 0
    for number in np.unique(regions):
        inside = regions == number
        wanted, there = reference[inside], standing[inside]
        mend = int((wanted != there).sum())
        _, counts = np.unique(wanted, return_counts=True)
        after_click = len(wanted) - int(counts.max())
        if number and mend * SECONDS_PER_VOXEL > SECONDS_PER_REGION + after_click * SECONDS_PER_VOXEL:
            clicks += 1
            voxels += after_click
        else:
            voxels += mend
    return Work(clicks, voxels)


class Annotator:
    """Knows the reference of every train scan of a study, and shows a slice of it when it is asked for."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._regions = lru_cache(maxsize=None)(self._find_regions)

    def label(self, case_id: str, index: int, proposal: np.ndarray | None) -> Work:
        """Make a slice labelled; the proposal (y, x) is what the person starts from."""
        volume = self.study.label(case_id, purpose="train")
        assert volume is not None, f"{case_id} has no reference"
        reference = np.asarray(volume.array[index])
        standing = np.zeros_like(reference) if proposal is None else proposal
        work = work_of(reference, standing, self._regions(case_id, index))
        known = self.study.case(case_id).labelled_slices or ()
        self.study.set_labelled_slices(case_id, [*known, index])
        return work

    def forget(self) -> None:
        """Take every label of the splits train and validation back."""
        for split in ("train", "validation"):
            for case in self.study.cases(split=split, labelled=True):
                self.study.set_labelled_slices(case.id, [])

    def _find_regions(self, case_id: str, index: int) -> np.ndarray:
        from napari_ssl_seg.regions.slices import slice_image
        from napari_ssl_seg.regions.superpixels import felzenszwalb_regions

        return felzenszwalb_regions(slice_image(self.study, case_id, index), background_out=False)

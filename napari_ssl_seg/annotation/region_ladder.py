"""Regions of one slice on several levels, each inside one of the next coarser level: what a click gives to a class.

Because levels are nested, the next coarser or finer region at a point never jumps sideways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_ssl_seg.annotation.hierarchy import nested_levels
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run

LadderSource = Literal["auto", "watershed", "felzenszwalb", "slic", "sam", "embedding"]
LEVELS = 4
RATIO = 3
"""A level has about so many times the regions of the next coarser one."""
FINEST = 1500
"""Regions of the finest level at most."""
CACHED_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Region:
    """One region of a slice."""

    mask: np.ndarray
    """bool (y, x), of the size of its bounding box."""
    start: tuple[int, int]
    """Where the box starts in the slice, (y, x)."""
    level: int
    """Of the ladder, 0 = coarsest."""
    voxels: int


@dataclass(frozen=True, eq=False)
class RegionLadder:
    """Label maps of one slice from coarse to fine, each a union of regions of the next."""

    levels: tuple[np.ndarray, ...]
    """(y, x) uint16 or uint32; 0 = in no region, 1..M by descending area."""
    title: str
    """What the regions are, for people."""
    _boxes: dict[int, list[tuple[slice, slice] | None]] = field(default_factory=dict, repr=False)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many regions each level has."""
        return tuple(int(level.max(initial=0)) for level in self.levels)

    @property
    def nbytes(self) -> int:
        return sum(level.nbytes for level in self.levels)

    def at(self, y: float, x: float, level: int) -> Region | None:
        """The region of a level at a point (pixels; centres are whole numbers); None outside the slice and in no region.

        A level below the coarsest or above the finest is the coarsest or the finest.
        """
        level = self._clipped(level)
        number = self._number(y, x, level)
        if number == 0:
            return None
        box = self._box(level, number)
        mask = self.levels[level][box] == number
        return Region(mask, (box[0].start, box[1].start), level, int(np.count_nonzero(mask)))

    def finer(self, level: int, y: float, x: float) -> int:
        """The next finer level whose region at a point is another; the same level where there is none."""
        return self._step(self._clipped(level), y, x, 1)

    def coarser(self, level: int, y: float, x: float) -> int:
        """The next coarser level whose region at a point is another; the same level where there is none."""
        return self._step(self._clipped(level), y, x, -1)

    def _step(self, level: int, y: float, x: float, step: int) -> int:
        here = self.at(y, x, level)
        if here is None:
            return level
        candidate = level + step
        while 0 <= candidate < len(self.levels):
            there = self.at(y, x, candidate)
            if there is None or there.voxels != here.voxels:  # nested: as large means the same
                return candidate if there is not None else level
            candidate += step
        return level

    def _clipped(self, level: int) -> int:
        return min(max(int(level), 0), len(self.levels) - 1)

    def _number(self, y: float, x: float, level: int) -> int:
        row, column = round(y), round(x)
        height, width = self.levels[level].shape
        if not (0 <= row < height and 0 <= column < width):
            return 0
        return int(self.levels[level][row, column])

    def _box(self, level: int, number: int) -> tuple[slice, slice]:
        if level not in self._boxes:
            from scipy.ndimage import find_objects

            self._boxes[level] = find_objects(self.levels[level])
        box = self._boxes[level][number - 1]
        assert box is not None
        return box


def build_ladder(
    study: Study,
    case_id: str,
    z: int,
    *,
    levels: int = LEVELS,
    source: LadderSource = "auto",
    run: str | Run | None = None,
    settings: RegionSettings | None = None,
) -> RegionLadder:
    """The regions of an axial slice on several levels; kept in memory, so neighbours can be built ahead in a thread.

    Parameters
    ----------
    levels
        At most so many; fewer where a slice has only few regions.
    source
        ``watershed``: catchment basins of the gradient, merged by Ward's criterion; ``felzenszwalb`` and ``slic``: the
        same from finer versions of the superpixels of `napari_ssl_seg.regions`; ``sam``: the sub-masks that were prepared
        with ``settings``, cut further and merged; ``embedding``: clusters of what the decoder of ``run`` makes of the
        slice; ``auto``: sam where that slice is prepared, else watershed.
    run
        For ``embedding`` only.
    settings
        Where sub-masks come from; None: as `RegionSettings` says.

    Raises
    ------
    UserError
        When the scan has no such slice or cannot be read, or sub-masks or the run's weights are not there.
    """
    from napari_ssl_seg.annotation.ladder_sources import choose_source, make_ladder

    if levels < 1:
        raise UserError(f"a ladder has at least one level, not {levels}")
    case = study.case(case_id)
    chosen = choose_source(study, case_id, z, source, run, settings)
    key = (str(study.folder), case.fingerprint, case.frame, study.settings.normalisation, z, levels, chosen.key)
    return _built.get(key, lambda: make_ladder(study, case_id, z, chosen, levels))


def ladder_of(
    values: np.ndarray,
    labels: np.ndarray,
    *,
    levels: int = LEVELS,
    title: str = "",
    groups: np.ndarray | None = None,
) -> RegionLadder:
    """A ladder from the finest regions of a slice.

    Parameters
    ----------
    values
        (y, x) or (C, y, x): what is alike.
    labels
        (y, x), 0 = in no region.
    groups
        (y, x), 0 = in none: larger regions that the finest ones lie in. Each is on one of the levels.
    """
    total = min(len(np.unique(labels[labels > 0])), FINEST)
    if groups is None:
        counts = [total / RATIO**step for step in range(levels)]
    else:
        finer, whole = levels // 2, max(1, len(np.unique(groups[groups > 0])))
        counts = [whole * (total / whole) ** (step / max(1, finer)) for step in range(finer, 0, -1)]
        counts += [whole / RATIO**step for step in range(levels - finer)]
    made = nested_levels(values, labels, [max(1, round(count)) for count in counts], groups=groups)
    return from_levels(made[::-1], title)


def from_levels(levels: Sequence[np.ndarray], title: str) -> RegionLadder:
    """A ladder of nested label maps, coarse to fine; those with no more regions than the one before are left out."""
    kept: list[np.ndarray] = []
    for level in levels:
        if not kept or int(level.max(initial=0)) > int(kept[-1].max(initial=0)):
            kept.append(level)
    return RegionLadder(tuple(_smallest_type(level) for level in kept), title)


def _smallest_type(level: np.ndarray) -> np.ndarray:
    small = level.astype(np.uint16 if level.max(initial=0) < 2**16 else np.uint32)
    small.flags.writeable = False
    return small


_built: ByteCache[RegionLadder] = ByteCache(CACHED_BYTES, lambda ladder: ladder.nbytes)

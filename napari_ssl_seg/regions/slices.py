"""Slices of a study's scans as sources of regions get them: one channel, float32 in [0, 1]."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.pretext.crop import Contrast

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.study.records import Purpose

CLIP = (1.0, 99.0)
"""Percentiles that become 0 and 1 where the study's normalisation has no bounds of its own."""
PROBED = 4_000_000
"""Voxels; percentiles of larger scans are read off a regular grid of at most so many."""


def slice_image(study: Study, case_id: str, index: int, *, channel: int = 0, purpose: Purpose = "show") -> np.ndarray:
    """One axial slice of a scan, as the source of regions sees it.

    The study's own normalisation, mapped linearly to [0, 1]: from [-1, 1] where it is bounded so, else (z-score, none)
    from the scan's 1st and 99th percentile, and clipped.

    Parameters
    ----------
    index
        Along z.
    channel
        Of the scan.

    Returns
    -------
    ndarray
        (H, W) float32, the caller's own.

    Raises
    ------
    StudyError
        When the scan has no such slice or channel, or must not be used for ``purpose``.
    """
    return open_slices(study, case_id, channel=channel, purpose=purpose).image(index)


@dataclass(frozen=True, eq=False)
class ScanSlices:
    """One channel of one scan; ``array`` is (1, z, y, x), ``low`` and ``high`` become 0 and 1."""

    case_id: str
    array: np.ndarray
    low: float
    high: float
    contrast: Contrast

    def image(self, index: int) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""
        if not 0 <= index < self.array.shape[1]:
            raise StudyError(f"{self.case_id} has the slices 0 to {self.array.shape[1] - 1}, not {index}")
        if not self.high > self.low:
            return np.zeros(self.array.shape[2:], np.float32)
        image = (self.array[0, index] - np.float32(self.low)) / np.float32(self.high - self.low)
        return np.clip(image, 0.0, 1.0, out=image)

    def is_empty(self, index: int) -> bool:
        """Whether a slice holds nearly nothing: it varies by less than a tenth of what the scan does."""
        size = (1, *self.array.shape[2:])
        return self.contrast.deviation == 0 or self.contrast.is_empty(self.array, (index, 0, 0), size)


def open_slices(study: Study, case_id: str, *, channel: int = 0, purpose: Purpose = "show") -> ScanSlices:
    """All slices of a scan, for who needs several of them. Raises as `slice_image` does."""
    array = study.patches_source(case_id, purpose=purpose).array
    if not 0 <= channel < len(array):
        raise StudyError(
            f"{case_id} has {len(array)} channel{'s' if len(array) > 1 else ''}, the first is 0; regions cannot be made"
            f" from channel {channel}"
        )
    one = array[channel : channel + 1] if isinstance(array, np.ndarray) else array.channel(channel)
    bounded = study.settings.normalisation not in ("zscore", "none")
    for known, of_channel, low, high, contrast in tuple(_known):
        if known() is array and of_channel == channel:
            return ScanSlices(case_id, one, low, high, contrast)
    low, high = (-1.0, 1.0) if bounded else _bounds(one)
    contrast = Contrast.of(one)
    _known.append((weakref.ref(array), channel, low, high, contrast))
    return ScanSlices(case_id, one, low, high, contrast)


_known: deque[tuple[weakref.ref[np.ndarray], int, float, float, Contrast]] = deque(maxlen=16)
"""Of the scans looked at last, while they are in memory: a slider asks for the same slice again and again."""


def _bounds(array: np.ndarray) -> tuple[float, float]:
    if not isinstance(array, np.ndarray):  # in blocks on disk: their overview, and not all of it
        array = array.overview()
    step = max(1, -(-array.size // PROBED))
    low, high = (float(value) for value in np.percentile(array.reshape(-1)[::step], CLIP))
    return (low, high) if high > low else (float(array.min()), float(array.max()))

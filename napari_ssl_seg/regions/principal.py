"""Principal sub-masks of FDAS: how many of a slice's regions matter.

Eq. 1 of FDAS (MICCAI 2025): of the sub-masks of image n, sorted by area, k_n is the smallest number that covers a share
alpha of their total area; K is the mean of k_n over all images, rounded up. The K largest are the anchors, which the
others join (`napari_ssl_seg.regions.merging`).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.label_maps import paint_masks, region_areas
from napari_ssl_seg.regions.merging import Assign, assign_to_anchors, merge_to_anchors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Assign",
    "assign_to_anchors",
    "count_for_share",
    "cumulative_share",
    "merge_to_anchors",
    "paint_masks",
    "principal_count",
    "region_areas",
]


def cumulative_share(areas: Sequence[int] | np.ndarray) -> np.ndarray:
    """Share of the total area that the i + 1 largest regions cover: (M,) float64 that ends with 1; empty for none."""
    total = np.cumsum(_descending(areas))
    return total / total[-1] if len(total) else np.zeros(0)


def count_for_share(areas: Sequence[int] | np.ndarray, alpha: float = 0.95) -> int:
    """k_n of Eq. 1: the fewest regions, largest first, that cover at least ``alpha`` of the total area.

    Whole numbers are compared, so a share that is met exactly counts as met.

    Parameters
    ----------
    areas
        Areas in pixels, in any order; those of 0 do not count.
    alpha
        Share, more than 0 and at most 1.

    Returns
    -------
    int
        0 where there is no region.
    """
    if not 0 < alpha <= 1:
        raise UserError(f"alpha is a share of the area, more than 0 and at most 1, not {alpha}")
    total = np.cumsum(_descending(areas))
    if not len(total):
        return 0
    share = Fraction(alpha).limit_denominator(1_000_000)  # the decimal that was meant: 19/20 for 0.95
    needed = -(-int(total[-1]) * share.numerator // share.denominator)
    return int(np.searchsorted(total, max(needed, 1))) + 1


def principal_count(areas_per_image: Iterable[Sequence[int] | np.ndarray], alpha: float = 0.95) -> int:
    """K of Eq. 1: the mean of `count_for_share` over the images, rounded up; one K for a whole pretraining set.

    Parameters
    ----------
    areas_per_image
        For each image the areas of its regions. An image without regions is left out of the mean.
    alpha
        Share, more than 0 and at most 1.

    Returns
    -------
    int
        0 where no image has a region.
    """
    counts = [count for areas in areas_per_image if (count := count_for_share(areas, alpha))]
    return -(-sum(counts) // len(counts)) if counts else 0


def _descending(areas: Sequence[int] | np.ndarray) -> np.ndarray:
    values = np.asarray(areas)
    if values.size == 0:
        return np.zeros(0, np.int64)
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.floor(values)).all()))
    if values.ndim != 1 or not whole or not np.isfinite(values).all() or values.min() < 0:
        raise UserError("areas of regions are counts of pixels: one row of whole numbers, none below 0")
    values = values[values > 0].astype(np.int64)
    return np.sort(values)[::-1]

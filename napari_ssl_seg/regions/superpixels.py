"""Superpixels without weights: Felzenszwalb's graph-based method and SLIC, numbered by area and without the background.

Felzenszwalb and Huttenlocher, IJCV 2004 (used by LRC, MICCAI 2023); Achanta et al., TPAMI 2012.
"""

from __future__ import annotations

import numpy as np

from napari_ssl_seg.regions.foreground import check_slice, foreground_mask
from napari_ssl_seg.regions.label_maps import relabel_by_area

MIN_SIZE_SHARE = 0.0008
SMALLEST_MIN_SIZE = 10
SLIC_AREA = 4
"""SLIC's superpixels have about this many times the area of Felzenszwalb's smallest."""


def smallest_size(shape: tuple[int, ...]) -> int:
    """Default of ``min_size`` for slices of this shape: 0.0008 of the area, at least 10; 52 at 256 x 256."""
    return max(SMALLEST_MIN_SIZE, round(MIN_SIZE_SHARE * shape[0] * shape[1]))


def felzenszwalb_regions(
    image: np.ndarray,
    *,
    scale: float = 100.0,
    sigma: float = 0.5,
    min_size: int | None = None,
    background_out: bool = True,
) -> np.ndarray:
    """Felzenszwalb's superpixels of a slice (scikit-image's implementation).

    Parameters
    ----------
    image
        (H, W), clipped to [0, 1]; ``scale`` means what it says for such intensities only.
    scale
        Larger gives larger superpixels.
    sigma
        Width in pixels of the Gaussian that smooths the slice first.
    min_size
        Smaller ones join a neighbour; None: `smallest_size`.
    background_out
        The air around the body becomes 0. A superpixel that lies mostly in the air is background; what of it reaches
        into the body goes to the nearest others.

    Returns
    -------
    ndarray
        (H, W) int32: 0 = background, 1..M by descending area. All 0 for a constant slice.

    Raises
    ------
    UserError
        When a value is not finite.
    """
    from skimage.segmentation import felzenszwalb

    image = check_slice(image)
    regions = np.zeros(image.shape, np.int32)
    body = _body(image, background_out)
    if not body.any():
        return regions
    box = _box(body, margin=4 + int(np.ceil(4 * sigma)))
    found = felzenszwalb(
        image[box],
        scale=scale,
        sigma=sigma,
        min_size=smallest_size(image.shape) if min_size is None else min_size,
        channel_axis=None,
    )
    regions[box] = _inside(found, body[box])
    return relabel_by_area(regions)


def slic_regions(
    image: np.ndarray,
    *,
    segments: int | None = None,
    compactness: float = 0.1,
    background_out: bool = True,
) -> np.ndarray:
    """SLIC superpixels of a slice (scikit-image's implementation, which stretches each slice to [0, 1]).

    Parameters
    ----------
    image
        (H, W), clipped to [0, 1].
    segments
        About so many; None: one for each four times `smallest_size` of the body's area.
    compactness
        Larger gives squarer ones.
    background_out
        As in `felzenszwalb_regions`.

    Returns
    -------
    ndarray
        (H, W) int32: 0 = background, 1..M by descending area. All 0 for a constant slice.

    Raises
    ------
    UserError
        When a value is not finite.
    """
    from skimage.segmentation import slic

    image = check_slice(image)
    regions = np.zeros(image.shape, np.int32)
    body = _body(image, background_out)
    area = int(np.count_nonzero(body))
    if area == 0:
        return regions
    wanted = min(area, segments or max(1, round(area / (SLIC_AREA * smallest_size(image.shape)))))
    box = _box(body, margin=1)
    # scikit-image's own mask would lay the seeds with k-means, which takes longer than all the rest.
    found = slic(
        image[box],
        n_segments=max(1, round(wanted * image[box].size / area)),
        compactness=compactness,
        channel_axis=None,
        start_label=0,
    )
    regions[box] = _inside(found, body[box])
    return relabel_by_area(regions)


def _body(image: np.ndarray, background_out: bool) -> np.ndarray:
    if background_out:
        return foreground_mask(image)
    return np.full(image.shape, image.size > 0 and bool(image.min() < image.max()))


def _box(body: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Around the body with some air, at the edges of which superpixels end: less to segment."""
    box = []
    for axis in (0, 1):
        hit = np.flatnonzero(body.any(axis=1 - axis))
        box.append(slice(max(0, int(hit[0]) - margin), int(hit[-1]) + 1 + margin))
    return box[0], box[1]


def _inside(found: np.ndarray, body: np.ndarray) -> np.ndarray:
    """(H, W) superpixels 1.. in the body, 0 outside, without the rim of the air's own superpixel along the skin."""
    from scipy.ndimage import distance_transform_edt

    total = np.bincount(found.ravel())
    within = np.bincount(found[body], minlength=len(total))
    kept = 2 * within > total
    if not kept.any():
        kept = within > 0
    labels = np.where(kept, np.arange(1, len(total) + 1), 0)[found]
    if (labels[body] == 0).any():
        nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        labels = labels[tuple(nearest)]
    labels[~body] = 0
    return labels

"""What of a slice is body, and what is the air around it."""

from __future__ import annotations

import numpy as np

from napari_ssl_seg.errors import UserError

AIR_LEVEL = 0.2
"""Where the dark surroundings end to be air: median of the dark part between the darkest pixel (0) and the mean of the
bright part (1). Air of CT and MR lies at 0.01-0.1, dark tissue in scans that were cropped to an organ at 0.3-0.5."""
FAINT = 0.1
"""A slice without anything brighter (of the scan's range 0 to 1) lies outside the body."""
SHARE_OF_LARGEST = 0.05
"""Parts of the body at least so large beside the largest stay: the other leg, liver and wall beside a heart in dark lung,
but not the table."""


def foreground_mask(image: np.ndarray) -> np.ndarray:
    """The body in a slice: brighter than Otsu's threshold, holes filled, largest parts.

    A slice that was cropped out of the body has no air around it; then all of it is foreground, instead of its brighter
    half. Told apart by how dark the surroundings are beside the rest.

    Parameters
    ----------
    image
        (H, W), values in [0, 1] of the scan's range.

    Returns
    -------
    ndarray
        (H, W) bool; nowhere true in a constant slice and in one that lies outside the body.

    Raises
    ------
    UserError
        When a value is not finite.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    image = check_slice(image)
    nothing = np.zeros(image.shape, bool)
    if image.size == 0 or image.min() == image.max() or np.percentile(image, 99) <= FAINT:
        return nothing
    bright = image > threshold_otsu(image)
    body = ndimage.binary_fill_holes(bright)
    outside = ~body
    if not outside.any() or _level(image, outside, bright) > AIR_LEVEL:
        return ~nothing
    parts, _ = ndimage.label(body)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    large = areas >= max(1.0, SHARE_OF_LARGEST * areas.max())
    return large[parts]


def check_slice(image: np.ndarray) -> np.ndarray:
    """``image`` as (H, W) float32 clipped to [0, 1].

    Raises
    ------
    UserError
        When it has another number of axes, or a value is not finite.
    """
    image = np.asarray(image, dtype=np.float32)
    if image.ndim != 2:
        raise UserError(f"regions are made of a slice (height, width), not of an array of shape {image.shape}")
    if not np.isfinite(image).all():
        count = np.count_nonzero(~np.isfinite(image))
        raise UserError(f"{count} of {image.size} pixels are NaN or infinite; regions need finite intensities")
    return np.clip(image, 0.0, 1.0)


def _level(image: np.ndarray, outside: np.ndarray, bright: np.ndarray) -> float:
    darkest = float(image.min())
    return (float(np.median(image[outside])) - darkest) / (float(image[bright].mean()) - darkest)

"""Arithmetic on stacks of masks: to the slice's resolution, stability, boxes, suppression of duplicates, clean-up."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from napari_ssl_seg.regions.sam_prompts import Box

EDGE_TOLERANCE = 20
"""Pixels: a mask whose box ends so near a crop's edge, and not at the slice's, is cut off and left out."""


def upsample(logits: torch.Tensor, *, side: int, input_size: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """(N, l, l) logits to (N, H, W).

    The model is defined to go to its (side, side) input first, bilinearly, to lose the padding there, and to go from
    ``input_size`` to the slice's (H, W), bilinearly again. Both steps are linear and act on rows and columns apart, so
    one matrix for each axis does both at once, without the stack at the input's size in between.
    """
    import torch

    low = logits.shape[-1]
    rows, columns = (
        torch.from_numpy(_resize_matrix(low, side, input_size[axis], size[axis])).to(logits.device) for axis in (0, 1)
    )
    return rows @ (logits @ columns.T)


def stability(logits: torch.Tensor, offset: float) -> torch.Tensor:
    """(N,) float32: IoU of each mask's two versions, thresholded at +offset and at -offset; NaN where both are empty."""
    return _count(logits > offset) / _count(logits > -offset)


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """(N, 4) int64 (x0, y0, x1, y1), last pixel included, around each of (N, H, W) bool masks; zeros for an empty one."""
    import torch

    spans = []
    for axis in (2, 1):  # extent along x, then along y
        hit = masks.any(dim=3 - axis)
        length = hit.shape[1]
        number = torch.arange(length, device=masks.device)
        first = torch.where(hit, number, length).amin(dim=1)
        last = torch.where(hit, number, -1).amax(dim=1)
        empty = last < 0
        spans.append((first.masked_fill(empty, 0), last.masked_fill(empty, 0)))
    (x0, x1), (y0, y1) = spans
    return torch.stack([x0, y0, x1, y1], dim=1)


def cut_off(boxes: torch.Tensor, crop: Box, size: tuple[int, int]) -> torch.Tensor:
    """(N,) bool: whether a box (in the crop's coordinates) ends at the crop's edge where the (H, W) slice goes on."""
    import torch

    x0, y0, _, _ = crop
    placed = boxes + torch.tensor([x0, y0, x0, y0], device=boxes.device)
    at_crop = (placed - torch.tensor(crop, device=boxes.device)).abs() <= EDGE_TOLERANCE
    whole = torch.tensor([0, 0, size[1], size[0]], device=boxes.device)
    at_slice = (placed - whole).abs() <= EDGE_TOLERANCE
    return (at_crop & ~at_slice).any(dim=1)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Positions of the boxes that stay, best score first: each removes those that overlap it by more than the threshold.

    Parameters
    ----------
    boxes : ndarray
        (N, 4) x0, y0, x1, y1.
    scores : ndarray
        (N,); equal ones keep their order.
    threshold : float
        Of the boxes' IoU. Two boxes without area have none (0/0) and both stay.
    """
    order = np.argsort(-scores, kind="stable")
    x0, y0, x1, y1 = boxes[order].astype(np.float32).T
    area = (x1 - x0) * (y1 - y0)
    gone = np.zeros(len(order), dtype=bool)
    kept = []
    for index in range(len(order)):
        if gone[index]:
            continue
        kept.append(index)
        rest = slice(index + 1, None)
        across = np.maximum(np.minimum(x1[index], x1[rest]) - np.maximum(x0[index], x0[rest]), 0)
        down = np.maximum(np.minimum(y1[index], y1[rest]) - np.maximum(y0[index], y0[rest]), 0)
        shared = across * down
        with np.errstate(invalid="ignore", divide="ignore"):
            gone[rest] |= shared / (area[index] + area[rest] - shared) > np.float32(threshold)
    return order[kept]


def clean(mask: np.ndarray, smallest: int) -> tuple[np.ndarray, bool]:
    """Fill the (H, W) mask's holes and remove its islands of fewer than ``smallest`` pixels; whether anything changed.

    Parts that touch at a corner are one part. Of a mask of small islands only, the largest stays.
    """
    filled = mask | _small_parts(~mask, smallest)
    small = _small_parts(filled, smallest)
    if not small.any():
        return filled, bool((filled != mask).any())
    result = filled & ~small
    return (result if result.any() else _largest_part(filled)), True


def pack(masks: torch.Tensor) -> np.ndarray:
    """(N, H, W) bool to (N, ceil(HW / 8)) uint8 on the CPU: an eighth of the memory until the duplicates are gone."""
    return np.packbits(masks.flatten(1).cpu().numpy(), axis=1)


def unpack(packed: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The inverse of `pack`."""
    bits = np.unpackbits(packed, axis=1, count=size[0] * size[1])
    return bits.reshape(len(packed), *size).view(bool)


def _count(masks: torch.Tensor) -> torch.Tensor:
    import torch

    return masks.sum(dim=-1, dtype=torch.int32).sum(dim=-1, dtype=torch.int32)


def _small_parts(mask: np.ndarray, smallest: int) -> np.ndarray:
    labels, areas = _parts(mask)
    small = areas < smallest
    small[0] = False
    return small[labels]


def _largest_part(mask: np.ndarray) -> np.ndarray:
    labels, areas = _parts(mask)
    return labels == 1 + int(np.argmax(areas[1:]))


def _parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import label

    labels, count = label(mask, structure=np.ones((3, 3), dtype=int))
    return labels, np.bincount(labels.ravel(), minlength=count + 1)


@lru_cache(maxsize=64)
def _resize_matrix(low: int, side: int, inner: int, size: int) -> np.ndarray:
    """(size, low) float32: up from ``low`` to ``side``, the first ``inner`` of that, then to ``size``."""
    return (_bilinear(inner, size) @ _bilinear(low, side)[:inner]).astype(np.float32)


def _bilinear(source: int, target: int) -> np.ndarray:
    """(target, source): linear interpolation between pixel centres, the ends held."""
    position = np.maximum((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0)
    left = np.minimum(position.astype(int), source - 1)
    right = np.minimum(left + 1, source - 1)
    share = position - left
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), left), 1 - share)
    np.add.at(matrix, (np.arange(target), right), share)
    return matrix

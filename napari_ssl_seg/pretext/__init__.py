"""What pretext methods are put together from: patches of scans, seeds, block masks, fused volumes.

Torch is imported when a block is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.pretext.fusion import Boxes, fuse, paint_levels, sample_boxes
    from napari_ssl_seg.pretext.masks import block_mask, block_statistics, fit_block, masked_count
    from napari_ssl_seg.pretext.sampling import batch_at, generator_for, sample_batch
    from napari_ssl_seg.pretext.submasks import (
        channel_areas,
        choose_channels,
        draw_donors,
        kept_voxels,
        masked_channels,
        replace_hidden,
    )

_HOMES = {
    "Boxes": "fusion",
    "batch_at": "sampling",
    "block_mask": "masks",
    "block_statistics": "masks",
    "channel_areas": "submasks",
    "choose_channels": "submasks",
    "draw_donors": "submasks",
    "fit_block": "masks",
    "fuse": "fusion",
    "generator_for": "sampling",
    "kept_voxels": "submasks",
    "masked_channels": "submasks",
    "masked_count": "masks",
    "paint_levels": "fusion",
    "replace_hidden": "submasks",
    "sample_batch": "sampling",
    "sample_boxes": "fusion",
}
__all__ = [
    "Boxes",
    "batch_at",
    "block_mask",
    "block_statistics",
    "channel_areas",
    "choose_channels",
    "draw_donors",
    "fit_block",
    "fuse",
    "generator_for",
    "kept_voxels",
    "masked_channels",
    "masked_count",
    "paint_levels",
    "replace_hidden",
    "sample_batch",
    "sample_boxes",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.pretext.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What pretext methods are put together from: patches of scans, seeds, masks, fused volumes, corruptions.

Torch is imported when a block is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.pretext.augment import AugmentationSettings, AugmentedView, two_views, view_of
    from napari_ssl_seg.pretext.bezier import apply_curves, curve_tables, sample_curves
    from napari_ssl_seg.pretext.fusion import Boxes, fuse, paint_levels, sample_boxes, sample_grid
    from napari_ssl_seg.pretext.masks import block_mask, block_statistics, choose_blocks, fit_block, masked_count
    from napari_ssl_seg.pretext.painting import hidden_voxels, sample_painting
    from napari_ssl_seg.pretext.sampling import batch_at, generator_for, sample_batch
    from napari_ssl_seg.pretext.shuffling import sample_cuts, sample_swaps, shuffle_within, take_voxels
    from napari_ssl_seg.pretext.submasks import (
        channel_areas,
        choose_channels,
        draw_donors,
        kept_voxels,
        masked_channels,
        replace_hidden,
    )

_HOMES = {
    "AugmentationSettings": "augment",
    "AugmentedView": "augment",
    "Boxes": "fusion",
    "apply_curves": "bezier",
    "batch_at": "sampling",
    "block_mask": "masks",
    "block_statistics": "masks",
    "channel_areas": "submasks",
    "choose_blocks": "masks",
    "choose_channels": "submasks",
    "curve_tables": "bezier",
    "draw_donors": "submasks",
    "fit_block": "masks",
    "fuse": "fusion",
    "generator_for": "sampling",
    "hidden_voxels": "painting",
    "kept_voxels": "submasks",
    "masked_channels": "submasks",
    "masked_count": "masks",
    "paint_levels": "fusion",
    "replace_hidden": "submasks",
    "sample_batch": "sampling",
    "sample_boxes": "fusion",
    "sample_curves": "bezier",
    "sample_cuts": "shuffling",
    "sample_grid": "fusion",
    "sample_painting": "painting",
    "sample_swaps": "shuffling",
    "shuffle_within": "shuffling",
    "take_voxels": "shuffling",
    "two_views": "augment",
    "view_of": "augment",
}
__all__ = [
    "AugmentationSettings",
    "AugmentedView",
    "Boxes",
    "apply_curves",
    "batch_at",
    "block_mask",
    "block_statistics",
    "channel_areas",
    "choose_blocks",
    "choose_channels",
    "curve_tables",
    "draw_donors",
    "fit_block",
    "fuse",
    "generator_for",
    "hidden_voxels",
    "kept_voxels",
    "masked_channels",
    "masked_count",
    "paint_levels",
    "replace_hidden",
    "sample_batch",
    "sample_boxes",
    "sample_curves",
    "sample_cuts",
    "sample_grid",
    "sample_painting",
    "sample_swaps",
    "shuffle_within",
    "take_voxels",
    "two_views",
    "view_of",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.pretext.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

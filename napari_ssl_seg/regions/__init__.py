"""Regions of a slice: Segment Anything's sub-masks, classical superpixels, masks made elsewhere, and what is merged of them.

Nothing heavy is imported here: each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ssl_seg.regions.anchors import AnchorSet, cached_k, prepare_anchors
    from napari_ssl_seg.regions.foreground import foreground_mask
    from napari_ssl_seg.regions.foreign import MaskFiles, read_label_map, read_records
    from napari_ssl_seg.regions.label_maps import paint_masks, region_areas
    from napari_ssl_seg.regions.merging import merge_to_anchors
    from napari_ssl_seg.regions.prepare import prepare_regions, slice_image, slice_regions
    from napari_ssl_seg.regions.principal import count_for_share, cumulative_share, principal_count
    from napari_ssl_seg.regions.sam import SamSource
    from napari_ssl_seg.regions.sam_weights import fetch_weights, find_checkpoint, known_weights
    from napari_ssl_seg.regions.settings import RegionSettings, region_key, resolve_settings, source_title
    from napari_ssl_seg.regions.sources import RegionSource, open_source
    from napari_ssl_seg.regions.store import RegionSet
    from napari_ssl_seg.regions.superpixels import felzenszwalb_regions, slic_regions

__all__ = [
    "AnchorSet",
    "MaskFiles",
    "RegionSet",
    "RegionSettings",
    "RegionSource",
    "SamSource",
    "cached_k",
    "count_for_share",
    "cumulative_share",
    "felzenszwalb_regions",
    "fetch_weights",
    "find_checkpoint",
    "foreground_mask",
    "known_weights",
    "merge_to_anchors",
    "open_source",
    "paint_masks",
    "prepare_anchors",
    "prepare_regions",
    "principal_count",
    "read_label_map",
    "read_records",
    "region_areas",
    "region_key",
    "resolve_settings",
    "slic_regions",
    "slice_image",
    "slice_regions",
    "source_title",
]

_HOMES = {
    "AnchorSet": "anchors",
    "MaskFiles": "foreign",
    "RegionSet": "store",
    "RegionSettings": "settings",
    "RegionSource": "sources",
    "SamSource": "sam",
    "cached_k": "anchors",
    "count_for_share": "principal",
    "cumulative_share": "principal",
    "felzenszwalb_regions": "superpixels",
    "fetch_weights": "sam_weights",
    "find_checkpoint": "sam_weights",
    "foreground_mask": "foreground",
    "known_weights": "sam_weights",
    "merge_to_anchors": "merging",
    "open_source": "sources",
    "paint_masks": "label_maps",
    "prepare_anchors": "anchors",
    "prepare_regions": "prepare",
    "principal_count": "principal",
    "read_label_map": "foreign",
    "read_records": "foreign",
    "region_areas": "label_maps",
    "region_key": "settings",
    "resolve_settings": "settings",
    "slic_regions": "superpixels",
    "slice_image": "prepare",
    "slice_regions": "prepare",
    "source_title": "settings",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.regions.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

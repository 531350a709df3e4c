"""What LRC shows: of its sample, and of what a trained model makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from napari_ssl_seg.methods.base import View
from napari_ssl_seg.methods.lrc_clusters import cluster_pixels
from napari_ssl_seg.methods.lrc_loss import retrieval, similarity
from napari_ssl_seg.pretext.region_sampling import region_sizes
from napari_ssl_seg.pretext.warp import displaced_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_ssl_seg.methods.base import Batch, Pretext
    from napari_ssl_seg.methods.lrc_config import LRCConfig
    from napari_ssl_seg.pretext.region_sampling import SharedRegions


def pretext_views(batch: Batch, targets: Mapping[str, Tensor], field: Tensor) -> tuple[View, ...]:
    """The slice and its warped copy, the same region in the same colour in both, the warp, the points, what is left out."""
    regions, width = targets["regions"], batch.image.shape[3]
    length = field.square().sum(dim=1, keepdim=True).sqrt()
    return (
        View("scan", "Scan", "image", batch.image),
        View("superpixels", "Superpixels", "labels", regions.clamp(min=0)),
        View("warped", "Warped scan", "image", targets["warped"]),
        View(
            "warped_superpixels", "Warped superpixels, same colours", "labels", targets["warped_regions"].clamp(min=0)
        ),
        View("displacement", "Displacement in pixels", "image", length, (0.0, max(float(length.max()), 1e-6))),
        View("grid", "Warped grid", "image", displaced_grid(field), (0.0, 1.0)),
        View("points", "Points in the scan", "points", places(targets["points"], width)),
        View("warped_points", "Points in the warped scan", "points", places(targets["warped_points"], width)),
        View("dropped", "Regions left out", "mask", left_out(regions, targets["ids"])),
    )


def pretext_stats(config: LRCConfig, batch: Batch, shared: SharedRegions, field: Tensor) -> dict[str, float]:
    """Means over the slices of the batch, but for what is the largest, or is counted."""
    assert batch.regions is not None
    counts = shared.counts
    sizes = region_sizes(batch.regions, max(int(batch.regions.max()), 1))
    used = sizes.gather(1, (shared.ids - 1).clamp(min=0))[shared.ids > 0]
    stats = {
        "regions": float(counts.double().mean()),
        "regions_lost": float(shared.lost.double().mean()),
        "regions_beyond_limit": float(shared.surplus.double().mean()),
        "points_a_region": float(config.points),
        "median_region_size": float(used.double().median()) if used.numel() else 0.0,
        "largest_displacement": float(field.square().sum(dim=1).max().sqrt()),
        "images_without_contrast": float((counts < (1 if config.include_self else 2)).sum()),
    }
    # A batch of one has nothing to tell its slice from where there is no queue: that loss is then 0.
    others = len(batch.image) - 1
    if config.global_contrast == "moco":
        stats["global_negatives"] = float(config.queue or others)
    elif config.global_contrast == "densecl":
        stats["global_negatives"] = float(max(1, config.queue))
    elif config.global_contrast == "moco_v3":
        stats["global_negatives"] = float(others)
    elif config.global_contrast == "simclr":
        stats["global_negatives"] = float(2 * others)
    return stats


def output_views(
    config: LRCConfig, pretext: Pretext, features: Tensor, queries: Tensor, keys: Tensor
) -> tuple[View, ...]:
    """Similarities of the first slice's regions, clusters of the pixel features, and how many regions are found again.

    Parameters
    ----------
    features
        Of the scan, (B, D, H, W).
    queries, keys
        Means of the regions in the scan and in its warped view, (B, K, D).
    """
    regions, valid = pretext.targets["regions"], pretext.targets["ids"] > 0
    alike = similarity(queries, keys, normalise=config.normalise)
    vectors = F.normalize(features, dim=1) if config.normalise else features
    clusters = torch.stack(
        [
            cluster_pixels(image, of_image > 0, int(count))
            for image, of_image, count in zip(vectors, regions, valid.sum(dim=1), strict=True)
        ]
    ).to(features.device)
    count = int(valid[0].sum())
    table = {"regions": float(count), "found again (top-1)": float(retrieval(alike[:1], valid[:1]))}
    limits = (-1.0, 1.0) if config.normalise else None
    title = "Similarity of regions, scan by warped scan"
    return (
        View("similarity", title, "matrix", alike[0, :count, :count], limits),
        View("clusters", "Clusters of the learnt features", "labels", clusters),
        View("retrieval", "Regions found again", "table", table),
    )


def places(points: Tensor, width: int) -> Tensor:
    """Flat indices (B, K, N) as (y, x) of all points of a slice, region by region: float32 (B, K * N, 2), NaN for none."""
    flat = points.flatten(1)
    found = torch.stack((flat // width, flat % width), dim=-1).float()
    return found.masked_fill((flat < 0).unsqueeze(-1), float("nan"))


def left_out(regions: Tensor, ids: Tensor) -> Tensor:
    """Pixels of the regions that are not compared, bool (B, H, W)."""
    top = max(int(regions.max()), 0)
    used = torch.zeros(len(regions), top + 1, dtype=torch.bool, device=regions.device).scatter_(1, ids, True)
    return (regions > 0) & ~used.gather(1, regions.clamp(min=0).flatten(1)).view(regions.shape)

"""What siamese methods show: the two views and where they were cut, and how similar a model finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_ssl_seg.methods.base import View
from napari_ssl_seg.methods.embedding_gauge import effective_rank, spread
from napari_ssl_seg.methods.siamese_net import found_again
from napari_ssl_seg.pretext.augment import box_overlap

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.base import Batch
    from napari_ssl_seg.methods.siamese_net import Design
    from napari_ssl_seg.pretext.augment import AugmentedView


def pretext_views(batch: Batch, first: AugmentedView, second: AugmentedView) -> tuple[View, ...]:
    """The patch, the two crops on it, and the views that were made of them."""
    return (
        View("scan", "Scan", "image", batch.image),
        View("crops", "Crops of the two views", "boxes", torch.stack((first.box, second.box), dim=1), over="scan"),
        View("first", "First view (network input)", "image", first.image),
        View("second", "Second view (network input)", "image", second.image),
    )


def pretext_stats(design: Design, batch: Batch, first: AugmentedView, second: AugmentedView) -> dict[str, float]:
    """Means over the batch; ``negatives``, of each view, where the method has any."""
    dims, size = batch.image.ndim - 2, float(batch.image[0, 0].numel())
    stats = {"overlap": float(box_overlap(first.box, second.box).mean())}
    for name, view in (("first", first), ("second", second)):
        stats[f"share_{name}"] = float((view.box[:, dims:] - view.box[:, :dims]).prod(dim=1).mean()) / size
        stats[f"turn_{name}"] = float(view.changes["turn"].abs().mean())
    others = len(batch.image) - 1
    if design.objective == "nt_xent":
        stats["negatives"] = float(2 * others)
    elif design.objective == "info_nce":
        stats["negatives"] = float(design.queue or others)
    return stats


def output_views(queries: Tensor, keys: Tensor) -> tuple[View, ...]:
    """Of unit vectors of the first and of the second views, (B, D) each."""
    return (
        View("similarity", "Similarity, first views by second views", "matrix", queries @ keys.T, (-1.0, 1.0)),
        View(
            "embeddings",
            "Embeddings",
            "table",
            {
                "patches": float(len(queries)),
                "found again (top-1)": float(found_again(queries, keys)),
                "spread (1: even, 0: collapsed)": float(spread(keys)),
                "effective rank": float(effective_rank(keys)),
            },
        ),
    )

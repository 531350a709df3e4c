"""What FDAS shows of a sample and of a trained model's answer, in the order of the method's pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_ssl_seg.methods.base import View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_ssl_seg.methods.base import Batch, Pretext
    from napari_ssl_seg.methods.fdas import FDAS
    from napari_ssl_seg.methods.fdas_net import FDASOutput

BREAK = (np.nan, np.nan)
"""A point that parts the lines of a curve."""


def pretext_views(
    method: FDAS,
    batch: Batch,
    inputs: Tensor,
    kept: Tensor,
    made: Mapping[str, Tensor],
    donors: Tensor | None,
    donor: Tensor | None,
) -> tuple[View, ...]:
    """From the scan to the network's input and its target."""
    from napari_ssl_seg.pretext.submasks import replace_hidden

    config, image = method.config, batch.image
    views = [View("scan", "Scan", "image", image)]
    if batch.submasks is not None:
        views.append(View("submasks", "Regions found (m)", "labels", batch.submasks.clamp(min=0)))
    views.append(View("anchors", "Regions merged to K, by area (m')", "labels", made["anchors"]))
    if batch.submasks is not None:
        areas = submask_areas(batch.submasks[0], config.uncovered)
        views.append(View("curve", "Share of the area, by regions", "curve", area_curve(areas, config.alpha)))
    if method.histogram:
        steps = histogram_curve(method.histogram, config.channels)
        views.append(View("histogram", "Slices by their regions k", "curve", steps))
    views.append(View("kept_regions", "Regions kept (m'_s)", "labels", made["kept_regions"]))
    if donor is None or donors is None:
        views.append(View("masked", "Masked scan (network input)", "image", inputs))
    else:
        views += [
            View("masked", "Masked scan", "image", replace_hidden(image, kept, None)),
            View("donor", f"Donor: {batch.case_ids[int(donors[0])]}", "image", donor),
            View("fused", "Fused scan (network input)", "image", inputs),
        ]
    views.append(View("target", "Target", "image", image))
    return tuple(views)


def pretext_stats(
    method: FDAS, batch: Batch, targets: Mapping[str, Tensor], made: Mapping[str, Tensor], *, alone: bool
) -> dict[str, float]:
    """Numbers of the shown patch, the first; and of the batch how many of its patches with regions were left whole.

    ``share_empty_channels`` is the floor of L_SKD: no prediction brings the loss below it.
    """
    from napari_ssl_seg.pretext.submasks import channel_areas

    inside, kept, channels = targets["inside"], targets["kept"], made["areas"].shape[1]
    present = (made["areas"] > 0).sum(dim=1)
    known = inside.flatten(1).any(dim=1)
    values = torch.stack(
        [
            present[0],
            made["hidden"][0].sum(),
            (inside[0] & ~kept[0]).sum() / inside[0].sum().clamp(min=1),
            (channel_areas(targets["regions"][:1], channels) == 0).sum() / channels,
            (known & (present < 2)).sum(),
        ]
    ).tolist()
    names = ("regions", "masked_regions", "share_masked", "share_empty_channels", "patches_left_whole")
    stats = {"K": float(channels), **dict(zip(names, values, strict=True))}
    if batch.submasks is not None:
        from napari_ssl_seg.regions.principal import count_for_share

        areas = submask_areas(batch.submasks[0], method.config.uncovered)
        own = submask_areas(batch.submasks[0], "fill")
        stats["submasks"] = float(len(own))
        stats["coverage"] = float(own.sum()) / max(float(inside[0].sum()), 1.0)
        stats["k_of_this_patch"] = float(count_for_share(areas, method.config.alpha))
    if alone:
        stats["without_donor"] = 1.0
    return stats


def output_views(pretext: Pretext, found: FDASOutput, similarity: Tensor) -> tuple[View, ...]:
    """What a model makes of a sample; ``similarity`` is (B, B) or (B, B, places)."""
    from napari_ssl_seg.methods.fdas_losses import region_dice

    image = pretext.targets["image"]
    low, high = float(image.min()), float(image.max())
    error = (found.restored - image).abs()
    views = [
        View("restored", "Restored", "image", found.restored, (low, high)),
        View("error", "Absolute error", "image", error, (0.0, max(high - low, 1e-6) / 2)),
    ]
    if found.regions is not None:
        labels, inside = pretext.targets["regions"], pretext.targets["inside"]
        dice = region_dice(found.regions.float().softmax(dim=1), labels, inside)[0].tolist()
        present = labels[0].unique().tolist()
        table = {f"region {label}": dice[label - 1] for label in present if label > 0}
        table["mean"] = sum(table.values()) / len(table) if table else float("nan")
        views += [
            View("predicted", "Predicted regions", "labels", found.regions.argmax(dim=1) + 1),
            View("target_regions", "Target regions", "labels", labels),
            View("dice", "Dice of each region that is not empty", "table", table),
        ]
    matrix = similarity if similarity.ndim == 2 else similarity.mean(dim=2)
    lowest = min(float(matrix.min()), 1.0 - 1e-6)
    views.append(View("similarity", "Fused scans (rows) and originals", "matrix", matrix, (lowest, 1.0)))
    return tuple(views)


def submask_areas(submasks: Tensor, uncovered: str) -> np.ndarray:
    """Areas that Eq. 1 counts in a patch, descending: of its regions and, with "region", of what none covers.

    Parameters
    ----------
    submasks
        int64, (*spatial): 1..M, 0 = in no region, less = outside the scan.
    """
    counts = (submasks.flatten() + 1).clamp(min=0).bincount(minlength=2)[1:].cpu().numpy()
    counted = counts if uncovered == "region" and counts[1:].any() else counts[1:]
    return np.sort(counted[counted > 0])[::-1]


def area_curve(areas: np.ndarray, alpha: float) -> np.ndarray:
    """Cumulative share of the area over the number of regions, the level ``alpha``, and where it is reached.

    Returns
    -------
    ndarray
        (N, 2); rows of NaN part the three lines.
    """
    from napari_ssl_seg.regions.principal import count_for_share, cumulative_share

    share = np.concatenate([[0.0], cumulative_share(areas)])
    points = [*enumerate(share.tolist()), BREAK, (0.0, alpha), (max(len(areas), 1), alpha)]
    if len(areas):
        k = count_for_share(areas, alpha)
        points += [BREAK, (k, 0.0), (k, float(share[k]))]
    return np.array(points, dtype=np.float64)


def histogram_curve(histogram: Mapping[int, int], channels: int | None) -> np.ndarray:
    """Number of slices over their k_n as steps, and a line at K; (N, 2) with rows of NaN between."""
    low, high = min(histogram), max(histogram)
    points: list[tuple[float, float]] = [(low - 0.5, 0.0)]
    for count in range(low, high + 1):
        slices = float(histogram.get(count, 0))
        points += [(count - 0.5, slices), (count + 0.5, slices)]
    points.append((high + 0.5, 0.0))
    if channels is not None:
        points += [BREAK, (channels, 0.0), (channels, float(max(histogram.values())))]
    return np.array(points, dtype=np.float64)

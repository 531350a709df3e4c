"""What LRC needs of a study before its first step: regions of every slice, and the length of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.pretext.crop import KnownSlices
from napari_ssl_seg.regions.settings import resolve_settings, source_title

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_ssl_seg.methods.lrc import LRC
    from napari_ssl_seg.methods.lrc_config import LRCConfig
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

QUEUE_STEP = 16
"""Queues are multiples of this, the usual batch of slices, so that whole batches leave it. Other batches wrap around."""
QUEUE_SHARE = 0.5
"""Of the slices that a queue holds at most: a longer one holds the same slice several times, as a false negative."""
FEW_REGIONS = 5
"""A median of fewer regions a slice gives the local contrast little to tell apart."""


def queue_length(wanted: int, slices: int) -> int:
    """``wanted``, or half of the slices rounded down to a multiple of 16 where that is less; maybe 0."""
    return min(wanted, int(QUEUE_SHARE * slices) // QUEUE_STEP * QUEUE_STEP)


def prepare(method: LRC, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
    """Regions of these cases, from the cache where they are there.

    Returns
    -------
    Prepared
        ``facts``: ``regions`` (their source in words), ``slices``, ``median_regions`` a slice, ``slices_without_regions``,
        ``slices_of_one_region``, and ``queue``.
    """
    from napari_ssl_seg.methods.lrc import LRC
    from napari_ssl_seg.regions import prepare_regions

    config: LRCConfig = method.config
    resolved = resolve_settings(config)
    regions = yield from prepare_regions(study, resolved, case_ids, purpose="train")
    counts = np.array([0 if found is None else len(found) for case in case_ids for found in regions.case_areas(case)])
    slices = len(counts)
    queue = queue_length(config.queue, slices)
    warnings = region_warnings(counts) if config.local_contrast == "regions" else []
    queued = config.global_contrast in ("moco", "densecl")
    if queued and config.queue and not queue:
        warnings.append(f"{slices} slices are too few for a queue; the global contrast looks at the batch alone")
    return Prepared(
        method=LRC(resolved.model_copy(update={"queue": queue})),
        regions_of=regions.stack,
        warnings=tuple(warnings),
        facts={
            "regions": regions.title,
            "slices": slices,
            "median_regions": median_regions(counts),
            "slices_without_regions": int((counts == 0).sum()),
            "slices_of_one_region": int((counts == 1).sum()),
            "queue": queue if queued else 0,
        },
    )


def median_regions(counts: np.ndarray) -> float:
    """Of the slices that have any region; 0 where none has. ``counts``: regions a slice."""
    return float(np.median(counts[counts > 0])) if counts.any() else 0.0


def region_warnings(counts: np.ndarray) -> list[str]:
    """What the local contrast will miss with so many regions a slice."""
    slices, none, one = len(counts), int((counts == 0).sum()), int((counts == 1).sum())
    if none == slices:
        return ["no slice has a region, so the local contrast learns nothing; choose another source of regions"]
    warnings = []
    if (median := median_regions(counts)) < FEW_REGIONS:
        warnings.append(
            f"slices have {median:g} regions (median), too few to tell apart: smaller superpixels help the local contrast"
        )
    if none + one:
        warnings.append(
            f"{none + one} of {slices} slices have fewer than two regions and are left out of the local contrast"
        )
    return warnings


def prepare_slice(method: LRC, study: Study, case_id: str, index: int) -> Prepared:
    """Regions of one slice; the queue as it would be for the study's train scans."""
    from napari_ssl_seg.methods.lrc import LRC
    from napari_ssl_seg.regions import slice_regions

    config: LRCConfig = method.config
    resolved = resolve_settings(config)
    regions = slice_regions(study, resolved, case_id, index, purpose="show")
    found = KnownSlices(study.case(case_id).shape, {index: regions}.get)
    slices = sum(case.shape[0] for case in study.cases(split="train"))
    return Prepared(
        method=LRC(resolved.model_copy(update={"queue": queue_length(config.queue, slices)})),
        regions_of=lambda wanted: found if wanted == case_id else None,
        facts={"regions": source_title(resolved)},
    )

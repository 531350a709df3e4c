"""What FDAS needs of a study before its first step: regions of every slice, K, and the regions merged to K."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.pretext.crop import KnownSlices
from napari_ssl_seg.regions.settings import resolve_settings, source_title

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np

    from napari_ssl_seg.methods.fdas import FDAS
    from napari_ssl_seg.methods.fdas_config import FDASConfig
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

UNBOUNDED = ("zscore", "none")
"""Normalisations whose values leave [-1, 1], the range of the restoring head."""


def prepare_study(method: FDAS, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
    """Regions and anchors of these cases, from the cache where they are there.

    Returns
    -------
    Prepared
        ``facts``: ``regions`` (their source in words), ``K``, ``K_by_area`` (Eq. 1 before any cap), ``slices``,
        ``empty_slices`` (without a region, left out of Eq. 1) and ``k_histogram`` (slices by their k_n).
    """
    from napari_ssl_seg.methods.fdas import FDAS
    from napari_ssl_seg.regions import prepare_anchors, prepare_regions

    config: FDASConfig = method.config
    resolved = resolve_settings(config)
    regions = yield from prepare_regions(study, resolved, case_ids, purpose="train")
    anchors = yield from prepare_anchors(
        study,
        regions,
        case_ids,
        alpha=config.alpha,
        max_channels=config.max_channels,
        assign=config.assign,
        uncovered=config.uncovered,
        channels=config.channels,
        purpose="train",
    )
    histogram = anchors.histogram()
    counted = sum(histogram.values())
    by_area = -(-sum(k * slices for k, slices in histogram.items()) // counted) if counted else 0
    slices = sum(len(values) for values in anchors.counts.values())
    warnings = [*_about_source(config, resolved), *_about_range(study)]
    if anchors.capped is not None:
        warnings.append(
            f"K is {anchors.k} instead of the {anchors.capped} regions a slice that Eq. 1 gives: 'max_channels' caps it;"
            " larger superpixels or a larger cap keep more regions apart"
        )
    if anchors.empty_slices:
        warnings.append(f"{anchors.empty_slices} of {slices} slices have no region and are not trained on")
    return Prepared(
        method=FDAS(resolved.model_copy(update={"channels": anchors.k}), histogram=histogram),
        regions_of=anchors.stack,
        warnings=tuple(warnings),
        facts={
            "regions": regions.title,
            "K": anchors.k,
            "K_by_area": by_area,
            "slices": slices,
            "empty_slices": anchors.empty_slices,
            "k_histogram": {str(k): slices_ for k, slices_ in histogram.items()},
        },
    )


def prepare_one(method: FDAS, study: Study, case_id: str, index: int) -> Prepared:
    """Regions of one slice, from the cache or at once, merged to K.

    K is the setting, else what is known of the study's train cases, else this slice's own k_n, which is then said. Other
    slices, which the inspector puts beside it, have regions where the cache has them: none is made for them.
    """
    from napari_ssl_seg.methods.fdas import FDAS
    from napari_ssl_seg.regions import merge_to_anchors, slice_regions
    from napari_ssl_seg.regions.anchors import cached_anchors, cached_counts
    from napari_ssl_seg.regions.principal import count_for_share, region_areas

    config: FDASConfig = method.config
    resolved = resolve_settings(config)
    found = slice_regions(study, resolved, case_id, index, purpose="show")
    warnings = _about_source(config, resolved)
    known = cached_counts(
        study,
        resolved,
        [case.id for case in study.cases(split="train")],
        config.alpha,
        uncovered=config.uncovered,
    )
    channels = config.channels
    if channels is None and known is not None and known.k:
        channels = min(known.k, config.max_channels)
    if channels is None:
        areas = region_areas(found, uncovered=config.uncovered)
        channels = min(max(count_for_share(areas, config.alpha), 1), config.max_channels)
        warnings.append(
            f"K is {channels}, by this slice alone: it is not known of the study before its regions are made"
        )
    merged = merge_to_anchors(found, channels, config.assign, config.uncovered) + 1

    def regions_of(wanted: str) -> KnownSlices:
        def find(z: int) -> np.ndarray | None:
            if (wanted, z) == (case_id, index):
                return merged
            return cached_anchors(
                study, resolved, wanted, z, channels, assign=config.assign, uncovered=config.uncovered
            )

        return KnownSlices(study.case(wanted).shape, find)

    def submasks_of(wanted: str) -> KnownSlices:
        return KnownSlices(study.case(wanted).shape, lambda z: found if (wanted, z) == (case_id, index) else None)

    return Prepared(
        method=FDAS(resolved.model_copy(update={"channels": channels}), histogram=known.histogram() if known else None),
        regions_of=regions_of,
        submasks_of=submasks_of,
        warnings=tuple(warnings),
        facts={"regions": source_title(resolved), "K": channels},
    )


def _about_source(config: FDASConfig, resolved: FDASConfig) -> list[str]:
    if config.source != "auto" or resolved.source == "sam":
        return []
    return [
        "regions are Felzenszwalb superpixels, since no weights of Segment Anything were found;"
        " fetch them for the sub-masks that FDAS was made for"
    ]


def _about_range(study: Study) -> list[str]:
    if study.settings.normalisation not in UNBOUNDED:
        return []
    return [
        f"scans are normalised with {study.settings.normalisation}, whose values leave [-1, 1], where FDAS's restored"
        " scans end; 'percentile' fits"
    ]

"""How many regions matter over a study (K of FDAS's Eq. 1), and every slice's regions merged to so many anchors."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import read_json, write_json
from napari_ssl_seg.regions.filling import fill
from napari_ssl_seg.regions.packs import Damaged
from napari_ssl_seg.regions.prepare import case_files, regions_folder, sweep
from napari_ssl_seg.regions.principal import count_for_share, merge_to_anchors
from napari_ssl_seg.regions.settings import region_key, resolve_settings
from napari_ssl_seg.regions.store import CaseFile, Maps, RegionStack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_ssl_seg.regions.label_maps import Uncovered
    from napari_ssl_seg.regions.principal import Assign
    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.regions.store import RegionSet
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.study.records import Purpose
    from napari_ssl_seg.training.events import Event

_VERSION = 1
"""Raised when the same regions would give other anchors than before."""


@dataclass(frozen=True)
class SliceCounts:
    """What Eq. 1 gives for some cases."""

    k: int
    """Mean of k_n over the slices that have a region, rounded up; 0 where none has."""
    counts: Mapping[str, Sequence[int]]
    """k_n of every slice by case; 0 where it has no region."""

    @property
    def empty_slices(self) -> int:
        """Slices without a region; they do not count in K."""
        return sum(value == 0 for values in self.counts.values() for value in values)

    def histogram(self) -> dict[int, int]:
        """How many slices have which k_n, ascending; slices without a region are left out, as in K."""
        found = Counter(value for values in self.counts.values() for value in values if value)
        return dict(sorted(found.items()))


class AnchorSet:
    """The anchors of some cases, as `prepare_anchors` returns them."""

    def __init__(self, k: int, found: SliceCounts, capped: int | None, title: str, maps: Maps) -> None:
        self.k = k
        """Anchors, and channels of what a network predicts."""
        self.found = found
        """k_n of every slice, and K as Eq. 1 gives it."""
        self.capped = capped
        """What Eq. 1 gave where the cap made it less, else None."""
        self.title = title
        """Of the source."""
        self.maps = maps

    @property
    def counts(self) -> Mapping[str, Sequence[int]]:
        """k_n of every slice by case; 0 where it has no region."""
        return self.found.counts

    @property
    def empty_slices(self) -> int:
        """Slices without a region; they do not count in K."""
        return self.found.empty_slices

    def histogram(self) -> dict[int, int]:
        """How many slices have which k_n, ascending; slices without a region are left out, as in K."""
        return self.found.histogram()

    def slice(self, case_id: str, z: int) -> np.ndarray:
        """(H, W) int32: 1..K by descending area, 0 = in no anchor. Raises KeyError for a case that is not in the set."""
        found = self.maps.get(case_id, z)
        assert found is not None
        return found.astype(np.int32)

    def stack(self, case_id: str) -> RegionStack:
        """All slices of a case, to cut from."""
        return RegionStack(case_id, self.maps.files[case_id].shape, self.maps)


def prepare_anchors(
    study: Study,
    region_set: RegionSet,
    case_ids: Iterable[str],
    *,
    alpha: float = 0.95,
    max_channels: int | None = None,
    assign: Assign = "submask",
    uncovered: Uncovered = "region",
    channels: int | None = None,
    purpose: Purpose = "train",
) -> Generator[Event, None, AnchorSet]:
    """Find K over all slices of some cases, and merge every slice's regions to K anchors; cached and shared as regions are.

    Parameters
    ----------
    region_set
        Holds the cases.
    alpha
        Share of the area in Eq. 1.
    max_channels
        Cap on K; None: no cap.
    assign, uncovered
        As in `merge_to_anchors`. With ``uncovered="region"`` what is in no region counts as one more in Eq. 1, too.
    channels
        K itself, instead of Eq. 1 and its cap (say for other cases than those that K was found on).

    Yields
    ------
    Event
        As `prepare_regions` does.

    Raises
    ------
    UserError
        When no slice of these cases has a region, or a case must not be used for ``purpose``.
    """
    chosen = list(dict.fromkeys(case_ids))
    for case_id in chosen:
        study.allowed(case_id, purpose)
    found = count_anchors(study, region_set, chosen, alpha=alpha, uncovered=uncovered)
    k, capped = (channels, None) if channels is not None else _cap(found.k, max_channels)
    if k < 1:
        raise UserError(
            f"no slice of the {len(chosen)} cases has a region ({region_set.title}); choose another source or other parameters"
        )
    sources = {case_id: region_set.maps.files[case_id] for case_id in chosen}
    folder = _anchors_folder(study, region_set.key, k, assign, uncovered)
    files = {case_id: CaseFile(folder, file.name, case_id, file.shape) for case_id, file in sources.items()}

    def merged(case_id: str, z: int) -> np.ndarray:
        regions = region_set.maps.get(case_id, z)
        assert regions is not None
        return merge_to_anchors(regions, k, assign, uncovered) + 1

    def several(file: CaseFile, indices: Sequence[int]) -> list[np.ndarray]:
        return [merged(file.case_id, z) for z in indices]

    sweep(folder)
    yield from fill(list(files.values()), several, what="anchors")
    return AnchorSet(k, found, capped, region_set.title, Maps(files, merged))


def count_anchors(
    study: Study,
    region_set: RegionSet,
    case_ids: Iterable[str],
    *,
    alpha: float = 0.95,
    uncovered: Uncovered = "region",
) -> SliceCounts:
    """K of Eq. 1 over all slices of some cases, of the areas alone; noted for `cached_k`. See `prepare_anchors`."""
    chosen = list(dict.fromkeys(case_ids))
    counts = {}
    for case_id in chosen:
        _, height, width = region_set.shape(case_id)
        row = []
        for z, areas in enumerate(region_set.case_areas(case_id)):
            if areas is None:  # gone from the cache since it was prepared
                areas = np.bincount(region_set.stack(case_id).cut(z, z + 1).reshape(-1))[1:]
            rest = height * width - int(areas.sum())
            if len(areas) and rest and uncovered == "region":
                areas = np.append(areas, rest)
            row.append(count_for_share(areas, alpha))
        counts[case_id] = row
    values = [value for row in counts.values() for value in row if value]
    k = -(-sum(values) // len(values)) if values else 0
    files = [region_set.maps.files[case_id] for case_id in chosen]
    write_json(_k_file(regions_folder(study, region_set.key), files, alpha, uncovered), {"k": k, "counts": counts})
    return SliceCounts(k, counts)


def cached_counts(
    study: Study,
    settings: RegionSettings,
    case_ids: Iterable[str],
    alpha: float = 0.95,
    *,
    uncovered: Uncovered = "region",
) -> SliceCounts | None:
    """What `count_anchors` has found of these cases (in any order) before, None where nothing; nothing is computed."""
    resolved = resolve_settings(settings)
    files = case_files(study, resolved, list(dict.fromkeys(case_ids)))
    path = _k_file(regions_folder(study, region_key(resolved)), files.values(), alpha, uncovered)
    try:
        found = read_json(path)
    except UserError:  # not there, or damaged: it is found anew when it is needed
        return None
    if not isinstance(found, dict) or not isinstance(found.get("k"), int) or not isinstance(found.get("counts"), dict):
        return None
    return SliceCounts(found["k"], found["counts"])


def cached_k(
    study: Study,
    settings: RegionSettings,
    case_ids: Iterable[str],
    alpha: float = 0.95,
    *,
    max_channels: int | None = None,
    uncovered: Uncovered = "region",
) -> int | None:
    """K of these cases (in any order) where `prepare_anchors` has found it before; nothing is computed.

    Returns
    -------
    int or None
        At most ``max_channels``; None where it is not known.
    """
    found = cached_counts(study, settings, case_ids, alpha, uncovered=uncovered)
    return _cap(found.k, max_channels)[0] if found is not None and found.k >= 1 else None


def cached_anchors(
    study: Study,
    settings: RegionSettings,
    case_id: str,
    z: int,
    k: int,
    *,
    assign: Assign = "submask",
    uncovered: Uncovered = "region",
) -> np.ndarray | None:
    """The anchors of one slice where `prepare_anchors` has made them before, (H, W); None where not, nothing is computed."""
    resolved = resolve_settings(settings)
    file = case_files(study, resolved, [case_id])[case_id]
    folder = _anchors_folder(study, region_key(resolved), k, assign, uncovered)
    try:
        return replace(file, folder=folder).read(z)
    except (FileNotFoundError, IndexError, Damaged):
        return None


def _anchors_folder(study: Study, key: str, k: int, assign: Assign, uncovered: Uncovered) -> Path:
    return regions_folder(study, key) / "anchors" / _key([k, assign, uncovered])


def _cap(k: int, max_channels: int | None) -> tuple[int, int | None]:
    return (max_channels, k) if max_channels is not None and k > max_channels else (k, None)


def _k_file(folder: Path, files: Iterable[CaseFile], alpha: float, uncovered: Uncovered) -> Path:
    return folder / f"k-{_key([sorted(file.name for file in files), float(alpha), uncovered])}.json"


def _key(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps([_VERSION, *parts]).encode()).hexdigest()[:20]

"""Regions of a whole study, made in the background and kept; or of one slice, at once."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import TEMPORARY_MARK
from napari_ssl_seg.regions.filling import fill, progress
from napari_ssl_seg.regions.packs import Damaged
from napari_ssl_seg.regions.settings import counting_fields, region_key, resolve_settings, source_title
from napari_ssl_seg.regions.slices import ScanSlices, open_slices, slice_image
from napari_ssl_seg.regions.sources import open_source
from napari_ssl_seg.regions.store import CaseFile, RegionSet
from napari_ssl_seg.study.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.regions.sources import RegionSource
    from napari_ssl_seg.study import Case, Study
    from napari_ssl_seg.study.records import Purpose
    from napari_ssl_seg.training.events import Event

__all__ = ["prepare_regions", "slice_image", "slice_regions"]

KEPT_SECONDS = 1.0
"""A single slice that was made faster is kept in memory alone: a slider would fill the disk with what nobody wants again."""
STALE_SECONDS = 3600.0
QUICK = ("felzenszwalb", "slic")
"""Sources with nothing to keep between slices: a slider that moves one of them never waits for Segment Anything."""
_SLICES_VERSION = 1
"""Raised when `slice_image` or what counts as an empty slice changes."""


def prepare_regions(
    study: Study, settings: RegionSettings, case_ids: Iterable[str], *, purpose: Purpose = "train"
) -> Generator[Event, None, RegionSet]:
    """Make the regions of every slice of some cases that are not in the study's cache yet.

    May be stopped (closed) after each slice and called again; several processes and machines that prepare the same share
    the work. A slice with hardly any contrast has no region, and the source is not asked.

    Parameters
    ----------
    settings
        Resolved or not.

    Yields
    ------
    Event
        ``progress`` (``done`` and ``total`` in slices, ``seconds_left``, ``case``, ``text``, ``waiting``), and ``warning``
        where a damaged file of the cache is made anew.

    Returns
    -------
    RegionSet

    Raises
    ------
    UserError
        When the source cannot be opened, or a scan cannot be read or must not be used for ``purpose``.
    """
    chosen = list(dict.fromkeys(case_ids))
    total = sum(study.allowed(case_id, purpose).shape[0] for case_id in chosen)
    resolved = resolve_settings(settings)
    # The sum over large weights is made in the next lines: something is to be seen before.
    yield progress("regions", 0, total, None, "looking for what is there")
    study.refresh(chosen)
    maker = _Maker(study, resolved, purpose)
    files = case_files(study, resolved, chosen)
    regions = RegionSet(resolved, maker.key, source_title(resolved), files, maker.one)
    sweep(regions_folder(study, regions.key))
    try:
        yield from fill(list(files.values()), maker.several, what="regions", batch=maker.batch)
    finally:
        if resolved.source == "sam":  # the training that follows needs its memory
            _opened.close()
    return regions


def slice_regions(
    study: Study, settings: RegionSettings, case_id: str, z: int, *, purpose: Purpose = "show"
) -> np.ndarray:
    """The regions of one slice: from the cache, else made at once and kept.

    Returns
    -------
    ndarray
        (H, W) int32, 0 = in no region, 1..M by descending area.

    Raises
    ------
    UserError
        As `prepare_regions` does, and when the scan has no such slice.
    """
    study.allowed(case_id, purpose)
    study.refresh([case_id])
    resolved = resolve_settings(settings)
    file = case_files(study, resolved, [case_id])[case_id]
    maker = _Maker(study, resolved, purpose)

    def find() -> np.ndarray:
        try:
            return file.read(z)
        except (FileNotFoundError, IndexError, Damaged):
            start = time.monotonic()
            made = maker.one(case_id, z)
            if time.monotonic() - start > KEPT_SECONDS:
                with suppress(UserError, OSError):  # it can be looked at all the same
                    file.write(z, made)
            return made

    return _recent.get((str(file.folder), file.name, z), find).astype(np.int32)


def regions_folder(study: Study, key: str) -> Path:
    """Where the regions of one source and its parameters lie."""
    return study.cache_folder / "regions" / key


def case_files(study: Study, settings: RegionSettings, case_ids: Sequence[str]) -> dict[str, CaseFile]:
    """Where the regions of cases lie; ``settings`` resolved. Named by the content of the scan and how it is normalised."""
    folder = regions_folder(study, region_key(settings))
    cases = {case.id: case for case in study.cases()} if len(case_ids) > 20 else {}
    found = {}
    for case_id in case_ids:
        case = cases.get(case_id) or study.case(case_id)
        found[case_id] = CaseFile(folder, _name(study, case, settings), case_id, case.shape)
    return found


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder of the cache, once it is old enough not to be in work."""
    for path in folder.glob(f"{TEMPORARY_MARK}*"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except OSError:  # another one swept it
            continue


def _name(study: Study, case: Case, settings: RegionSettings) -> str:
    parts = [_SLICES_VERSION, case.fingerprint, case.frame, study.settings.normalisation, study.settings.four_d]
    if settings.source == "masks":  # paired by name: a copy of the scan may have other masks
        parts.append(case.id)
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return f"{case.fingerprint[:16]}-{digest[:8]}"


class _Maker:
    """Makes the regions of slices of one study; opens the source and reads a scan when it is first needed."""

    def __init__(self, study: Study, settings: RegionSettings, purpose: Purpose) -> None:
        self.study, self.settings, self.purpose = study, settings, purpose
        self.key = region_key(settings)
        self._scan: ScanSlices | None = None

    def batch(self) -> int:
        """How many slices the source takes at once: more than one where it runs on a GPU."""
        source = self._source()
        return int(getattr(getattr(source, "engine", source), "slices_at_once", 1))

    def _source(self) -> RegionSource:
        if self.settings.source in QUICK:
            return open_source(self.settings)
        return _opened.get(self.study, self.settings, self.key)

    def one(self, case_id: str, z: int) -> np.ndarray:
        """(H, W) int32."""
        return next(self._make(case_id, [z]))

    def several(self, file: CaseFile, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Of one case, each as soon as it is made."""
        return self._make(file.case_id, indices)

    def _make(self, case_id: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        scan = self._scan
        if scan is None or scan.case_id != case_id:
            self._scan = None  # two at once may be too large
            channel = 0 if self.settings.source == "masks" else self.settings.channel
            self._scan = scan = open_slices(self.study, case_id, channel=channel, purpose=self.purpose)
        # Masks made elsewhere are what somebody wants, whatever the slice looks like.
        full = [z for z in indices if self.settings.source == "masks" or not scan.is_empty(z)]
        images = [scan.image(z) for z in full]
        found = self._segment(images, [(case_id, z) for z in full])
        for z in indices:
            label_map = next(found) if z in full else np.zeros(scan.array.shape[2:], np.int32)
            yield np.asarray(label_map, np.int32)

    def _segment(self, images: list[np.ndarray], places: list[tuple[str, int]]) -> Iterator[np.ndarray]:
        """One label map after the other; between two of them another thread may have its turn."""
        if not images:
            return
        source: Any = self._source()
        each = getattr(source, "segment_each", None)
        found = iter(each(images, places=places)) if each is not None else None
        for image, place in zip(images, places, strict=True):
            with nullcontext() if self.settings.source in QUICK else _opened.lock:
                made = next(found) if found is not None else source.segment([image], places=[place])[0]
            yield made


class _Opened:
    """The source that was used last, so that its weights are read once; one slice at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._what: tuple[Any, ...] = ()
        self._source: RegionSource | None = None

    def get(self, study: Study, settings: RegionSettings, key: str) -> RegionSource:
        """The source of resolved settings, whose `region_key` is given."""
        # Where it runs and how many prompts it takes at once are not in the key, but in the source.
        what = (key, str(study.folder), *(getattr(settings, name) for name in counting_fields(settings.source)))
        with self.lock:
            if self._what != what or self._source is None:
                self.close()  # the old one's memory first
                self._source = open_source(
                    settings,
                    geometry_of=lambda case_id: study.patches_source(case_id, purpose="show").geometry,
                )
                self._what = what
            return self._source

    def close(self) -> None:
        """Forget the source, and with it the memory of its weights."""
        with self.lock:
            self._what, self._source = (), None


_opened = _Opened()
_recent: ByteCache[np.ndarray] = ByteCache(32 * 2**20, lambda held: held.nbytes)

"""Voxels of a study's cases, and the memory in which they are kept. Who may ask is decided in `Study.allowed` alone."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.cache import ByteCache, default_limit
from napari_ssl_seg.study.records import Case, Scan, StudySettings
from napari_ssl_seg.volumes import Volume, normalise, read_volume
from napari_ssl_seg.volumes.blocks import BlocksUnwritable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ssl_seg.study.chunks import ChunkStore
    from napari_ssl_seg.volumes.block_array import BlockArray


LARGE_BYTES = 256 * 2**20
"""Scans that take more in memory, normalised (512x512x256 voxels), are cut from blocks on disk."""
MEDIUM_BYTES = 16 * 2**20
"""So are those that take more than this where a study's scans do not fit into memory together."""


class Voxels:
    """Reads images, normalised scans and labels; scans and labels are kept while they fit into ``cache_bytes``.

    Parameters
    ----------
    cache
        Folder for large scans in blocks (`ChunkStore`).
    total_bytes
        Of all normalised scans of the study; asked once, when it matters.
    large_bytes
        `LARGE_BYTES`.
    """

    def __init__(
        self,
        settings: StudySettings,
        cache: Path,
        total_bytes: Callable[[], int],
        *,
        cache_bytes: int | None = None,
        large_bytes: int | None = None,
    ) -> None:
        self._settings = settings
        limit = default_limit() if cache_bytes is None else cache_bytes
        self._large = LARGE_BYTES if large_bytes is None else large_bytes
        self._scans: ByteCache[Scan | Volume | BlockArray] = ByteCache(limit, _held_bytes)
        self._total_bytes = total_bytes
        self._crowded: bool | None = None
        self._cache = cache

    def clear(self) -> None:
        """Give the memory back."""
        self._scans.clear()

    def image(self, case: Case) -> Volume:
        """As the file has it, (z, y, x) or (C, z, y, x)."""
        _signature(case.images)
        volume = read_volume(case.images if len(case.images) > 1 else case.images[0], four_d=self._settings.four_d)
        return _of_case(volume, case, case.channels)

    def scan(self, case: Case) -> Scan:
        """Normalised, float32, (C, z, y, x), read-only."""
        key = ("scan", case.id, _signature(case.images))
        found = self._scans.get(key, lambda: self._make_scan(case))
        assert isinstance(found, Scan)
        return found

    def label(self, case: Case) -> Volume | None:
        """Unsigned integers, (z, y, x), read-only."""
        if case.label is None:
            return None
        path = case.label
        key = ("label", case.id, str(path), _signature((path,)))
        found = self._scans.get(key, lambda: self._read_label(case, path))
        assert isinstance(found, Volume)
        return found

    def label_source(self, case: Case) -> np.ndarray | None:
        """Unsigned integers, (z, y, x), from which parts are cut: in memory, or in blocks where the scan is large."""
        if case.label is None:
            return None
        path = case.label
        if self.is_large(case):
            key = ("label blocks", case.id, str(path), _signature((path,)))
            try:
                found = self._scans.get(key, lambda: self._chunks.label(case, path))
                return cast("np.ndarray", found)
            except BlocksUnwritable:
                pass  # it costs time, and nothing else
        volume = self.label(case)
        return None if volume is None else volume.array

    def is_large(self, case: Case) -> bool:
        """Whether patches are cut from blocks on disk rather than from the scan in memory."""
        size = 4 * case.channels * math.prod(case.shape)
        if size > self._large:
            return True
        if size <= min(MEDIUM_BYTES, self._large):
            return False
        if self._crowded is None:
            self._crowded = self._total_bytes() > self._scans.limit
        return self._crowded

    @cached_property
    def _chunks(self) -> ChunkStore:
        from napari_ssl_seg.study.chunks import ChunkStore

        return ChunkStore(self._cache, self._settings)

    def _make_scan(self, case: Case) -> Scan:
        if not self.is_large(case):
            return self._scan_in_memory(case)
        try:
            return self._chunks.scan(case)
        except BlocksUnwritable as error:
            scan = self._scan_in_memory(case)
            note = f"it is read as a whole for every patch, because {error}"
            return replace(scan, note=f"{scan.note}; {note}" if scan.note else note)

    def _scan_in_memory(self, case: Case) -> Scan:
        volume = self.image(case)
        normalised = normalise(volume.array, self._settings.normalisation)
        array = normalised.array if normalised.array.ndim == 4 else normalised.array[None]
        array = np.ascontiguousarray(array, dtype=np.float32)
        array.flags.writeable = False
        return Scan(case.id, array, volume.geometry, normalised.note)

    def _read_label(self, case: Case, path: Path) -> Volume:
        volume = _of_case(read_volume(path, role="label", four_d=self._settings.four_d), case, 1)
        volume.array.flags.writeable = False
        return volume


def _held_bytes(held: Scan | Volume | BlockArray) -> int:
    array: Any = getattr(held, "array", held)
    return int(getattr(array, "held_bytes", array.nbytes))


def _of_case(volume: Volume, case: Case, channels: int) -> Volume:
    """The case's time point, once it is sure that the file still has the shape that it was imported with."""
    frames, found = (volume.channels, 1) if volume.axes == "tzyx" else (1, volume.channels)
    if volume.geometry.shape != case.shape or found != channels or not (case.frame or 0) < frames:
        raise StudyError(
            f"{volume.path} has changed since the study was made: its shape is {volume.array.shape}, where the study has"
            f" {channels} volumes of {case.shape} (z, y, x); bring the old file back, or make the study anew"
        )
    if case.frame is None:
        return volume
    return replace(volume, array=np.ascontiguousarray(volume.array[case.frame]), axes="zyx")


def _signature(paths: tuple[Path, ...]) -> tuple[tuple[int, int], ...]:
    """Changes when a file does, so that an edited label is read again."""
    found = []
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError as error:
            raise StudyError(
                f"{path} cannot be found ({error.strerror or error}); bring it back, or make the study anew"
            ) from error
        found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)

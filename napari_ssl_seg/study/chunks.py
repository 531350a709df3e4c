"""Large scans and their labels in blocks in the study's cache, made when they are first used.

A file of blocks holds the voxels in the scan's own type and the numbers that normalise it, so what is read is what a scan
in memory would give, to the bit, at half its size. It is named after the content of the scan and the normalisation,
written whole or not at all, made anew where it is damaged, and safe to delete at any time.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.files import TEMPORARY_MARK
from napari_ssl_seg.study.hashing import combine, file_stamp, hash_file
from napari_ssl_seg.study.records import Case, Scan
from napari_ssl_seg.volumes.block_array import BlockArray
from napari_ssl_seg.volumes.blocks import BlockFile, BlocksDamaged, write_blocks
from napari_ssl_seg.volumes.intensity import normalisation_of
from napari_ssl_seg.volumes.intensity_map import IntensityMap
from napari_ssl_seg.volumes.slabs import open_slabs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ssl_seg.study.records import StudySettings
    from napari_ssl_seg.volumes.slabs import SlabVolume

FOLDER = "scans"
FORMAT = 1
STALE_SECONDS = 3600.0
"""Half-written files that nobody has touched for so long are of a program that was killed."""


class ChunkStore:
    """The files of blocks of a study."""

    def __init__(self, cache: Path, settings: StudySettings) -> None:
        self.folder, self._settings = cache / FOLDER, settings

    def scan(self, case: Case) -> Scan:
        """Like a scan in memory, but that its array reads from the disk what is cut out of it.

        Raises
        ------
        BlocksUnwritable
            When the cache cannot be written; VolumeError, StudyError as for a scan in memory.
        """
        paths = case.images
        volume = open_slabs(paths if len(paths) > 1 else paths[0])
        self._check(volume, case, case.channels)
        name = self._settings.normalisation
        content = _content(paths, case.stamp.split(" ")[: len(paths)], case.fingerprint)
        path = self._path("scan", content, case.frame, name)

        def open_file() -> BlockFile:
            return self._open(path) or self._make(path, volume, case, case.channels, volume.dtype, name)

        array = BlockArray(open_file, _maps)
        return Scan(case.id, cast("np.ndarray", array), volume.geometry, open_file().facts["note"])

    def label(self, case: Case, file: Path) -> BlockArray:
        """A label map, (z, y, x). Raises as `scan` does."""
        volume = open_slabs(file, role="label")
        self._check(volume, case, 1)
        content = _content((file,), case.stamp.split(" ")[len(case.image_files) :], case.label_fingerprint)
        path = self._path("label", content, case.frame if volume.channels > 1 else None)

        def open_file() -> BlockFile:
            found = self._open(path)
            if found is None:
                try:
                    found = self._make(path, volume, case, 1, np.dtype(np.uint8))
                except _TooLarge:
                    found = self._make(path, volume, case, 1, np.dtype(np.uint16))
            return found

        return BlockArray(open_file)

    def _check(self, volume: SlabVolume, case: Case, channels: int) -> None:
        frames, found = (volume.channels, 1) if self._settings.four_d == "time" else (1, volume.channels)
        if volume.geometry.shape != case.shape or found != channels or not (case.frame or 0) < frames:
            raise StudyError(
                f"{volume.sources[0].path} has changed since the study was made: its shape is {volume.geometry.shape}, where"
                f" the study has {channels} volumes of {case.shape} (z, y, x); bring the old file back, or make the study anew"
            )

    def _path(self, *key: object) -> Path:
        text = json.dumps([FORMAT, *key])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.blocks"

    def _open(self, path: Path) -> BlockFile | None:
        try:
            return BlockFile(path)
        except BlocksDamaged:
            return None

    def _make(
        self, path: Path, volume: SlabVolume, case: Case, channels: int, dtype: np.dtype, name: str | None = None
    ) -> BlockFile:
        """Write the blocks slab by slab, and what normalises them."""
        self._sweep()
        largest = np.iinfo(dtype).max if volume.role == "label" else None
        with write_blocks(path, (channels, *case.shape), dtype) as writer:
            for slab in volume.slabs():
                if largest is not None and slab.array.max() > largest:
                    raise _TooLarge(f"{path}: a label is larger than {largest}")
                if case.frame is None or volume.channels == 1:
                    writer.put(slab.channel, slab.start, slab.array)
                elif slab.channel == case.frame:
                    writer.put(0, slab.start, slab.array)
            facts: dict[str, object] = {"case": case.id, "normalisation": name, "note": None}
            if name is not None:

                def slabs_of(channel: int) -> Iterator[np.ndarray]:
                    return writer.slabs(channel)

                readers = [lambda channel=channel: slabs_of(channel) for channel in range(channels)]  # type: ignore[misc]
                maps, facts["note"] = normalisation_of(case.shape, readers, name)
                facts["maps"] = [one.as_data() for one in maps]
            writer.finish(facts)
        return BlockFile(path)

    def _sweep(self) -> None:
        for path in self.folder.glob(f"{TEMPORARY_MARK}*"):
            try:
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink(missing_ok=True)
            except OSError:
                continue


class _TooLarge(StudyError):
    """A label does not fit into the type that was tried."""


def _maps(file: BlockFile) -> tuple[IntensityMap, ...]:
    return tuple(IntensityMap.from_data(one) for one in file.facts["maps"])


def _content(files: tuple[Path, ...], stamps: list[str], known: str | None) -> str:
    """The fingerprint that the study has, or where files were written to since, that of what is in them now."""
    if known is not None and file_stamp(files) == " ".join(stamps):
        return known
    return combine(hash_file(file).sha256 for file in files)

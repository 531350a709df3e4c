"""What a format module tells about a file before its voxels are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_ssl_seg.volumes.geometry import Geometry


@dataclass(frozen=True)
class Source:
    """A file whose header has been read and found good; its voxels not yet.

    Attributes
    ----------
    path
        The file, or the folder of a DICOM series.
    geometry
        Its grid.
    channels
        Length of the fourth axis; 1 for a plain volume.
    dtype
        Type that the voxels will have, after the header's scaling.
    nbytes
        Bytes that reading will take at its peak.
    warnings
        What is odd about it, one sentence each.
    stream_bytes
        Bytes that the file must hold, unpacked where it is packed as a whole; 0 where that is not how its format works.
    read
        Reads the voxels: (i, j, k), or (i, j, k, c) when ``channels`` > 1, and further warnings.
    parts
        Reads them in the order of the file, at most about so many bytes at a time: arrays (i, j, n) that follow one
        another along k, channel after channel. The last is given only when the file's checksum was right. None where the
        format has to be read as a whole.
    verify
        Reads through voxels that are packed inside the file, keeping none, and raises VolumeError where they are damaged.
        None where there are none: then the file's size, or its gzip stream, says that it is whole.
    """

    path: Path
    geometry: Geometry
    channels: int
    dtype: np.dtype
    nbytes: int
    warnings: tuple[str, ...] = ()
    stream_bytes: int = 0
    read: Callable[[], tuple[np.ndarray, tuple[str, ...]]] = field(repr=False, kw_only=True)
    parts: Callable[[int], Iterator[np.ndarray]] | None = field(default=None, repr=False, kw_only=True)
    verify: Callable[[], object] | None = field(default=None, repr=False, kw_only=True)


def non_finite_warning(array: np.ndarray) -> tuple[str, ...]:
    """One sentence with the count of voxels that are NaN or infinite; nothing where all are finite."""
    if array.dtype.kind != "f":
        return ()
    count = 0
    for start in range(len(array)):  # plane by plane: no mask of the whole volume
        plane = array[start]
        if not np.isfinite(plane.sum(dtype=np.float64)):  # a sum overflows only where it would be looked at anyway
            count += int(plane.size - np.count_nonzero(np.isfinite(plane)))
    if not count:
        return ()
    return (f"{count} of {array.size} voxels are not finite (NaN or infinity); normalisation takes the minimum there",)

"""A volume read slab by slab, for scans that must not be in memory as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_ssl_seg.volumes.labels import as_labels
from napari_ssl_seg.volumes.memory import check_memory
from napari_ssl_seg.volumes.read import check_channels, open_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_ssl_seg.volumes.geometry import Geometry, SourceGrid
    from napari_ssl_seg.volumes.read import PathLike
    from napari_ssl_seg.volumes.sources import Source

SLAB_BYTES = 32 * 2**20
"""Of a slab as the file has it."""


@dataclass(frozen=True)
class Slab:
    """``array`` (z, y, x) lies from ``start`` (z, y, x) on in the held volume."""

    channel: int
    start: tuple[int, int, int]
    array: np.ndarray


@dataclass(frozen=True)
class SlabVolume:
    """A volume whose header was read.

    Attributes
    ----------
    channels
        Or time points.
    dtype
        That its voxels have in `slabs`, one for all channels.
    """

    geometry: Geometry
    channels: int
    dtype: np.dtype
    sources: tuple[Source, ...] = field(repr=False)
    role: Literal["image", "label"] = "image"

    def slabs(self) -> Iterator[Slab]:
        """Every voxel once, in an order that suits the file; the last slab only when the file proved to be whole.

        NIfTI is read in pieces of about `SLAB_BYTES`; other formats have to be read as a whole.

        Raises
        ------
        VolumeError
            Naming the file and the reason.
        """
        for number, source in enumerate(self.sources):
            for channel, first, part in _parts(source):
                if self.role == "label":
                    part = as_labels(source.path, part)[0]
                yield _held(source.geometry.source, channel + number, first, part)


def _held(grid: SourceGrid, channel: int, first: int, part: np.ndarray) -> Slab:
    """A piece (i, j, n) from ``first`` on along k, as it is held."""
    turned = np.moveaxis(part, grid.axes, (0, 1, 2))
    turned = turned[tuple(slice(None, None, -1 if flip else 1) for flip in grid.flips)]
    start = [0, 0, 0]
    axis = grid.axes.index(2)
    start[axis] = grid.shape[2] - first - part.shape[2] if grid.flips[axis] else first
    return Slab(channel, (start[0], start[1], start[2]), turned)


def open_slabs(path: PathLike | Sequence[PathLike], *, role: Literal["image", "label"] = "image") -> SlabVolume:
    """Open a file, or several that are the channels of one case, to be read slab by slab.

    Raises
    ------
    VolumeError
        When `read_volume` would refuse the headers.
    """
    sources = open_sources(path)
    check_channels(sources)
    channels = len(sources) if len(sources) > 1 else sources[0].channels
    dtype = np.result_type(*[source.dtype for source in sources])
    return SlabVolume(sources[0].geometry, channels, dtype, tuple(sources), role)


def _parts(source: Source) -> Iterator[tuple[int, int, np.ndarray]]:
    """Pieces (i, j, n) with their channel and place along k."""
    depth = source.geometry.source.shape[2]
    if source.parts is None:
        check_memory(source.path, source.nbytes, None)
        whole, _ = source.read()
        for channel in range(source.channels):
            yield channel, 0, whole[..., channel] if source.channels > 1 else whole
        return
    done = 0
    for part in source.parts(SLAB_BYTES):
        channel, first = divmod(done, depth)
        yield channel, first, part
        done += part.shape[2]

"""Voxels that stay on disk until they are asked for, indexed like an array."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.blocks import BlockFile, BlocksDamaged, overview_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.volumes.intensity_map import IntensityMap

RENEWALS = 2


class BlockArray:
    """An array on disk of which slicing reads a part; what it gives is an ordinary array.

    Indices are whole numbers and slices with positive steps. ``numpy.asarray`` reads everything.

    Parameters
    ----------
    open_file
        Gives the file, and makes it (anew) where it is missing or damaged.
    maps
        What is done to each channel; None: the stored numbers are given, (z, y, x) of the only channel.
    """

    def __init__(
        self,
        open_file: Callable[[], BlockFile],
        maps: Callable[[BlockFile], tuple[IntensityMap, ...]] | None = None,
        *,
        channels: range | None = None,
    ) -> None:
        self._open, self._map_of = open_file, maps
        self._lock = threading.Lock()
        self._file = open_file()
        self._maps = maps(self._file) if maps is not None else None
        self._channels = range(self._file.shape[0]) if channels is None else channels

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, z, y, x), or (z, y, x) of a label map."""
        space = self._file.shape[1:]
        return space if self._maps is None else (len(self._channels), *space)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self._file.dtype if self._maps is None else np.dtype(np.float32)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole, were it in memory."""
        return self.size * self.dtype.itemsize

    @property
    def held_bytes(self) -> int:
        """Bytes that are in memory."""
        return self._file.overview.nbytes + 64 * 1024

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        wanted = index if isinstance(index, tuple) else (index,)
        if Ellipsis in wanted:
            place = wanted.index(Ellipsis)
            rest = self.ndim - (len(wanted) - 1)
            wanted = (*wanted[:place], *[slice(None)] * rest, *wanted[place + 1 :])
        if len(wanted) > self.ndim:
            raise IndexError(f"{len(wanted)} indices for an array of {self.ndim} axes")
        wanted = (*wanted, *[slice(None)] * (self.ndim - len(wanted)))
        ranges = [_range(item, length) for item, length in zip(wanted, self.shape, strict=True)]
        read = self._read(ranges)
        return read[tuple(0 if not isinstance(item, slice) else slice(None) for item in wanted)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on disk cannot be given without a copy")
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def channel(self, number: int) -> BlockArray:
        """One channel, (1, z, y, x); nothing is read."""
        return BlockArray(self._open, self._map_of, channels=self._channels[number : number + 1])

    def overview(self) -> np.ndarray:
        """The array at every ``overview_step(shape)``-th index of z, y and x; one of a whole scan is kept in memory."""
        step = overview_step((1,) * (4 - self.ndim) + self.shape)
        stored = self._file.overview
        if step != overview_step(self._file.shape):
            return self[(..., *[slice(None, None, step)] * 3)]
        if self._maps is None:
            return stored[0]
        return np.stack([self._maps[channel].apply(stored[channel]) for channel in self._channels])

    def _read(self, ranges: list[range]) -> np.ndarray:
        if self._maps is None:
            return self._stored(range(1), *ranges)[0]
        chosen, space = ranges[0], ranges[1:]
        channels = self._channels[chosen.start : chosen.stop : chosen.step]
        stored = self._stored(channels, *space)
        out = np.empty(stored.shape, np.float32)
        for channel, values, target in zip(channels, stored, out, strict=True):
            self._maps[channel].apply(values, target)
        return out

    def _stored(self, channels: range, z: range, y: range, x: range) -> np.ndarray:
        for _ in range(RENEWALS):
            file = self._file
            try:
                return file.read(channels, z, y, x)
            except BlocksDamaged:
                self._renew(file)
        try:
            return self._file.read(channels, z, y, x)
        except BlocksDamaged as error:
            raise VolumeError(f"{error}, again and again; check the disk that the study's cache is on") from error

    def _renew(self, damaged: BlockFile) -> None:
        with self._lock:
            if self._file is damaged:  # no other thread has done it meanwhile
                damaged.path.unlink(missing_ok=True)
                self._file = self._open()
                if self._map_of is not None:
                    self._maps = self._map_of(self._file)


def _range(index: Any, length: int) -> range:
    if isinstance(index, slice):
        found = range(*index.indices(length))
        if found.step < 0:
            raise IndexError("an array on disk is read forwards; turn what was read")
        return found
    number = index.__index__()
    if not -length <= number < length:
        raise IndexError(f"index {number} is out of bounds for an axis of {length}")
    return range(number % length, number % length + 1)

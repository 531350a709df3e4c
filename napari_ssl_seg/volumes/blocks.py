"""A scan on disk in blocks, so that a patch is read without the rest.

One file: the blocks, each contiguous and uncompressed, then a CRC-32 for each, a small overview of the scan, what is known
of it as JSON, and a closing mark. Blocks are read through a memory map that lasts as long as one reading, so that
memory holds no more than what was asked for; each is checked the first time that this program reads from it.

Uncompressed, because unpacking costs more than reading: a patch of 96^3 voxels out of 512x512x800 takes about a
millisecond (``benchmarks/large_volume.py``). 16x64x64 voxels serve cubes and whole slices alike.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError, VolumeError
from napari_ssl_seg.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BLOCK = (16, 64, 64)
MARK = b"sslsegB1"
_END = struct.Struct("<QII8s")  # where the tail begins, bytes of JSON, CRC-32 of the tail, mark
OVERVIEW_VOXELS = 2**15
"""An overview is a regular grid of at most about so many voxels."""


class BlocksDamaged(VolumeError):
    """A file of blocks that is missing, cut short or altered; it is made anew."""


class BlocksUnwritable(UserError):
    """A file of blocks that could not be written: the disk is full, or the folder is read-only."""


class BlockFile:
    """Reads parts of (C, z, y, x) voxels from a file that `write_blocks` made.

    Attributes
    ----------
    shape
        (C, z, y, x).
    facts
        What was given to `BlockWriter.finish`.
    overview
        Every ``overview_step(shape)``-th voxel along z, y and x, (C, ...), as stored.

    Raises
    ------
    BlocksDamaged
        When the file is missing, or not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                file.seek(-_END.size, os.SEEK_END)
                end = file.tell()
                start, length, crc, mark = _END.unpack(file.read(_END.size))
                if mark != MARK or not start + length <= end:
                    raise BlocksDamaged(f"{path} is no file of blocks")
                file.seek(start)
                tail = file.read(end - start)
            if zlib.crc32(tail) != crc:
                raise BlocksDamaged(f"{path} is damaged")
            known = json.loads(tail[len(tail) - length :])
            self.shape: tuple[int, int, int, int] = tuple(known["shape"])
            self.block: tuple[int, int, int] = tuple(known["block"])
            self.dtype, self.facts = np.dtype(known["dtype"]), known["facts"]
            self._layout = _layout(self.shape, self.block)
            count = int(np.prod(self._layout[:4]))
            self._crc = np.frombuffer(tail, "<u4", count).reshape(self._layout[:4])
            size = known["overview"]
            self.overview = np.frombuffer(tail, self.dtype, int(np.prod(size)), 4 * count).reshape(size)
            if start != int(np.prod(self._layout, dtype=np.int64)) * self.dtype.itemsize:
                raise BlocksDamaged(f"{path} is cut short")
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise BlocksDamaged(f"{path} cannot be read ({error})") from error
        self._checked = np.zeros(self._layout[:4], bool)

    def read(self, channels: range, z: range, y: range, x: range) -> np.ndarray:
        """The voxels at these indices, each range with a positive step; an array of its own.

        Raises
        ------
        BlocksDamaged
            When the file went, or a block is not what was written.
        """
        out = np.empty((len(channels), len(z), len(y), len(x)), self.dtype)
        if not out.size:
            return out
        try:
            stored = np.asarray(np.memmap(self.path, self.dtype, "r", shape=self._layout))  # plain views cost less
        except (OSError, ValueError) as error:
            raise BlocksDamaged(f"{self.path} cannot be read ({error})") from error
        parts = [list(_parts(indices, side)) for indices, side in zip((z, y, x), self.block, strict=True)]
        for place, channel in enumerate(channels):
            for (bz, iz, oz), (by, iy, oy), (bx, ix, ox) in product(*parts):
                at = (channel, bz, by, bx)
                if not self._checked[at]:
                    self._check(stored, at)
                out[place, oz, oy, ox] = stored[at][iz, iy, ix]
        return out

    def _check(self, stored: np.ndarray, at: tuple[int, int, int, int]) -> None:
        if zlib.crc32(stored[at].data) != self._crc[at]:
            raise BlocksDamaged(f"{self.path} is damaged in block {at}")
        self._checked[at] = True


class BlockWriter:
    """Takes the voxels of (C, z, y, x) in any order, and part of them at a time."""

    def __init__(self, path: Path, shape: Sequence[int], dtype: np.dtype, block: tuple[int, int, int]) -> None:
        self.path, self.shape, self.dtype, self.block = path, tuple(shape), np.dtype(dtype), block
        self._layout = _layout(self.shape, block)
        self._bytes = int(np.prod(self._layout, dtype=np.int64)) * self.dtype.itemsize
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is said here, not by a signal while the map is written to
                os.posix_fallocate(file.fileno(), 0, max(self._bytes, 1))
            else:
                file.truncate(self._bytes)

    def put(self, channel: int, start: Sequence[int], voxels: np.ndarray) -> None:
        """Write ``voxels`` (z, y, x) from ``start`` on."""
        stored = self._map("r+")
        indices = [range(at, at + length) for at, length in zip(start, voxels.shape, strict=True)]
        for (bz, iz, oz), (by, iy, oy), (bx, ix, ox) in product(*map(list, map(_parts, indices, self.block))):
            stored[channel, bz, by, bx][iz, iy, ix] = voxels[oz, oy, ox]

    def slabs(self, channel: int) -> Iterator[np.ndarray]:
        """What was written, as arrays (n, y, x) that follow one another along z."""
        _, depth, height, width = self.shape
        for row in range(self._layout[1]):
            blocks = self._map("r")[channel, row]  # (nby, nbx, bz, by, bx)
            whole = blocks.transpose(2, 0, 3, 1, 4).reshape(self.block[0], *(n * b for n, b in self._sides()))
            yield np.ascontiguousarray(whole[: depth - row * self.block[0], :height, :width])

    def finish(self, facts: dict[str, Any]) -> None:
        """Write what makes the file whole."""
        crc = np.empty(self._layout[:4], "<u4")
        for channel, row in np.ndindex(*self._layout[:2]):
            stored = self._map("r")
            for column in np.ndindex(*self._layout[2:4]):
                at = (channel, row, *column)
                crc[at] = zlib.crc32(stored[at].data)
        overview = self._overview()
        known = {"shape": self.shape, "block": self.block, "dtype": self.dtype.str, "facts": facts}
        text = json.dumps({**known, "overview": overview.shape}, allow_nan=False).encode()
        tail = crc.tobytes() + overview.tobytes() + text
        with self.path.open("r+b") as file:
            file.seek(self._bytes)
            file.write(tail)
            file.write(_END.pack(self._bytes, len(text), zlib.crc32(tail), MARK))

    def _overview(self) -> np.ndarray:
        step = overview_step(self.shape)
        channels = []
        for channel in range(self.shape[0]):
            planes = []
            for row, slab in enumerate(self.slabs(channel)):
                first = -(row * self.block[0]) % step
                planes.append(slab[first::step, ::step, ::step].copy())
            channels.append(np.concatenate(planes))
        return np.stack(channels)

    def _sides(self) -> Iterator[tuple[int, int]]:
        return zip(self._layout[2:4], self.block[1:], strict=True)

    def _map(self, mode: Any) -> np.ndarray:
        return np.asarray(np.memmap(self.path, self.dtype, mode, shape=self._layout))


@contextmanager
def write_blocks(
    path: Path, shape: Sequence[int], dtype: np.dtype, *, block: tuple[int, int, int] = BLOCK
) -> Iterator[BlockWriter]:
    """Make a file of blocks, whole or not at all; it must be finished within the block of code.

    Raises
    ------
    BlocksUnwritable
        When there is no room or no right for it.
    """
    failed: BaseException | None = None
    try:
        with atomic_path(path) as temporary:
            try:
                yield BlockWriter(temporary, shape, dtype, block)
            except UserError as error:
                failed = error
                raise
    except UserError as error:
        if error is failed:
            raise
        raise BlocksUnwritable(str(error)) from error
    except OSError as error:  # not even the folder
        raise BlocksUnwritable(f"{path} could not be written ({error.strerror or error})") from error


def overview_step(shape: Sequence[int]) -> int:
    """Every how many voxels along each axis of (C, z, y, x) an overview looks."""
    size = int(np.prod(shape, dtype=np.int64))
    return max(1, int(np.ceil((size / OVERVIEW_VOXELS) ** (1 / 3))))


def _layout(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """Channels, blocks along z, y, x, voxels of a block."""
    return (shape[0], *(-(-length // side) for length, side in zip(shape[1:], block, strict=True)), *block)


def _parts(indices: range, side: int) -> Iterator[tuple[int, slice, slice]]:
    """The blocks of ``side`` voxels that an index range meets: number, indices within the block, places in the result."""
    done, step = 0, indices.step
    while done < len(indices):
        first = indices[done]
        block = first // side
        count = min(-(-((block + 1) * side - first) // step), len(indices) - done)
        local = first - block * side
        yield block, slice(local, local + (count - 1) * step + 1, step), slice(done, done + count)
        done += count

"""Label values as bytes: the bytes a voxel takes (1 or 2, little-endian), then one or more zlib streams.

Several threads pack large boxes, a stream each at a time; zlib lets others run meanwhile.
"""

from __future__ import annotations

import math
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVEL = 1
"""Label maps are mostly runs of one value: higher levels take longer and save little."""
PIECE = 4 * 2**20
"""Bytes of values in one zlib stream, about."""
WORKERS = 4
T = TypeVar("T")
R = TypeVar("R")
_DTYPES: dict[int, np.dtype] = {1: np.dtype(np.uint8), 2: np.dtype("<u2")}
LARGEST = 65535


def as_label_values(values: np.ndarray, what: str) -> np.ndarray:
    """``values`` as uint8 where they fit, else uint16; never a copy where it is uint8 already.

    Raises
    ------
    StudyError
        When they are no whole numbers from 0 to 65535.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.view(np.uint8)
    if values.dtype.kind not in "iu":
        raise StudyError(f"{what}: labels are whole numbers, not {values.dtype}; convert them first")
    if values.size and (values.min() < 0 or values.max() > LARGEST):
        raise StudyError(f"{what}: labels go from 0 to {LARGEST}, not from {values.min()} to {values.max()}")
    small = not values.size or values.max() <= 255
    return values.astype(np.uint8 if small else np.uint16)


def side_by_side(work: Callable[[T], R], items: Sequence[T], *, many: int = 48) -> list[R]:
    """``work`` on every item, in order; on all cores where there are many items."""
    workers = min(WORKERS, os.cpu_count() or 1)
    if workers < 2 or len(items) < many:
        return [work(item) for item in items]
    with ThreadPoolExecutor(workers, thread_name_prefix="packing labels") as pool:
        return list(pool.map(work, items))


def pack(values: np.ndarray) -> bytes:
    """Values of `as_label_values` as bytes; with one byte a voxel where they fit."""
    if values.dtype != np.uint8 and values.max(initial=0) <= 255:
        values = values.astype(np.uint8)
    dtype = _DTYPES[values.dtype.itemsize]
    if values.ndim < 3 or values.nbytes <= PIECE:
        parts = [values]
    else:
        step = max(1, PIECE * len(values) // values.nbytes)
        parts = [values[first : first + step] for first in range(0, len(values), step)]
    streams = side_by_side(lambda part: zlib.compress(np.ascontiguousarray(part, dtype).data, LEVEL), parts)
    return bytes([dtype.itemsize]) + b"".join(streams)


def unpack(data: bytes, shape: Sequence[int]) -> np.ndarray:
    """What `pack` was given, read-only, uint8 or uint16.

    Raises
    ------
    ValueError
        When the bytes are not such values of that shape; zlib's checksum notices a flipped bit.
    """
    dtype = _DTYPES.get(data[0]) if data else None
    if dtype is None:
        raise ValueError("voxels of a type that is not known")
    expected = math.prod(shape) * dtype.itemsize
    parts: list[bytes] = []
    held, rest = 0, memoryview(data)[1:]
    try:
        while rest and held <= expected:
            unpacker = zlib.decompressobj()
            parts.append(unpacker.decompress(rest, expected - held + 1))  # no more, whatever is claimed
            held += len(parts[-1])
            if not unpacker.eof:
                raise ValueError("voxels that are cut short, or too many")
            rest = memoryview(unpacker.unused_data)
    except zlib.error as error:
        raise ValueError(f"voxels that do not unpack ({error})") from error
    if held != expected:
        raise ValueError(f"{held} bytes of voxels where {expected} belong")
    return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype).reshape(tuple(shape))

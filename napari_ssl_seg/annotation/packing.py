"""Label values as bytes: a digit for the bytes a voxel takes (1 or 2, little-endian), then zlib."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 1
"""Label maps are mostly runs of one value: higher levels take longer and save little."""
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


def pack(values: np.ndarray) -> bytes:
    """Values of `as_label_values` as bytes; with one byte a voxel where they fit."""
    if values.dtype != np.uint8 and values.max(initial=0) <= 255:
        values = values.astype(np.uint8)
    size = values.dtype.itemsize
    return bytes([size]) + zlib.compress(np.ascontiguousarray(values, _DTYPES[size]).tobytes(), LEVEL)


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
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data[1:], expected + 1)  # no more, whatever is claimed
    except zlib.error as error:
        raise ValueError(f"voxels that do not unpack ({error})") from error
    if len(raw) != expected or not unpacker.eof:
        raise ValueError(f"{len(raw)} bytes of voxels where {expected} belong")
    return np.frombuffer(raw, dtype).reshape(tuple(shape))

"""The voxels that a text header describes: exactly the claimed bytes, unpacked to the end of the stream.

The end of a packed stream is where its checksum is, so a flipped bit or a cut is noticed there.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.memory import TRAILING_LIMIT, readable_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from napari_ssl_seg.volumes.text_header import TextHeader

CHUNK = 4 * 2**20
DAMAGED = "get the file again, or restore it from a backup"


def read_voxels(path: Path, header: TextHeader) -> tuple[np.ndarray, tuple[str, ...]]:
    """The stored numbers in the order of the file, flat and in native byte order, and warnings."""
    with readable(path), header.data_path.open("rb") as file:
        if header.data_offset < 0:
            file.seek(-header.claimed, 2)
        else:
            file.seek(header.data_offset)
        if header.encoding == "text":
            return _text(path, file, header), ()
        buffer = _allocate(path, header.claimed)
        trailing = _unpack(path, file, header, buffer)
    notes = (f"{trailing} bytes after the voxels were ignored; the header may claim too few",) if trailing else ()
    stored = buffer.view(header.dtype)
    return stored.astype(header.dtype.newbyteorder("="), copy=False), notes


def verify_voxels(path: Path, header: TextHeader) -> None:
    """Read through packed voxels to the end of their stream and keep none; raises VolumeError where they are damaged."""
    if header.encoding == "text":
        read_voxels(path, header)
        return
    with readable(path), header.data_path.open("rb") as file:
        file.seek(header.data_offset)
        _unpack(path, file, header, None)


def _unpack(path: Path, file: BinaryIO, header: TextHeader, buffer: np.ndarray | None) -> int:
    """Fill ``buffer`` from the stream, to its end; return how many bytes there are behind the claimed ones."""
    chunks = {"raw": _raw, "gzip": _gzip, "zlib": _zlib}[header.encoding]
    filled, trailing = 0, 0
    for part in chunks(path, file, header.claimed):
        used = min(len(part), header.claimed - filled)
        if buffer is not None:
            buffer[filled : filled + used] = np.frombuffer(part, np.uint8, used)
        filled += used
        trailing += len(part) - used
        if trailing > TRAILING_LIMIT:
            raise VolumeError(
                f"{path} holds over {readable_size(TRAILING_LIMIT)} after its voxels, so its header is wrong; {DAMAGED}"
            )
    if filled < header.claimed:
        raise _short(path, header.claimed, filled)
    return trailing


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong in reading ``path``, in one sentence."""
    try:
        yield
    except EOFError as error:
        raise VolumeError(f"{path} is cut short (its packed voxels end too early); {DAMAGED}") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f"{path} is damaged (its packed voxels are wrong: {error}); {DAMAGED}") from error
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read ({error.strerror or error}); check the drive and its rights"
        ) from error


def _allocate(path: Path, size: int) -> np.ndarray:
    try:
        return np.empty(size, np.uint8)
    except MemoryError as error:
        raise VolumeError(f"{path} needs {readable_size(size)} of memory, which is not free; close others") from error


def _raw(path: Path, file: BinaryIO, claimed: int) -> Iterator[bytes]:
    while claimed > 0 and (part := file.read(min(claimed, CHUNK))):
        claimed -= len(part)
        yield part


def _gzip(path: Path, file: BinaryIO, claimed: int) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
        while part := unpacked.read(CHUNK):
            yield part


def _zlib(path: Path, file: BinaryIO, claimed: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(47)  # zlib or gzip, by its first bytes
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or file.read(CHUNK)
        part = unpacker.decompress(packed, CHUNK)
        if not packed and not part:
            raise VolumeError(f"{path} is cut short (its packed voxels end too early); {DAMAGED}")
        yield part


def _text(path: Path, file: BinaryIO, header: TextHeader) -> np.ndarray:
    words = file.read().split()
    if len(words) < header.count:
        raise _short(path, header.count, len(words), "numbers")
    try:
        return np.array(words[: header.count]).astype(header.dtype.newbyteorder("="))
    except (ValueError, OverflowError) as error:
        raise VolumeError(
            f"{path} is damaged: its voxels are not all numbers of type {header.dtype}; {DAMAGED}"
        ) from error


def _short(path: Path, claimed: int, got: int, what: str = "bytes") -> VolumeError:
    return VolumeError(
        f"{path} is cut short: its header claims {claimed} {what} of voxels, but only {got} are there; {DAMAGED}"
    )

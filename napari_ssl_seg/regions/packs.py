"""The file in which label maps lie: compressed one by one behind an index, so that one is read without the others.

Layout, little endian: a header (magic, number of slices, height, width, checksums), an entry for each slice (where its map
lies, its length and CRC-32, how many regions it has, bytes per value), the areas of all regions, deflated, and the maps,
each deflated by itself. Maps have the smallest unsigned type that holds them. Nothing in it is ever executed, and no
more memory is taken than the expected shape needs.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import TEMPORARY_MARK, atomic_path
from napari_ssl_seg.study.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO
    from pathlib import Path

MAGIC = b"SSLREG1\n"
LEVEL = 6
"""Of zlib; higher ones take ten times as long for 1 %, and a filter by rows makes label maps larger (measured)."""
_HEADER = struct.Struct("<8sIIIIII")
_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc", "<u4"), ("regions", "<u4"), ("itemsize", "<u4")])
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
_INDEX_BYTES = 64 * 2**20


class Damaged(Exception):
    """A file of the cache is not what was written; it is to be made anew."""


@dataclass(frozen=True)
class Packed:
    """One slice as it is stored."""

    blob: bytes
    crc: int
    itemsize: int
    areas: np.ndarray
    """Pixels of the labels 1..M, (M,) int64."""


@dataclass(frozen=True, eq=False)
class Index:
    """What the beginning of a file says; ``shape`` is (slices, height, width)."""

    shape: tuple[int, int, int]
    entries: np.ndarray
    areas_at: int
    areas_length: int
    areas_crc: int


def pack_slice(label_map: np.ndarray) -> Packed:
    """Compress one label map, (H, W) whole numbers from 0 to 2^32 - 1."""
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu" or label_map.size == 0 or label_map.min() < 0:
        raise ValueError(f"a label map is (H, W) of whole numbers from 0 on, not {label_map.dtype} {label_map.shape}")
    top = int(label_map.max())
    itemsize = 1 if top < 2**8 else 2 if top < 2**16 else 4
    areas = np.bincount(label_map.reshape(-1), minlength=1)[1:].astype(np.int64)
    blob = zlib.compress(np.ascontiguousarray(label_map, _TYPES[itemsize]).tobytes(), LEVEL)
    return Packed(blob, zlib.crc32(blob), itemsize, areas)


def write_pack(path: Path, size: tuple[int, int], slices: Sequence[Packed], *, durable: bool = True) -> None:
    """Write slices of ``size`` (height, width) into one file, whole or not at all.

    Without ``durable`` the disk may take its time, which is ten times as fast for small files: a loss of power may then
    damage the file, which its checksums tell; a kill may not.
    """
    areas = zlib.compress(np.concatenate([item.areas for item in slices]).astype("<u4").tobytes(), LEVEL)
    entries = np.zeros(len(slices), _ENTRY)
    areas_at = _HEADER.size + entries.nbytes
    offset = areas_at + len(areas)
    for entry, item in zip(entries, slices, strict=True):
        entry["offset"], entry["length"], entry["crc"] = offset, len(item.blob), item.crc
        entry["regions"], entry["itemsize"] = len(item.areas), item.itemsize
        offset += len(item.blob)
    table = entries.tobytes()
    facts = (len(slices), *size, len(areas), zlib.crc32(areas))
    crc = zlib.crc32(table, zlib.crc32(repr(facts).encode()))
    data = b"".join([_HEADER.pack(MAGIC, *facts, crc), table, areas, *(item.blob for item in slices)])
    for attempts_left in (2, 1, 0):
        try:
            with (atomic_path if durable else _renamed)(path) as temporary:
                temporary.write_bytes(data)
            return
        except UserError as error:  # the cache may be deleted at any time, also while its folder is being made
            if not attempts_left or not isinstance(error.__cause__, FileNotFoundError):
                raise


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """`atomic_path` without the flush."""
    temporary = path.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} could not be written ({reason}); free some space, then start again") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_map(path: Path, z: int) -> np.ndarray:
    """One label map, (H, W), of the smallest unsigned type that holds it; the other maps are not read.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    Damaged
        When the index or this map is not what was written.
    """
    with _open(path) as stream:
        index = _index(stream, path)
        _, height, width = index.shape
        itemsize = int(index.entries[z]["itemsize"])
        data = unpack(_blob(stream, index, z), height * width * itemsize)
    return np.frombuffer(data, _TYPES[itemsize]).reshape(height, width)


def read_areas(path: Path) -> list[np.ndarray]:
    """Areas of the regions 1..M of every slice, int64; no map is decompressed. Raises as `read_map` does."""
    with _open(path) as stream:
        index = _index(stream, path)
        stream.seek(index.areas_at)
        packed = _exactly(stream, index.areas_length)
    if zlib.crc32(packed) != index.areas_crc:
        raise Damaged(f"the areas in {path.name} do not match their checksum")
    counts = index.entries["regions"].astype(np.int64)
    flat = np.frombuffer(unpack(packed, int(counts.sum()) * 4), "<u4").astype(np.int64)
    return np.split(flat, np.cumsum(counts)[:-1])


def read_shape(path: Path) -> tuple[int, int, int]:
    """(slices, height, width). Raises as `read_map` does."""
    with _open(path) as stream:
        return _index(stream, path).shape


def read_packed(path: Path) -> list[Packed | None]:
    """Every slice as it is stored, None where its checksum does not match. Raises as `read_map` does."""
    areas = read_areas(path)
    found: list[Packed | None] = []
    with _open(path) as stream:
        index = _index(stream, path)
        for z, entry in enumerate(index.entries):
            try:
                blob = _blob(stream, index, z)
            except Damaged:
                found.append(None)
                continue
            found.append(Packed(blob, int(entry["crc"]), int(entry["itemsize"]), areas[z]))
    return found


def unpack(packed: bytes, length: int) -> bytes:
    """Inflate to exactly ``length`` bytes; raises Damaged for anything else, and never takes more memory."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, length + 1)
    except zlib.error as error:
        raise Damaged(f"a compressed part cannot be read ({error})") from error
    if len(data) != length or not (inflater.eof or length == 0):
        raise Damaged("a compressed part has another length than noted")
    return data


_indexes: ByteCache[Index] = ByteCache(_INDEX_BYTES, lambda index: index.entries.nbytes + 256)


def _open(path: Path) -> FileIO:
    try:
        return open(path, "rb", buffering=0)
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror or error})") from error


def _index(stream: FileIO, path: Path) -> Index:
    """The index of an open file, remembered until the file is replaced."""
    stat = os.fstat(stream.fileno())
    key = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return _indexes.get(key, lambda: _read_index(stream, stat.st_size))


def _read_index(stream: FileIO, length: int) -> Index:
    stream.seek(0)
    magic, count, height, width, areas_length, areas_crc, crc = _HEADER.unpack(_exactly(stream, _HEADER.size))
    if magic != MAGIC or _HEADER.size + count * _ENTRY.itemsize > length:
        raise Damaged("the file does not begin as it should")
    table = _exactly(stream, count * _ENTRY.itemsize)
    facts = (count, height, width, areas_length, areas_crc)
    if zlib.crc32(table, zlib.crc32(repr(facts).encode())) != crc:
        raise Damaged("the index does not match its checksum")
    entries = np.frombuffer(table, _ENTRY)
    areas_at = _HEADER.size + len(table)
    if max(areas_at + areas_length, int((entries["offset"] + entries["length"]).max(initial=0))) > length:
        raise Damaged("the file is cut short")
    return Index((count, height, width), entries, areas_at, areas_length, areas_crc)


def _blob(stream: FileIO, index: Index, z: int) -> bytes:
    entry = index.entries[z]
    stream.seek(int(entry["offset"]))
    blob = _exactly(stream, int(entry["length"]))
    if zlib.crc32(blob) != int(entry["crc"]):
        raise Damaged(f"slice {z} does not match its checksum")
    return blob


def _exactly(stream: FileIO, length: int) -> bytes:
    parts, missing = [], length
    while missing:
        try:
            part = stream.read(missing)
        except OSError as error:
            raise Damaged(f"the drive cannot read it ({error.strerror or error})") from error
        if not part:
            raise Damaged("the file is cut short")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)

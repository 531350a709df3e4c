"""NIfTI files: header and claims first, then exactly the claimed bytes, then the rest of the stream for its checksum.

nibabel parses the header and its quaternion; the voxels are read here, because nibabel stops before the end of a gzip
stream and so never sees that its checksum is wrong (275 of 400 files with one flipped bit opened with wrong voxels).
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.geometry import Geometry
from napari_ssl_seg.volumes.memory import TRAILING_LIMIT, check_claim, readable_size
from napari_ssl_seg.volumes.nifti_affine import choose_affine
from napari_ssl_seg.volumes.scaling import Scaling
from napari_ssl_seg.volumes.sources import Source, non_finite_warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

CHUNK = 4 * 2**20
OFFSET_LIMIT = 32 * 2**20
DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
REFUSED_TYPES = {
    1: "single bits",
    32: "complex numbers",
    128: "RGB colours",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}
DAMAGED = "get the file again, or restore it from a backup"


def open_nifti(path: Path) -> Source:
    """Read and judge the header of a NIfTI file.

    Raises
    ------
    VolumeError
        When it is no NIfTI file, holds no scalar volume, claims more than it can hold, or cannot place its voxels.
    """
    stored = path.stat().st_size
    with _damage(path), _stream(path) as (stream, compressed):
        header, size = _header(path, stream)
    warnings = _name_warnings(path, compressed)
    shape, channels = _shape(path, header)
    raw = _dtype(path, header)
    warnings += _bitpix_warning(header, raw)
    offset = _offset(path, header, size, warnings)
    claimed = int(np.prod([*shape, channels], dtype=object)) * raw.itemsize
    check_claim(path, claimed if compressed else claimed + offset, stored, compressed=compressed)
    affine = choose_affine(path, header, shape, warnings)
    scaling = Scaling.of(raw, float(header["scl_slope"]), float(header["scl_inter"]))
    geometry = Geometry.from_file(shape, affine, dtype=scaling.dtype, format="nifti")
    count = claimed // raw.itemsize

    def read() -> tuple[np.ndarray, tuple[str, ...]]:
        flat, trailing = _voxels(path, offset, claimed)
        notes: tuple[str, ...] = ()
        if trailing:
            notes = (f"{trailing} bytes after the voxels were ignored; the header may claim too few",)
        array = flat.view(raw).reshape((*shape, channels) if channels > 1 else shape, order="F")
        array = scaling.apply(array.astype(raw.newbyteorder("="), copy=False))
        return array, notes + non_finite_warning(array.T)

    def parts(limit: int) -> Iterator[np.ndarray]:
        yield from _parts(path, offset, raw, (*shape, channels), scaling, limit)

    peak = claimed + 2 * count * scaling.dtype.itemsize  # the file's bytes, the scaled values and the held order
    return Source(
        path, geometry, channels, scaling.dtype, peak, tuple(warnings), offset + claimed, read=read, parts=parts
    )


# -- the stream ---------------------------------------------------------------------------------------------------
@contextmanager
def _stream(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """The file, unpacked when it is gzip by content, whatever its name says."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if compressed:
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                yield unpacked, True  # type: ignore[misc]
        else:
            yield file, False


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise VolumeError(f"{path} is cut short (its gzip stream ends too early); {DAMAGED}") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f"{path} is damaged (its gzip stream is wrong: {error}); {DAMAGED}") from error
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read ({error.strerror or error}); check the drive and its rights"
        ) from error


def _voxels(path: Path, offset: int, claimed: int) -> tuple[np.ndarray, int]:
    """The claimed bytes, and how many more there are; reading to the end is what verifies the checksum."""
    try:
        buffer = np.empty(claimed, np.uint8)
    except MemoryError as error:
        raise VolumeError(
            f"{path} needs {readable_size(claimed)} of memory, which is not free; close others"
        ) from error
    with _damage(path), _stream(path) as (stream, _):
        _to_voxels(path, stream, offset)
        _fill(path, stream, buffer.data, 0, claimed)
        trailing = _drain(path, stream)
    return buffer, trailing


def _parts(
    path: Path, offset: int, raw: np.dtype, shape: tuple[int, int, int, int], scaling: Scaling, limit: int
) -> Iterator[np.ndarray]:
    """The scaled voxels (i, j, n) in the order of the file; the last ones once the end of the stream was verified."""
    width, height, depth, channels = shape
    plane = width * height * raw.itemsize
    count = max(1, limit // plane)
    claimed, done = plane * depth * channels, 0
    with _damage(path), _stream(path) as (stream, _):
        _to_voxels(path, stream, offset)
        for _ in range(channels):
            for first in range(0, depth, count):
                planes = min(count, depth - first)
                buffer = np.empty(plane * planes, np.uint8)
                _fill(path, stream, buffer.data, done, claimed)
                done += len(buffer)
                if done == claimed:
                    _drain(path, stream)
                stored = buffer.view(raw).reshape((width, height, planes), order="F")
                yield scaling.apply(stored.astype(raw.newbyteorder("="), copy=False))


def _to_voxels(path: Path, stream: BinaryIO, offset: int) -> None:
    if len(_exactly(stream, offset)) < offset:
        raise VolumeError(f"{path} is cut short: it ends before its voxels begin; {DAMAGED}")


def _fill(path: Path, stream: BinaryIO, view: memoryview, done: int, claimed: int) -> None:
    """Read until ``view`` is full, of ``claimed`` bytes of which ``done`` were read before."""
    filled = 0
    while filled < len(view):
        got = stream.readinto(view[filled : filled + CHUNK])  # type: ignore[attr-defined]
        if not got:
            raise VolumeError(
                f"{path} is cut short: its header claims {claimed} bytes of voxels, but only {done + filled} are there;"
                f" {DAMAGED}"
            )
        filled += got


def _drain(path: Path, stream: BinaryIO) -> int:
    """How many bytes there are after the voxels; reading to the end is what verifies the checksum."""
    trailing = 0
    while got := len(stream.read(CHUNK)):
        trailing += got
        if trailing > TRAILING_LIMIT:
            raise VolumeError(
                f"{path} holds over {readable_size(TRAILING_LIMIT)} after its voxels, so its header is wrong; {DAMAGED}"
            )
    return trailing


def _exactly(stream: BinaryIO, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := stream.read(min(count, CHUNK))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


# -- the header ---------------------------------------------------------------------------------------------------
def _header(path: Path, stream: BinaryIO) -> tuple[Any, int]:
    """nibabel's header, unchecked, and its size in bytes."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    block = _exactly(stream, 540)
    magic1, magic2 = block[344:348], block[4:12]
    if magic1 in (b"ni1\0", b"n+1\0") and len(block) >= 348:
        if magic1 == b"ni1\0":
            raise VolumeError(f"{path} is one half of a pair (.hdr and .img); convert the pair to one .nii.gz file")
        return Nifti1Header(block[:348], check=False), 348
    if magic2[:4] in (b"ni2\0", b"n+2\0") and len(block) == 540:
        if magic2[:4] == b"ni2\0":
            raise VolumeError(f"{path} is one half of a pair (.hdr and .img); convert the pair to one .nii.gz file")
        return Nifti2Header(block, check=False), 540
    if len(block) < 348:
        raise VolumeError(f"{path} is no NIfTI file: it ends within the header; {DAMAGED}")
    raise VolumeError(f"{path} is no NIfTI file: the mark 'n+1' or 'n+2' is missing from its header; {DAMAGED}")


def _name_warnings(path: Path, compressed: bool) -> list[str]:
    if compressed != path.name.lower().endswith(".gz"):
        return [
            "the name says that it is not compressed, but it is" if compressed else "named .gz but it is not compressed"
        ]
    return []


def _shape(path: Path, header: Any) -> tuple[tuple[int, int, int], int]:
    dim = [int(n) for n in header["dim"]]
    count = dim[0]
    if not 1 <= count <= 7:
        raise VolumeError(f"{path}: its header claims {count} axes, which is not possible; {DAMAGED}")
    sizes = dim[1 : count + 1]
    if min(sizes) < 1:
        raise VolumeError(f"{path}: its header claims the size {'x'.join(map(str, sizes))}, which is empty; {DAMAGED}")
    intent = int(header["intent_code"])
    if any(n > 1 for n in sizes[4:]):
        kind = "a vector" if intent == 1007 else f"{int(np.prod(sizes[4:], dtype=object))} values"
        raise VolumeError(f"{path} holds {kind} in each voxel; only volumes with one number a voxel can be used")
    if count < 2:
        raise VolumeError(f"{path} has one axis only; a volume has three")
    sizes = [*sizes, 1, 1][:4]
    return (sizes[0], sizes[1], sizes[2]), sizes[3]


def _dtype(path: Path, header: Any) -> np.dtype:
    code = int(header["datatype"])
    if code in REFUSED_TYPES:
        raise VolumeError(
            f"{path} holds {REFUSED_TYPES[code]} in its voxels; only volumes with one number a voxel can be used"
        )
    if code not in DTYPES:
        raise VolumeError(f"{path}: its header names the voxel type {code}, which NIfTI does not define; {DAMAGED}")
    return np.dtype(header.endianness + DTYPES[code])


def _bitpix_warning(header: Any, raw: np.dtype) -> list[str]:
    bits = int(header["bitpix"])
    if bits == raw.itemsize * 8:
        return []
    return [f"the header gives {bits} bits a voxel, but its type has {raw.itemsize * 8}; the type was believed"]


def _offset(path: Path, header: Any, size: int, warnings: list[str]) -> int:
    """Where the voxels begin."""
    offset = float(header["vox_offset"])
    least = size + 4  # the four bytes that say whether extensions follow
    if not np.isfinite(offset) or offset < 0 or offset > OFFSET_LIMIT or offset != int(offset):
        raise VolumeError(
            f"{path}: its header lets the voxels begin at byte {offset:g}, which is not possible; {DAMAGED}"
        )
    if offset == 0:
        warnings.append(f"the header does not say where the voxels begin; byte {least} was taken")
        return least
    if offset < least:
        raise VolumeError(f"{path}: its header lets the voxels begin at byte {offset:g}, within the header; {DAMAGED}")
    return int(offset)

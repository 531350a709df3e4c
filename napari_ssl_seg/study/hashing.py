"""Fingerprints of files, made in the same pass that verifies the checksum of a compressed one."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes.memory import TRAILING_LIMIT, readable_size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CHUNK = 2**20
NIFTI_HEADER = 352
"""Bytes before the first possible voxel; headers differ between copies that hold the same scan."""


class FileHash(NamedTuple):
    """What a file is known by."""

    sha256: str
    """Of its bytes, as `sha256sum` gives it."""
    content: str
    """Of what is in it: unpacked, and for NIfTI without the header. A re-compressed copy has the same."""
    size: int = 0
    """Bytes in it, unpacked."""


def hash_file(path: Path, *, expected: int = 0) -> FileHash:
    """Hash a file, or every file of a folder (a DICOM series).

    Parameters
    ----------
    path
        The file.
    expected
        Bytes that it must hold, unpacked (`volumes.VolumeHeader.stream_bytes`); 0: not known.

    Raises
    ------
    VolumeError
        When it cannot be read, is a gzip stream that is cut short or damaged, or holds less than what is expected or
        very much more.
    """
    try:
        if path.is_dir():
            parts = [hash_file(part) for part in sorted(path.iterdir()) if part.is_file()]
            return FileHash(combine(part.sha256 for part in parts), combine(part.content for part in parts))
        with path.open("rb") as stream:
            tee = _Tee(stream)
            compressed = stream.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
            nifti = path.name.lower().endswith((".nii", ".nii.gz"))
            unpacked: Any = gzip.GzipFile(fileobj=tee, mode="rb") if compressed else tee  # type: ignore[call-overload]
            content, size = _drain(path, unpacked, NIFTI_HEADER if nifti else 0, expected)
            return FileHash(tee.digest.hexdigest(), content, size)
    except EOFError as error:
        raise VolumeError(f"{path} is cut short (its gzip stream ends too early); get the file again") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f"{path} is damaged (its gzip stream is wrong: {error}); get the file again") from error
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read ({error.strerror or error}); check the drive and its rights"
        ) from error


def combine(digests: Iterable[str]) -> str:
    """One SHA-256 (hex) over several, in their order; a single one stays as it is."""
    parts = list(digests)
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def combined_fingerprint(rows: Iterable[tuple[str, str | None, int | None]]) -> str:
    """SHA-256 (hex) over the fingerprints of images and labels, and the frames, of several cases in any order."""
    lines = sorted(f"{image} {label or '-'} {'-' if frame is None else frame}" for image, label, frame in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_stamp(files: Iterable[str | os.PathLike[str]]) -> str:
    """Sizes and times of change: another text when one of the files was written to. Missing files are marked ``-``."""
    parts = []
    for file in files:
        try:
            stat = os.stat(file)
            parts.append(f"{stat.st_size}@{stat.st_mtime_ns}")
        except OSError:
            parts.append("-")
    return " ".join(parts)


class _Tee:
    """A file that hashes what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self.stream.read(size)
        self.digest.update(block)
        return block


def _drain(path: Path, stream: Any, skip: int, expected: int) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    while block := stream.read(CHUNK):
        digest.update(block[skip:])
        skip = max(skip - len(block), 0)
        size += len(block)
        if expected and size > expected + TRAILING_LIMIT:
            raise VolumeError(
                f"{path} holds over {readable_size(TRAILING_LIMIT)} after its voxels, so its header is wrong; get it again"
            )
    if size < expected:
        raise VolumeError(
            f"{path} is cut short: its header claims {expected} bytes, but only {size} are there; get the file again"
        )
    return digest.hexdigest(), size

"""One file of the corpus, and what the makers of all kinds have in common. Everything made is the same at every run."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import nibabel as nib
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Kind = Literal["image", "label", "checkpoint", "weights", "run", "sam", "manifest", "targets", "masks", "archive"]
Verdict = Literal["refuse", "warn", "open"]

SHAPE = (5, 6, 7)
AFFINE = np.array([[1.0, 0, 0, 10], [0, 2.0, 0, -20], [0, 0, 3.5, 30], [0, 0, 0, 1]])


@dataclass(frozen=True)
class BadFile:
    """A file that is malformed, odd or hostile.

    Attributes
    ----------
    name
        Of the file, which is unique in the corpus; it is made in a folder of its own.
    kind
        What it pretends to be.
    verdict
        "refuse": one sentence with `words` in it; "warn": opened with the right voxels and a warning with `words` in it;
        "open": opened with the right voxels.
    words
        Parts of the sentence, in any order.
    why
        What is wrong or odd about it, for the table in docs/trust.md.
    make
        Writes it to a path (and what belongs to it beside), and returns the voxels (i, j, k) that are right, where there are.
    """

    name: str
    kind: Kind
    verdict: Verdict
    words: tuple[str, ...]
    why: str
    make: Callable[[Path], np.ndarray | None]


def voxels(dtype: Any = "int16", shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random voxels (i, j, k)."""
    return np.random.default_rng(8).integers(0, 100, shape).astype(dtype)


def labels(dtype: Any = "uint8") -> np.ndarray:
    """A block of 1 and a block of 2."""
    array = np.zeros(SHAPE, dtype)
    array[1:3, 1:4, 1:5] = 1
    array[3:, 2:5, 2:6] = 2
    return array


def pack(content: bytes, level: int = 6) -> bytes:
    """gzip without the time of day."""
    return gzip.compress(content, level, mtime=0)


def bomb(head: bytes, kind: int, megabytes: int = 1500) -> bytes:
    """``head`` and many zeros behind it, as zlib (``kind`` 15) or gzip (31); without an end, which nobody should reach."""
    packer = zlib.compressobj(9, zlib.DEFLATED, kind)
    begin = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + block * megabytes


def nifti_bytes(array: np.ndarray | None = None, affine: np.ndarray = AFFINE, **fields: Any) -> bytes:
    """A NIfTI file, unpacked; ``fields`` are set in its own bytes, past every check ("pixdim1": entry 1 of pixdim)."""
    array = voxels() if array is None else array
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    block = np.frombuffer(bytes(content[:348]), dtype=nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        base = name.rstrip("0123456789")
        if base in ("pixdim", "dim") and base != name:
            block[base][0][int(name[len(base) :])] = value
        else:
            block[name] = value
    content[:348] = block.tobytes()
    return bytes(content)


def save(path: Path, content: bytes) -> None:
    """Write, packed where the name says so."""
    path.write_bytes(pack(content) if path.name.endswith(".gz") else content)


def tar_bytes(*members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return buffer.getvalue()


RAW = voxels().tobytes(order="F")
"""The voxels as most files have them."""


def image(name: str, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> BadFile:
    """An entry of kind "image" with ``words`` between bars; what ``make`` returns counts where it is an array."""
    return entry(name, "image", verdict, words, why, make)


def entry(name: str, kind: Kind, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> BadFile:
    """An entry with ``words`` between bars; what ``make`` returns counts where it is an array."""

    def made(path: Path) -> np.ndarray | None:
        right = make(path)
        return right if isinstance(right, np.ndarray) else None

    return BadFile(name, kind, verdict, tuple(words.split("|")) if words else (), why, made)


def outside(folder: Path) -> None:
    """Voxels outside the folder of a header."""
    (folder.parent / "secret.raw").write_bytes(RAW)


def link_out(folder: Path) -> None:
    """A link beside a header to voxels outside its folder."""
    outside(folder)
    (folder / "voxels.raw").symlink_to(folder.parent / "secret.raw")

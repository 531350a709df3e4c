"""What NRRD and MetaImage headers, which are text, have in common once they are parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import VolumeError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO

HEADER_LIMIT = 2**20
"""Bytes; a text header longer than this is not one."""


@dataclass(frozen=True)
class TextHeader:
    """A parsed header.

    Attributes
    ----------
    format
        "nrrd" or "metaimage".
    sizes
        Lengths of the spatial axes and of a fourth one: two to four.
    affine
        (4, 4), index -> LPS+ in the header's own unit of length.
    components
        Values in each voxel that count as channels (a list axis of NRRD's); 1 otherwise.
    component_axis
        Which of the file's axes those are.
    dtype
        Type of the stored voxels.
    encoding
        "raw", "gzip", "zlib" or "text".
    data_path
        File with the voxels: the header's own, or one beside it.
    data_offset
        Byte of that file where they begin; -1: so that they end with the file.
    unit
        Factor that leads from the header's lengths to mm.
    warnings
        What is odd.
    """

    format: str
    sizes: tuple[int, ...]
    affine: np.ndarray
    components: int
    dtype: np.dtype
    encoding: str
    data_path: Path
    data_offset: int
    component_axis: int = 0
    unit: float = 1.0
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many numbers the header claims."""
        return int(np.prod(self.sizes, dtype=object)) * self.components

    @property
    def claimed(self) -> int:
        """How many bytes of voxels the header claims, unpacked."""
        return self.count * self.dtype.itemsize


def read_lines(path: Path, file: BinaryIO, *, last: str | None) -> list[str]:
    """Header lines up to an empty one, or up to and with the one that starts with ``last``; the file stands behind it."""
    lines: list[str] = []
    left = HEADER_LIMIT
    while True:
        raw = file.readline(left)
        left -= len(raw)
        if not raw:
            if last is None:
                return lines  # a detached NRRD header ends with the file
            raise VolumeError(f"{path}: its header has no {last}; the file is cut short or damaged, get it again")
        if left <= 0:
            raise VolumeError(f"{path}: its header is longer than 1 MB, so it is none; the file is damaged")
        try:
            line = raw.decode("utf-8").strip("\r\n")
        except UnicodeDecodeError as error:
            raise VolumeError(f"{path}: its header is not text; the file is damaged, get it again") from error
        if last is None and not line.strip():
            return lines
        lines.append(line)
        if last is not None and line.strip().startswith(last):
            return lines


def integers(path: Path, name: str, text: str) -> list[int]:
    """The whole numbers of a header field."""
    try:
        return [int(part) for part in text.split()]
    except ValueError as error:
        raise VolumeError(
            f"{path}: its header's {name} is {text[:80]!r}, not whole numbers; correct its header"
        ) from error


def numbers(path: Path, name: str, text: str) -> np.ndarray:
    """The finite numbers of a header field."""
    try:
        values = np.array([float(part) for part in text.split()])
    except ValueError as error:
        raise VolumeError(f"{path}: its header's {name} is {text[:80]!r}, not numbers; correct its header") from error
    if not np.isfinite(values).all():
        raise VolumeError(f"{path}: its header's {name} is not finite ({text[:80]}); correct its header")
    return values


def lps_affine(spacing: Any, origin: Any, direction: Any) -> np.ndarray:
    """(4, 4) index -> LPS+ of two to four dimensions, from what SimpleITK calls so; a missing third axis is 1 mm of z."""
    count = len(spacing)
    used = min(count, 3)
    affine = np.eye(4)
    matrix = np.array(direction, dtype=float).reshape(count, count)[:used, :used]
    affine[:used, :used] = matrix * np.array(spacing[:used], dtype=float)
    affine[:used, 3] = origin[:used]
    return affine


def data_file(path: Path, name: str) -> Path:
    """The file of voxels that a detached header names: one plain file in the header's own folder or below."""
    if name.upper().startswith("LIST") or "%" in name or (" " in name.strip() and not (path.parent / name).exists()):
        raise VolumeError(
            f"{path} spreads its voxels over several files; convert it to one .nrrd, .mha or .nii.gz file"
        )
    folder = path.parent.resolve()
    target = (path.parent / name).resolve()
    if not target.is_relative_to(folder):
        raise VolumeError(
            f"{path} names {name} as the file of its voxels, which lies outside its folder; move it there"
        )
    if not target.is_file():
        raise VolumeError(
            f"{path} names {name} as the file of its voxels, which does not exist; put it beside the header"
        )
    return target

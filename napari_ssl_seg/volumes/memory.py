"""How much memory a file may claim before any of it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.errors import VolumeError

if TYPE_CHECKING:
    from pathlib import Path

SHARE = 0.5
"""Share of the memory that is free now that one volume may take."""

TRAILING_LIMIT = 32 * 2**20
"""Bytes behind a file's voxels that are read over; more of them may be a few bytes that unpack to gigabytes."""

GZIP_RATIO = 1032
"""No deflate stream shrinks its input further than this (zlib's technical notes: 1032:1)."""


def default_limit() -> int:
    """Bytes that a volume may take: half of what is available now."""
    import psutil

    return int(psutil.virtual_memory().available * SHARE)


def check_memory(path: Path, needed: int, limit: int | None) -> None:
    """Raise VolumeError when ``needed`` bytes are more than ``limit`` (None: `default_limit`)."""
    allowed = default_limit() if limit is None else int(limit)
    if needed > allowed:
        raise VolumeError(
            f"{path} claims {readable_size(needed)} of memory, more than the {readable_size(allowed)} that one volume"
            " may take here; crop or resample it, or close other programs"
        )


def check_claim(path: Path, claimed: int, stored: int, *, compressed: bool) -> None:
    """Raise VolumeError when ``stored`` bytes of file cannot possibly hold the ``claimed`` bytes of voxels."""
    if compressed:
        if claimed > (stored + 64) * GZIP_RATIO:
            raise VolumeError(
                f"{path} claims {readable_size(claimed)} of voxels, more than its {readable_size(stored)} can hold even"
                " compressed; the header is wrong or the file is cut short: get it again"
            )
    elif claimed > stored:
        raise VolumeError(
            f"{path} is cut short: its header claims {claimed} bytes of voxels, but only {max(stored, 0)} are there;"
            " get the file again"
        )


def readable_size(size: float) -> str:
    """Bytes as "3.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"

"""NIfTI files that are right but for some fields of their header, or some of their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bad_files.entry import image, nifti_bytes, pack, save, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from tests.bad_files.entry import BadFile, Verdict


def with_header(
    name: str, verdict: Verdict, words: str, why: str, array: np.ndarray | None = None, /, **fields: Any
) -> BadFile:
    """Right but for some fields of its header."""

    def make(path: Path) -> np.ndarray:
        given = voxels() if array is None else array
        save(path, nifti_bytes(given, **fields))
        return given

    return image(name, verdict, words, why, make)


def with_bytes(
    name: str, verdict: Verdict, words: str, why: str, change: Callable[[bytes], bytes], *, packed: bool = False
) -> BadFile:
    """Right but for its bytes, which are changed before they are packed, or (``packed``) after."""

    def make(path: Path) -> np.ndarray:
        content = nifti_bytes()
        path.write_bytes(change(pack(content)) if packed else change(content))
        return voxels()

    return image(name, verdict, words, why, make)

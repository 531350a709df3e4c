"""Small files, good and bad, that the tests of this folder read."""

from __future__ import annotations

import gzip
import itertools
import struct
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE = (5, 6, 7)
SPACING = np.array([1.0, 2.0, 3.5])


def voxels(dtype: Any = "int16", shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Random voxels (i, j, k)."""
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def affine_of(directions: np.ndarray, spacing: np.ndarray = SPACING) -> np.ndarray:
    """(4, 4) with unit columns ``directions``, ``spacing`` and an origin away from 0."""
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = [10.0, -20.0, 30.0]
    return affine


def axis_directions() -> list[np.ndarray]:
    """The 48 ways in which three axes can run along those of the world."""
    return [
        np.eye(3)[:, list(order)] * np.array(signs, dtype=float)
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]


def rotation(seed: int) -> np.ndarray:
    """A random rotation or reflection."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix


def save_nifti(path: Path, array: np.ndarray | None = None, affine: np.ndarray | None = None, **fields: Any) -> Path:
    """Save with nibabel, then set header ``fields`` in the file's own bytes, past every check of nibabel's."""
    array = voxels() if array is None else array
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype)
    nib.save(image, path)
    if fields:
        patch_nifti(path, **fields)
    return path


def patch_nifti(path: Path, **fields: Any) -> None:
    """Set header fields of a NIfTI file; "pixdim1" sets entry 1 of pixdim."""
    compressed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if compressed else path.read_bytes())
    block = np.frombuffer(bytes(content[:348]), dtype=nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        base = name.rstrip("0123456789")
        if base in ("pixdim", "dim") and base != name:
            block[base][0][int(name[len(base) :])] = value
        else:
            block[name] = value
    content[:348] = block.tobytes()
    path.write_bytes(gzip.compress(bytes(content), 1) if compressed else bytes(content))


def claim(path: Path, shape: tuple[int, ...], datatype: int = 16) -> Path:
    """A packed NIfTI file that is nothing but a header claiming ``shape``."""
    header = nib.Nifti1Header()
    header.set_sform(np.eye(4), code=1)
    block = bytearray(header.binaryblock)
    struct.pack_into("<8h", block, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<h", block, 70, datatype)
    struct.pack_into("<f", block, 108, 352.0)
    path.write_bytes(gzip.compress(bytes(block) + b"\0\0\0\0"))
    return path


def edit(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Rewrite a file's bytes."""
    path.write_bytes(change(path.read_bytes()))
    return path

"""Small scans on disk, written with nibabel alone so that nothing of ours is its own witness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path


def write_nifti(
    path: Path, array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 3.0), shift: float = 0.0
) -> Path:
    """A file with RAS axes (x, y, z); ``shift`` moves it along x in mm."""
    affine = np.diag([*spacing, 1.0])
    affine[0, 3] = shift
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def image_array(seed: int, shape: tuple[int, ...] = (6, 5, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def label_array(shape: tuple[int, ...] = (6, 5, 4), values: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Each value on one axial slice, from slice 1 on; slice 0 is empty."""
    array = np.zeros(shape, np.uint8)
    for place, value in enumerate(values, start=1):
        array[1:3, 1:3, place] = value
    return array


@pytest.fixture
def scans(tmp_path: Path) -> Any:
    """Makes ``n`` images and labels of the first ``labelled`` of them; returns the two folders."""

    def make(n: int = 10, labelled: int | None = None, *, suffix: str = "", folder: str = "data") -> tuple[Path, Path]:
        root = tmp_path / folder
        for number in range(n):
            write_nifti(root / "images" / f"case_{number}{suffix}.nii.gz", image_array(number))
            if labelled is None or number < labelled:
                write_nifti(root / "labels" / f"case_{number}.nii.gz", label_array())
        return root / "images", root / "labels"

    return make

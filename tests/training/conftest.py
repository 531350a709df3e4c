"""A study of small scans with a bright ball inside a grey one: learnt in a few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.study import Study

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (12, 22, 18)  # x, y, z in the file: held as (18, 22, 12)


def write_scans(folder: Path, count: int, *, labelled: int | None = None, flip: bool = True) -> None:
    """``count`` scans, every other one stored left to right the other way; the first ``labelled`` have labels."""
    rng = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(count):
        centre = np.array(SHAPE) / 2 + rng.uniform(-1.5, 1.5, 3)
        distance = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(np.indices(SHAPE), centre, strict=True)))
        label = np.where(distance < 2.6, 2, np.where(distance < 5.2, 1, 0)).astype(np.uint8)
        image = (np.array([0, 100, 200])[label] + rng.normal(0, 12, SHAPE)).astype(np.float32)
        affine = np.diag([-1.0 if number % 2 and flip else 1.0, 1.0, 1.5, 1.0])
        affine[:3, 3] = number
        nibabel.save(nibabel.Nifti1Image(image, affine), folder / "images" / f"scan_{number:02d}.nii.gz")
        if labelled is None or number < labelled:
            nibabel.save(nibabel.Nifti1Image(label, affine), folder / "labels" / f"scan_{number:02d}.nii.gz")


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, 10)
    return folder


@pytest.fixture
def study(tmp_path, scans) -> Study:
    """Six scans to train on, two to validate, two to test."""
    return Study.create(tmp_path / "study", images=scans / "images", labels=scans / "labels", split=(60, 20, 20))


TINY = {
    "iterations": 6,
    "batch_size": 2,
    "device": "cpu",
    "train": {"preview_seconds": 0, "threads": 1, "checkpoint_seconds": 3600},
}
"""Arguments of the quickest training."""

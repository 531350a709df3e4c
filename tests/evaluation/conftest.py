"""A small study whose runs have predictions made from its labels, with known errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.runs import Run, RunRecord
from napari_ssl_seg.volumes import write_volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPACING = (3.0, 1.5, 1.0)
"""z, y, x of the held arrays, mm."""


def save(path: Path, held: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> Path:
    """Write a held (z, y, x) array as NIfTI in RAS order, so that reading it gives the same array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing[::-1], 1.0])
    affine[0, 0] *= -1
    affine[1, 1] *= -1  # held arrays run to the left and to the back
    nib.save(nib.Nifti1Image(held.transpose(2, 1, 0), affine), path)
    return path


def two_boxes(seed: int) -> np.ndarray:
    """A (8, 12, 12) label map: label 1 and, beside it, label 2."""
    rng = np.random.default_rng(seed)
    z, y, x = rng.integers(1, 3, size=3)
    labels = np.zeros((8, 12, 12), np.uint8)
    labels[z : z + 4, y : y + 5, x : x + 4] = 1
    labels[z : z + 4, y : y + 5, x + 4 : x + 7] = 2
    return labels


def add_run(
    study: Study,
    title: str,
    change: Callable[[int, np.ndarray], np.ndarray | None],
    split: str | None = "test",
    *,
    cases: int = 2,
    parent: str | None = None,
) -> Run:
    """A finished fine-tuning whose prediction of the n-th case is ``change(n, reference)``; None leaves it out."""
    record = RunRecord(
        kind="finetune",
        title=title,
        network={"name": "unet"},
        settings={"iterations": 10},
        versions={"torch": "2.10"},
        cases={"train": [str(number) for number in range(cases)]},
        parent=parent,
    )
    run = Run.create(study.runs_folder, record)
    run.append(Event("state", {"state": "running"}, run.id, time=100.0))
    run.append(Event("state", {"state": "finished"}, run.id, time=160.0))
    for number, case in enumerate(study.cases(split=split, labelled=True)):
        reference = study.label(case.id, purpose="evaluate")
        assert reference is not None
        predicted = change(number, reference.array)
        if predicted is not None:
            write_volume(run.prediction_path(case.id), reference.with_array(predicted))
    return run


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Nine labelled cases, three of them in the test split."""
    rng = np.random.default_rng(0)
    for number in range(9):
        labels = two_boxes(number)
        save(tmp_path / "labels" / f"case_{number}.nii.gz", labels)
        image = (labels * 100 + rng.normal(0, 10, labels.shape)).astype(np.float32)
        save(tmp_path / "images" / f"case_{number}.nii.gz", image)
    return Study.create(tmp_path / "study", images=tmp_path / "images", labels=tmp_path / "labels", split=(34, 33, 33))

"""What a comparison makes of odd files: other labels, none, turned, of one slice, large values, floats, NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.study import Study
from napari_ssl_seg.workbench.comparison import Comparison

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.workbench.compared_case import CaseComparison

SPACING = (5.0, 1.0, 0.5)
"""z, y, x: anisotropic, as many are."""


def save(path: Path, held: np.ndarray, flips: tuple[int, ...] = ()) -> None:
    """A held (z, y, x) array as NIfTI; ``flips`` of the file's axes turn how it is stored, not where it lies."""
    array, affine = held.transpose(2, 1, 0), np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), affine), path)


def compared(tmp_path: Path, ref: np.ndarray, pred: np.ndarray, flips: tuple[int, ...] = ()) -> CaseComparison:
    save(tmp_path / "images" / "a.nii.gz", np.random.default_rng(0).normal(0, 1, ref.shape).astype(np.float32))
    save(tmp_path / "labels" / "a.nii.gz", ref)
    save(tmp_path / "other" / "a.nii.gz", pred, flips)
    study = Study.create(tmp_path / "s", images=tmp_path / "images", labels=tmp_path / "labels", split=(0, 0, 100))
    with study:
        comparison = Comparison()
        comparison.open(study)
        comparison.add_folder(tmp_path / "other")
        return comparison.read("a", comparison.chosen)


def box(value: int = 1, dtype: type = np.uint8) -> np.ndarray:
    """Touches the lower border of every axis, and is not its own mirror image."""
    labels = np.zeros((4, 9, 8), dtype)
    labels[:2, :4, :3] = value
    return labels


@pytest.mark.parametrize("flips", [(0,), (1, 2), (0, 1, 2)])
def test_a_turned_file_is_compared_in_space(tmp_path: Path, flips: tuple[int, ...]) -> None:
    case = compared(tmp_path, box(), box(), flips)
    assert case.of_volume(0, "dice") == 1 and case.of_volume(0, "assd") == 0 and not case.methods[0].errors.any()


def test_a_label_that_one_of_both_lacks(tmp_path: Path) -> None:
    ref, pred = box(), box()
    ref[3, 6:, 6:], pred[3, :2, 6:] = 2, 7
    case = compared(tmp_path, ref, pred)
    volume = case.methods[0].volume
    assert volume[2]["dice"] == 0 and volume[2]["note"].startswith("missed") and np.isnan(volume[2]["assd"])
    assert volume[7]["dice"] == 0 and np.isnan(volume[7]["assd"]), "no class of the study, and shown all the same"
    assert case.by_slice(0, "dice", 1)[:2].tolist() == [1, 1] and np.isnan(case.by_slice(0, "dice", 1)[2:]).all()
    assert case.worst_first("dice")[0][0] == 3


def test_both_empty_is_not_defined_and_breaks_nothing(tmp_path: Path) -> None:
    case = compared(tmp_path, box(0), box(0))
    assert np.isnan(case.of_volume(0, "dice")) and np.isnan(case.by_slice(0, "dice")).all()
    assert case.worst_first("dice") == [] and case.disagreeing_first() == [] and (case.best("dice") == -1).all()


def test_one_slice(tmp_path: Path) -> None:
    ref, pred = box()[:1], np.roll(box()[:1], 1, axis=1)
    case = compared(tmp_path, ref, pred)
    assert case.n_slices == 1 and case.by_slice(0, "dice").tolist() == [0.75]
    assert case.of_volume(0, "dice") == 0.75
    assert case.of_volume(0, "assd") == 6 / 24, (
        "as a volume it touches the border everywhere: each voxel is on the surface"
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_values_up_to_65535_whole_floats_too(tmp_path: Path, dtype: type) -> None:
    case = compared(tmp_path, box(65535, np.uint16), box(65535, dtype))
    assert case.classes == (65535,) and case.of_volume(0, "dice", 65535) == 1


def test_a_hundred_labels(tmp_path: Path) -> None:
    ref = (np.arange(4 * 10 * 10).reshape(4, 10, 10) % 100 + 1).astype(np.uint8)
    case = compared(tmp_path, ref, np.where(ref == 50, 51, ref).astype(np.uint8))
    assert len(case.classes) == 100 and case.of_volume(0, "dice", 50) == 0 and case.of_volume(0, "dice", 1) == 1
    assert case.of_volume(0, "dice", 51) == pytest.approx(2 * 4 / 12)


def test_nan_is_refused_with_the_file_s_name(tmp_path: Path) -> None:
    pred = box(dtype=np.float32)
    pred[1, 1, 1] = np.nan
    case = compared(tmp_path, box(), pred)
    ((entry, reason),) = case.refused
    assert entry.title == "other" and "a.nii.gz" in reason and "NaN" in reason and not case.methods

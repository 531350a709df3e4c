"""Predictions on grids of their own: refused with both, or brought over when asked; orientation is compared in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.evaluation import evaluate, evaluate_folders
from napari_ssl_seg.evaluation.grids import onto_grid
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.volumes import Geometry, Volume, write_volume
from tests.evaluation.conftest import SPACING, add_run, save, two_boxes

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study


def folders(tmp_path: Path) -> dict[str, Path]:
    return {"pred": tmp_path / "pred", "ref": tmp_path / "ref"}


def as_labels(array: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...] = (0, 0, 0)) -> Volume:
    return Volume(array, Geometry.from_spacing(array.shape, spacing, origin))


class TestOntoGrid:
    def test_half_the_step_repeats_each_voxel(self) -> None:
        coarse = two_boxes(1)
        fine = Geometry.from_spacing([2 * n for n in coarse.shape], (0.5, 0.5, 0.5), (-0.25, -0.25, -0.25))
        expected = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        np.testing.assert_array_equal(onto_grid(as_labels(coarse, (1, 1, 1)), fine).array, expected)

    def test_a_shift_by_whole_voxels_leaves_nothing_outside(self) -> None:
        labels = two_boxes(2)
        target = Geometry.from_spacing(labels.shape, (2, 1, 1), (4, -3, 0))
        found = onto_grid(as_labels(labels, (2, 1, 1)), target).array
        expected = np.zeros_like(labels)
        expected[:-2, 3:] = labels[2:, :-3]
        np.testing.assert_array_equal(found, expected)

    def test_there_and_back_is_the_same_map(self) -> None:
        labels = as_labels(two_boxes(3), (2, 1, 1))
        fine = Geometry.from_spacing((24, 36, 36), (2 / 3, 1 / 3, 1 / 3), (-2 / 3, -1 / 3, -1 / 3))
        back = onto_grid(onto_grid(labels, fine), labels.geometry)
        np.testing.assert_array_equal(back.array, labels.array)


class TestFiles:
    def test_another_grid_is_refused_with_both(self, tmp_path: Path) -> None:
        labels = two_boxes(1)
        save(tmp_path / "ref" / "a.nii.gz", labels)
        save(tmp_path / "pred" / "a.nii.gz", labels[:, :-2])
        with pytest.raises(UserError, match=r"8x10x12.*8x12x12|10x8|resample") as refused:
            drain(evaluate_folders(**folders(tmp_path)))
        assert "against" in str(refused.value)

    def test_or_brought_over_when_asked_and_said(self, tmp_path: Path) -> None:
        labels = two_boxes(1)
        save(tmp_path / "ref" / "a.nii.gz", labels)
        whole = np.pad(labels, ((0, 0), (0, 2), (0, 0)))  # two rows more, at the back
        save(tmp_path / "pred" / "a.nii.gz", whole)
        events: list = []
        generator = evaluate_folders(**folders(tmp_path), resample=True, metrics=["dice", "assd"])
        while True:
            try:
                events.append(next(generator))
            except StopIteration as stop:
                table = stop.value
                break
        assert all(row.metrics == {"dice": 1.0, "assd": 0.0} for row in table)
        assert all("resampled to the reference's grid (nearest neighbour)" in row.note for row in table)
        said = [event.data["message"] for event in events if event.kind == "warning"]
        assert len(said) == 1 and "nearest neighbour" in said[0] and "against" in said[0]

    @pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 1, 2)])
    def test_a_turned_file_is_compared_in_space(self, tmp_path: Path, flips: tuple[int, ...]) -> None:
        labels = two_boxes(1)
        save(tmp_path / "ref" / "a.nii.gz", labels)
        image = nib.load(tmp_path / "ref" / "a.nii.gz")
        codes = nib.io_orientation(image.affine)
        for axis in flips:
            codes[axis, 1] *= -1
        turned = image.as_reoriented(codes[[1, 0, 2]])
        (tmp_path / "pred").mkdir()
        nib.save(turned, tmp_path / "pred" / "a.nii.gz")
        assert not np.array_equal(turned.affine, image.affine)
        table = drain(evaluate_folders(**folders(tmp_path)))
        assert [row.metrics["dice"] for row in table] == [1.0, 1.0]
        assert [row.metrics["hd"] for row in table] == [0.0, 0.0]

    def test_whole_floats_are_taken_and_nan_is_refused(self, tmp_path: Path) -> None:
        labels = two_boxes(1).astype(np.float32)
        save(tmp_path / "ref" / "a.nii.gz", labels.astype(np.uint8))
        save(tmp_path / "pred" / "a.nii.gz", labels)
        assert [row.metrics["dice"] for row in drain(evaluate_folders(**folders(tmp_path)))] == [1.0, 1.0]
        labels[2, 2, 2] = np.nan
        save(tmp_path / "pred" / "a.nii.gz", labels)
        with pytest.raises(UserError, match=r"a\.nii\.gz.*NaN"):
            drain(evaluate_folders(**folders(tmp_path)))

    def test_one_slice_and_65535(self, tmp_path: Path) -> None:
        ref, pred = np.zeros((1, 9, 9), np.uint16), np.zeros((1, 9, 9), np.uint16)
        ref[0, 2:6, 2:6], pred[0, 2:6, 3:7] = 65535, 65535
        save(tmp_path / "ref" / "a.nii.gz", ref)
        save(tmp_path / "pred" / "a.nii.gz", pred)
        (row,) = drain(evaluate_folders(**folders(tmp_path)))
        assert (row.label, row.metrics["dice"], row.metrics["hd"]) == (65535, 0.75, 1.0)


def test_runs_of_a_study_can_be_brought_over_too(study: Study) -> None:
    run = add_run(study, "scratch", lambda _, ref: ref)
    case = study.cases(split="test")[0].id
    reference = study.label(case, purpose="evaluate")
    assert reference is not None
    wider = np.pad(reference.array, ((0, 1), (0, 0), (0, 0)))
    write_volume(run.prediction_path(case), as_labels(wider, SPACING))
    with pytest.raises(UserError, match="grid of its reference"):
        drain(evaluate(study, [run]))
    table = drain(evaluate(study, [run], resample=True, metrics=["dice"]))
    moved = [row for row in table if "resampled" in row.note]
    assert {row.case for row in moved} == {case}
    assert all(row.metrics["dice"] == 1.0 for row in table if row.case != case)

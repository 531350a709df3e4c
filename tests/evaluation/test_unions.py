"""Targets that may overlap, scored as unions of values: numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.evaluation import evaluate_folders, score, score_slices
from napari_ssl_seg.training.events import drain

UNIONS = {2: (1, 2, 4), 1: (1, 4), 4: (4,)}
REFERENCE = np.array([[[2, 2, 1, 4, 0, 0]], [[0, 2, 2, 1, 0, 0]]])
PREDICTION = np.array([[[2, 1, 1, 4, 4, 0]], [[0, 2, 1, 1, 0, 0]]])
WHOLE = 2 * 7 / (7 + 8)  # {1, 2, 4}: 7 voxels, 8 predicted, 7 in both
CORE = 2 * 3 / (3 + 6)  # {1, 4}: 3 voxels, 6 predicted, 3 in both
ENHANCING = 2 * 1 / (1 + 2)


def test_dice_of_unions_by_hand():
    found = score(PREDICTION, REFERENCE, 1.0, metrics=("dice",), unions=UNIONS)
    assert {label: values["dice"] for label, values in found.items()} == pytest.approx(
        {2: WHOLE, 1: CORE, 4: ENHANCING}
    )


def test_distances_are_of_the_unions_surfaces():
    found = score(PREDICTION, REFERENCE, (1.0, 1.0, 2.0), metrics=("assd", "hd"), unions=UNIONS)
    # one voxel beyond the end of the first row: 2 mm, once among the surface voxels of both maps, 8 + 7
    assert found[2]["hd"] == 2 and found[2]["assd"] == pytest.approx(2 / 15)


def test_slices_of_unions_by_hand():
    table = score_slices(PREDICTION, REFERENCE, 1.0, metrics=("dice",), unions=UNIONS)
    assert table.labels == (2, 1, 4)
    assert table.at(0, 2)["dice"] == pytest.approx(2 * 4 / (4 + 5))
    assert table.at(1, 2)["dice"] == 1
    assert table.at(1, 1)["dice"] == pytest.approx(2 * 1 / (1 + 2))
    assert table.at(1, 4)["note"] == "absent in both"


def test_folders_are_scored_by_targets(tmp_path):
    import nibabel as nib

    for name, array in (("pred", PREDICTION), ("ref", REFERENCE)):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(array.astype(np.uint8), np.eye(4)), tmp_path / name / "a.nii.gz")
    targets = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": [4]}
    table = drain(evaluate_folders(tmp_path / "pred", tmp_path / "ref", targets=targets, metrics=("dice",)))
    assert {row.class_name: row.metrics["dice"] for row in table} == pytest.approx(
        {"whole": WHOLE, "core": CORE, "enhancing": ENHANCING}
    )

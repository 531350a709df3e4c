"""Agreement with MedPy 0.5.2 on two label maps of one CT, 41 structures, made by two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from medpy.metric import binary

from napari_ssl_seg.evaluation import score, score_slices

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_data
Pair = tuple[np.ndarray, np.ndarray, tuple[float, ...]]


@pytest.fixture(scope="module")
def pair(real_data: Path) -> Pair:
    """Prediction and reference as stored, and their spacing with the isotropic 3 mm made anisotropic."""
    files = [nib.load(real_data / "torso" / name) for name in ("example_seg_fast.nii.gz", "example_seg.nii.gz")]
    pred, ref = (np.asarray(file.dataobj) for file in files)
    return pred, ref, tuple(float(step) for step in files[1].header.get_zooms())


def around(first: np.ndarray, second: np.ndarray) -> tuple[slice, ...]:
    """The box that holds both with a voxel of margin: MedPy finds the same in it, in less time."""
    found = np.argwhere(first | second)
    return tuple(slice(max(low - 1, 0), high + 2) for low, high in zip(found.min(0), found.max(0), strict=True))


@pytest.mark.parametrize("squeeze", [1.0, 0.6])
def test_every_label_of_the_volume(pair: Pair, squeeze: float) -> None:
    pred, ref, spacing = pair
    spacing = (spacing[0] * squeeze, *spacing[1:])
    found = score(pred, ref, spacing, metrics=("dice", "iou", "assd", "hd", "hd95"))
    assert len(found) == 41
    compared = 0
    for label, values in found.items():
        box = around(pred == label, ref == label)
        first, second = pred[box] == label, ref[box] == label
        assert values["dice"] == pytest.approx(binary.dc(first, second), rel=1e-9)
        if values["note"]:
            continue
        compared += 1
        for name, theirs in (("assd", binary.assd), ("hd", binary.hd), ("hd95", binary.hd95)):
            assert values[name] == pytest.approx(theirs(first, second, spacing), rel=1e-6), (label, name)
    assert compared == 40
    if squeeze == 1.0:
        mean = np.mean([values["assd"] for values in found.values() if not values["note"]])
        assert mean == pytest.approx(0.571, abs=5e-4)  # mm, as measured before this project


def test_slices(pair: Pair) -> None:
    pred, ref, spacing = pair
    table = score_slices(pred, ref, spacing, axis=2)
    assert table.n_slices == 30
    for index in (0, 13, 29):
        for label in table.labels:
            values = table.at(index, label)
            first, second = pred[..., index] == label, ref[..., index] == label
            if values["note"] == "":
                assert values["dice"] == pytest.approx(binary.dc(first, second), rel=1e-9)
                assert values["assd"] == pytest.approx(binary.assd(first, second, spacing[:2]), rel=1e-6)
